// The functions of csrc/cuda/device/hopper_ptx.h, which says what they do, on the processor: after
// the PTX manual (ISA 9.0: mbarrier, cp.async.bulk.tensor, wgmma). Included by
// csrc/cuda/device/hopper.h.
#ifndef FASTW2V_CUDA_EMULATED_HOPPER_H_
#define FASTW2V_CUDA_EMULATED_HOPPER_H_

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "csrc/cuda/device/hopper.h"
#include "csrc/cuda/emulated/tensor_core.h"

namespace fastw2v::cuda::hopper {

struct alignas(8) Barrier {
  uint16_t arrivals, pending;
  uint32_t parity : 1;
  int32_t bytes : 31;

  void EndPhase() {
    if (pending != 0 || bytes != 0) return;
    parity ^= 1;
    pending = arrivals;
    emulated::CountProgress();
  }
};

__device__ __forceinline__ void Init(Barrier* barrier, int arrivals) {
  barrier->arrivals = barrier->pending = static_cast<uint16_t>(arrivals);
  barrier->parity = 0;
  barrier->bytes = 0;
}

__device__ __forceinline__ void FenceInit() {}

__device__ __forceinline__ void Arrive(Barrier* barrier) {
  --barrier->pending;
  barrier->EndPhase();
}

__device__ __forceinline__ void ArriveExpecting(Barrier* barrier, int bytes) {
  barrier->bytes += bytes;
  Arrive(barrier);
}

__device__ __forceinline__ void Wait(Barrier* barrier, int parity) {
  while (static_cast<int>(barrier->parity) == parity) emulated::Yield();
}

__device__ __forceinline__ void NamedArrive(int id, int threads) {
  emulated::ArriveAtBarrier(id, threads);
}

template <int kRegisters>
__device__ __forceinline__ void GrowRegisters() {}

template <int kRegisters>
__device__ __forceinline__ void ShrinkRegisters() {}

// ---- the copy engine

// A row-major table of 16-bit numbers, read in boxes of kBoxRows x kChunkColumns; zeros outside.
struct TensorMap {
  const unsigned char* data;
  int64_t rows, columns;
};

template <typename T>  // BFloat16 or Half
Status MakeTensorMap(const T* data, int64_t rows, int64_t columns, TensorMap* map) {
  *map = {reinterpret_cast<const unsigned char*>(data), rows, columns};
  return Status();
}

__device__ __forceinline__ void LoadBox(void* shared, const TensorMap* map, int row, int column,
                                        Barrier* barrier) {
  auto* const chunk = static_cast<unsigned char*>(shared);
  for (int r = 0; r < kBoxRows; ++r) {
    for (int c = 0; c < kChunkColumns; ++c) {
      uint16_t value = 0;
      if (row + r < map->rows && column + c < map->columns) {
        std::memcpy(&value, map->data + ((row + r) * map->columns + column + c) * 2, 2);
      }
      std::memcpy(chunk + SwizzledOffset(r, c / 8) + c % 8 * 2, &value, 2);
    }
  }
  barrier->bytes -= kBoxBytes;
  barrier->EndPhase();
}

namespace emulation {

struct Product {
  float* d;
  const uint32_t* a_registers;
  uint64_t a, b;
  int n;
  bool accumulate;
  Major major_a, major_b;
  emulated::Factor (*factor)(uint16_t bits);
};

// What one thread has asked for and not waited for.
struct Queue {
  std::vector<std::vector<Product>> groups;
  std::vector<Product> open;  // not committed
};

inline Queue* MyQueue() {
  static std::vector<Queue> queues(1024);
  return &queues[emulated::ThreadNumber()];
}

template <typename T>
emulated::Factor ToFactor(uint16_t bits) {
  return emulated::ToFactor(ToFloat(T{bits}), emulated::kMinExponent<T>);
}

// Entry (length, depth) of an operand in shared memory.
inline uint16_t Entry(uint64_t operand, Major major, int length, int depth) {
  const auto field = [&](int shift) { return static_cast<int>(operand >> shift & 0x3FFF) << 4; };
  const int chunks_apart = field(16), rows_apart = field(32);
  int address = field(0);
  if (major == Major::kDepth) {
    address += length / 8 * rows_apart + length % 8 * 128 + depth * 2;
  } else {
    address +=
        length / 64 * chunks_apart + length % 64 * 2 + depth / 8 * rows_apart + depth % 8 * 128;
  }
  address ^= (address >> 7 & 7) << 4;  // in terms of the address, whatever the operand's start
  uint16_t bits;
  std::memcpy(&bits, emulated::SharedMemory() + address, sizeof bits);
  return bits;
}

// queues of the 128 threads; all have asked for the same.
inline void Run(void** queues, int group) {
  const auto at = [&](int thread) -> std::vector<Product>& {
    return static_cast<Queue*>(queues[thread])->groups[group];
  };
  for (std::size_t i = 0; i < at(0).size(); ++i) {
    const Product& product = at(0)[i];
    static emulated::Factor a[64][16], b[256][16];
    for (int m = 0; m < 64; ++m) {
      for (int k = 0; k < 16; ++k) {
        uint16_t bits;
        if (product.a_registers == nullptr) {
          bits = Entry(product.a, product.major_a, m, k);
        } else {
          const Product& owner = at(m / 16 * 32 + m % 8 * 4 + k % 8 / 2)[i];
          bits = static_cast<uint16_t>(owner.a_registers[m % 16 / 8 + k / 8 * 2] >> 16 * (k % 2));
        }
        a[m][k] = product.factor(bits);
      }
    }
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < product.n; ++n) {
        b[n][k] = product.factor(Entry(product.b, product.major_b, n, k));
      }
    }
    for (int m = 0; m < 64; ++m) {
      for (int n = 0; n < product.n; ++n) {
        const Product& owner = at(m / 16 * 32 + m % 8 * 4 + n % 8 / 2)[i];
        float* const d = &owner.d[n / 8 * 4 + m % 16 / 8 * 2 + n % 2];
        const float before = owner.accumulate ? *d : 0;
        *d = emulated::AddProducts(emulated::kHopper16, before, a[m], b[n], 16);
      }
    }
  }
}

}  // namespace emulation

