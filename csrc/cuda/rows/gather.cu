#include <type_traits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/rows/gather.h"
#include "csrc/cuda/rows/row_sums.h"
#include "csrc/cuda/rows/rows.h"

namespace fastw2v::cuda {

namespace {

constexpr int kWarps = 8;  // of a block
constexpr int kThreads = kWarps * kWarp;

// A bag's ids, [begin, end); none where its row_splits are not as they should be.
struct BagIds {
  int64_t begin, end;
};
__device__ __forceinline__ BagIds FindBag(const Bags& bags, int64_t b) {
  if (bags.row_splits == nullptr) return {b * bags.width, (b + 1) * bags.width};
  const BagIds ids = {bags.row_splits[b], bags.row_splits[b + 1]};
  const bool valid = ids.begin >= 0 && ids.begin <= ids.end && ids.end <= bags.num_ids;
  return valid ? ids : BagIds{0, 0};
}

__device__ __forceinline__ bool IsPadding(const Bags& bags, int64_t id) {
  return bags.padded && id < 0;
}

// What each row of the bag is multiplied by, or 0 where the bag is not valid. All lanes of a warp
// call it together.
template <typename A>
__device__ __forceinline__ A BagCoefficient(const Bags& bags, const BagIds& ids, int64_t rows) {
  int size = 0;
  bool valid = true;
  for (int64_t i = ids.begin + threadIdx.x % kWarp; i < ids.end; i += kWarp) {
    const int64_t id = bags.ids[i];
    if (IsPadding(bags, id)) continue;
    ++size;
    valid = valid && id >= 0 && id < rows;
  }
  size = WarpSum(size);
  if (!__all_sync(kAllLanes, valid) || size == 0) return 0;
  return bags.combiner == Combiner::kMean ? A{1} / static_cast<A>(size) : A{1};
}

// A warp for each bag.
template <typename T, typename Out, int N>
__global__ void __launch_bounds__(kThreads, 2) GatherKernel(BagProblem<T> p, Out* hidden) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  const int64_t b = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (b >= p.bags.batch) return;
  const BagIds ids = FindBag(p.bags, b);
  const A coefficient = BagCoefficient<A>(p.bags, ids, p.rows);
  for (int64_t first = 0; first < p.dim; first += kSpanColumns<N>) {
    A sum[kSpan][N];
#pragma unroll
    for (int s = 0; s < kSpan; ++s) {
#pragma unroll
      for (int j = 0; j < N; ++j) sum[s][j] = coefficient != 0 ? 0 : NAN;
    }
    if (coefficient != 0) {
#pragma unroll 2
      for (int64_t i = ids.begin; i < ids.end; ++i) {
        const int64_t id = p.bags.ids[i];
        if (IsPadding(p.bags, id)) continue;
#pragma unroll
        for (int s = 0; s < kSpan; ++s) {
          const int64_t column = first + (s * kWarp + lane) * N;
          if (column >= p.dim) continue;
          A x[N];
          LoadVector<N>(p.embeddings + id * p.dim + column, x);
#pragma unroll
          for (int j = 0; j < N; ++j) sum[s][j] += coefficient * x[j];
        }
      }
    }
#pragma unroll
    for (int s = 0; s < kSpan; ++s) {
      const int64_t column = first + (s * kWarp + lane) * N;
      if (column < p.dim) StoreVector<N>(hidden + b * p.dim + column, sum[s]);
    }
  }
}

template <typename A>
__global__ void __launch_bounds__(kThreads, 2)
    BagCoefficientsKernel(Bags bags, int64_t rows, A* coefficients) {
  const int64_t b = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (b >= bags.batch) return;
  const A coefficient = BagCoefficient<A>(bags, FindBag(bags, b), rows);
  if (threadIdx.x % kWarp == 0) coefficients[b] = coefficient;
}

// The bag of each id and the row that it gives a term to.
template <typename A>
__global__ void __launch_bounds__(kThreads, 2)
    BagTermsKernel(Bags bags, int64_t rows, const A* coefficients, int64_t* term_rows,
                   int32_t* places, int32_t* owners) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= bags.num_ids) return;
  int64_t b = bags.row_splits == nullptr ? i / bags.width : 0;
  if (bags.row_splits != nullptr) {
    int64_t above = bags.batch;  // the last bag that does not begin behind i
    while (b + 1 < above) {
      const int64_t middle = (b + above) / 2;
      if (bags.row_splits[middle] <= i) {
        b = middle;
      } else {
        above = middle;
      }
    }
  }
  const int64_t id = bags.ids[i];
  bool valid = b < bags.batch && id >= 0 && id < rows;
  if (valid) {
    const BagIds ids = FindBag(bags, b);
    valid = i >= ids.begin && i < ids.end && coefficients[b] != 0;
  }
  term_rows[i] = valid ? id : rows;
  places[i] = static_cast<int32_t>(i);
  owners[i] = static_cast<int32_t>(valid ? b : 0);
}

