#include "csrc/core/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/core/row_clock.h"
#include "csrc/cpu/kernels.h"
#include "csrc/cpu/prefetch.h"

namespace fastw2v {

namespace {

constexpr int64_t kRowsPerTask = 64;

struct RuleName {
  const char* name;
  UpdateRule rule;
  int num_slots;
};

constexpr RuleName kRules[] = {
    {"sgd", UpdateRule::kSgd, 0},
    {"momentum", UpdateRule::kMomentum, 1},
    {"nesterov", UpdateRule::kNesterov, 1},
    {"adagrad", UpdateRule::kAdagrad, 1},
    {"rowwise_adagrad", UpdateRule::kRowwiseAdagrad, 1},
    {"adam", UpdateRule::kAdam, 2},
    {"amsgrad", UpdateRule::kAmsgrad, 3},
    {"ftrl", UpdateRule::kFtrl, 2},
};

int64_t SlotDim(UpdateRule rule, int64_t dim) {
  return rule == UpdateRule::kRowwiseAdagrad ? 1 : dim;
}

Status CheckNumber(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return Status();
  return InvalidArgument(name, " = ", value, " is not in [", low, ", ", high, "]");
}

UpdateEntry ReadEntry(const RowClock& clock, int64_t update) {
  const double* entry = clock.Entry(update);
  return {entry[0], entry[1], entry[2], entry[3]};
}

// A row of the table and of its slots in the accumulator's type: the memory itself, or a copy that
// is written back.
template <typename T>
class RowView {
  using A = Accumulator<T>;

 public:
  explicit RowView(const OptimizedTable<T>& table) : table_(table) {
    if constexpr (!std::is_same_v<T, A>) buffer_.resize(table.dim * (kMaxSlots + 2));
  }

  void Read(int64_t row) {
    row_ = row;
    const int64_t slot_dim = SlotDim(table_.rule, table_.dim);
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
      const int64_t slot_dim = SlotDim(table_.rule, table_.dim);
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

 private:
  const OptimizedTable<T>& table_;
  std::vector<A> buffer_;
  int64_t row_ = 0;
};

// Makes updates of rows. The numbers that all rows share are computed once.
template <typename T>
class Updater {
  using A = Accumulator<T>;

 public:
  explicit Updater(const OptimizedTable<T>& table)
      : table_(table),
        clock_(table.clock),
        p_(table.parameters),
        kernels_(cpu::Updates<A>()),
        missed_(PlanMissedUpdates(table)),
        now_(NextEntry<A>(table.rule, table.parameters)) {
    if (clock_.present()) {
      last_ = clock_.updates();
      if (last_ > 0) now_.log_decay += ReadEntry(clock_, last_).log_decay;
    }
  }

  const OptimizedTable<T>& table() const { return table_; }

  // Whether a row has missed updates that change its weights.
  bool Owes(int64_t row) const {
    return clock_.present() && !table_.lazy && clock_.row_updates[row] != last_;
  }

  // Writes the entry of the update that is about to be made.
  void Begin() {
    if (!clock_.present()) return;
    double* entry = clock_.Entry(last_ + 1);
    entry[0] = now_.rate;
    entry[1] = now_.decay;
    entry[2] = now_.log_decay;
    entry[3] = now_.momentum;
  }

  // After all rows of the update: one part in `length` of the table is brought up to date, so that
  // no row falls behind by more than the history is long.
  void End(const Parallel& parallel) {
    if (!clock_.present()) return;
    clock_.history[0] = static_cast<double>(++last_);
    const int64_t part = (table_.rows + clock_.length - 1) / clock_.length;
    const int64_t first = std::min(table_.rows, last_ % clock_.length * part);
    CatchUpRange(first, std::min(table_.rows, first + part), parallel);
  }

  void Update(int64_t row, const A* gradient, RowView<T>* view) const {
    view->Read(row);
    if (clock_.present()) {
      Catch(row, *view);  // of a lazy table: its average
      clock_.row_updates[row] = last_ + 1;
    }
    Step(now_, gradient, *view);
    view->Write();
  }

