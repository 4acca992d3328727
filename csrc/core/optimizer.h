// Row-wise updates of a table by an optimizer, in place. Only the rows that a gradient meets are
// read and written.
//
// A step of the optimizer on one row w with gradient g; slots s0, s1, s2 as listed. The formulas
// are those of Keras 3, in which eta is the learning rate and t the number of the step:
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
//
// Before each step the row decays where weight_decay is not 0: w -= weight_decay eta w.
//
// Rows that a step does not meet stand still. Where the dense optimizer would go on moving them
// (momentum, decay, moving averages), a RowClock remembers up to which step each row has been
// brought, and CatchUp makes the missed steps, whose gradients are zero, all at once.
//
// Same bits for any number of threads. Rows are independent of each other.
#ifndef FASTW2V_CORE_OPTIMIZER_H_
#define FASTW2V_CORE_OPTIMIZER_H_

#include <cstdint>
#include <string>

#include "csrc/core/gather.h"
#include "csrc/core/parallel.h"
#include "csrc/core/status.h"
#include "csrc/core/types.h"

namespace fastw2v {

enum class UpdateRule {
  kSgd,
  kMomentum,
  kNesterov,
  kAdagrad,
  kRowwiseAdagrad,
  kAdam,
  kAmsgrad,
  kFtrl
};

// "sgd", "momentum", "nesterov", "adagrad", "rowwise_adagrad", "adam", "amsgrad", "ftrl".
Status ParseUpdateRule(const std::string& name, UpdateRule* rule);

constexpr int kMaxSlots = 3;
int NumSlots(UpdateRule rule);

// The numbers of a step. What a rule does not name it does not read.
struct Hyperparameters {
  double learning_rate = 0;
  int64_t step = 1;  // t, from 1 on
  double weight_decay = 0;
  double momentum = 0;
  double beta_1 = 0, beta_2 = 0;
  double epsilon = 0;
  double learning_rate_power = -0.5;  // p, at most 0
  double l1 = 0, l2 = 0, l2_shrinkage = 0, beta = 0;
  double average_momentum = 0;  // of moving averages
};

// Up to which update each row of a table has been brought, and what those updates were made with.
//
// The history is a ring: entry u % length belongs to update u, counted from 1. No row may be
// `length` updates behind, so every update brings one part in `length` of the table up to date.
struct RowClock {
  static constexpr int kColumns = 4;

  int64_t* row_updates = nullptr;  // [rows], the last update that a row has seen; 0: none
  double* history = nullptr;       // [length + 1, kColumns]; the first row holds the count
  int64_t length = 0;

  bool present() const { return row_updates != nullptr; }
  int64_t updates() const { return static_cast<int64_t>(history[0]); }
  double* Entry(int64_t update) const { return history + (1 + update % length) * kColumns; }
};

// A table and the state of its optimizer.
template <typename T>
struct OptimizedTable {
  T* weights = nullptr;  // [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  T* slots[kMaxSlots] = {};  // [rows, dim]; kRowwiseAdagrad: [rows]
  T* average = nullptr;      // [rows, dim], the moving average of the weights, or null for none
  RowClock clock;
  bool lazy = true;  // rows that a step does not meet stand still for good

  UpdateRule rule = UpdateRule::kSgd;
  Hyperparameters parameters;
};

// Rows and their gradients as they come: in any order, and rows may repeat.
template <typename T>
struct RowSlices {
  const int64_t* rows = nullptr;  // [count], each in [0, table.rows)
  const T* values = nullptr;      // [count, dim]
  int64_t count = 0;
};

// Numbers that are finite and in range, and a history that is long enough.
template <typename T>
Status CheckOptimizedTable(const OptimizedTable<T>& table);

// Refuses NaN and infinite numbers: `name` is what they are, [count, dim].
template <typename T>
Status CheckFinite(const char* name, const T* values, int64_t count, int64_t dim);

// One step with the sum of the gradients of each row. Refuses, before anything is written, a row
// that is out of range, a value that is not finite and, unless the table is lazy, a row that was
// not brought up to date.
template <typename T>
Status UpdateSlices(const OptimizedTable<T>& table, const RowSlices<T>& slices,
                    const Parallel& parallel);

// The same with a gradient that a loss has made, of finite numbers. `biases`: of the terms their
// biases are taken; the table has a width of 1.
template <typename T>
Status UpdateRows(const OptimizedTable<T>& table, const RowGradient<Accumulator<T>>& gradient,
                  bool biases, const Parallel& parallel);

// One step with the gradient [rows, dim] of all rows.
template <typename T>
Status UpdateAll(const OptimizedTable<T>& table, const T* gradient, const Parallel& parallel);

// Brings rows [count] up to date; rows may repeat, and numbers that are no rows are left out. A
// null list stands for all rows.
template <typename T>
Status CatchUp(const OptimizedTable<T>& table, const int64_t* rows, int64_t count,
               const Parallel& parallel);

// Distinct rows in ascending order with their summed values: RowGradient of slices.
template <typename T>
RowGradient<Accumulator<T>> SumSlices(const RowSlices<T>& slices, int64_t dim,
                                      const Parallel& parallel, Accumulator<T>* wide);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_OPTIMIZER_H_
