#include "csrc/core/optimizer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/core/update_formulas.h"
#include "csrc/core/update_history.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/kernels/prefetch.h"

namespace fastw2v {

namespace {

constexpr int64_t kRowsPerTask = 64;

int64_t NumTasks(int64_t rows) { return (rows + kRowsPerTask - 1) / kRowsPerTask; }

// A row of the table and of its slots in the accumulator's type: the memory itself, or a copy that
// is written back.
template <typename T>
class RowView {
  using A = Accumulator<T>;

 public:
  explicit RowView(const OptimizedTable<T>& table)
      : zeros(table.history.present() ? table.dim : 0), table_(table) {
    if constexpr (!std::is_same_v<T, A>) buffer_.resize(table.dim * (kMaxSlots + 2));
  }

  void Read(int64_t row) {
    row_ = row;
    const int64_t slot_dim = table_.SlotDim();
    int64_t used = 0;
    const auto view = [&](T* data, int64_t dim) -> A* {
      if (data == nullptr) return nullptr;
      if constexpr (std::is_same_v<T, A>) {
        return data + row * dim;
      } else {
        A* copy = buffer_.data() + used;
        used += dim;
        cpu::ConvertRow(data + row * dim, copy, dim);
        return copy;
      }
    };
    weights = view(table_.weights, table_.dim);
    for (int i = 0; i < kMaxSlots; ++i) slots[i] = view(table_.slots[i], slot_dim);
    average = view(table_.average, table_.dim);
  }

  void Write() const {
    if constexpr (!std::is_same_v<T, A>) {
      const int64_t slot_dim = table_.SlotDim();
      cpu::ConvertRow(weights, table_.weights + row_ * table_.dim, table_.dim);
      for (int i = 0; i < kMaxSlots; ++i) {
        if (slots[i] != nullptr) {
          cpu::ConvertRow(slots[i], table_.slots[i] + row_ * slot_dim, slot_dim);
        }
      }
      if (average != nullptr) {
        cpu::ConvertRow(average, table_.average + row_ * table_.dim, table_.dim);
      }
    }
  }

  A* weights = nullptr;
  A* slots[kMaxSlots] = {};
  A* average = nullptr;
  std::vector<A> zeros;  // the gradient of a pending update

 private:
  const OptimizedTable<T>& table_;
  std::vector<A> buffer_;
  int64_t row_ = 0;
};

// The worker numbers that a call of parallel.For() may pass to its tasks.
int64_t NumWorkers(const Parallel& parallel, int64_t num_tasks) {
  return std::min<int64_t>(parallel.num_workers(), std::max<int64_t>(num_tasks, 1));
}

// One for each worker.
template <typename T>
using RowViews = std::vector<RowView<T>>;

// Makes updates of rows. The numbers that all rows share are computed once, and nothing that writes
// takes memory.
template <typename T>
class Updater {
  using A = Accumulator<T>;

 public:
  explicit Updater(const OptimizedTable<T>& table)
      : table_(table),
        history_(table.history),
        p_(table.parameters),
        kernels_(cpu::Updates<A>()),
        pending_(table.PlanPending()),
        now_(NextEntry<A>(table.rule, table.parameters)),
        now_numbers_(MakeUpdateNumbers<A>(p_, now_)) {
    if (history_.present()) {
      last_ = history_.updates();
      now_ = InHistory(now_, history_);
    }
  }

  const OptimizedTable<T>& table() const { return table_; }

  // For as many tasks, or for End().
  RowViews<T> Views(const Parallel& parallel, int64_t num_tasks) const {
    if (history_.present())
      num_tasks = std::max(num_tasks, NumTasks(history_.PartSize(table_.rows)));
    return RowViews<T>(NumWorkers(parallel, num_tasks), RowView<T>(table_));
  }

  // Whether a row has pending updates of its weights.
  bool HasPending(int64_t row) const {
    return history_.present() && !table_.lazy && history_.row_updates[row] != last_;
  }

  // Writes the entry of the update that is about to be made.
  void Begin() {
    if (history_.present()) history_.Write(last_ + 1, now_);
  }

