#include "csrc/core/softmax_parts.h"

#include <algorithm>

namespace fastw2v {

namespace {

constexpr int64_t kRowsPerTask = 256;

}  // namespace

template <typename A>
Status CheckSoftmaxParts(const SoftmaxParts<A>& p) {
  for (int64_t i = 0; i < p.num_parts; ++i) {
    if (p.part_classes[i] >= 0) continue;
    return InvalidArgument("part_classes[", i, "] = ", p.part_classes[i], " is negative");
  }
  const int64_t classes = AllClasses(p);
  FASTW2V_RETURN_IF_ERROR(CheckLossOptions(p.options, Candidates::kAll, classes, p.num_true));
  for (int64_t i = 0; i < p.batch * p.num_true; ++i) {
    if (p.options.ignored.Is(p.labels[i])) continue;
    FASTW2V_RETURN_IF_ERROR(CheckId("labels", i, p.labels[i], classes));
  }
  return Status();
}

template <typename A>
void JoinSoftmaxParts(const SoftmaxParts<A>& p, const Parallel& parallel, A* loss,
                      const Normalizer<A>& normalizer) {
  const LossNumbers<A> numbers = MakeLossNumbers<A>(p.options, AllClasses(p));
  const int64_t tasks = (p.batch + kRowsPerTask - 1) / kRowsPerTask;
  parallel.For(tasks, kRowsPerTask * p.num_parts * 50, [&](int64_t task, int) {
    const int64_t end = std::min(p.batch, (task + 1) * kRowsPerTask);
    for (int64_t b = task * kRowsPerTask; b < end; ++b) {
      const JoinedSoftmax<A> joined = JoinExample(p, numbers, b);
      loss[b] = joined.loss;
      normalizer.max[b] = joined.max;
      normalizer.log_sum[b] = joined.log_sum;
    }
  });
}

#define FASTW2V_INSTANTIATE(A)                                                   \
  template Status CheckSoftmaxParts<A>(const SoftmaxParts<A>&);                  \
  template void JoinSoftmaxParts<A>(const SoftmaxParts<A>&, const Parallel&, A*, \
                                    const Normalizer<A>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v
