// The part of every loss in which a batch of hidden rows meets one list of candidate classes: all
// rows of a table (exact), or a gathered copy of the sampled rows. Logits exist one tile at a time.
//
// The batch is cut into blocks of rows and the classes into chunks; a task is one chunk and one run
// of row tiles. Forward leaves running softmax sums per row and chunk; backward recomputes the
// logits and adds to partial sums of d_hidden (one per chunk) and of d_weights (one per run of
// rows), which are then reduced in a fixed order. All sizes depend on the problem alone.
#ifndef FASTW2V_CPU_SHARED_CANDIDATES_H_
#define FASTW2V_CPU_SHARED_CANDIDATES_H_

#include <cstdint>

#include "csrc/core/loss.h"
#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels.h"

namespace fastw2v::cpu {

template <typename T>
struct SharedCandidates {
  using A = Accumulator<T>;

  int64_t batch = 0;
  const A* hidden = nullptr;  // [batch, dim], already scaled and rounded
  Table<const T> weights;     // [classes, dim]
  Table<const T> biases;      // [classes, 1] or empty
  const A* log_q = nullptr;   // [classes] or null; subtracted after the soft cap

  // Exact: the labels, except ignored ones, are among the classes.
  const int64_t* labels = nullptr;  // [batch, num_true] or null
  int64_t num_true = 0;
  int64_t ignored_label = -1;  // may itself be a class; -1 is none
  // Sampled: classes [hits[2i], hits[2i + 1]) do not compete for label i of [batch * num_true].
  const int64_t* hits = nullptr;

  Link link = Link::kSoftmax;
  A softcap = 0;
  bool round_bfloat16 = false;

  int64_t classes() const { return weights.rows(); }
  int64_t dim() const { return weights.dim(); }
};

// Per row, in and out: what to multiply with in backward. Gradient of a logit:
//   softmax   scale[b] * softmax - shift[b] - target[b] * (how often the class is a label of b)
//   logistic  scale[b] * sigmoid(z)
// A row with active[b] == false gets zeros, whatever its logits.
template <typename A>
struct LogitGradient {
  const A* max = nullptr;
  const A* log_sum = nullptr;
  const A* scale = nullptr;
  const A* shift = nullptr;
  const A* target = nullptr;
  const bool* active = nullptr;
};

template <typename T>
std::size_t SharedForwardScratchBytes(const SharedCandidates<T>& problem, const Parallel& parallel);

// Softmax: stats[b] gets the running sums over all classes (overwritten), label_logits
// [batch, num_true] the logits of labels that are classes. Logistic: softplus[b] (overwritten).
template <typename T>
void SharedForward(const SharedCandidates<T>& problem, const Parallel& parallel, Scratch* scratch,
                   SoftmaxStats<Accumulator<T>>* stats, Accumulator<T>* softplus,
                   Accumulator<T>* label_logits);

template <typename T>
std::size_t SharedBackwardScratchBytes(const SharedCandidates<T>& problem,
                                       const Parallel& parallel);

// d_hidden [batch, dim] is added to; d_weights and d_biases (may be empty) are overwritten.
template <typename T>
void SharedBackward(const SharedCandidates<T>& problem,
                    const LogitGradient<Accumulator<T>>& gradient, const Parallel& parallel,
                    Scratch* scratch, Accumulator<T>* d_hidden, const Table<T>& d_weights,
                    const Table<T>& d_biases);

// Sums over two sets of classes.
template <typename A>
SoftmaxStats<A> Combine(const SoftmaxStats<A>& x, const SoftmaxStats<A>& y);

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_SHARED_CANDIDATES_H_
