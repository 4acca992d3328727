// Rows of tables in pieces of 4 elements, or of 1 where the width or an address does not allow
// more: a row of 300 bfloat16 is aligned to 8 bytes, one of 301 to 2.
#ifndef FASTW2V_CUDA_DEVICE_VECTORS_H_
#define FASTW2V_CUDA_DEVICE_VECTORS_H_

#include <cstdint>

#include "csrc/cuda/device/device.h"

namespace fastw2v::cuda {

constexpr int kVector = 4;

template <typename T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T x[N];
};

template <int N, typename T>
__device__ __forceinline__ void LoadVector(const T* p, Accumulator<T> (&x)[N]) {
  const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(p);
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = ToFloat(pack.x[i]);
}

template <int N, typename T>
__device__ __forceinline__ void StoreVector(T* p, const Accumulator<T> (&x)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) pack.x[i] = Round<T>(x[i]);
  *reinterpret_cast<Pack<T, N>*>(p) = pack;
}

// Whether rows of width `dim` from these addresses on (null ones are not there) can be read and
// written in pieces of kVector.
template <typename... T>
bool InVectors(int64_t dim, const T*... rows) {
  const auto fits = [](const void* p, std::size_t alignment) {
    return reinterpret_cast<std::uintptr_t>(p) % alignment == 0;
  };
  return dim % kVector == 0 && (fits(rows, alignof(Pack<T, kVector>)) && ...);
}

template <typename T>
__device__ __forceinline__ T Smaller(T x, T y) {
  return x < y ? x : y;
}

// Columns that a warp works on at a time: kSpan pieces for each lane.
constexpr int kSpan = 4;
template <int N>
constexpr int kSpanColumns = kSpan * N * kWarp;

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_DEVICE_VECTORS_H_
