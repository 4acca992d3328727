// A block keeps the best entries of a part of the classes in shared memory, next to room for new
// ones. Where one of these is better than the k-th, all are sorted. A second kernel does the same
// with what the parts of a row have found.
#include <algorithm>

#include "csrc/core/loss_formulas.h"
#include "csrc/core/scratch.h"
#include "csrc/core/top_k.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/top_k.h"

namespace fastw2v::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kBest = static_cast<int>(TopKProblem<float>::kMaxK);
constexpr int kNew = 512;  // entries that come at a time
constexpr int kEntries = kBest + kNew;
static_assert((kEntries & (kEntries - 1)) == 0, "a bitonic sort takes a power of 2");

constexpr int64_t kBusyBlocks = 264;

template <typename A>
struct Entry {
  A x;
  int64_t k;  // the class; negative: no entry
};

// Whether x comes before y.
template <typename A>
__device__ __forceinline__ bool Before(const Entry<A>& x, const Entry<A>& y) {
  if (x.k < 0 || y.k < 0) return x.k >= 0 && y.k < 0;
  const bool x_is_nan = x.x != x.x, y_is_nan = y.x != y.x;
  if (x_is_nan || y_is_nan) return x_is_nan && y_is_nan ? x.k < y.k : x_is_nan;
  return x.x != y.x ? x.x > y.x : x.k < y.k;
}

template <typename A>
__device__ __forceinline__ void Sort(Entry<A>* entries) {
  for (int size = 2; size <= kEntries; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int pair = threadIdx.x; pair < kEntries / 2; pair += kThreads) {
        const int i = 2 * pair - (pair & (distance - 1)), j = i + distance;
        const bool in_order = (i & size) == 0;
        if (Before(entries[j], entries[i]) == in_order) {
          const Entry<A> entry = entries[i];
          entries[i] = entries[j];
          entries[j] = entry;
        }
      }
    }
  }
  __syncthreads();
}

// Takes the new entries in; `any` is shared by the block.
template <typename A>
__device__ __forceinline__ void TakeIn(Entry<A>* entries, int64_t k, int* any) {
  if (threadIdx.x == 0) *any = 0;
  __syncthreads();
  for (int i = kBest + static_cast<int>(threadIdx.x); i < kEntries; i += kThreads) {
    if (Before(entries[i], entries[k - 1])) *any = 1;  // whoever writes, it is 1
  }
  __syncthreads();
  if (*any != 0) Sort(entries);
}

template <typename A>
__device__ __forceinline__ void Clear(Entry<A>* entries) {
  for (int i = threadIdx.x; i < kEntries; i += kThreads) entries[i] = {0, -1};
}

