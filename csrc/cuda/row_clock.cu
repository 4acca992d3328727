// A warp makes up what a row has missed: csrc/cpu/optimizer.cc does the same. The terms of a sum
// over missed updates are shared out among its lanes.
#include <cmath>

#include "csrc/cuda/row_clock.h"
#include "csrc/cuda/vectors.h"

namespace fastw2v::cuda {

namespace {

struct DeviceClock {
  RowClock clock;

  __device__ int64_t updates() const { return static_cast<int64_t>(clock.history[0]); }
  __device__ double* Entry(int64_t update) const {
    return clock.history + (1 + update % clock.length) * RowClock::kColumns;
  }
  __device__ UpdateEntry Read(int64_t update) const {
    const double* entry = Entry(update);
    return {entry[0], entry[1], entry[2], entry[3]};
  }
};

// Changes a row, its slots and its average, N of each at a time: change(w, slots, average).
template <int N, typename T, typename Change>
__device__ __forceinline__ void ChangeRow(const OptimizedTable<T>& table, int64_t row,
                                          const Change& change) {
  using A = Accumulator<T>;
  const bool by_row = table.rule == UpdateRule::kRowwiseAdagrad;
  const A of_row = by_row ? ToFloat(table.slots[0][row]) : A{0};
  T* const slots[kMaxSlots] = {by_row ? nullptr : table.slots[0], table.slots[1], table.slots[2]};
  for (int64_t column = threadIdx.x % kWarp * N; column < table.dim; column += kWarp * N) {
    const int64_t at = row * table.dim + column;
    A w[N], s[kMaxSlots][N], mean[N] = {};
    LoadVector<N>(table.weights + at, w);
    if (table.average != nullptr) LoadVector<N>(table.average + at, mean);
#pragma unroll
    for (int slot = 0; slot < kMaxSlots; ++slot) {
#pragma unroll
      for (int i = 0; i < N; ++i) s[slot][i] = of_row;
      if (slots[slot] != nullptr) LoadVector<N>(slots[slot] + at, s[slot]);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      A mine[kMaxSlots] = {s[0][i], s[1][i], s[2][i]};
      change(w[i], mine, mean[i]);
#pragma unroll
      for (int slot = 0; slot < kMaxSlots; ++slot) s[slot][i] = mine[slot];
    }
    StoreVector<N>(table.weights + at, w);
    if (table.average != nullptr) StoreVector<N>(table.average + at, mean);
#pragma unroll
    for (int slot = 0; slot < kMaxSlots; ++slot) {
      if (slots[slot] != nullptr) StoreVector<N>(slots[slot] + at, s[slot]);
    }
  }
}

template <typename A>
__device__ __forceinline__ A Blend(A momentum, A average, A w) {
  return momentum * average + (1 - momentum) * w;
}

struct Drift {
  double step;    // sum of rate_j q^j, each times the decays after update j
  double growth;  // the mean of r^-j, weighted by these
};

// Of updates first, ..., last.
__device__ __forceinline__ Drift SumDrift(const DeviceClock& clock, const MissedUpdates& plan,
                                          int64_t first, int64_t last, bool scaled_by_rate) {
  const int64_t counting = Smaller(last - first + 1, plan.num_terms);
  const double log_decay = clock.Read(first + counting - 1).log_decay;
  double step = 0, weighted = 0;
  for (int64_t j = threadIdx.x % kWarp; j < counting; j += kWarp) {
    const UpdateEntry entry = clock.Read(first + j);
    const double power = std::pow(plan.ratio, static_cast<double>(j + 1));
    const double part =
        (scaled_by_rate ? entry.rate : 1) * power * std::exp(log_decay - entry.log_decay);
    step += part;
    weighted += part * std::pow(plan.root, -static_cast<double>(j + 1));
  }
  step = WarpSum(step);
  weighted = WarpSum(weighted);
  const double mean = step != 0 ? weighted / step : 1;
  if (first + counting <= last) step *= std::exp(clock.Read(last).log_decay - log_decay);
  return {step, mean};
}

// Updates first, ..., last of a row that none of them met, all at once.
template <typename T, int N>
__device__ void AddUp(const OptimizedTable<T>& table, const DeviceClock& clock,
                      const MissedUpdates& plan, int64_t row, int64_t first, int64_t last) {
  using A = Accumulator<T>;
  const Hyperparameters& p = table.parameters;
  const double count = static_cast<double>(last - first + 1);
  const UpdateEntry from = clock.Read(first), final = clock.Read(last);
  const A decay =
      static_cast<A>(std::exp(final.log_decay - (from.log_decay - std::log(from.decay))));
  const auto power = [&](double x) { return static_cast<A>(std::pow(x, count)); };
  switch (table.rule) {
    case UpdateRule::kMomentum:
    case UpdateRule::kNesterov: {
      const double ahead = table.rule == UpdateRule::kNesterov ? p.momentum : 1;
      const A step = static_cast<A>(ahead * SumDrift(clock, plan, first, last, false).step);
      const A momentum = power(p.momentum);
      ChangeRow<N>(table, row, [&](A& w, A(&s)[kMaxSlots], A&) {
        w = decay * w + step * s[0];
        s[0] *= momentum;
      });
      break;
    }
    case UpdateRule::kAdam:
    case UpdateRule::kAmsgrad: {
      const Drift drift = SumDrift(clock, plan, first, last, true);
      const A step = static_cast<A>(drift.step), epsilon = static_cast<A>(p.epsilon * drift.growth);
      const A power_1 = power(p.beta_1), power_2 = power(p.beta_2);
      const bool is_adam = table.rule == UpdateRule::kAdam;
      ChangeRow<N>(table, row, [&](A& w, A(&s)[kMaxSlots], A&) {
        w = decay * w - step * s[0] / (std::sqrt(is_adam ? s[1] : s[2]) + epsilon);
        s[0] *= power_1;
        s[1] *= power_2;
      });
      break;
    }
    case UpdateRule::kFtrl: {
      // Neither slot has changed, and the weights are a function of them and of the last rate.
      UpdateEntry entry = final;
      entry.decay = 1;
      const Numbers<A> numbers = MakeNumbers<A>(p, entry);
      ChangeRow<N>(table, row, [&](A& w, A(&s)[kMaxSlots], A&) {
        Step(UpdateRule::kFtrl, numbers, A{0}, w, s);
      });
      break;
    }
    default:
      ChangeRow<N>(table, row, [&](A& w, A(&)[kMaxSlots], A&) { w *= decay; });
  }
}

template <typename T, int N>
__device__ void MakeOneByOne(const OptimizedTable<T>& table, const DeviceClock& clock, int64_t row,
                             int64_t first, int64_t last) {
  using A = Accumulator<T>;
  ChangeRow<N>(table, row, [&](A& w, A(&s)[kMaxSlots], A& average) {
    for (int64_t update = first; update <= last; ++update) {
      const Numbers<A> numbers = MakeNumbers<A>(table.parameters, clock.Read(update));
      Step(table.rule, numbers, A{0}, w, s);
      average = Blend(numbers.average_momentum, average, w);
    }
  });
}

// The average of a row whose weights stood still meanwhile.
template <typename T, int N>
__device__ void AverageAlone(const OptimizedTable<T>& table, const DeviceClock& clock, int64_t row,
                             int64_t first, int64_t last) {
  using A = Accumulator<T>;
  if (table.average == nullptr) return;
  const double start = clock.Read(first).momentum;  // 0 in the first step of all
  const A momentum = static_cast<A>(start == 0 ? 0
                                               : std::pow(table.parameters.average_momentum,
                                                          static_cast<double>(last - first + 1)));
  for (int64_t column = threadIdx.x % kWarp * N; column < table.dim; column += kWarp * N) {
    A w[N], mean[N];
    LoadVector<N>(table.weights + row * table.dim + column, w);
    LoadVector<N>(table.average + row * table.dim + column, mean);
#pragma unroll
    for (int i = 0; i < N; ++i) mean[i] = Blend(momentum, mean[i], w[i]);
    StoreVector<N>(table.average + row * table.dim + column, mean);
  }
}

// Rows that catch up: those of a list, or a part of the table by turns.
struct OwedRows {
  MetRows rows;
  int64_t part = 0;   // rows of a turn
  int64_t ahead = 0;  // 1: the rows take part in the next update
};

// A row that is listed twice belongs to the warp that first notes it as up to date.
template <typename T, int N>
__global__ void __launch_bounds__(kUpdateThreads)
    CatchUpKernel(OptimizedTable<T> table, MissedUpdates plan, OwedRows owed, int64_t count) {
  const DeviceClock clock = {table.clock};
  const int64_t u = int64_t{blockIdx.x} * kUpdateWarps + threadIdx.x / kWarp;
  if (u >= count) return;
  const int64_t last = clock.updates();
  int64_t row = owed.rows.Row(u);
  if (owed.part > 0) row += last % table.clock.length * owed.part;
  if (row < 0 || row >= table.rows) return;

  unsigned long long noted = 0;
  if (threadIdx.x % kWarp == 0) {
    noted = atomicExch(reinterpret_cast<unsigned long long*>(table.clock.row_updates + row),
                       static_cast<unsigned long long>(last + owed.ahead));
  }
  const int64_t first = static_cast<int64_t>(__shfl_sync(kAllLanes, noted, 0)) + 1;
  if (first > last) return;
  if (table.lazy) {
    AverageAlone<T, N>(table, clock, row, first, last);
  } else if (last - first < MissedUpdates::kFew || !plan.add_up) {
    MakeOneByOne<T, N>(table, clock, row, first, last);
  } else {
    AddUp<T, N>(table, clock, plan, row, first, last);
  }
}

// Counts an update.
__global__ void TickKernel(DeviceClock clock, UpdateEntry entry) {
  const int64_t last = clock.updates();
  if (last > 0) entry.log_decay += clock.Read(last).log_decay;
  double* next = clock.Entry(last + 1);
  next[0] = entry.rate;
  next[1] = entry.decay;
  next[2] = entry.log_decay;
  next[3] = entry.momentum;
  clock.clock.history[0] = static_cast<double>(last + 1);
}

template <typename T>
Status LaunchCatchUp(const OptimizedTable<T>& table, const OwedRows& owed, int64_t count,
                     const Stream& stream) {
  const auto kernel = RowsInVectors(table) ? CatchUpKernel<T, kVector> : CatchUpKernel<T, 1>;
  return Launch(kernel, NumBlocks(count, kUpdateWarps), kUpdateThreads, 0, stream, table,
                PlanMissedUpdates(table), owed, count);
}

}  // namespace

template <typename T>
Status CatchUpRows(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                   const Stream& stream) {
  return LaunchCatchUp(table, OwedRows{rows}, count, stream);
}

template <typename T>
Status BeginUpdate(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                   const Stream& stream) {
  if (!table.clock.present()) return Status();
  return LaunchCatchUp(table, OwedRows{rows, 0, /*ahead=*/1}, count, stream);
}

template <typename T>
Status EndUpdate(const OptimizedTable<T>& table, const UpdateEntry& entry, const Stream& stream) {
  if (!table.clock.present()) return Status();
  FASTW2V_RETURN_IF_ERROR(Launch(TickKernel, 1, 1, 0, stream, DeviceClock{table.clock}, entry));
  const int64_t part = (table.rows + table.clock.length - 1) / table.clock.length;
  return LaunchCatchUp(table, OwedRows{MetRows(), part}, part, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                      \
  template Status CatchUpRows<T>(const OptimizedTable<T>&, const MetRows&, int64_t, \
                                 const Stream&);                                    \
  template Status BeginUpdate<T>(const OptimizedTable<T>&, const MetRows&, int64_t, \
                                 const Stream&);                                    \
  template Status EndUpdate<T>(const OptimizedTable<T>&, const UpdateEntry&, const Stream&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
