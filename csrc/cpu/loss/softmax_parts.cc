#include "csrc/core/softmax_parts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "csrc/core/loss_formulas.h"
#include "csrc/core/own_candidates.h"

namespace fastw2v {

namespace {

constexpr int64_t kRowsPerTask = 256;

template <typename A>
int64_t AllClasses(const SoftmaxParts<A>& p) {
  return std::accumulate(p.part_classes, p.part_classes + p.num_parts, int64_t{0});
}

template <typename A>
int64_t LabelsIn(const SoftmaxParts<A>& p, int64_t b, int64_t first_class, int64_t classes) {
  int64_t count = 0;
  for (int64_t i = b * p.num_true; i < (b + 1) * p.num_true; ++i) {
    const int64_t row = p.labels[i] - first_class;
    count += !p.options.ignored.Is(p.labels[i]) && row >= 0 && row < classes;
  }
  return count;
}

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
      loss[b] = normalizer.max[b] = normalizer.log_sum[b] = 0;
      const int64_t num_labels = NumLabels(p, b);
      if (num_labels == 0) continue;
      PartialSoftmax<A> sums = NoClasses<A>();
      const auto part = [&](int64_t i) { return p.statistics + i * kPartStatistics * p.batch + b; };
      for (int64_t i = 0; i < p.num_parts; ++i) {
        const A* const s = part(i);
        const PartialSoftmax<A> more = {s[0], s[p.batch], s[3 * p.batch],
                                        static_cast<A>(p.part_classes[i])};
        sums = Join(sums, more, [](A x) { return std::exp(x); });
      }
      A below_max = 0;
      int64_t first_class = 0;
      for (int64_t i = 0; i < p.num_parts; first_class += p.part_classes[i++]) {
        const int64_t labels = LabelsIn(p, b, first_class, p.part_classes[i]);
        if (labels == 0) continue;
        const A* const s = part(i);
        below_max += s[2 * p.batch] + static_cast<A>(labels) * (sums.max - s[0]);
      }
      normalizer.max[b] = sums.max;
      normalizer.log_sum[b] = std::log(sums.sum_exp);
      loss[b] = SoftmaxLoss(numbers, sums.max, normalizer.log_sum[b],
                            below_max / static_cast<A>(num_labels), sums.sum_shifted);
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
