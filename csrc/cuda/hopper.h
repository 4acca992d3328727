// What kernels for Hopper (sm_90a) are made of beside device.h: barriers in shared memory, tiles
// that the copy engine (TMA) brings, products of a warpgroup (wgmma). As there, each instruction
// stands here twice: as PTX, and in plain C++ for the emulated build, after the PTX manual (ISA
// 9.0: mbarrier, cp.async.bulk.tensor, wgmma).
//
// Tiles. A tile of 16-bit numbers lies in shared memory as chunks of 64 columns, each chunk
// [rows][128 bytes], aligned to 1024 bytes; in row r the 16 bytes number u are where number
// u ^ (r % 8) would be ("128-byte swizzle"). wgmma reads such a chunk in both directions: the
// columns as what is summed over ("K-major"), or the rows ("MN-major").
#ifndef FASTW2V_CUDA_HOPPER_H_
#define FASTW2V_CUDA_HOPPER_H_

#include <type_traits>
#include <vector>

#include "csrc/cuda/device.h"

#if !defined(FASTW2V_CUDA_EMULATED)
#include <cuda.h>
#endif

namespace fastw2v::cuda::hopper {

constexpr int kWarpgroup = 128;
constexpr int kChunkColumns = 64;
constexpr int kChunkRowBytes = 128;
// A tile is copied in boxes of that many rows of a chunk.
constexpr int kBoxRows = 64;
constexpr int kBoxBytes = kBoxRows * kChunkRowBytes;

// Where the 16 bytes number `unit` of row `row` of a chunk are.
__device__ __forceinline__ int SwizzledOffset(int row, int unit) {
  return row * kChunkRowBytes + ((unit ^ (row & 7)) << 4);
}

// ---- barriers in shared memory
//
// A barrier's phase ends when `arrivals` threads have arrived and as many bytes have come as were
// announced. Wait(parity) returns when the phase of that parity (the first is 0) is over.

#if defined(FASTW2V_CUDA_EMULATED)
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
#else
struct alignas(8) Barrier {
  uint64_t state;
};
#endif

__device__ __forceinline__ void Init(Barrier* barrier, int arrivals) {
#if defined(FASTW2V_CUDA_EMULATED)
  barrier->arrivals = barrier->pending = static_cast<uint16_t>(arrivals);
  barrier->parity = 0;
  barrier->bytes = 0;
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
#endif
}

// After Init() and before __syncthreads(): the copy engine sees the barriers too.
__device__ __forceinline__ void FenceInit() {
#if !defined(FASTW2V_CUDA_EMULATED)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

__device__ __forceinline__ void Arrive(Barrier* barrier) {
#if defined(FASTW2V_CUDA_EMULATED)
  --barrier->pending;
  barrier->EndPhase();
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
#endif
}

// Arrives, and announces `bytes` that the copy engine will bring in this phase.
__device__ __forceinline__ void ArriveExpecting(Barrier* barrier, int bytes) {
#if defined(FASTW2V_CUDA_EMULATED)
  barrier->bytes += bytes;
  Arrive(barrier);
#else
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
#endif
}

__device__ __forceinline__ void Wait(Barrier* barrier, int parity) {
#if defined(FASTW2V_CUDA_EMULATED)
  while (static_cast<int>(barrier->parity) == parity) emulated::Yield();
#else
  const uint32_t address = SharedAddress(barrier);
  uint32_t over = 0;
  do {
    asm volatile(
        "{.reg .pred p;"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;"
        "selp.u32 %0, 1, 0, p;}"
        : "=r"(over)
        : "r"(address), "r"(parity)
        : "memory");
  } while (over == 0);
#endif
}

// Makes this thread's plain writes to shared memory visible to the copy engine and the tensor
// cores, which are told of them by a barrier after this.
__device__ __forceinline__ void FenceAsyncProxy() {
#if !defined(FASTW2V_CUDA_EMULATED)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Counts at barrier `id` of NamedBarrier() without waiting.
__device__ __forceinline__ void NamedArrive(int id, int threads) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulated::ArriveAtBarrier(id, threads);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

// How many registers the threads of this warpgroup have from here on, a multiple of 8.
template <int kRegisters>
__device__ __forceinline__ void GrowRegisters() {
#if !defined(FASTW2V_CUDA_EMULATED)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
__device__ __forceinline__ void ShrinkRegisters() {
#if !defined(FASTW2V_CUDA_EMULATED)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

// ---- the copy engine

// A row-major table of 16-bit numbers, read in boxes of kBoxRows x kChunkColumns; zeros outside.
#if defined(FASTW2V_CUDA_EMULATED)
struct TensorMap {
  const unsigned char* data;
  int64_t rows, columns;
};
#else
using TensorMap = CUtensorMap;
#endif

// Can the engine read rows of that many numbers at this address?
inline bool CanMap(const void* data, int64_t columns) {
  return columns % 8 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

template <typename T>  // BFloat16 or Half
Status MakeTensorMap(const T* data, int64_t rows, int64_t columns, TensorMap* map) {
#if defined(FASTW2V_CUDA_EMULATED)
  *map = {reinterpret_cast<const unsigned char*>(data), rows, columns};
  return Status();
#else
  using Encode = decltype(&cuTensorMapEncodeTiled);
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  FASTW2V_RETURN_IF_ERROR(ToStatus(cudaGetDriverEntryPointByVersion(
      "cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found)));
  if (entry == nullptr) {
    return Status(StatusCode::kInternal, "CUDA: the driver has no cuTensorMapEncodeTiled");
  }
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(columns) * sizeof(T)};
  const cuuint32_t box[] = {kChunkColumns, kBoxRows}, steps[] = {1, 1};
  const CUtensorMapDataType type =
      std::is_same_v<T, Half> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const CUresult result = reinterpret_cast<Encode>(entry)(
      map, type, 2, const_cast<T*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) return Status();
  return Status(StatusCode::kInternal,
                "CUDA: cuTensorMapEncodeTiled failed with " + std::to_string(result));
#endif
}

// Starts to copy the box whose first number is (row, column) to `shared`, aligned to 1024 bytes.
// `barrier` counts its kBoxBytes.
__device__ __forceinline__ void LoadBox(void* shared, const TensorMap* map, int row, int column,
                                        Barrier* barrier) {
#if defined(FASTW2V_CUDA_EMULATED)
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
#else
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(SharedAddress(shared)),
      "l"(map), "r"(column), "r"(row), "r"(SharedAddress(barrier))
      : "memory");
#endif
}

// ---- products of a warpgroup: d[64, n] (+)= a[64, 16] b[16, n]
//
// Warp w of the warpgroup has rows 16w to 16w + 15 of d and, in registers, of a, laid out as those
// of Mma16816 (device.h) with d's columns in groups of 8: d[4j + i] is entry i of group j.
//
// Products run in the background: FenceProducts() once the registers are written, products,
// CommitProducts(), then WaitForProducts(). Until then neither registers nor tiles may change.

enum class Major {
  kDepth = 0,   // what is summed over lies along the rows of a chunk
  kLength = 1,  // it goes from row to row
};

// Names an operand that starts at `shared` and continues, where it is more than 8 rows of a chunk,
// `rows_apart` bytes further for the next 8 rows, and, for more than 64 columns of kLength,
// `chunks_apart` bytes further. (The manual's stride and leading byte offsets.)
__device__ __forceinline__ uint64_t Operand(const void* shared, int rows_apart = 1024,
                                            int chunks_apart = 16) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | static_cast<uint64_t>((SharedAddress(shared) & 0x3FFFF) >> 4) |
         static_cast<uint64_t>(chunks_apart >> 4) << 16 |
         static_cast<uint64_t>(rows_apart >> 4) << 32;
}
// The same operand, so many bytes further.
__device__ __forceinline__ uint64_t Advance(uint64_t operand, int bytes) {
  return operand + static_cast<uint64_t>(bytes >> 4);
}

#if defined(FASTW2V_CUDA_EMULATED)
namespace emulation {

struct Product {
  float* d;
  const uint32_t* a_registers;
  uint64_t a, b;
  int n;
  bool accumulate;
  Major major_a, major_b;
  float (*number)(uint16_t bits);
};

// What one thread has asked for and not waited for.
struct Queue {
  std::vector<std::vector<Product>> groups;
  std::vector<Product> open;  // not committed
};

inline Queue* MyQueue() {
  static thread_local std::vector<Queue> queues(1024);
  return &queues[emulated::ThreadNumber()];
}

template <typename T>
float Number(uint16_t bits) {
  return ToFloat(T{bits});
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
    static thread_local float a[64][16], b[16][256];
    for (int m = 0; m < 64; ++m) {
      for (int k = 0; k < 16; ++k) {
        uint16_t bits;
        if (product.a_registers == nullptr) {
          bits = Entry(product.a, product.major_a, m, k);
        } else {
          const Product& owner = at(m / 16 * 32 + m % 8 * 4 + k % 8 / 2)[i];
          bits = static_cast<uint16_t>(owner.a_registers[m % 16 / 8 + k / 8 * 2] >> 16 * (k % 2));
        }
        a[m][k] = product.number(bits);
      }
    }
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < product.n; ++n) {
        b[k][n] = product.number(Entry(product.b, product.major_b, n, k));
      }
    }
    for (int m = 0; m < 64; ++m) {
      float row[256] = {};
      for (int k = 0; k < 16; ++k) {
        for (int n = 0; n < product.n; ++n) row[n] += a[m][k] * b[k][n];
      }
      for (int n = 0; n < product.n; ++n) {
        const Product& owner = at(m / 16 * 32 + m % 8 * 4 + n % 8 / 2)[i];
        float* const d = &owner.d[n / 8 * 4 + m % 16 / 8 * 2 + n % 2];
        *d = owner.accumulate ? *d + row[n] : row[n];
      }
    }
  }
}

}  // namespace emulation
#endif

// Before the first product and whenever registers of a product were written by anything else.
__device__ __forceinline__ void FenceProducts() {
#if !defined(FASTW2V_CUDA_EMULATED)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// Ends a group of products.
__device__ __forceinline__ void CommitProducts() {
#if defined(FASTW2V_CUDA_EMULATED)
  emulation::Queue* const queue = emulation::MyQueue();
  queue->groups.push_back(std::move(queue->open));
  queue->open.clear();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Waits until at most kPending groups are under way.
template <int kPending>
__device__ __forceinline__ void WaitForProducts() {
#if defined(FASTW2V_CUDA_EMULATED)
  // Products are computed as late as can be, so that a tile which is overwritten too early shows.
  emulation::Queue* const queue = emulation::MyQueue();
  const int over = static_cast<int>(queue->groups.size()) - kPending;
  if (over <= 0) return;
  emulated::MeetWarpgroup(queue, [&](void** queues) {
    for (int group = 0; group < over; ++group) emulation::Run(queues, group);
  });
  queue->groups.erase(queue->groups.begin(), queue->groups.begin() + over);
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
#endif
}
// The compiler reads registers of products only after this.
template <int kCount>
__device__ __forceinline__ void TakeProducts([[maybe_unused]] float (&d)[kCount]) {
#if !defined(FASTW2V_CUDA_EMULATED)
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
#endif
}

#if !defined(FASTW2V_CUDA_EMULATED)
#define FASTW2V_D8(C, d, i) \
  C(d[i]), C(d[i + 1]), C(d[i + 2]), C(d[i + 3]), C(d[i + 4]), C(d[i + 5]), C(d[i + 6]), C(d[i + 7])
#define FASTW2V_D32(C, d, i) \
  FASTW2V_D8(C, d, i), FASTW2V_D8(C, d, i + 8), FASTW2V_D8(C, d, i + 16), FASTW2V_D8(C, d, i + 24)
#define FASTW2V_D64(C, d, i) FASTW2V_D32(C, d, i), FASTW2V_D32(C, d, i + 32)
#define FASTW2V_WGMMA_FIRST_64(TYPE)                                                \
  asm volatile(                                                                     \
      "{.reg .pred p; setp.ne.b32 p, 0, 0;"                                         \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE                   \
      " "                                                                           \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20," \
      "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31},"                               \
      "%32,%33,p,1,1,%34,%35;}"                                                     \
      : FASTW2V_D32("=f", d, 0)                                                     \
      : "l"(a), "l"(b), "n"(static_cast<int>(kMajorA)), "n"(static_cast<int>(kMajorB)))
#define FASTW2V_WGMMA_SHARED_64(TYPE)                                                      \
  asm volatile(                                                                            \
      "{.reg .pred p; setp.ne.b32 p, %34, 0;"                                              \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE                          \
      " "                                                                                  \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,"        \
      "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31},"                                      \
      "%32,%33,p,1,1,%35,%36;}"                                                            \
      : FASTW2V_D32("+f", d, 0)                                                            \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMajorA)), \
        "n"(static_cast<int>(kMajorB)))
#define FASTW2V_WGMMA_REGISTERS_64(TYPE)                                                     \
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE                   \
               " "                                                                           \
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20," \
               "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31},"                               \
               "{%32,%33,%34,%35},%36,1,1,1,%37;"                                            \
               : FASTW2V_D32("+f", d, 0)                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                         \
                 "n"(static_cast<int>(kMajorB)))
#define FASTW2V_WGMMA_FIRST_128(TYPE)                                                \
  asm volatile(                                                                      \
      "{.reg .pred p; setp.ne.b32 p, 0, 0;"                                          \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE                   \
      " "                                                                            \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,"  \
      "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39," \
      "%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58," \
      "%59,%60,%61,%62,%63},"                                                        \
      "%64,%65,p,1,1,%66,%67;}"                                                      \
      : FASTW2V_D64("=f", d, 0)                                                      \
      : "l"(a), "l"(b), "n"(static_cast<int>(kMajorA)), "n"(static_cast<int>(kMajorB)))
#define FASTW2V_WGMMA_SHARED_128(TYPE)                                                     \
  asm volatile(                                                                            \
      "{.reg .pred p; setp.ne.b32 p, %66, 0;"                                              \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE                         \
      " "                                                                                  \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,"        \
      "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,"       \
      "%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,"       \
      "%59,%60,%61,%62,%63},"                                                              \
      "%64,%65,p,1,1,%67,%68;}"                                                            \
      : FASTW2V_D64("+f", d, 0)                                                            \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(kMajorA)), \
        "n"(static_cast<int>(kMajorB)))
