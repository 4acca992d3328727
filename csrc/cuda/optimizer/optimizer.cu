// A warp updates a row: it reads and writes each number of the row and of its slots once.
#include "csrc/core/scratch.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/optimizer/optimizer.h"
#include "csrc/cuda/optimizer/update_history.h"
#include "csrc/cuda/optimizer/update_step.h"
#include "csrc/cuda/rows/row_sums.h"
#include "csrc/cuda/rows/rows.h"

namespace fastw2v::cuda {

namespace {

// Gradients are of type G: the table's, or sums in its accumulator.
template <typename T, typename G, int N>
__global__ void __launch_bounds__(kUpdateThreads, 2)
    UpdateKernel(T* weights, T* slot_0, T* slot_1, T* slot_2, T* average, int64_t num_rows,
                 int64_t dim, UpdateRule rule, UpdateNumbers<Accumulator<T>> numbers, MetRows rows,
                 const G* values, int64_t count) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  const int64_t u = int64_t{blockIdx.x} * kUpdateWarps + threadIdx.x / kWarp;
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
    of_row = UpdateRowSlot(A{ToFloat(slot_0[row])}, square, dim);
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
      mean[i] = BlendAverage(numbers.average_momentum, mean[i], w[i]);
    }
    StoreVector<N>(average + at, mean);
  }
}

template <typename T, typename G>
Status Update(const OptimizedTable<T>& table, const MetRows& rows, const G* values, int64_t count,
              const Stream& stream) {
  using A = Accumulator<T>;
  const UpdateEntry entry = NextEntry<A>(table.rule, table.parameters);
  const auto launch = [&](auto kernel) {
    return Launch(kernel, NumBlocks(count, kUpdateWarps), kUpdateThreads, 0, stream, table.weights,
                  table.slots[0], table.slots[1], table.slots[2], table.average, table.rows,
                  table.dim, table.rule, MakeUpdateNumbers<A>(table.parameters, entry), rows,
                  values, count);
  };
  const bool vectors = RowsInVectors(table) && InVectors(table.dim, values);
  FASTW2V_RETURN_IF_ERROR(BeginUpdate(table, rows, count, stream));
  FASTW2V_RETURN_IF_ERROR(vectors ? launch(UpdateKernel<T, G, kVector>)
                                  : launch(UpdateKernel<T, G, 1>));
  return EndUpdate(table, entry, stream);
}

// Terms of slices: value i belongs to row i of the list.
__global__ void __launch_bounds__(kUpdateThreads, 2)
    SliceTermsKernel(const int64_t* rows, int64_t count, int64_t num_rows, int64_t* term_rows,
                     int32_t* places) {
  const int64_t i = int64_t{blockIdx.x} * kUpdateThreads + threadIdx.x;
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
Status UpdateRows(const OptimizedTable<T>& table, const RowSlices<T>& gradient,
                  const Stream& stream) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
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
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  Scratch scratch(memory);
  const SlicesMemory<T> own(table, slices.count, &scratch);
  FASTW2V_RETURN_IF_ERROR(Launch(SliceTermsKernel, NumBlocks(slices.count, kUpdateThreads),
                                 kUpdateThreads, 0, stream, slices.rows, slices.count, table.rows,
                                 own.sorter.rows(), own.sorter.places()));
  RowOrder order;
  FASTW2V_RETURN_IF_ERROR(own.sorter.Sort(stream, &order));
  const SliceTerms<T> terms = {slices.values, table.dim};
  FASTW2V_RETURN_IF_ERROR(
      SumRows<A>(order, table.dim, terms, InVectors(table.dim, slices.values), own.sums, stream));
  return Update(table, MetRows{nullptr, order}, own.sums.values, slices.count, stream);
}

template <typename T>
Status UpdateAll(const OptimizedTable<T>& table, const T* gradient, const Stream& stream) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  return Update(table, MetRows(), gradient, table.rows, stream);
}

template <typename T>
Status ApplyPending(const OptimizedTable<T>& table, const int64_t* rows, int64_t count,
                    const Stream& stream) {
  FASTW2V_RETURN_IF_ERROR(CheckOptimizedTable(table));
  if (!table.history.present()) return Status();
  return ApplyPendingToRows(table, MetRows{rows, {}}, rows == nullptr ? table.rows : count, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                                  \
  template Status UpdateRows<T>(const OptimizedTable<T>&, const RowSlices<T>&, const Stream&);  \
  template std::size_t UpdateSlicesScratchBytes<T>(const OptimizedTable<T>&, int64_t);          \
  template Status UpdateSlices<T>(const OptimizedTable<T>&, const RowSlices<T>&, const Stream&, \
                                  void*);                                                       \
  template Status UpdateAll<T>(const OptimizedTable<T>&, const T*, const Stream&);              \
  template Status ApplyPending<T>(const OptimizedTable<T>&, const int64_t*, int64_t, const Stream&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
