#include <algorithm>

#include "csrc/cuda/device/device.h"
#include "csrc/cuda/rows/elementwise.h"

namespace fastw2v::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlocksOfProcessor = 8;
constexpr int kFactorThreads = 1024;  // of the only block

template <typename T>
__global__ void __launch_bounds__(kThreads)
    RoundKernel(const Accumulator<T>* from, int64_t count, T* to) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    to[i] = Round<T>(from[i]);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    WidenKernel(const T* from, int64_t count, Accumulator<T>* to) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    to[i] = ToFloat(from[i]);
  }
}

template <typename A>
__global__ void __launch_bounds__(kThreads) FillKernel(const A* number, int64_t count, A* to) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    to[i] = *number;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    ScaleKernel(const Accumulator<T>* factor, const T* from, int64_t count, T* to) {
  const Accumulator<T> scale = *factor;
  if (scale == 1 && from == to) return;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    to[i] = scale == 1 ? from[i] : Round<T>(scale * ToFloat(from[i]));
  }
}

template <typename A>
constexpr A kTolerance = A{4} * (sizeof(A) == 4 ? A{0x1p-23} : A{0x1p-52});

template <typename A>
__device__ A Magnitude(A x) {
  return x < 0 ? -x : x;
}

// One block: finds the largest coefficient, then compares with all.
template <typename A>
__global__ void __launch_bounds__(kFactorThreads)
    FactorKernel(const A* d_loss, const A* coefficients, int64_t stride, int64_t batch, A* result) {
  __shared__ A magnitudes[kFactorThreads];
  __shared__ int64_t places[kFactorThreads];
  const int thread = threadIdx.x;
  A magnitude = -1;
  int64_t place = 0;
  for (int64_t b = thread; b < batch; b += kFactorThreads) {
    const A other = Magnitude(coefficients[b * stride]);
    if (other > magnitude) {
      magnitude = other;
      place = b;
    }
  }
  magnitudes[thread] = magnitude;
  places[thread] = place;
  __syncthreads();
  for (int half = kFactorThreads / 2; half > 0; half /= 2) {
    if (thread < half && magnitudes[thread + half] > magnitudes[thread]) {
      magnitudes[thread] = magnitudes[thread + half];
      places[thread] = places[thread + half];
    }
    __syncthreads();
  }
  A factor = 1;
  if (magnitudes[0] > 0) factor = d_loss[places[0]] / coefficients[places[0] * stride];
  if (Magnitude(factor - 1) <= kTolerance<A>) factor = 1;
  bool differs = false;
  for (int64_t b = thread; b < batch; b += kFactorThreads) {
    const A expected = factor * coefficients[b * stride];
    // Written so that NaN differs.
    if (!(Magnitude(d_loss[b] - expected) <= kTolerance<A> * Magnitude(expected))) differs = true;
  }
  __syncthreads();
  magnitudes[thread] = differs ? 1 : 0;
  __syncthreads();
  for (int half = kFactorThreads / 2; half > 0; half /= 2) {
    if (thread < half && magnitudes[thread + half] > magnitudes[thread]) {
      magnitudes[thread] = magnitudes[thread + half];
    }
    __syncthreads();
  }
  if (thread == 0) *result = magnitudes[0] > 0 ? static_cast<A>(nanf("")) : factor;
}

unsigned Blocks(int64_t count, const Stream& stream) {
  const int64_t most = kBlocksOfProcessor * stream.device.num_multiprocessors;
  return static_cast<unsigned>(std::min<int64_t>(most, NumBlocks(count, kThreads)));
}

}  // namespace

template <typename T>
Status RoundArray(const Accumulator<T>* from, int64_t count, const Stream& stream, T* to) {
  return Launch(RoundKernel<T>, Blocks(count, stream), kThreads, 0, stream, from, count, to);
}

template <typename T>
Status WidenArray(const T* from, int64_t count, const Stream& stream, Accumulator<T>* to) {
  return Launch(WidenKernel<T>, Blocks(count, stream), kThreads, 0, stream, from, count, to);
}

template <typename A>
Status FillArray(const A* number, int64_t count, const Stream& stream, A* to) {
  return Launch(FillKernel<A>, Blocks(count, stream), kThreads, 0, stream, number, count, to);
}

template <typename A>
Status CommonFactor(const A* d_loss, const A* coefficients, int64_t stride, int64_t batch,
                    const Stream& stream, A* factor) {
  return Launch(FactorKernel<A>, 1, kFactorThreads, 0, stream, d_loss, coefficients, stride, batch,
                factor);
}

template <typename T>
Status ScaleArray(const Accumulator<T>* factor, const T* from, int64_t count, const Stream& stream,
                  T* to) {
  return Launch(ScaleKernel<T>, Blocks(count, stream), kThreads, 0, stream, factor, from, count,
                to);
}

#define FASTW2V_INSTANTIATE(T)                                                      \
  template Status RoundArray<T>(const Accumulator<T>*, int64_t, const Stream&, T*); \
  template Status WidenArray<T>(const T*, int64_t, const Stream&, Accumulator<T>*); \
  template Status ScaleArray<T>(const Accumulator<T>*, const T*, int64_t, const Stream&, T*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

#define FASTW2V_INSTANTIATE(A)                                        \
  template Status FillArray<A>(const A*, int64_t, const Stream&, A*); \
  template Status CommonFactor<A>(const A*, const A*, int64_t, int64_t, const Stream&, A*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
