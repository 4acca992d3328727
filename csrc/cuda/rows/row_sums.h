// Kernels' part of rows.h: sums of the terms of a row. `Terms` says what they are:
//   A Coefficient(int64_t term), A Bias(int64_t term)
//   void Load<N>(int64_t term, int64_t column, A (&x)[N])   what the coefficient multiplies
#ifndef FASTW2V_CUDA_ROWS_ROW_SUMS_H_
#define FASTW2V_CUDA_ROWS_ROW_SUMS_H_

#include <cstdint>

#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/rows/row_gradient.h"
#include "csrc/cuda/rows/rows.h"

namespace fastw2v::cuda {

constexpr int kRowWarps = 8;  // of a block
constexpr int kLongRow = 64;  // terms

// The terms of distinct row u; none where there is no such row.
struct RowRun {
  int64_t row;
  int32_t begin, end;
};
__device__ __forceinline__ RowRun FindRun(const RowOrder& order, int64_t u) {
  const int32_t num_distinct = u < order.num_terms ? *order.num_distinct : 0;
  if (u >= num_distinct || order.distinct[u] >= order.num_rows) return {0, 0, 0};
  return {order.distinct[u], order.begins[u],
          u + 1 < num_distinct ? order.begins[u + 1] : static_cast<int32_t>(order.num_terms)};
}

// What a padding row repeats: the largest one that was used, or 0.
__device__ __forceinline__ int64_t LargestRow(const RowOrder& order) {
  for (int64_t u = *order.num_distinct - 1; u >= 0; --u) {
    if (order.distinct[u] < order.num_rows) return order.distinct[u];
  }
  return 0;
}

// The sum of terms [begin, end) in kSpan pieces of N columns from `column` on, by the lanes of a
// warp. Columns from `dim` on are 0.
template <typename A, int N, typename Terms>
__device__ __forceinline__ void SumRun(const RowOrder& order, int32_t begin, int32_t end,
                                       int64_t column, int64_t dim, const Terms& terms,
                                       A (&sum)[kSpan][N]) {
  const int64_t mine = column + threadIdx.x % kWarp * N;
#pragma unroll
  for (int s = 0; s < kSpan; ++s) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[s][i] = 0;
  }
  // Places and coefficients of 32 terms come at once, so that loads of rows do not wait for them.
  const int lane = threadIdx.x % kWarp;
  for (int32_t first = begin; first < end; first += kWarp) {
    int32_t my_term = 0;
    A my_coefficient = 0;
    if (first + lane < end) {
      my_term = order.places[first + lane];
      my_coefficient = terms.Coefficient(my_term);
    }
    const int count = Smaller(kWarp, end - first);
#pragma unroll 4
    for (int i = 0; i < count; ++i) {
      const int64_t term = __shfl_sync(kAllLanes, my_term, i);
      const A coefficient = __shfl_sync(kAllLanes, my_coefficient, i);
#pragma unroll
      for (int s = 0; s < kSpan; ++s) {
        const int64_t at = mine + s * N * kWarp;
        if (at >= dim) continue;
        A x[N];
        terms.template Load<N>(term, at, x);
#pragma unroll
        for (int j = 0; j < N; ++j) sum[s][j] += coefficient * x[j];
      }
    }
  }
}

// The values and biases of distinct rows, and the rows themselves. A warp for each; the long ones
// are left to the whole block. `biases` and `values` may be null.
template <typename T, int N, typename Terms>
__global__ void __launch_bounds__(kRowWarps* kWarp, 2)
    SumRowsKernel(RowOrder order, int64_t dim, Terms terms, RowGradient<T> gradient) {
  using A = Accumulator<T>;
  __shared__ A partial[kRowWarps][kSpanColumns<N>];
  __shared__ RowRun runs[kRowWarps];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t first = int64_t{blockIdx.x} * kRowWarps, u = first + warp;
  const RowRun run = FindRun(order, u);
  const bool is_long = run.end - run.begin > kLongRow;
  if (lane == 0) runs[warp] = is_long ? run : RowRun{0, 0, 0};

  if (u < order.num_terms) {
    if (lane == 0) gradient.rows[u] = run.end > run.begin ? run.row : LargestRow(order);
    if (gradient.biases != nullptr) {
      A bias = 0;
      for (int32_t i = run.begin + lane; i < run.end; i += kWarp) {
        bias += terms.Bias(order.places[i]);
      }
      bias = WarpSum(bias);
      if (lane == 0) gradient.biases[u] = Round<T>(bias);
    }
    if (!is_long) {
      for (int64_t column = 0; column < dim; column += kSpanColumns<N>) {
        A sum[kSpan][N];
        SumRun<A, N>(order, run.begin, run.end, column, dim, terms, sum);
#pragma unroll
        for (int s = 0; s < kSpan; ++s) {
          const int64_t at = column + (s * kWarp + lane) * N;
          if (at < dim) StoreVector<N>(gradient.values + u * dim + at, sum[s]);
        }
      }
    }
  }

  __syncthreads();
  for (int w = 0; w < kRowWarps; ++w) {
    const int32_t begin = runs[w].begin, length = runs[w].end - begin;
    if (length == 0) continue;
    const int32_t part = (length + kRowWarps - 1) / kRowWarps;
    for (int64_t column = 0; column < dim; column += kSpanColumns<N>) {
      const int32_t from = begin + Smaller(warp * part, length);
      const int32_t to = begin + Smaller((warp + 1) * part, length);
      A sum[kSpan][N];
      SumRun<A, N>(order, from, to, column, dim, terms, sum);
#pragma unroll
      for (int s = 0; s < kSpan; ++s) {
#pragma unroll
        for (int i = 0; i < N; ++i) partial[warp][(s * kWarp + lane) * N + i] = sum[s][i];
      }
      __syncthreads();
      for (int i = threadIdx.x; i < kSpanColumns<N> && column + i < dim; i += kRowWarps * kWarp) {
        A total = 0;
        for (int part_of = 0; part_of < kRowWarps; ++part_of) total += partial[part_of][i];
        gradient.values[(first + w) * dim + column + i] = Round<T>(total);
      }
      __syncthreads();
    }
  }
}

// Sums all rows; `in_vectors`: so do the addresses that terms read from.
template <typename T, typename Terms>
Status SumRows(const RowOrder& order, int64_t dim, const Terms& terms, bool in_vectors,
               const RowGradient<T>& gradient, const Stream& stream) {
  const unsigned blocks = NumBlocks(order.num_terms, kRowWarps);
  constexpr int kThreads = kRowWarps * kWarp;
  if (in_vectors && InVectors(dim, gradient.values)) {
    return Launch(SumRowsKernel<T, kVector, Terms>, blocks, kThreads, 0, stream, order, dim, terms,
                  gradient);
  }
  return Launch(SumRowsKernel<T, 1, Terms>, blocks, kThreads, 0, stream, order, dim, terms,
                gradient);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_ROWS_ROW_SUMS_H_
