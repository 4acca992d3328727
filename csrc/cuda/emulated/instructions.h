// The functions of csrc/cuda/device/ptx.h, which says what they do, on the processor: after the
// descriptions in the PTX manual (ISA 9.0). Included by csrc/cuda/device/device.h.
#ifndef FASTW2V_CUDA_EMULATED_INSTRUCTIONS_H_
#define FASTW2V_CUDA_EMULATED_INSTRUCTIONS_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "csrc/core/types.h"
#include "csrc/cuda/device/device.h"
#include "csrc/cuda/emulated/tensor_core.h"

namespace fastw2v::cuda {

__device__ __forceinline__ unsigned char* SharedMemory() { return emulated::SharedMemory(); }

__device__ __forceinline__ float ToFloat(Half x) {
  _Float16 half;
  std::memcpy(&half, &x.bits, sizeof half);
  return static_cast<float>(half);
}

template <>
__device__ __forceinline__ Half Round<Half>(float x) {
  const _Float16 half = static_cast<_Float16>(x);
  Half result;
  std::memcpy(&result.bits, &half, sizeof half);
  return result;
}

template <>
__device__ __forceinline__ BFloat16 Round<BFloat16>(float x) {
  uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return BFloat16{0x7FFF};
  bits += 0x7FFF + (bits >> 16 & 1);
  return BFloat16{static_cast<uint16_t>(bits >> 16)};
}

template <>
__device__ __forceinline__ uint32_t RoundPair<BFloat16>(float low, float high) {
  return Round<BFloat16>(low).bits | static_cast<uint32_t>(Round<BFloat16>(high).bits) << 16;
}

template <>
__device__ __forceinline__ uint32_t RoundPair<Half>(float low, float high) {
  return Round<Half>(low).bits | static_cast<uint32_t>(Round<Half>(high).bits) << 16;
}

__device__ __forceinline__ float FastExp2(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0 : y;
}

__device__ __forceinline__ float FastLog2(float x) { return std::log2(x); }

// ---- products of a warp, m16n8k16 of 16 bits: c[m, n] += a[m, k] b[k, n]
//
// With g = lane / 4 and t = lane % 4 a lane holds, pairs side by side in a register,
//   a: (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..);  b: (2t.., g) (2t+8.., g)
//   c: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1)
namespace emulated {

struct MmaRecord {
  float* c;
  const uint32_t *a, *b;
};

// Of the smallest normal number.
template <typename T>
constexpr int kMinExponent = kFloatMinExponent;
template <>
constexpr int kMinExponent<Half> = -14;

template <typename T>
float Element(uint32_t pair, int half) {
  const uint16_t bits = static_cast<uint16_t>(pair >> 16 * half);
  return ToFloat(T{bits});
}

// element_a(row, k) and element_b(k, column) find the operands.
template <typename ElementA, typename ElementB>
void Multiply(void** records, int min_exponent, ElementA element_a, ElementB element_b) {
  constexpr int kDepth = 16;
  Factor a[16][kDepth], b[8][kDepth];
  for (int k = 0; k < kDepth; ++k) {
    for (int m = 0; m < 16; ++m) a[m][k] = ToFactor(element_a(m, k), min_exponent);
    for (int n = 0; n < 8; ++n) b[n][k] = ToFactor(element_b(k, n), min_exponent);
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* c = static_cast<MmaRecord*>(records[lane])->c;
    for (int i = 0; i < 4; ++i) {
      const int m = lane / 4 + 8 * (i / 2), n = 2 * (lane % 4) + i % 2;
      c[i] = AddProducts(kAmpere16, c[i], a[m], b[n], kDepth);
    }
  }
}

template <typename T>
void Mma16816(float* c, const uint32_t* a, const uint32_t* b) {
  MmaRecord record{c, a, b};
  MeetLanes(kAllLanes, &record, [](void** records) {
    const auto at = [&](int lane) { return static_cast<MmaRecord*>(records[lane]); };
    Multiply(
        records, kMinExponent<T>,
        [&](int m, int k) {
          const MmaRecord* record = at(m % 8 * 4 + k % 8 / 2);
          return Element<T>(record->a[m / 8 + k / 8 * 2], k % 2);
        },
        [&](int k, int n) {
          const MmaRecord* record = at(n * 4 + k % 8 / 2);
          return Element<T>(record->b[k / 8], k % 2);
        });
  });
}

}  // namespace emulated

template <>
__device__ __forceinline__ void Mma16816<BFloat16>(float (&c)[4], const uint32_t (&a)[4],
                                                   const uint32_t (&b)[2]) {
  emulated::Mma16816<BFloat16>(c, a, b);
}

template <>
__device__ __forceinline__ void Mma16816<Half>(float (&c)[4], const uint32_t (&a)[4],
                                               const uint32_t (&b)[2]) {
  emulated::Mma16816<Half>(c, a, b);
}

__device__ __forceinline__ uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(shared) - SharedMemory());
}

template <bool kTranspose>
__device__ __forceinline__ void LoadMatrices(uint32_t (&r)[4], const void* shared_row) {
  struct Record {
    uint32_t* r;
    const void* row;
  } record{r, shared_row};
  emulated::MeetLanes(kAllLanes, &record, [](void** records) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int matrix = 0; matrix < 4; ++matrix) {
        uint32_t pair = 0;
        for (int half = 0; half < 2; ++half) {
          const int i = kTranspose ? 2 * (lane % 4) + half : lane / 4;
          const int j = kTranspose ? lane / 4 : 2 * (lane % 4) + half;
          uint16_t bits;
          std::memcpy(
              &bits,
              static_cast<const uint16_t*>(static_cast<Record*>(records[matrix * 8 + i])->row) + j,
              sizeof bits);
          pair |= static_cast<uint32_t>(bits) << 16 * half;
        }
        static_cast<Record*>(records[lane])->r[matrix] = pair;
      }
    }
  });
}

template <int kBytes>
__device__ __forceinline__ void CopyAsync(void* shared, const void* global, bool valid) {
  if (valid) {
    std::memcpy(shared, global, kBytes);
  } else {
    std::memset(shared, 0, kBytes);
  }
}

__device__ __forceinline__ void CommitCopies() {}

template <int kPending>
__device__ __forceinline__ void WaitForCopies() {}

__device__ __forceinline__ void NamedBarrier(int id, int threads) {
  emulated::Barrier(id, threads);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_EMULATED_INSTRUCTIONS_H_
