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

#include "csrc/core/loss.h"
#include "csrc/core/loss_options.h"
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

template <typename A>
Status CheckSoftmaxParts(const SoftmaxParts<A>& parts);

// loss [batch] and the normalizer, overwritten.
template <typename A>
void JoinSoftmaxParts(const SoftmaxParts<A>& parts, const Parallel& parallel, A* loss,
                      const Normalizer<A>& normalizer);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_SOFTMAX_PARTS_H_
