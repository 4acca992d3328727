// What kernels of the sampled losses do with one example and the classes that it has to itself: its
// labels and, where each example has a list, its sampled classes. Warps work on examples.
#ifndef FASTW2V_CUDA_LOSS_SAMPLED_OWN_CANDIDATES_H_
#define FASTW2V_CUDA_LOSS_SAMPLED_OWN_CANDIDATES_H_

#include <cstdint>

#include "csrc/core/loss_formulas.h"
#include "csrc/core/own_candidates.h"
#include "csrc/cuda/device/device.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

__device__ __forceinline__ bool InRange(int64_t x, int64_t size) { return x >= 0 && x < size; }

// A row of hidden activations or of weights, as products take it.
template <typename T, int N>
__device__ __forceinline__ void LoadRow(const LossProblem<T>& p, const T* row, int64_t column,
                                        Accumulator<T> (&x)[N]) {
  LoadVector<N>(row + column, x);
  if (p.options.compute_dtype != ComputeDtype::kBFloat16) return;
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = ToFloat(Round<BFloat16>(static_cast<float>(x[i])));
}

// An example, as far as its ids and labels say. All lanes of a warp know it.
template <typename T>
struct Example {
  const T* hidden;  // its row; of an example that is not valid, none
  int num_labels;   // that are not ignored
  bool valid;       // every id and label is in range
};
template <typename T>
__device__ __forceinline__ Example<T> FindExample(const LossProblem<T>& p, int64_t b) {
  const int64_t row = p.ids != nullptr ? p.ids[b] : b;
  Example<T> example = {nullptr, 0, p.ids == nullptr || InRange(row, p.hidden_rows)};
  for (int64_t j = 0; j < p.num_true; ++j) {
    const int64_t label = p.labels[b * p.num_true + j];
    if (p.options.ignored.Is(label)) continue;
    ++example.num_labels;
    example.valid = example.valid && InRange(label, p.classes);
  }
  if (p.candidates == Candidates::kPerExample) {
    bool in_range = true;
    for (int64_t s = threadIdx.x % kWarp; s < p.num_sampled; s += kWarp) {
      in_range = in_range && InRange(p.sampled[b * p.num_sampled + s], p.classes);
    }
    example.valid = __all_sync(kAllLanes, in_range) != 0 && example.valid;
  }
  if (example.valid) example.hidden = p.hidden + row * p.dim;
  return example;
}

template <typename T>
__device__ __forceinline__ Logit<Accumulator<T>> FinishOwn(const LossProblem<T>& p,
                                                           Accumulator<T> product,
                                                           const OwnCandidate& candidate) {
  using A = Accumulator<T>;
  return MakeLogit(product, p.biases != nullptr ? A{ToFloat(p.biases[candidate.row])} : A{0},
                   LogCount<A>(candidate.expected_count), static_cast<A>(p.options.logit_scale),
                   static_cast<A>(p.options.logit_softcap));
}

// The product of two rows, known to all lanes.
template <typename T, int N>
__device__ __forceinline__ Accumulator<T> Dot(const LossProblem<T>& p, const T* hidden,
                                              const T* weights) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  A sum = 0;
  for (int64_t first = 0; first < p.dim; first += kSpanColumns<N>) {
#pragma unroll
    for (int s = 0; s < kSpan; ++s) {
      const int64_t column = first + (s * kWarp + lane) * N;
      if (column >= p.dim) continue;
      A x[N], y[N];
      LoadRow<T, N>(p, hidden, column, x);
      LoadRow<T, N>(p, weights, column, y);
#pragma unroll
      for (int i = 0; i < N; ++i) sum += x[i] * y[i];
    }
  }
  return WarpSum(sum);
}

template <typename T>
__device__ __forceinline__ LossNumbers<Accumulator<T>> Numbers(const LossProblem<T>& p) {
  return MakeLossNumbers<Accumulator<T>>(p.options, p.classes);
}

// How the gradients of an example's logits follow from the gradient of its loss.
template <typename T>
struct Coefficients {
  using A = Accumulator<T>;
  A max, log_sum, scale, target;
  bool active, softmax;

  __device__ Coefficients(const LossProblem<T>& p, const Example<T>& example, bool is_active,
                          A d_loss, A of_max, A of_log_sum)
      : max(of_max),
        log_sum(of_log_sum),
        scale(0),
        target(0),
        active(is_active),
        softmax(p.options.link == Link::kSoftmax) {
    if (!active) return;
    const GradientTerms<A> terms =
        MakeGradientTerms(Numbers(p), d_loss, max, log_sum, example.num_labels);
    scale = terms.scale;  // sampled losses have no shift
    target = terms.target;
  }

  __device__ A LogitGradientOf(const Logit<A>& logit, bool is_label) const {
    if (!active) return 0;
    const A share = softmax ? math::Exp(logit.z - max - log_sum) : Sigmoid(logit.z);
    return (scale * share - (is_label ? target : A{0})) * logit.slope;
  }
};

// Where the gradients of the own candidates of all examples go.
template <typename A>
struct OwnGradients {
  A* d_logits = nullptr;         // [batch, own candidates]
  int64_t* term_rows = nullptr;  // the same; the number of classes where there is no term
  int32_t* places = nullptr;
  A* d_hidden = nullptr;  // [batch, dim], or null where it is not wanted
};

// sum += coefficient * row of weights, in one span of columns.
template <typename T, int N>
__device__ __forceinline__ void AddRow(const LossProblem<T>& p, Accumulator<T> coefficient,
                                       int64_t row, int64_t first,
                                       Accumulator<T> (&sum)[kSpan][N]) {
  using A = Accumulator<T>;
#pragma unroll
  for (int s = 0; s < kSpan; ++s) {
    const int64_t column = first + (s * kWarp + threadIdx.x % kWarp) * N;
    if (column >= p.dim) continue;
    A x[N];
    LoadRow<T, N>(p, p.weights + row * p.dim, column, x);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[s][i] += coefficient * x[i];
  }
}
template <typename A, int N>
__device__ __forceinline__ void ClearSpan(A (&sum)[kSpan][N]) {
#pragma unroll
  for (int s = 0; s < kSpan; ++s) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[s][i] = 0;
  }
}
template <typename T, int N>
__device__ __forceinline__ void StoreSpan(const LossProblem<T>& p, Accumulator<T>* row,
                                          int64_t first, Accumulator<T> (&sum)[kSpan][N]) {
  using A = Accumulator<T>;
#pragma unroll
  for (int s = 0; s < kSpan; ++s) {
    const int64_t column = first + (s * kWarp + threadIdx.x % kWarp) * N;
    if (column >= p.dim) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) sum[s][i] *= static_cast<A>(p.options.logit_scale);
    StoreVector<N>(row + column, sum[s]);
  }
}

template <typename T>
__device__ __forceinline__ void WriteTerm(const LossProblem<T>& p, const OwnCandidate& candidate,
                                          bool valid, Accumulator<T> d_logit, int64_t term,
                                          const OwnGradients<Accumulator<T>>& own) {
  own.d_logits[term] = d_logit;
  own.term_rows[term] = valid && candidate.competes ? candidate.row : p.classes;
  own.places[term] = static_cast<int32_t>(term);
}

template <typename T>
bool RowsInVectors(const LossProblem<T>& p) {
  return InVectors(p.dim, p.hidden, p.weights);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SAMPLED_OWN_CANDIDATES_H_
