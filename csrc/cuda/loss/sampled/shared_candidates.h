// The part of a sampled loss in which one list of classes serves all examples, whose rows have been
// gathered: a library multiplies blocks of examples with all classes of the list (gemm.h), kernels
// make sums and gradients of the logits that it has written (csrc/cuda/loss/stored_logits.h).
//
//   forward       Z = X W^T (2BSD operations for B examples and S classes), then sums
//   backward      Z, then P, the gradients of the logits, in its place, and two products:
//                 d_hidden += P W, d_weights += P^T X (6BSD)
//   in one call   6BSD: the sums of an example are complete before its block is left, so that its
//                 logits become gradients without being computed again
#ifndef FASTW2V_CUDA_LOSS_SAMPLED_SHARED_CANDIDATES_H_
#define FASTW2V_CUDA_LOSS_SAMPLED_SHARED_CANDIDATES_H_

#include <cstdint>

#include "csrc/core/loss.h"
#include "csrc/core/loss_formulas.h"
#include "csrc/core/scratch.h"
#include "csrc/core/types.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/loss/gradient_terms.h"
#include "csrc/cuda/loss/stored_logits.h"

namespace fastw2v::cuda {

// E: the type of the operands of products.
template <typename E>
struct SharedProblem {
  int64_t batch = 0, classes = 0, dim = 0, num_true = 1;
  Link link = Link::kSoftmax;
  LogitNumbers<Accumulator<E>> numbers;
  bool allow_tf32 = false;
  bool rounds = false;  // gradients of logits to bfloat16, as operands that E does not round
  bool finds_hits = false;
};

// How the examples are cut into blocks, and how their matrices lie: the only place where it is
// decided.
template <typename E>
struct SharedPlan {
  // P is another array than the logits where its elements are smaller.
  static constexpr bool kApart = sizeof(E) != sizeof(Accumulator<E>);

  int64_t width = 0;  // columns of operands: whole 16 bytes, which the library is fastest with
  int64_t rows = 1;   // examples of a block, all classes with each
  int64_t pitch = 0;  // of its logits
  SumRuns sum_runs;

  SharedPlan(const SharedProblem<E>& problem, const Device& device);
};

// What is to be written before the blocks are used; biases and counts have `pitch` elements.
template <typename E>
struct SharedOperands {
  using A = Accumulator<E>;

  int64_t width = 0;
  E* hidden = nullptr;      // [batch, width], zeros from dim on
  E* weights = nullptr;     // [classes, width]
  A* biases = nullptr;      // [classes]
  A* log_counts = nullptr;  // [classes], subtracted after the soft cap
  // Classes [hits[2i], hits[2i + 1]) do not compete for label i of [batch, num_true]; or null.
  int32_t* hits = nullptr;

  // For gradients, [batch]. `largest` is of the examples of a block at least.
  RowGradientTerms<A>* terms = nullptr;
  uint8_t* active = nullptr;
  uint32_t* largest = nullptr;
};

template <typename E>
class SharedBlocks {
 public:
  using A = Accumulator<E>;

  SharedBlocks(const SharedProblem<E>& problem, bool backward, const Device& device,
               Scratch* scratch);

  const SharedOperands<E>& operands() const { return operands_; }
  int64_t rows() const { return plan_.rows; }

  // sums() [num_sums(), batch]: of exp(z - max) or of softplus(z), over parts of the classes.
  const PartialSoftmax<A>* sums() const { return sums_; }
  int64_t num_sums() const { return plan_.sum_runs.runs; }

  // d_weights() [classes, dim] and d_biases() [classes], of all blocks that were differentiated.
  A* d_weights() const { return d_weights_; }
  A* d_biases() const { return d_biases_; }
  Status ClearGradients(const Stream& stream) const;

  // Each of the block of examples from row0 on, in this order; what is not wanted is left out.
  Status Multiply(int64_t row0, const Stream& stream) const;
  Status Sum(int64_t row0, const Stream& stream) const;
  // d_hidden [batch, dim] is added to; null: not wanted. Overwrites the logits.
  Status Differentiate(int64_t row0, A* d_hidden, bool wants_biases, const Stream& stream) const;

 private:
  LogitBlock<A> Block(int64_t row0) const;
  template <typename Use>
  Status WithCompetitors(Use use) const;
  Status AddProduct(const RowMajor<const E>& a, bool transpose, int64_t m, int64_t k,
                    const E* table, A* sum, const Stream& stream) const;

  const SharedProblem<E> p_;
  const SharedPlan<E> plan_;
  SharedOperands<E> operands_;
  A* logits_ = nullptr;
  E* gradients_ = nullptr;  // P
  PartialSoftmax<A>* sums_ = nullptr;
  A *d_weights_ = nullptr, *d_biases_ = nullptr, *bias_sums_ = nullptr;
  A* product_ = nullptr;  // in the unit of P, where it has one
};

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SAMPLED_SHARED_CANDIDATES_H_