  // After all rows of the update: applies the pending updates of one part in `length` of the table,
  // so that no row ever has more of them than the history has entries.
  void End(const Parallel& parallel, RowViews<T>* views) {
    if (!history_.present()) return;
    history_.Count(++last_);
    const int64_t first = std::min(table_.rows, history_.PartBegin(table_.rows, last_));
    const int64_t last = std::min(table_.rows, first + history_.PartSize(table_.rows));
    ApplyPendingToRange(first, last, parallel, views);
  }

  void Update(int64_t row, const A* gradient, RowView<T>* view) const {
    view->Read(row);
    if (history_.present()) {
      ApplyPending(row, *view);  // of a lazy table: its average
      history_.row_updates[row] = last_ + 1;
    }
    Step(now_numbers_, gradient, *view);
    view->Write();
  }

  void ApplyPendingToRow(int64_t row, RowView<T>* view) const {
    if (history_.row_updates[row] == last_) return;
    view->Read(row);
    ApplyPending(row, *view);
    view->Write();
    history_.row_updates[row] = last_;
  }

  void ApplyPendingToRange(int64_t first, int64_t last, const Parallel& parallel,
                           RowViews<T>* views) const {
    parallel.For(NumTasks(last - first), kRowsPerTask * RowCost(), [&](int64_t task, int worker) {
      const int64_t begin = first + task * kRowsPerTask;
      for (int64_t row = begin; row < std::min(last, begin + kRowsPerTask); ++row) {
        ApplyPendingToRow(row, &(*views)[worker]);
      }
    });
  }

  // Rough cycles for a row: each of its arrays is fetched from memory.
  int64_t RowCost() const {
    return (2 + NumSlots(table_.rule)) * (100 + table_.dim * static_cast<int64_t>(sizeof(T)) / 4);
  }

  void Prefetch(int64_t row) const {
    const int64_t slot_dim = table_.SlotDim();
    cpu::PrefetchRow(table_.weights + row * table_.dim, table_.dim);
    for (const T* slot : table_.slots) {
      if (slot != nullptr) cpu::PrefetchRow(slot + row * slot_dim, slot_dim);
    }
    if (table_.average != nullptr) cpu::PrefetchRow(table_.average + row * table_.dim, table_.dim);
    if (history_.present()) cpu::PrefetchRow(history_.row_updates + row, 1);
  }

 private:
  // One update as the formulas have it.
  void Step(const UpdateNumbers<A>& numbers, const A* g, const RowView<T>& view) const {
    const int64_t dim = table_.dim;
    A* w = view.weights;
    if (numbers.decay != 1) kernels_.scale(numbers.decay, w, dim);
    if (table_.rule == UpdateRule::kRowwiseAdagrad) {
      *view.slots[0] = UpdateRowSlot(*view.slots[0], cpu::Kernels<A>().dot(g, g, dim), dim);
    }
    kernels_.update(table_.rule, numbers, g, w, view.slots, dim);
    if (view.average != nullptr) {
      kernels_.blend(numbers.average_momentum, w, view.average, dim);
    }
  }

  // ---- Pending updates: the same formulas with gradients of zero ----

  void ApplyPending(int64_t row, const RowView<T>& view) const {
    const int64_t first = history_.row_updates[row] + 1, count = last_ - first + 1;
    if (count <= 0) return;
    if (table_.lazy) {
      ApplyToAverage(first, count, view);
    } else if (pending_.OneByOne(count)) {
      ApplyOneByOne(first, view);
    } else {
      ApplyAtOnce(first, count, view);
    }
  }

  // Of a lazy table the weights have not changed.
  void ApplyToAverage(int64_t first, int64_t count, const RowView<T>& view) const {
    if (view.average == nullptr) return;
    const double momentum = MomentumOver(history_.Read(first), p_, count);
    kernels_.blend(static_cast<A>(momentum), view.weights, view.average, table_.dim);
  }

  void ApplyOneByOne(int64_t first, const RowView<T>& view) const {
    for (int64_t update = first; update <= last_; ++update) {
      Step(MakeUpdateNumbers<A>(p_, history_.Read(update)), view.zeros.data(), view);
    }
  }

  void ApplyAtOnce(int64_t first, int64_t count, const RowView<T>& view) const {
    const UpdateEntry from = history_.Read(first), final = history_.Read(last_);
    if (table_.rule == UpdateRule::kFtrl) {  // see MakeDriftNumbers
      kernels_.update(table_.rule, MakeUpdateNumbers<A>(p_, final), view.zeros.data(), view.weights,
                      view.slots, table_.dim);
      return;
    }
    const auto numbers =
        MakeDriftNumbers<A>(table_.rule, p_, from, final, count,
                            pending_.ratio == 0 ? Drift() : SumDrift(first, count));
    kernels_.drift(table_.rule, numbers, view.weights, view.slots, table_.dim);
  }

