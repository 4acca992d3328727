#include "csrc/cuda/device/device.h"
#include "csrc/cuda/loss/add_parts.h"
#include "csrc/cuda/loss/gradient_terms.h"

namespace fastw2v::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    AddPartsKernel(const Accumulator<T>* parts, int64_t count, int64_t stride, int64_t size,
                   bool first, const uint32_t* largest, T* sum) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= size) return;
  Accumulator<T> total = 0;
  for (int64_t part = 0; part < count; ++part) total += parts[part * stride + i];
  if (largest != nullptr) total *= GradientUnit<Half>(largest, /*inverse=*/true);
  if (!first) total += ToFloat(sum[i]);
  sum[i] = Round<T>(total);
}

}  // namespace

template <typename T>
Status AddParts(const Accumulator<T>* parts, int64_t count, int64_t stride, int64_t size,
                bool first, const uint32_t* largest, const Stream& stream, T* sum) {
  return Launch(AddPartsKernel<T>, NumBlocks(size, kThreads), kThreads, 0, stream, parts, count,
                stride, size, first, largest, sum);
}

#define FASTW2V_INSTANTIATE(T)                                                        \
  template Status AddParts<T>(const Accumulator<T>*, int64_t, int64_t, int64_t, bool, \
                              const uint32_t*, const Stream&, T*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