#define FASTW2V_WGMMA_REGISTERS_128(TYPE)                                                     \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE                   \
               " "                                                                            \
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,"  \
               "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39," \
               "%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58," \
               "%59,%60,%61,%62,%63},"                                                        \
               "{%64,%65,%66,%67},%68,1,1,1,%69;"                                             \
               : FASTW2V_D64("+f", d, 0)                                                      \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                          \
                 "n"(static_cast<int>(kMajorB)))
// KIND of product for T and kCount.
#define FASTW2V_WGMMA(KIND)                    \
  static_assert(kCount == 32 || kCount == 64); \
  if constexpr (kCount == 32) {                \
    if constexpr (std::is_same_v<T, Half>) {   \
      FASTW2V_WGMMA_##KIND##_64("f16");        \
    } else {                                   \
      FASTW2V_WGMMA_##KIND##_64("bf16");       \
    }                                          \
  } else {                                     \
    if constexpr (std::is_same_v<T, Half>) {   \
      FASTW2V_WGMMA_##KIND##_128("f16");       \
    } else {                                   \
      FASTW2V_WGMMA_##KIND##_128("bf16");      \
    }                                          \
  }
#endif

// d = a b. T: BFloat16 or Half; kCount: 32 or 64, for 64 or 128 columns.
template <typename T, Major kMajorA, Major kMajorB, int kCount>
__device__ __forceinline__ void MultiplyFirst(float (&d)[kCount], uint64_t a, uint64_t b) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulation::MyQueue()->open.push_back(
      {d, nullptr, a, b, 2 * kCount, false, kMajorA, kMajorB, &emulation::Number<T>});
