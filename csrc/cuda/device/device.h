// What kernels are made of: number types, tensor-core products, copies into shared memory,
// reductions over a warp. An instruction that C++ has no word for is a function of ptx.h; the
// emulated build has functions of the same names in csrc/cuda/emulated/instructions.h.
#ifndef FASTW2V_CUDA_DEVICE_DEVICE_H_
#define FASTW2V_CUDA_DEVICE_DEVICE_H_

#include <cstdint>

#include "csrc/core/types.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFF;

// ---- numbers

__device__ __forceinline__ float ToFloat(float x) { return x; }

__device__ __forceinline__ double ToFloat(double x) { return x; }

__device__ __forceinline__ float ToFloat(BFloat16 x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
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

// Two rounded numbers in a register, the first in the low half.
template <typename T>
__device__ __forceinline__ uint32_t RoundPair(float low, float high);

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

// ---- products of a warp, m16n8k16 of 16 bits: c[m, n] += a[m, k] b[k, n]
//
// With g = lane / 4 and t = lane % 4 a lane holds, pairs side by side in a register,
//   a: (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..);  b: (2t.., g) (2t+8.., g)
//   c: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1)
template <typename T>  // BFloat16 or Half
__device__ __forceinline__ void Mma16816(float (&c)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]);

}  // namespace fastw2v::cuda

#if defined(FASTW2V_CUDA_EMULATED)
#include "csrc/cuda/emulated/instructions.h"
#else
#include "csrc/cuda/device/ptx.h"
#endif

#endif  // FASTW2V_CUDA_DEVICE_DEVICE_H_
