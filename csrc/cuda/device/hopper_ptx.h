// Hopper's instructions as PTX. Included by hopper.h.
#ifndef FASTW2V_CUDA_DEVICE_HOPPER_PTX_H_
#define FASTW2V_CUDA_DEVICE_HOPPER_PTX_H_

#include <cuda.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "csrc/cuda/device/hopper.h"

namespace fastw2v::cuda::hopper {

// ---- barriers in shared memory
//
// A barrier's phase ends when `arrivals` threads have arrived and as many bytes have come as were
// announced. Wait(parity) returns when the phase of that parity (the first is 0) is over.
struct alignas(8) Barrier {
  uint64_t state;
};

__device__ __forceinline__ void Init(Barrier* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
}

// After Init() and before __syncthreads(): the copy engine sees the barriers too.
__device__ __forceinline__ void FenceInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void Arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barrier)) : "memory");
}

// Arrives, and announces `bytes` that the copy engine will bring in this phase.
__device__ __forceinline__ void ArriveExpecting(Barrier* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(SharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}

__device__ __forceinline__ void Wait(Barrier* barrier, int parity) {
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
}

// Counts at barrier `id` of NamedBarrier() without waiting.
__device__ __forceinline__ void NamedArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// How many registers the threads of this warpgroup have from here on, a multiple of 8.
template <int kRegisters>
__device__ __forceinline__ void GrowRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ __forceinline__ void ShrinkRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// ---- the copy engine

// A row-major table of 16-bit numbers, read in boxes of kBoxRows x kChunkColumns; zeros outside.
using TensorMap = CUtensorMap;

struct TensorMapEncoder {
  Status status;
  void* entry = nullptr;
};

// The driver's function, looked up once: a step makes several maps.
inline const TensorMapEncoder& FindTensorMapEncoder() {
  static const TensorMapEncoder found = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult result;
    const Status status = ToStatus(cudaGetDriverEntryPointByVersion(
        "cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &result));
    if (status.ok() && entry == nullptr) {
      const char* message = "CUDA: the driver has no cuTensorMapEncodeTiled";
      return TensorMapEncoder{Status(StatusCode::kInternal, message)};
    }
    return TensorMapEncoder{status, entry};
  }();
  return found;
}

template <typename T>  // BFloat16 or Half
Status MakeTensorMap(const T* data, int64_t rows, int64_t columns, TensorMap* map) {
  const TensorMapEncoder& encoder = FindTensorMapEncoder();
  FASTW2V_RETURN_IF_ERROR(encoder.status);
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(columns) * sizeof(T)};
  const cuuint32_t box[] = {kChunkColumns, kBoxRows}, steps[] = {1, 1};
  const CUtensorMapDataType type =
      std::is_same_v<T, Half> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(encoder.entry)(
      map, type, 2, const_cast<T*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) return Status();
  return Status(StatusCode::kInternal,
                "CUDA: cuTensorMapEncodeTiled failed with " + std::to_string(result));
}

// Starts to copy the box whose first number is (row, column) to `shared`, aligned to 1024 bytes.
// `barrier` counts its kBoxBytes.
__device__ __forceinline__ void LoadBox(void* shared, const TensorMap* map, int row, int column,
                                        Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(SharedAddress(shared)),
      "l"(map), "r"(column), "r"(row), "r"(SharedAddress(barrier))
      : "memory");
}

// Before the first product and whenever registers of a product were written by anything else.
__device__ __forceinline__ void FenceProducts() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Ends a group of products.
__device__ __forceinline__ void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most kPending groups are under way.
template <int kPending>
__device__ __forceinline__ void WaitForProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The compiler reads registers of products only after this.
template <int kCount>
__device__ __forceinline__ void TakeProducts([[maybe_unused]] float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

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

// d = a b. T: BFloat16 or Half; kCount: 32 or 64, for 64 or 128 columns.
template <typename T, Major kMajorA, Major kMajorB, int kCount>
__device__ __forceinline__ void MultiplyFirst(float (&d)[kCount], uint64_t a, uint64_t b) {
  FASTW2V_WGMMA(FIRST);
}

// The same, or d += a b.
template <typename T, Major kMajorA, Major kMajorB, int kCount>
__device__ __forceinline__ void Multiply(float (&d)[kCount], uint64_t a, uint64_t b,
                                         bool accumulate) {
  FASTW2V_WGMMA(SHARED);
}

// d += a b, with `a` in registers.
template <typename T, Major kMajorB, int kCount>
__device__ __forceinline__ void MultiplyAdd(float (&d)[kCount], const uint32_t (&a)[4],
                                            uint64_t b) {
  FASTW2V_WGMMA(REGISTERS);
}

}  // namespace fastw2v::cuda::hopper

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

#endif  // FASTW2V_CUDA_DEVICE_HOPPER_PTX_H_
