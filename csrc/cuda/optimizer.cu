// A warp updates a row: it reads and writes each number of the row and of its slots once.
#include <cmath>

#include "csrc/core/scratch.h"
#include "csrc/cuda/optimizer.h"
#include "csrc/cuda/row_sums.h"
#include "csrc/cuda/rows.h"
#include "csrc/cuda/vectors.h"

namespace fastw2v::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

// The numbers of a step, as the rules use them.
template <typename A>
struct Numbers {
  A rate, decay, momentum, share_1, share_2, epsilon;
  A power, l1, l2, shrinkage;  // of Ftrl
  A average_momentum;
};

// As csrc/cpu/optimizer.cc has them.
template <typename A>
Numbers<A> MakeNumbers(UpdateRule rule, const Hyperparameters& p) {
  double rate = p.learning_rate;
  if (rule == UpdateRule::kAdam || rule == UpdateRule::kAmsgrad) {
    // Keras rounds the betas to the type of the variable before it takes their powers.
    const double t = static_cast<double>(p.step);
    const double power_1 = std::pow(static_cast<double>(static_cast<A>(p.beta_1)), t);
    const double power_2 = std::pow(static_cast<double>(static_cast<A>(p.beta_2)), t);
    rate *= std::sqrt(1 - power_2) / (1 - power_1);
  }
  Numbers<A> numbers;
  numbers.rate = static_cast<A>(rate);
  numbers.decay = static_cast<A>(1 - p.weight_decay * p.learning_rate);
  numbers.momentum = static_cast<A>(p.momentum);
  numbers.share_1 = static_cast<A>(1 - p.beta_1);
  numbers.share_2 = static_cast<A>(1 - p.beta_2);
  numbers.epsilon = static_cast<A>(p.epsilon);
  numbers.power = static_cast<A>(-p.learning_rate_power);
  numbers.l1 = static_cast<A>(p.l1);
  // The learning rate is part of what Keras calls l2.
  numbers.l2 = static_cast<A>(p.l2 + p.beta / (2 * static_cast<double>(numbers.rate)));
  numbers.shrinkage = static_cast<A>(p.l2_shrinkage);
  numbers.average_momentum = static_cast<A>(p.step == 1 ? 0 : p.average_momentum);
  return numbers;
}

// One update of one weight w with gradient g and slots s.
template <typename A>
__device__ __forceinline__ void Step(UpdateRule rule, const Numbers<A>& k, A g, A& w,
                                     A (&s)[kMaxSlots]) {
  w *= k.decay;
  switch (rule) {
    case UpdateRule::kSgd:
      w -= k.rate * g;
      break;
    case UpdateRule::kMomentum:
      s[0] = s[0] * k.momentum - g * k.rate;
      w += s[0];
      break;
    case UpdateRule::kNesterov:
      s[0] = s[0] * k.momentum - g * k.rate;
      w += s[0] * k.momentum - g * k.rate;
      break;
    case UpdateRule::kAdagrad:
      s[0] += g * g;
      w -= k.rate * g / std::sqrt(s[0] + k.epsilon);
      break;
    case UpdateRule::kRowwiseAdagrad:  // s[0] is that of the row, already updated
      w -= k.rate / std::sqrt(s[0] + k.epsilon) * g;
      break;
    case UpdateRule::kAdam:
      s[0] += (g - s[0]) * k.share_1;
      s[1] += (g * g - s[1]) * k.share_2;
      w -= s[0] * k.rate / (std::sqrt(s[1]) + k.epsilon);
      break;
    case UpdateRule::kAmsgrad:
      s[0] += (g - s[0]) * k.share_1;
      s[1] += (g * g - s[1]) * k.share_2;
      s[2] = s[2] >= s[1] ? s[2] : s[1];  // NaN in s[1] stays
      w -= s[0] * k.rate / (std::sqrt(s[2]) + k.epsilon);
      break;
    case UpdateRule::kFtrl: {
      const bool root = k.power == A{0.5};
      const A next = s[0] + g * g;
      const A power = root ? std::sqrt(next) : std::pow(next, k.power);
      const A last = root ? std::sqrt(s[0]) : std::pow(s[0], k.power);
      s[1] += g + 2 * k.shrinkage * w - (power - last) / k.rate * w;
      const A clipped = s[1] < -k.l1 ? -k.l1 : s[1] > k.l1 ? k.l1 : s[1];
      w = (clipped - s[1]) / (power / k.rate + 2 * k.l2);
      s[0] = next;
      break;
    }
  }
}