  Drift SumDrift(int64_t first, int64_t count) const {
    const bool scaled_by_rate = IsAdam(table_.rule);
    const int64_t counting = std::min(count, pending_.num_terms);
    if (table_.rule == UpdateRule::kLion) {
      const UpdateEntry counted = history_.Read(first + counting - 1);
      const double rest = std::exp(history_.Read(last_).log_decay - counted.log_decay);
      return {rest * RatesOver(history_.Read(first), counted)};
    }
    double step = 0, weighted = 0, power = 1, growth = 1;
    for (int64_t j = 0; j < counting; ++j) {
      const UpdateEntry entry = history_.Read(first + j);
      power *= pending_.ratio;
      growth /= pending_.root;
      const double part = scaled_by_rate ? entry.rate * power : power;
      step = step * entry.decay + part;
      weighted = weighted * entry.decay + part * growth;
    }
    const double mean = step != 0 ? weighted / step : 1;
    if (counting < count) {
      step *=
          std::exp(history_.Read(last_).log_decay - history_.Read(first + counting - 1).log_decay);
    }
    return {step, mean};
  }

  const OptimizedTable<T>& table_;
  const UpdateHistory history_;
  const Hyperparameters& p_;
  const cpu::UpdateKernels<A>& kernels_;
  const PendingUpdates pending_;
  UpdateEntry now_;
  const UpdateNumbers<A> now_numbers_;
  int64_t last_ = 0;  // the last update of the table that is done
};

template <typename T>
Status CheckNothingPending(const Updater<T>& updater, int64_t row) {
  if (!updater.HasPending(row)) return Status();
  const UpdateHistory& history = updater.table().history;
  return InvalidArgument(
      "row ", row, " has pending updates, ", history.updates() - history.row_updates[row],
      " of the ", history.updates(), " of this table: it was read before they were applied, or ",
      "another thread has updated the table since. With lazy=False, the default, rows are read "
      "through the losses and layers of fastw2v (its Embedding in place of Keras'), or after "
      "optimizer.apply_pending(variable, ids), and threads take turns from there until the "
      "gradients are applied; with lazy=True in any way");
}

// Updates rows [0, count) of a list: row(u) is the u-th, and gradient(first, last, buffer) gives
// their gradients, in `buffer` [last - first, dim] or elsewhere.
template <typename T, typename Row, typename Gradient>
class ListUpdate {
  using A = Accumulator<T>;

 public:
  ListUpdate(const OptimizedTable<T>& table, int64_t count, const Row& row,
             const Gradient& gradient, const Parallel& parallel)
      : table_(table),
        count_(count),
        row_(row),
        gradient_(gradient),
        parallel_(parallel),
        updater_(table_),
        views_(updater_.Views(parallel, NumTasks(count))) {
    if (!Gradient::kTakesBuffer) return;
    const int64_t workers = NumWorkers(parallel, NumTasks(count));
    buffers_.reset(new A[workers * BufferSize()]);
  }
  ListUpdate(const ListUpdate&) = delete;  // the updater points to the table

  Status Check() const {
    for (int64_t u = 0; u < count_; ++u) {
      FASTW2V_RETURN_IF_ERROR(CheckId("rows", u, row_(u), table_.rows));
      FASTW2V_RETURN_IF_ERROR(CheckNothingPending(updater_, row_(u)));
    }
    return Status();
  }

  void Make() {
    updater_.Begin();
    const int64_t cost = std::min(count_, kRowsPerTask) * updater_.RowCost();
    parallel_.For(NumTasks(count_), cost, [&](int64_t task, int worker) { Rows(task, worker); });
    updater_.End(parallel_, &views_);
  }

 private:
  int64_t BufferSize() const { return std::min(count_, kRowsPerTask) * table_.dim; }