template <typename A>
struct BagTerms {
  const int32_t* owners;
  const A* coefficients;
  const A* d_hidden;
  int64_t dim;

  __device__ A Coefficient(int64_t term) const { return coefficients[owners[term]]; }
  __device__ A Bias(int64_t) const { return 0; }
  template <int N>
  __device__ void Load(int64_t term, int64_t column, A (&x)[N]) const {
    LoadVector<N>(d_hidden + owners[term] * dim + column, x);
  }
};

template <typename T>
struct GradientMemory {
  RowSorter sorter;
  int32_t* owners;
  Accumulator<T>* coefficients;

  GradientMemory(const BagProblem<T>& p, Scratch* scratch)
      : sorter(p.bags.num_ids, p.rows, scratch),
        owners(scratch->Take<int32_t>(p.bags.num_ids)),
        coefficients(scratch->Take<Accumulator<T>>(p.bags.batch)) {}
};

}  // namespace

template <typename T, typename Out>
Status GatherBags(const BagProblem<T>& p, const Stream& stream, Out* hidden) {
  const unsigned blocks = NumBlocks(p.bags.batch, kWarps);
  if (InVectors(p.dim, p.embeddings) && InVectors(p.dim, hidden)) {
    return Launch(GatherKernel<T, Out, kVector>, blocks, kThreads, 0, stream, p, hidden);
  }
  return Launch(GatherKernel<T, Out, 1>, blocks, kThreads, 0, stream, p, hidden);
}

template <typename T>
std::size_t BagGradientScratchBytes(const BagProblem<T>& problem) {
  Scratch scratch;
  GradientMemory<T>(problem, &scratch);
  return scratch.used();
}

template <typename T>
Status BagGradient(const BagProblem<T>& p, const Accumulator<T>* d_hidden, const Stream& stream,
                   void* memory, const RowGradient<T>& d_embeddings) {
  using A = Accumulator<T>;
  Scratch scratch(memory);
  const GradientMemory<T> own(p, &scratch);
  FASTW2V_RETURN_IF_ERROR(Launch(BagCoefficientsKernel<A>, NumBlocks(p.bags.batch, kWarps),
                                 kThreads, 0, stream, p.bags, p.rows, own.coefficients));
  FASTW2V_RETURN_IF_ERROR(Launch(BagTermsKernel<A>, NumBlocks(p.bags.num_ids, kThreads), kThreads,
                                 0, stream, p.bags, p.rows, own.coefficients, own.sorter.rows(),
                                 own.sorter.places(), own.owners));
  RowOrder order;
  FASTW2V_RETURN_IF_ERROR(own.sorter.Sort(stream, &order));
  const BagTerms<A> terms = {own.owners, own.coefficients, d_hidden, p.dim};
  return SumRows(order, p.dim, terms, InVectors(p.dim, d_hidden), d_embeddings, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                               \
  template Status GatherBags<T, T>(const BagProblem<T>&, const Stream&, T*);                 \
  template std::size_t BagGradientScratchBytes<T>(const BagProblem<T>&);                     \
  template Status BagGradient<T>(const BagProblem<T>&, const Accumulator<T>*, const Stream&, \
                                 void*, const RowGradient<T>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE
template Status GatherBags<Half, float>(const BagProblem<Half>&, const Stream&, float*);
template Status GatherBags<BFloat16, float>(const BagProblem<BFloat16>&, const Stream&, float*);

}  // namespace fastw2v::cuda
