// The part of a sampled loss in which one list of classes serves all examples, whose rows have been
// gathered. Logits exist one tile at a time, in registers.
//
// Forward, a block takes a tile of examples through a part of the classes. Backward, it keeps the
// gradient of a tile of examples, or of a tile of classes, in registers while it passes over tiles
// of the other kind, whose logits it computes again: storing them would cost more for the widths
// that word vectors have. Work is cut by the problem alone; partial sums are added in a fixed
// order.
#ifndef FASTW2V_CUDA_LOSS_SAMPLED_SHARED_CANDIDATES_H_
#define FASTW2V_CUDA_LOSS_SAMPLED_SHARED_CANDIDATES_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/loss.h"
#include "csrc/core/loss_formulas.h"
#include "csrc/core/types.h"
#include "csrc/cuda/device/products.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// What the gradient of an example's logits is made of: GradientTerms (csrc/core/loss_formulas.h) of
// classes that are no labels, without label smoothing.
template <typename A>
struct LogitGradient {
  A max, log_sum, scale;
  int active;  // 0: the example has no gradient
};

// Sums over the classes that an example has been compared with: of exp(z - max), or of softplus(z).
template <typename A>
struct RowSums {
  A max, sum;

  __device__ PartialSoftmax<A> Softmax() const { return {max, sum, 0, 0}; }
};

// E is the type of the operands of products.
template <typename E>
struct SharedProblem {
  using A = Accumulator<E>;

  int64_t batch = 0;
  int64_t classes = 0;
  int64_t dim = 0;
  int64_t width = 0;           // dim, rounded up to kDepth
  const E* hidden = nullptr;   // [batch, width], zeros from dim on
  const E* weights = nullptr;  // [classes, width]
  const A* biases = nullptr;   // [classes]
  const A* log_q = nullptr;    // [classes], subtracted after the soft cap
  A scale = 1;                 // of the products
  A softcap = 0;
  Link link = Link::kSoftmax;
  // Classes [hits[2i], hits[2i + 1]) do not compete for label i of [batch, num_true]; or null.
  const int32_t* hits = nullptr;
  int64_t num_true = 0;
  bool one_pass = false;  // TF32
};

template <typename E>
int64_t PaddedWidth(int64_t dim) {
  return dim <= kDepth ? kDepth : (dim + kDepth - 1) / kDepth * kDepth;
}

// How the work is cut. It depends on the problem, and on nothing of the device but the shared
// memory that a block can have.
struct SharedPlan {
  int64_t chunk = 0;          // columns of the operands that a block holds at a time
  int buffers = 1;            // of the tiles that a block passes over, backward
  int64_t forward_parts = 1;  // of the classes
  int64_t hidden_parts = 1;   // of the classes, for the gradient of hidden rows
  int64_t weights_parts = 1;  // of the examples, for the gradient of weights
};
template <typename E>
SharedPlan MakeSharedPlan(int64_t batch, int64_t classes, int64_t dim, const Device& device);

// sums [forward_parts, batch], overwritten.
template <typename E>
Status SharedForward(const SharedProblem<E>& problem, const SharedPlan& plan, const Stream& stream,
                     RowSums<Accumulator<E>>* sums);

// What becomes of the gradients. d_hidden [batch, dim] is added to where hidden_parts is 1; else
// d_hidden_parts [hidden_parts, batch, dim] are overwritten. d_weights [weights_parts, classes,
// dim] and d_biases [weights_parts, classes] are overwritten. Null d_hidden: not wanted.
template <typename A>
struct SharedGradients {
  A* d_hidden = nullptr;
  A* d_hidden_parts = nullptr;
  A* d_weights = nullptr;
  A* d_biases = nullptr;
};
template <typename E>
Status SharedBackward(const SharedProblem<E>& problem, const SharedPlan& plan,
                      const LogitGradient<Accumulator<E>>* gradient, const Stream& stream,
                      const SharedGradients<Accumulator<E>>& gradients);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SAMPLED_SHARED_CANDIDATES_H_