  void Rows(int64_t task, int worker) {
    const int64_t first = task * kRowsPerTask, last = std::min(count_, first + kRowsPerTask);
    const int64_t distance = cpu::PrefetchDistance<T>(table_.dim);
    const auto prefetch = [&](int64_t u) {
      if (u < last) updater_.Prefetch(row_(u));
    };
    for (int64_t i = 0; i < distance; ++i) prefetch(first + i);
    A* const buffer = Gradient::kTakesBuffer ? buffers_.get() + worker * BufferSize() : nullptr;
    const A* gradients = gradient_(first, last, buffer);
    for (int64_t u = first; u < last; ++u) {
      prefetch(u + distance);
      updater_.Update(row_(u), gradients + (u - first) * table_.dim, &views_[worker]);
    }
  }

  const OptimizedTable<T> table_;
  const int64_t count_;
  const Row row_;
  const Gradient gradient_;
  const Parallel& parallel_;
  Updater<T> updater_;
  RowViews<T> views_;
  std::unique_ptr<A[]> buffers_;  // [worker, row of a task, dim]
};

template <typename T, typename Row, typename Gradient>
Status PlanList(const OptimizedTable<T>& table, int64_t count, const Row& row,
                const Gradient& gradient, const Parallel& parallel, PlannedUpdate* update) {
  const auto list =
      std::make_shared<ListUpdate<T, Row, Gradient>>(table, count, row, gradient, parallel);
  FASTW2V_RETURN_IF_ERROR(list->Check());
  *update = PlannedUpdate([list] { list->Make(); });
  return Status();
}

// Gradients that lie one after the other, for ListUpdate.
template <typename T>
struct Values {
  using A = Accumulator<T>;
  static constexpr bool kTakesBuffer = !std::is_same_v<T, A>;
  const T* values;
  int64_t dim;

  const A* operator()(int64_t first, int64_t last, A* buffer) const {
    if constexpr (std::is_same_v<T, A>) {
      return values + first * dim;
    } else {
      cpu::ConvertRow(values + first * dim, buffer, (last - first) * dim);
      return buffer;
    }
  }
};

// Sums of the terms of a gradient that outlives the update, or that it shares.
template <typename A>
struct Sums {
  static constexpr bool kTakesBuffer = true;
  const RowGradient<A>* gradient;
  int64_t dim;
  bool biases;
  std::shared_ptr<const void> shared;

  const A* operator()(int64_t first, int64_t last, A* buffer) const {
    if (biases) {
      SumBiasTerms<A>(*gradient, first, last, buffer);
    } else {
      SumTerms<A>(*gradient, first, last, dim, Serial(), buffer);
    }
    return buffer;
  }
};

template <typename T>
Status PlanSums(const OptimizedTable<T>& table, const Sums<Accumulator<T>>& sums,
                const Parallel& parallel, PlannedUpdate* update) {
  const auto* gradient = sums.gradient;
  const auto row = [gradient](int64_t u) { return gradient->Row(u); };
  return PlanList(table, gradient->num_rows(), row, sums, parallel, update);
}

// The sum of the slices of each row, and what it is made of.
template <typename A>
struct SummedSlices {
  std::vector<A> wide;
  RowGradient<A> gradient;
};

bool Ascends(const int64_t* rows, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    if (rows[i] <= rows[i - 1]) return false;
  }
  return true;
}

}  // namespace

template <typename T>
Status CheckFinite(const char* name, const T* values, int64_t count, int64_t dim) {
  using A = Accumulator<T>;
  std::vector<A> buffer(std::is_same_v<T, A> ? 0 : dim);
  for (int64_t i = 0; i < count; ++i) {
    const A* row;
    if constexpr (std::is_same_v<T, A>) {
      row = values + i * dim;
    } else {
      cpu::ConvertRow(values + i * dim, buffer.data(), dim);
      row = buffer.data();
    }
    // 0 times a number is 0, or NaN where that number is NaN or infinite.
    A zero = 0;
    for (int64_t j = 0; j < dim; ++j) zero += 0 * row[j];
    if (zero == 0) continue;
    for (int64_t j = 0; j < dim; ++j) {
      if (std::isfinite(row[j])) continue;
      return InvalidArgument(name, "[", i, ",", j, "] = ", row[j],
                             " is not finite: nothing was updated");
    }
  }
  return Status();
}

