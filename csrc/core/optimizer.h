// Row-wise updates of a table by an optimizer, in place. Only the rows that a gradient has are
// read and written.
//
// A step of the optimizer on one row w with gradient g; slots s0, s1, s2 as listed. The formulas
// (as code: csrc/core/update_formulas.h) are those of Keras 3, in which eta is the learning rate
// and t the number of the step:
//
//   kSgd              w -= eta g
//   kMomentum         s0 = mu s0 - eta g;  w += s0
//   kNesterov         s0 = mu s0 - eta g;  w += mu s0 - eta g
//   kAdagrad          s0 += g^2;  w -= eta g / sqrt(s0 + epsilon)
//   kRowwiseAdagrad   the same with one number per row: s0 += mean(g^2)
//   kAdam             s0 += (g - s0) (1 - beta_1);  s1 += (g^2 - s1) (1 - beta_2)
//                     w -= alpha s0 / (sqrt(s1) + epsilon),
//                     alpha = eta sqrt(1 - beta_2^t) / (1 - beta_1^t)
//   kAmsgrad          as kAdam with s2 = max(s2, s1) in place of s1 in the last line
//   kFtrl             n = s0 + g^2;  s1 += g + 2 shrinkage w - (n^-p - s0^-p) / eta w;  s0 = n
//                     w = (clip(s1, -l1, l1) - s1) / (n^-p / eta + 2 l2 + beta / eta)
//   kLion             w -= eta sign(s0 + (g - s0) (1 - beta_1));  s0 += (g - s0) (1 - beta_2)
//
// Before each step the row decays where weight_decay is not 0: w -= weight_decay eta w.
//
// A step changes no other rows. Where the dense optimizer would update them too (momentum, decay,
// moving averages), these updates are pending: an UpdateHistory has the last update that was
// applied to each row, and ApplyPending applies those since, whose gradients are zero, all at once.
//
// Same bits for any number of threads. Rows are independent of each other.
#ifndef FASTW2V_CORE_OPTIMIZER_H_
#define FASTW2V_CORE_OPTIMIZER_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "csrc/core/gather.h"
#include "csrc/core/parallel.h"
#include "csrc/core/status.h"
#include "csrc/core/types.h"
#include "csrc/core/update_history.h"
#include "csrc/core/update_rule.h"

namespace fastw2v {

// A table and the state of its optimizer.
template <typename T>
struct OptimizedTable {
  T* weights = nullptr;  // [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  T* slots[kMaxSlots] = {};  // [rows, dim]; kRowwiseAdagrad: [rows]
  T* average = nullptr;      // [rows, dim], the moving average of the weights, or null for none
  UpdateHistory history;
  bool lazy = true;  // no update of weights is ever pending

  UpdateRule rule = UpdateRule::kSgd;
  Hyperparameters parameters;

  int64_t SlotDim() const { return rule == UpdateRule::kRowwiseAdagrad ? 1 : dim; }
  PendingUpdates PlanPending() const {
    return PlanPendingUpdates<Accumulator<T>>(rule, parameters, average != nullptr);
  }
};

// Rows and their gradients as they come: in any order, and rows may repeat.
template <typename T>
struct RowSlices {
  const int64_t* rows = nullptr;  // [count], each in [0, table.rows)
  const T* values = nullptr;      // [count, dim]
  int64_t count = 0;
};

// Numbers that are finite and in range, and a history that is long enough.
Status CheckUpdate(UpdateRule rule, const Hyperparameters& parameters,
                   const UpdateHistory& history);
template <typename T>
Status CheckOptimizedTable(const OptimizedTable<T>& table) {
  return CheckUpdate(table.rule, table.parameters, table.history);
}

// Refuses NaN and infinite numbers: `name` is what they are, [count, dim].
template <typename T>
Status CheckFinite(const char* name, const T* values, int64_t count, int64_t dim);

// A step that has been checked and has all the memory that it takes, so that making it cannot fail:
// either all of several tables are changed or none. What it was planned from must outlive it.
class PlannedUpdate {
 public:
  PlannedUpdate() = default;  // of nothing
  explicit PlannedUpdate(std::function<void()> make) : make_(std::move(make)) {}

  void Make() const {
    if (make_) make_();
  }

 private:
  std::function<void()> make_;
};

// Plans one step with the sum of the gradients of each row. Refuses a row that is out of range, a
// value that is not finite and, unless the table is lazy, a row that has pending updates.
template <typename T>
Status PlanSlices(const OptimizedTable<T>& table, const RowSlices<T>& slices,
                  const Parallel& parallel, PlannedUpdate* update);

// The same with a gradient that a loss has made, of finite numbers. `biases`: of the terms their
// biases are taken; the table has a width of 1.
template <typename T>
Status PlanRows(const OptimizedTable<T>& table, const RowGradient<Accumulator<T>>& gradient,
                bool biases, const Parallel& parallel, PlannedUpdate* update);

// One step with the gradient [rows, dim] of all rows.
template <typename T>
Status PlanAll(const OptimizedTable<T>& table, const T* gradient, const Parallel& parallel,
               PlannedUpdate* update);

// Applies the pending updates of rows [count]; rows may repeat, and numbers that are no rows are
// left out. A null list stands for all rows.
template <typename T>
Status ApplyPending(const OptimizedTable<T>& table, const int64_t* rows, int64_t count,
                    const Parallel& parallel);

// Distinct rows in ascending order with their summed values: RowGradient of slices.
template <typename T>
RowGradient<Accumulator<T>> SumSlices(const RowSlices<T>& slices, int64_t dim,
                                      const Parallel& parallel, Accumulator<T>* wide);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_OPTIMIZER_H_