__device__ __forceinline__ void FenceProducts() {}

__device__ __forceinline__ void CommitProducts() {
  emulation::Queue* const queue = emulation::MyQueue();
  queue->groups.push_back(std::move(queue->open));
  queue->open.clear();
}

template <int kPending>
__device__ __forceinline__ void WaitForProducts() {
  // Products are computed as late as can be, so that a tile which is overwritten too early shows.
  emulation::Queue* const queue = emulation::MyQueue();
  const int over = static_cast<int>(queue->groups.size()) - kPending;
  if (over <= 0) return;
  emulated::MeetWarpgroup(queue, [&](void** queues) {
    for (int group = 0; group < over; ++group) emulation::Run(queues, group);
  });
  queue->groups.erase(queue->groups.begin(), queue->groups.begin() + over);
}

template <int kCount>
__device__ __forceinline__ void TakeProducts([[maybe_unused]] float (&d)[kCount]) {}

template <typename T, Major kMajorA, Major kMajorB, int kCount>
__device__ __forceinline__ void MultiplyFirst(float (&d)[kCount], uint64_t a, uint64_t b) {
  emulation::MyQueue()->open.push_back(
      {d, nullptr, a, b, 2 * kCount, false, kMajorA, kMajorB, &emulation::ToFactor<T>});
}

template <typename T, Major kMajorA, Major kMajorB, int kCount>
__device__ __forceinline__ void Multiply(float (&d)[kCount], uint64_t a, uint64_t b,
                                         bool accumulate) {
  emulation::MyQueue()->open.push_back(
      {d, nullptr, a, b, 2 * kCount, accumulate, kMajorA, kMajorB, &emulation::ToFactor<T>});
}

template <typename T, Major kMajorB, int kCount>
__device__ __forceinline__ void MultiplyAdd(float (&d)[kCount], const uint32_t (&a)[4],
                                            uint64_t b) {
  emulation::MyQueue()->open.push_back(
      {d, a, 0, b, 2 * kCount, true, Major::kDepth, kMajorB, &emulation::ToFactor<T>});
}

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_EMULATED_HOPPER_H_
