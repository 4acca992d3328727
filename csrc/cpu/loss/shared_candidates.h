// The part of every loss that compares a batch of hidden rows with one list of candidate classes:
// all rows of a table (exact), or a gathered copy of the sampled rows. Logits exist one tile at a
// time, as [class][row], so that sums over classes need no step across a vector and neither weights
// nor logits have to be packed as left operands.
//
// Many classes: the batch is cut into blocks of rows and the classes into chunks; a task is one
// chunk and one run of row tiles. The forward pass leaves running softmax sums per row and chunk;
// the backward pass adds to partial sums of d_hidden (one per chunk) and of d_weights (one per run
// of rows), which are then reduced in a fixed order. Few classes: a task is a run of rows and takes
// each of its row tiles through everything. Where forward and backward are one call and bounded
// scratch holds them, backward reads the exponentials that forward has taken; else it recomputes
// the logits. Exponentials that are kept of a softmax over many classes are multiplied with the
// weights at once, relative to the largest logit of the chunk so far, so that backward need not
// read the weights (docs/design/cpu-plans.md). All sizes depend on the problem and the processor
// alone.
#ifndef FASTW2V_CPU_LOSS_SHARED_CANDIDATES_H_
#define FASTW2V_CPU_LOSS_SHARED_CANDIDATES_H_

#include <cstdint>
#include <functional>

#include "csrc/core/loss.h"
#include "csrc/core/loss_formulas.h"
#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels/kernels.h"

namespace fastw2v::cpu {

template <typename T>
struct SharedCandidates {
  using A = Accumulator<T>;

  int64_t batch = 0;
  const A* hidden = nullptr;  // [batch, dim], already rounded
  Table<const T> weights;     // [classes, dim]
  Table<const T> biases;      // [classes, 1] or empty
  const A* log_q = nullptr;   // [classes] or null; subtracted after the soft cap

  // Exact: the labels that are not ignored count from first_class; in a part of a table some are
  // none of the classes.
  const int64_t* labels = nullptr;  // [batch, num_true] or null
  int64_t first_class = 0;
  int64_t num_true = 0;
  bool smooths = false;  // labels: the gradients of the logits have a shift
  IgnoredLabel ignored;  // may itself be a class
  // Classes [excluded[2b], excluded[2b + 1]) do not compete for row b, but for its labels; or null.
  const int64_t* excluded = nullptr;
  // Sampled: classes [hits[2i], hits[2i + 1]) do not compete for label i of [batch * num_true].
  const int64_t* hits = nullptr;

  Link link = Link::kSoftmax;
  // Operands of products are rounded before.
  LogitNumbers<A> logits = MakeLogitNumbers<A>(LossOptions());
  ComputeDtype compute_dtype = ComputeDtype::kAccumulator;

  int64_t classes() const { return weights.rows(); }
  int64_t dim() const { return weights.dim(); }
};

// Sums over the classes that a row has been compared with.
template <typename A>
struct RowSums {
  PartialSoftmax<A> softmax = NoClasses<A>();
  A softplus = 0;  // logistic link, which uses nothing else
};

// Results of a forward pass.
template <typename A>
struct SharedResults {
  RowSums<A>* sums;  // [batch], overwritten
  A* label_logits;   // [batch, num_true]; written for labels that are classes
};

// GradientTerms of rows (csrc/core/loss_formulas.h), with what else the gradients of their logits
// are made of. An inactive row has zeros, whatever its logits.
template <typename A>
struct LogitGradient {
  const A* max = nullptr;
  const A* log_sum = nullptr;
  const A* scale = nullptr;
  const A* shift = nullptr;
  const A* target = nullptr;
  const bool* active = nullptr;
};

// Where gradients go. d_hidden [batch, dim] is added to, or null if not wanted; d_weights and
// d_biases are overwritten, or empty.
template <typename T>
struct SharedGradients {
  Accumulator<T>* d_hidden = nullptr;
  Table<T> d_weights;
  Table<T> d_biases;
};

enum class Passes { kForward, kBackward, kBoth };

// What happens to rows [begin, end) between the passes: results become what the loss and `gradient`
// are made of, and d_hidden gets what else belongs to it. Called once for every row, for several
// runs of rows at the same time.
using Between = std::function<void(int64_t begin, int64_t end)>;

template <typename T>
std::size_t SharedScratchBytes(const SharedCandidates<T>& problem, Passes passes,
                               const Parallel& parallel);

// kForward leaves `gradient` and `gradients` alone, kBackward `results`.
template <typename T>
void SharedPasses(const SharedCandidates<T>& problem, Passes passes, const Parallel& parallel,
                  Scratch* scratch, const SharedResults<Accumulator<T>>& results,
                  const Between& between, const LogitGradient<Accumulator<T>>& gradient,
                  const SharedGradients<T>& gradients);

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_LOSS_SHARED_CANDIDATES_H_
