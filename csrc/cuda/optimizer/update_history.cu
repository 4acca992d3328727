// A warp applies the pending updates of a row: csrc/cpu/optimizer/optimizer.cc does the same. The
// terms of a sum over these updates are shared out among its lanes.
#include <cmath>

#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/optimizer/update_history.h"

namespace fastw2v::cuda {

namespace {

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

// Of updates first, ..., last.
__device__ __forceinline__ Drift SumDrift(const UpdateHistory& history, const PendingUpdates& plan,
                                          int64_t first, int64_t last, UpdateRule rule) {
  const int64_t counting = Smaller(last - first + 1, plan.num_terms);
  const double log_decay = history.Read(first + counting - 1).log_decay;
  if (rule == UpdateRule::kLion) {
    const double rest = std::exp(history.Read(last).log_decay - log_decay);
    return {rest * RatesOver(history.Read(first), history.Read(first + counting - 1))};
  }
  double step = 0, weighted = 0;
  for (int64_t j = threadIdx.x % kWarp; j < counting; j += kWarp) {
    const UpdateEntry entry = history.Read(first + j);
    const double power = std::pow(plan.ratio, static_cast<double>(j + 1));
    const double part =
        (IsAdam(rule) ? entry.rate : 1) * power * std::exp(log_decay - entry.log_decay);
    step += part;
    weighted += part * std::pow(plan.root, -static_cast<double>(j + 1));
  }
  step = WarpSum(step);
  weighted = WarpSum(weighted);
  const double mean = step != 0 ? weighted / step : 1;
  if (first + counting <= last) step *= std::exp(history.Read(last).log_decay - log_decay);
  return {step, mean};
}

// Updates first, ..., last of a row, all pending.
template <typename T, int N>
__device__ void ApplyAtOnce(const OptimizedTable<T>& table, const UpdateHistory& history,
                            const PendingUpdates& plan, int64_t row, int64_t first, int64_t last) {
  using A = Accumulator<T>;
  const Hyperparameters& p = table.parameters;
  const UpdateRule rule = table.rule;
  const UpdateEntry from = history.Read(first), final = history.Read(last);
  if (rule == UpdateRule::kFtrl) {  // see MakeDriftNumbers
    const auto numbers = MakeUpdateNumbers<A>(p, final);
    ChangeRow<N>(table, row, [&](A& w, A(&s)[kMaxSlots], A&) {
      UpdateWeight(UpdateRule::kFtrl, numbers, A{0}, w, s);
    });
    return;
  }
  Drift drift;
  if (plan.ratio != 0) drift = SumDrift(history, plan, first, last, rule);
  const auto numbers = MakeDriftNumbers<A>(rule, p, from, final, last - first + 1, drift);
  ChangeRow<N>(table, row, [&](A& w, A(&s)[kMaxSlots], A&) { DriftWeight(rule, numbers, w, s); });
}

template <typename T, int N>
__device__ void ApplyOneByOne(const OptimizedTable<T>& table, const UpdateHistory& history,
                              int64_t row, int64_t first, int64_t last) {
  using A = Accumulator<T>;
  ChangeRow<N>(table, row, [&](A& w, A(&s)[kMaxSlots], A& average) {
    for (int64_t update = first; update <= last; ++update) {
      const auto numbers = MakeUpdateNumbers<A>(table.parameters, history.Read(update));
      Step(table.rule, numbers, A{0}, w, s);
      average = BlendAverage(numbers.average_momentum, average, w);
    }
  });
}

// Of a row of a lazy table, whose weights have not changed.
template <typename T, int N>
__device__ void ApplyToAverage(const OptimizedTable<T>& table, const UpdateHistory& history,
                               int64_t row, int64_t first, int64_t last) {
  using A = Accumulator<T>;
  if (table.average == nullptr) return;
  const A momentum =
      static_cast<A>(MomentumOver(history.Read(first), table.parameters, last - first + 1));
  for (int64_t column = threadIdx.x % kWarp * N; column < table.dim; column += kWarp * N) {
    A w[N], mean[N];
    LoadVector<N>(table.weights + row * table.dim + column, w);
    LoadVector<N>(table.average + row * table.dim + column, mean);
#pragma unroll
    for (int i = 0; i < N; ++i) mean[i] = BlendAverage(momentum, mean[i], w[i]);
    StoreVector<N>(table.average + row * table.dim + column, mean);
  }
}

// Rows whose pending updates are applied: those of a list, or a part of the table by turns.
struct PendingRows {
  MetRows rows;
  bool by_turns = false;  // the rows are places in the part
  int64_t ahead = 0;      // 1: the next update is noted as applied, too
};

// As many blocks at a time as there are registers for.
template <typename T, int N>
constexpr int kBlocksToApply = N == 1 ? 3 : 4;
template <int N>
constexpr int kBlocksToApply<double, N> = 2;

// A row that is listed twice belongs to the warp that first notes its updates as applied.
template <typename T, int N>
__global__ void __launch_bounds__(kUpdateThreads, kBlocksToApply<T, N>)
    ApplyPendingKernel(OptimizedTable<T> table, PendingUpdates plan, PendingRows pending,
                       int64_t count) {
  const UpdateHistory history = table.history;
  const int64_t u = int64_t{blockIdx.x} * kUpdateWarps + threadIdx.x / kWarp;
  if (u >= count) return;
  const int64_t last = history.updates();
  int64_t row = pending.rows.Row(u);
  if (pending.by_turns) row += history.PartBegin(table.rows, last);
  if (row < 0 || row >= table.rows) return;

  unsigned long long noted = 0;
  if (threadIdx.x % kWarp == 0) {
    noted = atomicExch(reinterpret_cast<unsigned long long*>(table.history.row_updates + row),
                       static_cast<unsigned long long>(last + pending.ahead));
  }
  const int64_t first = static_cast<int64_t>(__shfl_sync(kAllLanes, noted, 0)) + 1;
  if (first > last) return;
  if (table.lazy) {
    ApplyToAverage<T, N>(table, history, row, first, last);
  } else if (plan.OneByOne(last - first + 1)) {
    ApplyOneByOne<T, N>(table, history, row, first, last);
  } else {
    ApplyAtOnce<T, N>(table, history, plan, row, first, last);
  }
}

// Counts an update.
__global__ void CountKernel(UpdateHistory history, UpdateEntry entry) {
  const int64_t update = history.updates() + 1;
  history.Write(update, InHistory(entry, history));
  history.Count(update);
}

template <typename T>
Status LaunchApplyPending(const OptimizedTable<T>& table, const PendingRows& pending, int64_t count,
                          const Stream& stream) {
  const auto kernel =
      RowsInVectors(table) ? ApplyPendingKernel<T, kVector> : ApplyPendingKernel<T, 1>;
  return Launch(kernel, NumBlocks(count, kUpdateWarps), kUpdateThreads, 0, stream, table,
                table.PlanPending(), pending, count);
}

}  // namespace

template <typename T>
Status ApplyPendingToRows(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                          const Stream& stream) {
  return LaunchApplyPending(table, PendingRows{rows}, count, stream);
}

template <typename T>
Status BeginUpdate(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                   const Stream& stream) {
  if (!table.history.present()) return Status();
  return LaunchApplyPending(table, PendingRows{rows, false, /*ahead=*/1}, count, stream);
}

template <typename T>
Status EndUpdate(const OptimizedTable<T>& table, const UpdateEntry& entry, const Stream& stream) {
  if (!table.history.present()) return Status();
  FASTW2V_RETURN_IF_ERROR(Launch(CountKernel, 1, 1, 0, stream, table.history, entry));
  const int64_t part = table.history.PartSize(table.rows);
  return LaunchApplyPending(table, PendingRows{MetRows(), /*by_turns=*/true}, part, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                             \
  template Status ApplyPendingToRows<T>(const OptimizedTable<T>&, const MetRows&, int64_t, \
                                        const Stream&);                                    \
  template Status BeginUpdate<T>(const OptimizedTable<T>&, const MetRows&, int64_t,        \
                                 const Stream&);                                           \
  template Status EndUpdate<T>(const OptimizedTable<T>&, const UpdateEntry&, const Stream&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