  void CatchUpRow(int64_t row, RowView<T>* view) const {
    if (clock_.row_updates[row] == last_) return;
    view->Read(row);
    Catch(row, *view);
    view->Write();
    clock_.row_updates[row] = last_;
  }

  void CatchUpRange(int64_t first, int64_t last, const Parallel& parallel) const {
    const int64_t num_tasks = (last - first + kRowsPerTask - 1) / kRowsPerTask;
    parallel.For(num_tasks, kRowsPerTask * RowCost(), [&](int64_t task, int) {
      RowView<T> view(table_);
      const int64_t begin = first + task * kRowsPerTask;
      for (int64_t row = begin; row < std::min(last, begin + kRowsPerTask); ++row) {
        CatchUpRow(row, &view);
      }
    });
  }

  // Rough cycles for a row: each of its arrays is fetched from memory.
  int64_t RowCost() const {
    return (2 + NumSlots(table_.rule)) * (100 + table_.dim * static_cast<int64_t>(sizeof(T)) / 4);
  }

  void Prefetch(int64_t row) const {
    const int64_t slot_dim = SlotDim(table_.rule, table_.dim);
    cpu::PrefetchRow(table_.weights + row * table_.dim, table_.dim);
    for (const T* slot : table_.slots) {
      if (slot != nullptr) cpu::PrefetchRow(slot + row * slot_dim, slot_dim);
    }
    if (table_.average != nullptr) cpu::PrefetchRow(table_.average + row * table_.dim, table_.dim);
    if (clock_.present()) cpu::PrefetchRow(clock_.row_updates + row, 1);
  }

 private:
  // One update as the formulas have it.
  void Step(const UpdateEntry& entry, const A* g, const RowView<T>& view) const {
    const int64_t dim = table_.dim;
    const A rate = static_cast<A>(entry.rate), momentum = static_cast<A>(p_.momentum);
    A* w = view.weights;
    A* const* s = view.slots;
    if (entry.decay != 1) kernels_.scale(static_cast<A>(entry.decay), w, dim);
    switch (table_.rule) {
      case UpdateRule::kSgd:
        cpu::Kernels<A>().axpy(-rate, g, w, dim);
        break;
      case UpdateRule::kMomentum:
        kernels_.momentum(rate, momentum, g, w, s[0], dim);
        break;
      case UpdateRule::kNesterov:
        kernels_.nesterov(rate, momentum, g, w, s[0], dim);
        break;
      case UpdateRule::kAdagrad:
        kernels_.adagrad(rate, static_cast<A>(p_.epsilon), g, w, s[0], dim);
        break;
      case UpdateRule::kRowwiseAdagrad: {
        *s[0] += cpu::Kernels<A>().dot(g, g, dim) / static_cast<A>(std::max<int64_t>(dim, 1));
        cpu::Kernels<A>().axpy(-rate / std::sqrt(*s[0] + static_cast<A>(p_.epsilon)), g, w, dim);
        break;
      }
      case UpdateRule::kAdam:
        kernels_.adam(Adam(rate), g, w, s[0], s[1], dim);
        break;
      case UpdateRule::kAmsgrad:
        kernels_.amsgrad(Adam(rate), g, w, s[0], s[1], s[2], dim);
        break;
      case UpdateRule::kFtrl:
        kernels_.ftrl(Ftrl(rate), g, w, s[0], s[1], dim);
        break;
    }
    if (view.average != nullptr) {
      kernels_.blend(static_cast<A>(entry.momentum), w, view.average, dim);
    }
  }

  cpu::AdamNumbers<A> Adam(A rate) const {
    return {rate, static_cast<A>(1 - p_.beta_1), static_cast<A>(1 - p_.beta_2),
            static_cast<A>(p_.epsilon)};
  }

  cpu::FtrlNumbers<A> Ftrl(A rate) const {
    // The learning rate is part of what Keras calls l2.
    const double l2 = p_.l2 + p_.beta / (2 * static_cast<double>(rate));
    return {rate, static_cast<A>(-p_.learning_rate_power), static_cast<A>(p_.l1),
            static_cast<A>(l2), static_cast<A>(p_.l2_shrinkage)};
  }

  // ---- Updates that a row has missed: the same formulas with gradients of zero ----