// Which rows a step meets: all, or those of a list that is ascending and padded, or those that have
// been sorted.
struct MetRows {
  const int64_t* list = nullptr;
  RowOrder order;

  // The row of gradient u, or -1 for none.
  __device__ int64_t Row(int64_t u) const {
    if (order.num_distinct != nullptr) {
      const RowRun run = FindRun(order, u);
      return run.end > run.begin ? run.row : -1;
    }
    if (list == nullptr) return u;
    return u > 0 && list[u - 1] == list[u] ? -1 : list[u];
  }
};

// Gradients are of type G: the table's, or sums in its accumulator.
template <typename T, typename G, int N>
__global__ void __launch_bounds__(kThreads, 2)
    UpdateKernel(T* weights, T* slot_0, T* slot_1, T* slot_2, T* average, int64_t num_rows,
                 int64_t dim, UpdateRule rule, Numbers<Accumulator<T>> numbers, MetRows rows,
                 const G* values, int64_t count) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  const int64_t u = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (u >= count) return;
  const int64_t row = rows.Row(u);
  if (row < 0 || row >= num_rows) return;
  const bool by_row = rule == UpdateRule::kRowwiseAdagrad;
  const G* gradient = values + u * dim;

  A of_row = 0;
  if (by_row) {
    A square = 0;
    for (int64_t column = lane * N; column < dim; column += kWarp * N) {
      A g[N];
      LoadVector<N>(gradient + column, g);
#pragma unroll
      for (int i = 0; i < N; ++i) square += g[i] * g[i];
    }
    square = WarpSum(square);
    of_row = ToFloat(slot_0[row]) + square / static_cast<A>(dim > 1 ? dim : 1);
    __syncwarp();
    if (lane == 0) slot_0[row] = Round<T>(of_row);
  }
  T* const slots[kMaxSlots] = {by_row ? nullptr : slot_0, slot_1, slot_2};
#pragma unroll 2
  for (int64_t column = lane * N; column < dim; column += kWarp * N) {
    const int64_t at = row * dim + column;
    A g[N], w[N], s[kMaxSlots][N];
    LoadVector<N>(gradient + column, g);
    LoadVector<N>(weights + at, w);
#pragma unroll
    for (int slot = 0; slot < kMaxSlots; ++slot) {
#pragma unroll
      for (int i = 0; i < N; ++i) s[slot][i] = of_row;
      if (slots[slot] != nullptr) LoadVector<N>(slots[slot] + at, s[slot]);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      A mine[kMaxSlots] = {s[0][i], s[1][i], s[2][i]};
      Step(rule, numbers, g[i], w[i], mine);
#pragma unroll
      for (int slot = 0; slot < kMaxSlots; ++slot) s[slot][i] = mine[slot];
    }
    StoreVector<N>(weights + at, w);
#pragma unroll
    for (int slot = 0; slot < kMaxSlots; ++slot) {
      if (slots[slot] != nullptr) StoreVector<N>(slots[slot] + at, s[slot]);
    }
    if (average == nullptr) continue;
    A mean[N];
    LoadVector<N>(average + at, mean);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      mean[i] = numbers.average_momentum * mean[i] + (1 - numbers.average_momentum) * w[i];
    }
    StoreVector<N>(average + at, mean);
  }
}

template <typename T, typename G>
Status Update(const OptimizedTable<T>& table, const MetRows& rows, const G* values, int64_t count,
              const Stream& stream) {
  using A = Accumulator<T>;
  const auto launch = [&](auto kernel) {
    return Launch(kernel, NumBlocks(count, kWarps), kThreads, 0, stream, table.weights,
                  table.slots[0], table.slots[1], table.slots[2], table.average, table.rows,
                  table.dim, table.rule, MakeNumbers<A>(table.rule, table.parameters), rows, values,
                  count);
  };
  const bool by_row = table.rule == UpdateRule::kRowwiseAdagrad;
  const bool vectors = InVectors(table.dim, table.weights, by_row ? nullptr : table.slots[0],
                                 table.slots[1], table.slots[2], table.average) &&
                       InVectors(table.dim, values);
  return vectors ? launch(UpdateKernel<T, G, kVector>) : launch(UpdateKernel<T, G, 1>);
}

