// Exact softmax losses from parts of the classes, each of which may have been computed elsewhere.
//
// With M the largest max of the parts, and l the labels of an example in a part:
//
//   log_sum     = log sum_parts sum_exp * exp(max - M)
//   below_max   = sum_parts below_max + l * (M - max)
//   sum_shifted = sum_parts sum_shifted + classes * (max - M)
//
// which is what SoftmaxLoss (csrc/core/loss_formulas.h) is made of.
#ifndef FASTW2V_CORE_SOFTMAX_PARTS_H_
#define FASTW2V_CORE_SOFTMAX_PARTS_H_

#include <cstdint>

#include "csrc/core/formula.h"
#include "csrc/core/loss.h"
#include "csrc/core/loss_formulas.h"
#include "csrc/core/loss_options.h"
#include "csrc/core/own_candidates.h"
#include "csrc/core/parallel.h"
#include "csrc/core/status.h"

namespace fastw2v {

// The rows of the statistics of a part, in the order of SoftmaxPart (csrc/core/loss.h).
constexpr int64_t kPartStatistics = 4;

template <typename A>
struct SoftmaxParts {
  int64_t batch = 0;
  int64_t num_parts = 0;
  const int64_t* part_classes = nullptr;  // [num_parts]; the classes of a part follow each other
  const A* statistics = nullptr;          // [num_parts, kPartStatistics, batch]
  const int64_t* labels = nullptr;        // [batch, num_true], each a class of a part or ignored
  int64_t num_true = 1;
  LossOptions options;
};

// ---- for every processor

template <typename A>
FASTW2V_FORMULA int64_t AllClasses(const SoftmaxParts<A>& p) {
  int64_t classes = 0;
  for (int64_t i = 0; i < p.num_parts; ++i) classes += p.part_classes[i];
  return classes;
}

// Labels of example b among `classes` from first_class on.
template <typename A>
FASTW2V_FORMULA int64_t LabelsIn(const SoftmaxParts<A>& p, int64_t b, int64_t first_class,
                                 int64_t classes) {
  int64_t count = 0;
  for (int64_t i = b * p.num_true; i < (b + 1) * p.num_true; ++i) {
    const int64_t label = p.labels[i];
    count += !p.options.ignored.Is(label) && label >= first_class && label - first_class < classes;
  }
  return count;
}

template <typename A>
struct JoinedSoftmax {
  A loss, max, log_sum;
};

// Example b; `numbers` are those of all classes.
template <typename A>
FASTW2V_FORMULA_OF JoinedSoftmax<A> JoinExample(const SoftmaxParts<A>& p,
                                                const LossNumbers<A>& numbers, int64_t b) {
  const int64_t num_labels = NumLabels(p, b);
  if (num_labels == 0) return {0, 0, 0};
  const int64_t part_size = kPartStatistics * p.batch;
  PartialSoftmax<A> sums = NoClasses<A>();
  for (int64_t i = 0; i < p.num_parts; ++i) {
    const A* const s = p.statistics + i * part_size + b;
    const PartialSoftmax<A> more = {s[0], s[p.batch], s[3 * p.batch],
                                    static_cast<A>(p.part_classes[i])};
    sums = Join(sums, more, [](A x) { return math::Exp(x); });
  }
  A below_max = 0;
  int64_t first_class = 0;
  for (int64_t i = 0; i < p.num_parts; first_class += p.part_classes[i++]) {
    const int64_t labels = LabelsIn(p, b, first_class, p.part_classes[i]);
    if (labels == 0) continue;
    const A* const s = p.statistics + i * part_size + b;
    below_max += s[2 * p.batch] + static_cast<A>(labels) * (sums.max - s[0]);
  }
  const A log_sum = math::Log(sums.sum_exp);
  return {SoftmaxLoss(numbers, sums.max, log_sum, below_max / static_cast<A>(num_labels),
                      sums.sum_shifted),
          sums.max, log_sum};
}

// ---- for the CPU

template <typename A>
Status CheckSoftmaxParts(const SoftmaxParts<A>& parts);

// loss [batch] and the normalizer, overwritten.
template <typename A>
void JoinSoftmaxParts(const SoftmaxParts<A>& parts, const Parallel& parallel, A* loss,
                      const Normalizer<A>& normalizer);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_SOFTMAX_PARTS_H_