// Block (x, y): part x of the classes for hidden row y. found [batch, parts, k].
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, 2)
    FindKernel(TopKProblem<T> p, int64_t per_part, Entry<Accumulator<T>>* found) {
  using A = Accumulator<T>;
  auto* const entries = reinterpret_cast<Entry<A>*>(SharedMemory());
  __shared__ int any;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t b = blockIdx.y;
  const A* hidden = p.hidden + b * p.dim;
  const int64_t begin = blockIdx.x * per_part, end = Smaller(p.classes, begin + per_part);
  Clear(entries);
  for (int64_t first = begin; first < end; first += kNew) {
    __syncthreads();
    for (int i = warp; i < kNew; i += kWarps) {
      const int64_t c = first + i;
      A sum = 0;
      if (c < end) {
#pragma unroll 2
        for (int64_t column = lane * N; column < p.dim; column += kWarp * N) {
          A x[N], y[N];
          LoadVector<N>(hidden + column, x);
          LoadVector<N>(p.weights + c * p.dim + column, y);
#pragma unroll
          for (int j = 0; j < N; ++j) sum += x[j] * y[j];
        }
      }
      sum = static_cast<A>(p.logit_scale) * WarpSum(sum);
      if (lane != 0) continue;
      if (c < end && p.biases != nullptr) sum += ToFloat(p.biases[c]);
      entries[kBest + i] = {sum, c < end ? c : -1};
    }
    TakeIn(entries, p.k, &any);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < p.k; i += kThreads) {
    found[(b * gridDim.x + blockIdx.x) * p.k + i] = entries[i];
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    MergeKernel(TopKProblem<T> p, int64_t num_found, const Entry<Accumulator<T>>* found,
                Accumulator<T>* logits, int64_t* classes) {
  using A = Accumulator<T>;
  auto* const entries = reinterpret_cast<Entry<A>*>(SharedMemory());
  __shared__ int any;
  const int64_t b = blockIdx.x;
  Clear(entries);
  for (int64_t first = 0; first < num_found; first += kNew) {
    __syncthreads();
    for (int i = threadIdx.x; i < kNew; i += kThreads) {
      const bool is_there = first + i < num_found;
      entries[kBest + i] = is_there ? found[b * num_found + first + i] : Entry<A>{0, -1};
    }
    TakeIn(entries, p.k, &any);
  }
  __syncthreads();
  const A cap = static_cast<A>(p.logit_softcap);
  for (int i = threadIdx.x; i < p.k; i += kThreads) {
    const A x = entries[i].x;
    logits[b * p.k + i] = cap != 0 ? CapLogit(x, cap).z : x;
    classes[b * p.k + i] = entries[i].k;
  }
}

template <typename T>
int64_t NumParts(const TopKProblem<T>& p) {
  const int64_t most = (p.classes + kNew - 1) / kNew;
  return std::clamp<int64_t>(kBusyBlocks / std::max<int64_t>(p.batch, 1), 1, most);
}

// As many rows as a grid has in one direction.
constexpr int64_t kMaxRows = 65535;

}  // namespace

template <typename T>
Status CheckTopKProblem(const TopKProblem<T>& p) {
  FASTW2V_RETURN_IF_ERROR(CheckTopKNumbers(p.classes, p.k, p.logit_scale, p.logit_softcap));
  if (p.k > TopKProblem<T>::kMaxK) {
    return InvalidArgument("k = ", p.k, " is not in [1, ", TopKProblem<T>::kMaxK,
                           "], which a GPU takes");
  }
  return Status();
}

template <typename T>
std::size_t TopKScratchBytes(const TopKProblem<T>& p) {
  Scratch scratch;
  scratch.Take<Entry<Accumulator<T>>>(std::min(p.batch, kMaxRows) * NumParts(p) * p.k);
  return scratch.used();
}

template <typename T>
Status TopK(const TopKProblem<T>& problem, const Stream& stream, void* memory,
            Accumulator<T>* logits, int64_t* classes) {
  using A = Accumulator<T>;
  FASTW2V_RETURN_IF_ERROR(CheckTopKProblem(problem));
  Scratch scratch(memory);
  const int64_t parts = NumParts(problem);
  auto* const found = scratch.Take<Entry<A>>(std::min(problem.batch, kMaxRows) * parts * problem.k);
  const int64_t chunks = (problem.classes + kNew - 1) / kNew;
  const int64_t per_part = (chunks + parts - 1) / parts * kNew;
  constexpr std::size_t kBytes = kEntries * sizeof(Entry<A>);
  const bool vectors =
      InVectors(problem.dim, problem.hidden) && InVectors(problem.dim, problem.weights);
  for (int64_t first = 0; first < problem.batch; first += kMaxRows) {
    TopKProblem<T> p = problem;
    p.batch = std::min(kMaxRows, problem.batch - first);
    p.hidden += first * p.dim;
    const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(p.batch));
    const auto find = [&](auto kernel) {
      return Launch(kernel, grid, kThreads, kBytes, stream, p, per_part, found);
    };
    FASTW2V_RETURN_IF_ERROR(vectors ? find(FindKernel<T, kVector>) : find(FindKernel<T, 1>));
    FASTW2V_RETURN_IF_ERROR(Launch(MergeKernel<T>, static_cast<unsigned>(p.batch), kThreads, kBytes,
                                   stream, p, parts * p.k, found, logits + first * p.k,
                                   classes + first * p.k));
  }
  return Status();
}

#define FASTW2V_INSTANTIATE(T)                                     \
  template Status CheckTopKProblem<T>(const TopKProblem<T>&);      \
  template std::size_t TopKScratchBytes<T>(const TopKProblem<T>&); \
  template Status TopK<T>(const TopKProblem<T>&, const Stream&, void*, Accumulator<T>*, int64_t*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