#else
  FASTW2V_WGMMA(FIRST);
#endif
}

// The same, or d += a b.
template <typename T, Major kMajorA, Major kMajorB, int kCount>
__device__ __forceinline__ void Multiply(float (&d)[kCount], uint64_t a, uint64_t b,
                                         bool accumulate) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulation::MyQueue()->open.push_back(
      {d, nullptr, a, b, 2 * kCount, accumulate, kMajorA, kMajorB, &emulation::Number<T>});
#else
  FASTW2V_WGMMA(SHARED);
#endif
}

// d += a b, with `a` in registers.
template <typename T, Major kMajorB, int kCount>
__device__ __forceinline__ void MultiplyAdd(float (&d)[kCount], const uint32_t (&a)[4],
                                            uint64_t b) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulation::MyQueue()->open.push_back(
      {d, a, 0, b, 2 * kCount, true, Major::kDepth, kMajorB, &emulation::Number<T>});
#else
  FASTW2V_WGMMA(REGISTERS);
#endif
}

}  // namespace fastw2v::cuda::hopper

#if !defined(FASTW2V_CUDA_EMULATED)
#undef FASTW2V_D8
#undef FASTW2V_D32
#undef FASTW2V_D64
#undef FASTW2V_WGMMA_FIRST_64
#undef FASTW2V_WGMMA_FIRST_128
#undef FASTW2V_WGMMA_SHARED_64
#undef FASTW2V_WGMMA_SHARED_128
#undef FASTW2V_WGMMA_REGISTERS_64
#undef FASTW2V_WGMMA_REGISTERS_128
#undef FASTW2V_WGMMA
#endif

#endif  // FASTW2V_CUDA_HOPPER_H_