template <typename T>
Status PlanSlices(const OptimizedTable<T>& table, const RowSlices<T>& slices,
                  const Parallel& parallel, PlannedUpdate* update) {
  using A = Accumulator<T>;
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  FASTW2V_RETURN_IF_ERROR(CheckIds("rows", slices.rows, slices.count, table.rows));
  FASTW2V_RETURN_IF_ERROR(CheckFinite("values", slices.values, slices.count, table.dim));
  if (Ascends(slices.rows, slices.count)) {
    const auto row = [rows = slices.rows](int64_t u) { return rows[u]; };
    return PlanList(table, slices.count, row, Values<T>{slices.values, table.dim}, parallel,
                    update);
  }
  const auto summed = std::make_shared<SummedSlices<A>>();
  summed->wide.resize(std::is_same_v<T, A> ? 0 : slices.count * table.dim);
  summed->gradient = SumSlices(slices, table.dim, parallel, summed->wide.data());
  return PlanSums(table, Sums<A>{&summed->gradient, table.dim, false, summed}, parallel, update);
}

template <typename T>
Status PlanRows(const OptimizedTable<T>& table, const RowGradient<Accumulator<T>>& gradient,
                bool biases, const Parallel& parallel, PlannedUpdate* update) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  return PlanSums(table, Sums<Accumulator<T>>{&gradient, table.dim, biases, nullptr}, parallel,
                  update);
}

template <typename T>
Status PlanAll(const OptimizedTable<T>& table, const T* gradient, const Parallel& parallel,
               PlannedUpdate* update) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  const auto row = [](int64_t u) { return u; };
  return PlanList(table, table.rows, row, Values<T>{gradient, table.dim}, parallel, update);
}

template <typename T>
Status ApplyPending(const OptimizedTable<T>& table, const int64_t* rows, int64_t count,
                    const Parallel& parallel) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  if (!table.history.present()) return Status();
  const Updater<T> updater(table);
  if (rows == nullptr) {
    RowViews<T> views = updater.Views(parallel, NumTasks(table.rows));
    updater.ApplyPendingToRange(0, table.rows, parallel, &views);
    return Status();
  }
  // A row may be listed twice, so it belongs to one task wherever it is listed.
  constexpr int64_t kMaxTasks = 16;
  const int64_t num_tasks = std::clamp<int64_t>(count / kRowsPerTask, 1, kMaxTasks);
  RowViews<T> views = updater.Views(parallel, num_tasks);
  parallel.For(num_tasks, count / num_tasks * updater.RowCost(), [&](int64_t task, int worker) {
    for (int64_t i = 0; i < count; ++i) {
      const bool is_row = rows[i] >= 0 && rows[i] < table.rows;
      if (is_row && rows[i] % num_tasks == task) updater.ApplyPendingToRow(rows[i], &views[worker]);
    }
  });
  return Status();
}

template <typename T>
RowGradient<Accumulator<T>> SumSlices(const RowSlices<T>& slices, int64_t dim,
                                      const Parallel& parallel, Accumulator<T>* wide) {
  using A = Accumulator<T>;
  const A* values = wide;
  if constexpr (std::is_same_v<T, A>) {
    values = slices.values;
  } else {
    WidenRows(slices.values, slices.count, dim, parallel, wide);
  }
  std::vector<RowTerm<A>> terms(slices.count);
  for (int64_t i = 0; i < slices.count; ++i) {
    terms[i] = {slices.rows[i], i, A{1}, A{0}, values + i * dim};
  }
  return SortTerms(std::move(terms));
}

#define FASTW2V_INSTANTIATE(T)                                                                     \
  template Status CheckFinite<T>(const char*, const T*, int64_t, int64_t);                         \
  template Status PlanSlices<T>(const OptimizedTable<T>&, const RowSlices<T>&, const Parallel&,    \
                                PlannedUpdate*);                                                   \
  template Status PlanRows<T>(const OptimizedTable<T>&, const RowGradient<Accumulator<T>>&, bool,  \
                              const Parallel&, PlannedUpdate*);                                    \
  template Status PlanAll<T>(const OptimizedTable<T>&, const T*, const Parallel&, PlannedUpdate*); \
  template Status ApplyPending<T>(const OptimizedTable<T>&, const int64_t*, int64_t,               \
                                  const Parallel&);                                                \
  template RowGradient<Accumulator<T>> SumSlices<T>(const RowSlices<T>&, int64_t, const Parallel&, \
                                                    Accumulator<T>*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v
