#include <limits>

#include "csrc/cuda/device/device.h"
#include "csrc/cuda/loss/softmax_parts.h"

namespace fastw2v::cuda {

namespace {

constexpr int kThreads = 256;

// The classes of all parts; 0 where a part has a number that cannot be.
template <typename A>
__device__ __forceinline__ int64_t CountClasses(const SoftmaxParts<A>& parts) {
  for (int64_t i = 0; i < parts.num_parts; ++i) {
    if (parts.part_classes[i] < 0) return 0;
  }
  return AllClasses(parts);
}

template <typename A>
__global__ void __launch_bounds__(kThreads)
    JoinParts(SoftmaxParts<A> parts, A* loss, Normalizer<A> normalizer) {
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= parts.batch) return;
  const int64_t classes = CountClasses(parts);
  if (LabelsIn(parts, b, 0, classes) < NumLabels(parts, b)) {
    loss[b] = std::numeric_limits<A>::quiet_NaN();
    normalizer.max[b] = normalizer.log_sum[b] = 0;
    return;
  }
  const JoinedSoftmax<A> joined = JoinExample(parts, MakeLossNumbers<A>(parts.options, classes), b);
  loss[b] = joined.loss;
  normalizer.max[b] = joined.max;
  normalizer.log_sum[b] = joined.log_sum;
}

}  // namespace

template <typename A>
Status JoinSoftmaxParts(const SoftmaxParts<A>& parts, const Stream& stream, A* loss,
                        const Normalizer<A>& normalizer) {
  return Launch(JoinParts<A>, dim3(NumBlocks(parts.batch, kThreads)), dim3(kThreads), 0, stream,
                parts, loss, normalizer);
}

#define FASTW2V_INSTANTIATE(A)                                                   \
  template Status JoinSoftmaxParts<A>(const SoftmaxParts<A>&, const Stream&, A*, \
                                      const Normalizer<A>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
