// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). A block of 128 random bits is a function of a 64-bit key
// and a 128-bit counter alone, so any draw can be made anywhere, in any order, on any device.
#ifndef FASTW2V_CORE_RANDOM_H_
#define FASTW2V_CORE_RANDOM_H_

#include <cstdint>

#if defined(__CUDACC__)
#define FASTW2V_HOST_DEVICE __host__ __device__
#else
#define FASTW2V_HOST_DEVICE
#endif

namespace fastw2v {

struct PhiloxKey {
  uint32_t word[2];
};

struct PhiloxBlock {
  uint32_t word[4];
};

// The block of random bits that belongs to a counter.
FASTW2V_HOST_DEVICE inline PhiloxBlock Philox(PhiloxBlock counter, PhiloxKey key) {
  constexpr int kRounds = 10;
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = kMultiplier0 * counter.word[0];
    const uint64_t product1 = kMultiplier1 * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key.word[0],
                static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key.word[1],
                static_cast<uint32_t>(product0)}};
    key.word[0] += kWeyl0;
    key.word[1] += kWeyl1;
  }
  return counter;
}

// One of 2^64 streams of 2^64 blocks that a pair of seeds decides. The seeds and the number of the
// stream go through Philox themselves, so that neighboring seeds and streams have nothing in
// common.
class RandomStream {
 public:
  FASTW2V_HOST_DEVICE RandomStream(int64_t seed0, int64_t seed1, int64_t stream) {
    const PhiloxBlock mixed =
        Philox({{Low(seed1), High(seed1), Low(stream), High(stream)}}, {{Low(seed0), High(seed0)}});
    key_ = {{mixed.word[0], mixed.word[1]}};
    counter_[0] = mixed.word[2];
    counter_[1] = mixed.word[3];
  }

  // Block `i` of the stream.
  FASTW2V_HOST_DEVICE PhiloxBlock operator[](int64_t i) const {
    return Philox({{Low(i), High(i), counter_[0], counter_[1]}}, key_);
  }

 private:
  FASTW2V_HOST_DEVICE static uint32_t Low(int64_t x) { return static_cast<uint32_t>(x); }
  FASTW2V_HOST_DEVICE static uint32_t High(int64_t x) {
    return static_cast<uint32_t>(static_cast<uint64_t>(x) >> 32);
  }

  PhiloxKey key_;
  uint32_t counter_[2];
};

// A number in [0, 1), a multiple of 2^-53, from 64 random bits.
FASTW2V_HOST_DEVICE inline double UniformReal(uint32_t low, uint32_t high) {
  const uint64_t bits = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// An integer in [0, range) from 64 random bits: the high half of their product with range > 0.
// Each value's probability is within 2^-64 of 1 / range.
FASTW2V_HOST_DEVICE inline int64_t UniformInteger(uint32_t low, uint32_t high, int64_t range) {
  const uint64_t range_low = static_cast<uint64_t>(range) & 0xFFFFFFFF;
  const uint64_t range_high = static_cast<uint64_t>(range) >> 32;
  const uint64_t low_low = low * range_low >> 32;
  const uint64_t low_high = low * range_high;
  const uint64_t middle = high * range_low + low_low;  // at most 2^64 - 2^32
  const uint64_t carry = (middle & 0xFFFFFFFF) + (low_high & 0xFFFFFFFF);
  return static_cast<int64_t>(high * range_high + (middle >> 32) + (low_high >> 32) +
                              (carry >> 32));
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_RANDOM_H_