  void Catch(int64_t row, const RowView<T>& view) const {
    const int64_t first = clock_.row_updates[row] + 1, count = last_ - first + 1;
    if (count <= 0) return;
    if (table_.lazy) {
      CatchAverage(first, count, view);
    } else if (count <= MissedUpdates::kFew || !missed_.add_up) {
      CatchOneByOne(first, view);
    } else {
      CatchAtOnce(first, count, view);
    }
  }

  // The weights stood still meanwhile.
  void CatchAverage(int64_t first, int64_t count, const RowView<T>& view) const {
    if (view.average == nullptr) return;
    const double start = ReadEntry(clock_, first).momentum;  // 0 in the first step of all
    const double momentum =
        start == 0 ? 0 : std::pow(p_.average_momentum, static_cast<double>(count));
    kernels_.blend(static_cast<A>(momentum), view.weights, view.average, table_.dim);
  }

  void CatchOneByOne(int64_t first, const RowView<T>& view) const {
    const std::vector<A> zeros(table_.dim);
    for (int64_t update = first; update <= last_; ++update) {
      Step(ReadEntry(clock_, update), zeros.data(), view);
    }
  }

  void CatchAtOnce(int64_t first, int64_t count, const RowView<T>& view) const {
    const int64_t dim = table_.dim;
    A* w = view.weights;
    A* const* s = view.slots;
    const UpdateEntry final = ReadEntry(clock_, last_);
    const double before =
        ReadEntry(clock_, first).log_decay - std::log(ReadEntry(clock_, first).decay);
    const A decay = static_cast<A>(std::exp(final.log_decay - before));
    switch (table_.rule) {
      case UpdateRule::kMomentum:
      case UpdateRule::kNesterov: {
        const double ahead = table_.rule == UpdateRule::kNesterov ? p_.momentum : 1;
        const Drift drift = SumDrift(first, count, /*scaled_by_rate=*/false);
        kernels_.drift(decay, static_cast<A>(-ahead * drift.step), Power(p_.momentum, count), w,
                       s[0], dim);
        break;
      }
      case UpdateRule::kAdam:
      case UpdateRule::kAmsgrad: {
        const Drift drift = SumDrift(first, count, /*scaled_by_rate=*/true);
        const cpu::DriftNumbers<A> numbers = {decay, static_cast<A>(drift.step),
                                              Power(p_.beta_1, count),
                                              static_cast<A>(p_.epsilon * drift.growth)};
        kernels_.drift_scaled(numbers, w, s[0], table_.rule == UpdateRule::kAdam ? s[1] : s[2],
                              dim);
        kernels_.scale(Power(p_.beta_2, count), s[1], dim);
        break;
      }
      case UpdateRule::kFtrl: {
        // Neither slot has changed, and the weights are a function of them and of the last rate.
        const std::vector<A> zeros(dim);
        kernels_.ftrl(Ftrl(static_cast<A>(final.rate)), zeros.data(), w, s[0], s[1], dim);
        break;
      }
      default:
        if (decay != 1) kernels_.scale(decay, w, dim);
    }
  }

  static A Power(double x, int64_t n) {
    return static_cast<A>(std::pow(x, static_cast<double>(n)));
  }

  struct Drift {
    double step;    // sum of rate_j q^j, each times the decays after update j
    double growth;  // the mean of r^-j, weighted by these
  };

  Drift SumDrift(int64_t first, int64_t count, bool scaled_by_rate) const {
    const int64_t counting = std::min(count, missed_.num_terms);
    double step = 0, weighted = 0, power = 1, growth = 1;
    for (int64_t j = 0; j < counting; ++j) {
      const double* entry = clock_.Entry(first + j);
      power *= missed_.ratio;
      growth /= missed_.root;
      const double part = scaled_by_rate ? entry[0] * power : power;
      step = step * entry[1] + part;
      weighted = weighted * entry[1] + part * growth;
    }
    const double mean = step != 0 ? weighted / step : 1;
    if (counting < count) {
      step *= std::exp(ReadEntry(clock_, last_).log_decay -
                       ReadEntry(clock_, first + counting - 1).log_decay);
    }
    return {step, mean};
  }