// Terms of slices: value i belongs to row i of the list.
__global__ void __launch_bounds__(kThreads, 2)
    SliceTermsKernel(const int64_t* rows, int64_t count, int64_t num_rows, int64_t* term_rows,
                     int32_t* places) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  term_rows[i] = rows[i] >= 0 && rows[i] < num_rows ? rows[i] : num_rows;
  places[i] = static_cast<int32_t>(i);
}

template <typename T>
struct SliceTerms {
  using A = Accumulator<T>;
  const T* values;
  int64_t dim;

  __device__ A Coefficient(int64_t) const { return 1; }
  __device__ A Bias(int64_t) const { return 0; }
  template <int N>
  __device__ void Load(int64_t term, int64_t column, A (&x)[N]) const {
    LoadVector<N>(values + term * dim + column, x);
  }
};

template <typename T>
struct SlicesMemory {
  RowSorter sorter;
  RowGradient<Accumulator<T>> sums;

  SlicesMemory(const OptimizedTable<T>& table, int64_t count, Scratch* scratch)
      : sorter(count, table.rows, scratch) {
    sums.rows = scratch->Take<int64_t>(count);
    sums.values = scratch->Take<Accumulator<T>>(count * table.dim);
  }
};

}  // namespace

template <typename T>
Status CheckOptimizedTable(const OptimizedTable<T>& table) {
  FASTW2V_RETURN_IF_ERROR(fastw2v::CheckOptimizedTable(table));
  if (!table.lazy) {
    return InvalidArgument(
        "lazy = False is not offered on a GPU: rows that a step does not meet stand still there");
  }
  if (table.clock.present()) {
    return InvalidArgument("a table with a clock of its rows is not offered on a GPU");
  }
  return Status();
}

template <typename T>
Status UpdateRows(const OptimizedTable<T>& table, const RowSlices<T>& gradient,
                  const Stream& stream) {
  FASTW2V_RETURN_IF_ERROR(cuda::CheckOptimizedTable(table));
  return Update(table, MetRows{gradient.rows, {}}, gradient.values, gradient.count, stream);
}

template <typename T>
std::size_t UpdateSlicesScratchBytes(const OptimizedTable<T>& table, int64_t count) {
  Scratch scratch;
  SlicesMemory<T>(table, count, &scratch);
  return scratch.used();
}

template <typename T>
Status UpdateSlices(const OptimizedTable<T>& table, const RowSlices<T>& slices,
                    const Stream& stream, void* memory) {
  using A = Accumulator<T>;
  FASTW2V_RETURN_IF_ERROR(cuda::CheckOptimizedTable(table));
  Scratch scratch(memory);
  const SlicesMemory<T> own(table, slices.count, &scratch);
  FASTW2V_RETURN_IF_ERROR(Launch(SliceTermsKernel, NumBlocks(slices.count, kThreads), kThreads, 0,
                                 stream, slices.rows, slices.count, table.rows, own.sorter.rows(),
                                 own.sorter.places()));
  RowOrder order;
  FASTW2V_RETURN_IF_ERROR(own.sorter.Sort(stream, &order));
  const SliceTerms<T> terms = {slices.values, table.dim};
  FASTW2V_RETURN_IF_ERROR(
      SumRows<A>(order, table.dim, terms, InVectors(table.dim, slices.values), own.sums, stream));
  return Update(table, MetRows{nullptr, order}, own.sums.values, slices.count, stream);
}

template <typename T>
Status UpdateAll(const OptimizedTable<T>& table, const T* gradient, const Stream& stream) {
  FASTW2V_RETURN_IF_ERROR(cuda::CheckOptimizedTable(table));
  return Update(table, MetRows(), gradient, table.rows, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                                  \
  template Status CheckOptimizedTable<T>(const OptimizedTable<T>&);                             \
  template Status UpdateRows<T>(const OptimizedTable<T>&, const RowSlices<T>&, const Stream&);  \
  template std::size_t UpdateSlicesScratchBytes<T>(const OptimizedTable<T>&, int64_t);          \
  template Status UpdateSlices<T>(const OptimizedTable<T>&, const RowSlices<T>&, const Stream&, \
                                  void*);                                                       \
  template Status UpdateAll<T>(const OptimizedTable<T>&, const T*, const Stream&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
