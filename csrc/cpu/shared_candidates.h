// The part of every loss in which a batch of hidden rows meets one list of candidate classes: all
// rows of a table (exact), or a gathered copy of the sampled rows. Logits exist one tile at a time,
// as [class][row], so that sums over classes need no step across a vector and neither weights nor
// logits have to be packed as left operands.
//
// Many classes: the batch is cut into blocks of rows and the classes into chunks; a task is one
// chunk and one run of row tiles. The forward pass leaves running softmax sums per row and chunk;
// the backward pass adds to partial sums of d_hidden (one per chunk) and of d_weights (one per run
// of rows), which are then reduced in a fixed order. Few classes: a task is a run of rows and takes
// each of its row tiles through everything. Where forward and backward are one call and bounded
// scratch holds them, backward reads the exponentials that forward has taken; else it recomputes
// the logits. All sizes depend on the problem alone.
#ifndef FASTW2V_CPU_SHARED_CANDIDATES_H_
#define FASTW2V_CPU_SHARED_CANDIDATES_H_

#include <cstdint>
#include <functional>
#include <limits>

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

// Sums over the classes that a row has met.
template <typename A>
struct RowSums {
  A max = -std::numeric_limits<A>::infinity();
  A sum_exp = 0;      // of exp(z - max)
  A sum_shifted = 0;  // of (z - max), for label smoothing
  A softplus = 0;     // logistic link, which uses nothing else
};

// Sums over two sets of classes, of which x_classes and y_classes.
template <typename A>
RowSums<A> Combine(const RowSums<A>& x, A x_classes, const RowSums<A>& y, A y_classes);

// Results of a forward pass.
template <typename A>
struct SharedResults {
  RowSums<A>* sums;  // [batch], overwritten
  A* label_logits;   // [batch, num_true]; written for labels that are classes
};

// Per row, what the gradient of its logits is:
//   softmax   scale * softmax - shift - target * (how often the class is one of its labels)
//   logistic  scale * sigmoid(z)
// An inactive row has zeros, whatever its logits.
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

#endif  // FASTW2V_CPU_SHARED_CANDIDATES_H_