  const OptimizedTable<T>& table_;
  const RowClock clock_;
  const Hyperparameters& p_;
  const cpu::UpdateKernels<A>& kernels_;
  const MissedUpdates missed_;
  UpdateEntry now_;
  int64_t last_ = 0;  // the last update of the table that is done
};

template <typename T>
Status CheckUpToDate(const Updater<T>& updater, int64_t row) {
  if (!updater.Owes(row)) return Status();
  const RowClock& clock = updater.table().clock;
  return InvalidArgument("row ", row, " has missed ", clock.updates() - clock.row_updates[row],
                         " of the ", clock.updates(),
                         " updates of this table and was read before it was brought up to date: ",
                         "with lazy=False rows are read through fastw2v.train_step, through the "
                         "layers of fastw2v.keras, or after optimizer.catch_up(variable, ids)");
}

// Updates rows [0, count) of a list: row(u) is the u-th, and gradient(first, last, buffer) gives
// their gradients, in `buffer` [last - first, dim] or elsewhere.
template <typename T, typename Row, typename Gradient>
Status UpdateList(const OptimizedTable<T>& table, int64_t count, const Row& row,
                  const Gradient& gradient, const Parallel& parallel) {
  using A = Accumulator<T>;
  Updater<T> updater(table);
  for (int64_t u = 0; u < count; ++u) {
    FASTW2V_RETURN_IF_ERROR(CheckId("rows", u, row(u), table.rows));
    FASTW2V_RETURN_IF_ERROR(CheckUpToDate(updater, row(u)));
  }
  updater.Begin();
  const int64_t distance = cpu::PrefetchDistance<T>(table.dim);
  const int64_t num_tasks = (count + kRowsPerTask - 1) / kRowsPerTask;
  parallel.For(
      num_tasks, std::min(count, kRowsPerTask) * updater.RowCost(), [&](int64_t task, int) {
        const int64_t first = task * kRowsPerTask, last = std::min(count, first + kRowsPerTask);
        const auto prefetch = [&](int64_t u) {
          if (u < last) updater.Prefetch(row(u));
        };
        for (int64_t i = 0; i < distance; ++i) prefetch(first + i);
        std::vector<A> buffer;
        const A* gradients = gradient(first, last, &buffer);
        RowView<T> view(table);
        for (int64_t u = first; u < last; ++u) {
          prefetch(u + distance);
          updater.Update(row(u), gradients + (u - first) * table.dim, &view);
        }
      });
  updater.End(parallel);
  return Status();
}

// Gradients that lie one after the other, for UpdateList.
template <typename T>
auto Values(const OptimizedTable<T>& table, const T* values) {
  using A = Accumulator<T>;
  const int64_t dim = table.dim;
  return [=](int64_t first, int64_t last, std::vector<A>* buffer) -> const A* {
    if constexpr (std::is_same_v<T, A>) {
      return values + first * dim;
    } else {
      buffer->resize((last - first) * dim);
      cpu::ConvertRow(values + first * dim, buffer->data(), (last - first) * dim);
      return buffer->data();
    }
  };
}

bool Ascends(const int64_t* rows, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    if (rows[i] <= rows[i - 1]) return false;
  }
  return true;
}

}  // namespace

Status ParseUpdateRule(const std::string& name, UpdateRule* rule) {
  std::string names;
  for (const RuleName& known : kRules) {
    if (name == known.name) {
      *rule = known.rule;
      return Status();
    }
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return InvalidArgument("rule = ", name, " is not one of ", names);
}

int NumSlots(UpdateRule rule) {
  for (const RuleName& known : kRules) {
    if (rule == known.rule) return known.num_slots;
  }
  return 0;
}

template <typename T>
Status CheckOptimizedTable(const OptimizedTable<T>& table) {
  const Hyperparameters& p = table.parameters;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (p.step < 1) return InvalidArgument("step = ", p.step, " is not at least 1");
  FASTW2V_RETURN_IF_ERROR(CheckNumber("weight_decay", p.weight_decay, 0, kInfinity));
  if (p.weight_decay * p.learning_rate >= 1) {
    return InvalidArgument("weight_decay * learning_rate = ", p.weight_decay, " * ",
                           p.learning_rate, " is not below 1");
  }
  if (IsAdam(table.rule)) {
    FASTW2V_RETURN_IF_ERROR(CheckNumber("beta_1", p.beta_1, 0, 1));
    FASTW2V_RETURN_IF_ERROR(CheckNumber("beta_2", p.beta_2, 0, 1));
  }
  if (table.clock.present() && table.clock.length < 1) {
    return InvalidArgument("history has no entries, expected at least 1");
  }
  return Status();
}

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
Status UpdateSlices(const OptimizedTable<T>& table, const RowSlices<T>& slices,
                    const Parallel& parallel) {
  using A = Accumulator<T>;
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  FASTW2V_RETURN_IF_ERROR(CheckIds("rows", slices.rows, slices.count, table.rows));
  FASTW2V_RETURN_IF_ERROR(CheckFinite("values", slices.values, slices.count, table.dim));
  if (Ascends(slices.rows, slices.count)) {
    const auto row = [&](int64_t u) { return slices.rows[u]; };
    return UpdateList(table, slices.count, row, Values(table, slices.values), parallel);
  }
  std::vector<A> wide(std::is_same_v<T, A> ? 0 : slices.count * table.dim);
  return UpdateRows(table, SumSlices(slices, table.dim, parallel, wide.data()), false, parallel);
}

template <typename T>
Status UpdateRows(const OptimizedTable<T>& table, const RowGradient<Accumulator<T>>& gradient,
                  bool biases, const Parallel& parallel) {
  using A = Accumulator<T>;
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  const auto row = [&](int64_t u) { return gradient.Row(u); };
  const auto sums = [&](int64_t first, int64_t last, std::vector<A>* buffer) -> const A* {
    buffer->resize((last - first) * table.dim);
    if (biases) {
      SumBiasTerms<A>(gradient, first, last, buffer->data());
    } else {
      SumTerms<A>(gradient, first, last, table.dim, Serial(), buffer->data());
    }
    return buffer->data();
  };
  return UpdateList(table, gradient.num_rows(), row, sums, parallel);
}

template <typename T>
Status UpdateAll(const OptimizedTable<T>& table, const T* gradient, const Parallel& parallel) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  const auto row = [](int64_t u) { return u; };
  return UpdateList(table, table.rows, row, Values(table, gradient), parallel);
}

template <typename T>
Status CatchUp(const OptimizedTable<T>& table, const int64_t* rows, int64_t count,
               const Parallel& parallel) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  if (!table.clock.present()) return Status();
  const Updater<T> updater(table);
  if (rows == nullptr) {
    updater.CatchUpRange(0, table.rows, parallel);
    return Status();
  }
  // A row may be listed twice, so it belongs to one task wherever it is listed.
  constexpr int64_t kMaxTasks = 16;
  const int64_t num_tasks = std::clamp<int64_t>(count / kRowsPerTask, 1, kMaxTasks);
  parallel.For(num_tasks, count / num_tasks * updater.RowCost(), [&](int64_t task, int) {
    RowView<T> view(table);
    for (int64_t i = 0; i < count; ++i) {
      const bool is_row = rows[i] >= 0 && rows[i] < table.rows;
      if (is_row && rows[i] % num_tasks == task) updater.CatchUpRow(rows[i], &view);
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
  template Status CheckOptimizedTable<T>(const OptimizedTable<T>&);                                \
  template Status CheckFinite<T>(const char*, const T*, int64_t, int64_t);                         \
  template Status UpdateSlices<T>(const OptimizedTable<T>&, const RowSlices<T>&, const Parallel&); \
  template Status UpdateRows<T>(const OptimizedTable<T>&, const RowGradient<Accumulator<T>>&,      \
                                bool, const Parallel&);                                            \
  template Status UpdateAll<T>(const OptimizedTable<T>&, const T*, const Parallel&);               \
  template Status CatchUp<T>(const OptimizedTable<T>&, const int64_t*, int64_t, const Parallel&);  \
  template RowGradient<Accumulator<T>> SumSlices<T>(const RowSlices<T>&, int64_t, const Parallel&, \
                                                    Accumulator<T>*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v
