// The k classes of largest logit of each hidden row, best first; logits are never stored.
//
//   x[b,c] = logit_scale * dot(hidden[b,:], weights[c,:]) + biases[c]
//
// Classes are ordered by x: a larger one comes first, NaN before every number, and among equal ones
// the lower class. A soft cap, cap * tanh(x / cap), rises with x: it changes the values that are
// returned and not the order.
//
// x is -inf for row b and classes [excluded[2b], excluded[2b + 1]).
//
// Work: 2BVD operations, and what it takes to compare each logit with the k-th best of its row.
// The order is total, so the result does not depend on how the work is cut, nor on the number of
// threads. B == 0 does nothing.
#ifndef FASTW2V_CORE_TOP_K_H_
#define FASTW2V_CORE_TOP_K_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/loss_options.h"
#include "csrc/core/parallel.h"
#include "csrc/core/status.h"
#include "csrc/core/table.h"
#include "csrc/core/types.h"

namespace fastw2v {

template <typename T>
struct TopKProblem {
  int64_t batch = 0;
  const Accumulator<T>* hidden = nullptr;  // [batch, dim]
  Table<const T> weights;                  // [classes, dim]
  Table<const T> biases;                   // [classes, 1], or empty for none
  const int64_t* excluded = nullptr;       // [batch, 2] or null, see below
  int64_t k = 1;                           // in [1, classes]
  double logit_scale = 1;                  // finite
  double logit_softcap = 0;                // 0: none

  int64_t classes() const { return weights.rows(); }
  int64_t dim() const { return weights.dim(); }
};

// What every device asks: numbers, without a look at any data.
inline Status CheckTopKNumbers(int64_t classes, int64_t k, double logit_scale,
                               double logit_softcap) {
  FASTW2V_RETURN_IF_ERROR(CheckClasses(classes));
  if (k < 1 || k > classes) {
    return InvalidArgument("k = ", k, " is not in [1, ", classes, "], the rows of weights");
  }
  return CheckLogitOptions(logit_scale, logit_softcap);
}

template <typename T>
Status CheckTopKProblem(const TopKProblem<T>& problem);

// Bytes of scratch, aligned to Scratch::kAlignment.
template <typename T>
std::size_t TopKScratchBytes(const TopKProblem<T>& problem, const Parallel& parallel);

// logits and classes [batch, k], overwritten.
template <typename T>
void TopK(const TopKProblem<T>& problem, const Parallel& parallel, void* scratch,
          Accumulator<T>* logits, int64_t* classes);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_TOP_K_H_
