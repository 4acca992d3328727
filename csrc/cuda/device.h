// What kernels are made of: number types, tensor-core products, copies into shared memory,
// reductions over a warp. Each instruction that C++ has no word for stands here twice: as PTX, and
// in plain C++ for the emulated build, after its description in the PTX manual (ISA 9.0).
#ifndef FASTW2V_CUDA_DEVICE_H_
#define FASTW2V_CUDA_DEVICE_H_

#include <cstdint>

#include "csrc/core/types.h"
#include "csrc/cuda/runtime.h"

#if !defined(FASTW2V_CUDA_EMULATED)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace fastw2v::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFF;

// The dynamic shared memory of a block, aligned to 1024 bytes (what TMA's swizzle asks for).
__device__ __forceinline__ unsigned char* SharedMemory() {
#if defined(FASTW2V_CUDA_EMULATED)
  return emulated::SharedMemory();
#else
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  return shared_memory;
#endif
}

// ---- numbers

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ double ToFloat(double x) { return x; }
__device__ __forceinline__ float ToFloat(BFloat16 x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}
__device__ __forceinline__ float ToFloat(Half x) {
#if defined(FASTW2V_CUDA_EMULATED)
  _Float16 half;
  std::memcpy(&half, &x.bits, sizeof half);
  return static_cast<float>(half);
#else
  return __half2float(__ushort_as_half(x.bits));
#endif
}

// To nearest, ties to even.
template <typename T>
__device__ __forceinline__ T Round(Accumulator<T> x);
template <>
__device__ __forceinline__ float Round<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ double Round<double>(double x) {
  return x;
}
template <>
__device__ __forceinline__ Half Round<Half>(float x) {
#if defined(FASTW2V_CUDA_EMULATED)
  const _Float16 half = static_cast<_Float16>(x);
  Half result;
  std::memcpy(&result.bits, &half, sizeof half);
  return result;
#else
  return Half{__half_as_ushort(__float2half_rn(x))};
#endif
}
template <>
__device__ __forceinline__ BFloat16 Round<BFloat16>(float x) {
#if defined(FASTW2V_CUDA_EMULATED)
  uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return BFloat16{0x7FFF};
  bits += 0x7FFF + (bits >> 16 & 1);
  return BFloat16{static_cast<uint16_t>(bits >> 16)};
#else
  return BFloat16{__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#endif
}

// Two rounded numbers in a register, the first in the low half.
template <typename T>
__device__ __forceinline__ uint32_t RoundPair(float low, float high);
template <>
__device__ __forceinline__ uint32_t RoundPair<BFloat16>(float low, float high) {
#if defined(FASTW2V_CUDA_EMULATED)
  return Round<BFloat16>(low).bits | static_cast<uint32_t>(Round<BFloat16>(high).bits) << 16;
#else
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}
template <>
__device__ __forceinline__ uint32_t RoundPair<Half>(float low, float high) {
#if defined(FASTW2V_CUDA_EMULATED)
  return Round<Half>(low).bits | static_cast<uint32_t>(Round<Half>(high).bits) << 16;
#else
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}

// The nearest number with the 10 bits of mantissa that TF32 has, ties away from zero.
__device__ __forceinline__ float RoundTf32(float x) {
#if defined(FASTW2V_CUDA_EMULATED)
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7F800000) == 0x7F800000) return x;
  return __uint_as_float((bits + 0x1000) & 0xFFFFE000);
#else
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return __uint_as_float(bits);
#endif
}

// 2^x and log2(x) with a relative error of about 2^-22; 2^x of a result below 2^-126 is 0.
__device__ __forceinline__ float FastExp2(float x) {
#if defined(FASTW2V_CUDA_EMULATED)
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0 : y;
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}
__device__ __forceinline__ float FastLog2(float x) {
#if defined(FASTW2V_CUDA_EMULATED)
  return std::log2(x);
#else
  float y;
  asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

// ---- reductions over the lanes of a warp, in an order that is always the same

template <typename A>
__device__ __forceinline__ A WarpSum(A x, int lanes = kWarp) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) x += __shfl_xor_sync(kAllLanes, x, bits);
  return x;
}
// NaN where one of them is NaN.
template <typename A>
__device__ __forceinline__ A WarpMax(A x, int lanes = kWarp) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) {
    const A other = __shfl_xor_sync(kAllLanes, x, bits);
    x = x < other || other != other ? other : x;
  }
  return x;
}

// ---- products of a warp: c[m, n] += a[m, k] b[k, n]
//
// With g = lane / 4 and t = lane % 4 a lane holds, pairs side by side in a register,
//   m16n8k16, 16-bit:  a: (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..);  b: (2t.., g) (2t+8..,
//   g) m16n8k8, TF32:     a: (g, t) (g+8, t) (g, t+4) (g+8, t+4);              b: (t, g) (t+4, g)
//   both               c: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1)

#if defined(FASTW2V_CUDA_EMULATED)
namespace emulated {

struct MmaRecord {
  float* c;
  const uint32_t *a, *b;
};

template <typename T>
float Element(uint32_t pair, int half) {
  const uint16_t bits = static_cast<uint16_t>(pair >> 16 * half);
  return ToFloat(T{bits});
}

// element_a(records, row, k) and element_b(records, k, column) find the operands.
template <typename ElementA, typename ElementB>
void Multiply(void** records, int depth, ElementA element_a, ElementB element_b) {
  float a[16][16], b[16][8];
  for (int k = 0; k < depth; ++k) {
    for (int m = 0; m < 16; ++m) a[m][k] = element_a(m, k);
    for (int n = 0; n < 8; ++n) b[k][n] = element_b(k, n);
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* c = static_cast<MmaRecord*>(records[lane])->c;
    for (int i = 0; i < 4; ++i) {
      const int m = lane / 4 + 8 * (i / 2), n = 2 * (lane % 4) + i % 2;
      double sum = c[i];
      for (int k = 0; k < depth; ++k) sum += static_cast<double>(a[m][k]) * b[k][n];
      c[i] = static_cast<float>(sum);
    }
  }
}

template <typename T>
void Mma16816(float* c, const uint32_t* a, const uint32_t* b) {
  MmaRecord record{c, a, b};
  MeetLanes(kAllLanes, &record, [](void** records) {
    const auto at = [&](int lane) { return static_cast<MmaRecord*>(records[lane]); };
    Multiply(
        records, 16,
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

inline void Mma1688Tf32(float* c, const uint32_t* a, const uint32_t* b) {
  MmaRecord record{c, a, b};
  MeetLanes(kAllLanes, &record, [](void** records) {
    const auto at = [&](int lane) { return static_cast<MmaRecord*>(records[lane]); };
    // The tensor core does not look at the lowest 13 bits.
    const auto cut = [](uint32_t bits) { return __uint_as_float(bits & 0xFFFFE000); };
    Multiply(
        records, 8, [&](int m, int k) { return cut(at(m % 8 * 4 + k % 4)->a[m / 8 + k / 4 * 2]); },
        [&](int k, int n) { return cut(at(n * 4 + k % 4)->b[k / 4]); });
  });
}

}  // namespace emulated
#endif

template <typename T>  // BFloat16 or Half
__device__ __forceinline__ void Mma16816(float (&c)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]);
template <>
__device__ __forceinline__ void Mma16816<BFloat16>(float (&c)[4], const uint32_t (&a)[4],
                                                   const uint32_t (&b)[2]) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulated::Mma16816<BFloat16>(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
template <>
__device__ __forceinline__ void Mma16816<Half>(float (&c)[4], const uint32_t (&a)[4],
                                               const uint32_t (&b)[2]) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulated::Mma16816<Half>(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ __forceinline__ void Mma1688Tf32(float (&c)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulated::Mma1688Tf32(c, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// ---- shared memory

__device__ __forceinline__ uint32_t SharedAddress(const void* shared) {
#if defined(FASTW2V_CUDA_EMULATED)
  return static_cast<uint32_t>(static_cast<const unsigned char*>(shared) - SharedMemory());
#else
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
#endif
}

// Four matrices of 8 rows of 16 bytes, 16-bit elements. Lane l names row l % 8 of matrix l / 8, and
// receives of each matrix the elements (l / 4, 2 (l % 4)) and the next; kTranspose: (2 (l % 4),
// l / 4) and the one below.
template <bool kTranspose>
__device__ __forceinline__ void LoadMatrices(uint32_t (&r)[4], const void* shared_row) {
#if defined(FASTW2V_CUDA_EMULATED)
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
#else
  const uint32_t address = SharedAddress(shared_row);
  if constexpr (kTranspose) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
#endif
}

// Copies 16 (or 8 or 4) bytes from global to shared memory in the background, or zeros where not
// `valid` (the address is then not read). Both are aligned to their size.
template <int kBytes = 16>
__device__ __forceinline__ void CopyAsync(void* shared, const void* global, bool valid) {
#if defined(FASTW2V_CUDA_EMULATED)
  if (valid) {
    std::memcpy(shared, global, kBytes);
  } else {
    std::memset(shared, 0, kBytes);
  }
#else
  const uint32_t address = SharedAddress(shared);
  const int bytes = valid ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global),
                 "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(address), "l"(global),
                 "r"(bytes), "n"(kBytes)
                 : "memory");
  }
#endif
}
// Ends a group of copies.
__device__ __forceinline__ void CommitCopies() {
#if !defined(FASTW2V_CUDA_EMULATED)
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until at most kPending of this thread's groups are under way.
template <int kPending>
__device__ __forceinline__ void WaitForCopies() {
#if !defined(FASTW2V_CUDA_EMULATED)
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// Waits for `threads` threads of the block, a multiple of 32, at barrier `id` in [1, 15].
__device__ __forceinline__ void NamedBarrier(int id, int threads) {
#if defined(FASTW2V_CUDA_EMULATED)
  emulated::Barrier(id, threads);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_DEVICE_H_
