// What kernels of the sampled losses do with one example and the classes that it has to itself: its
// labels and, where each example has a list, its sampled classes. Warps work on examples.
#ifndef FASTW2V_CUDA_OWN_CANDIDATES_H_
#define FASTW2V_CUDA_OWN_CANDIDATES_H_

#include <cmath>
#include <cstdint>

#include "csrc/cuda/device.h"
#include "csrc/cuda/loss.h"
#include "csrc/cuda/shared_candidates.h"
#include "csrc/cuda/vectors.h"

namespace fastw2v::cuda {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

// Candidates that an example has to itself.
template <typename T>
__host__ __device__ int64_t OwnCandidates(const LossProblem<T>& p) {
  return p.num_true + (p.candidates == Candidates::kPerExample ? p.num_sampled : 0);
}

template <typename T>
__device__ __forceinline__ bool Ignored(const LossProblem<T>& p, int64_t label) {
  return p.options.has_ignore_label && label == p.options.ignore_label;
}

__device__ __forceinline__ bool InRange(int64_t x, int64_t size) { return x >= 0 && x < size; }

// A row of hidden activations or of weights, as products take it.
template <typename T, int N>
__device__ __forceinline__ void LoadRow(const LossProblem<T>& p, const T* row, int64_t column,
                                        bool is_hidden, Accumulator<T> (&x)[N]) {
  using A = Accumulator<T>;
  LoadVector<N>(row + column, x);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (is_hidden) x[i] *= static_cast<A>(p.options.logit_scale);
    if (p.options.round_bfloat16) {
      x[i] = ToFloat(Round<BFloat16>(static_cast<float>(x[i])));
    }
  }
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
    if (Ignored(p, label)) continue;
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

// One class that an example has to itself.
struct OwnCandidate {
  int64_t row;
  bool competes;  // false: an ignored label or an accidental hit
  float expected_count;
};
template <typename T>
__device__ __forceinline__ OwnCandidate FindOwn(const LossProblem<T>& p, int64_t b, int64_t k) {
  OwnCandidate candidate = {0, true, 1};
  if (k < p.num_true) {
    const int64_t i = b * p.num_true + k;
    candidate.row = p.labels[i];
    candidate.competes = !Ignored(p, candidate.row);
    if (p.true_expected_count != nullptr) candidate.expected_count = p.true_expected_count[i];
    return candidate;
  }
  const int64_t i = b * p.num_sampled + k - p.num_true;
  candidate.row = p.sampled[i];
  if (p.options.remove_accidental_hits && !Ignored(p, candidate.row)) {
    for (int64_t j = 0; j < p.num_true; ++j) {
      candidate.competes = candidate.competes && p.labels[b * p.num_true + j] != candidate.row;
    }
  }
  if (p.sampled_expected_count != nullptr) candidate.expected_count = p.sampled_expected_count[i];
  return candidate;
}

template <typename A>
__device__ __forceinline__ A LogCount(float expected_count) {
  return expected_count == 1 ? A{0} : std::log(static_cast<A>(expected_count));
}

template <typename A>
__device__ __forceinline__ A Softplus(A x) {
  return (x > 0 || x != x ? x : A{0}) + std::log1p(std::exp(-std::fabs(x)));
}

template <typename A>
struct OwnLogit {
  A z, slope;  // of the soft cap
};
template <typename T>
__device__ __forceinline__ OwnLogit<Accumulator<T>> FinishOwn(const LossProblem<T>& p,
                                                              Accumulator<T> product,
                                                              const OwnCandidate& candidate) {
  using A = Accumulator<T>;
  A x = product, slope = 1;
  if (p.biases != nullptr) x += ToFloat(p.biases[candidate.row]);
  if (p.options.logit_softcap != 0) {
    const A cap = static_cast<A>(p.options.logit_softcap), tangent = std::tanh(x / cap);
    x = cap * tangent;
    slope = 1 - tangent * tangent;
  }
  return {x - LogCount<A>(candidate.expected_count), slope};
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
      LoadRow<T, N>(p, hidden, column, true, x);
      LoadRow<T, N>(p, weights, column, false, y);
#pragma unroll
      for (int i = 0; i < N; ++i) sum += x[i] * y[i];
    }
  }
  return WarpSum(sum);
}

template <typename T>
__device__ __forceinline__ Accumulator<T> SoftmaxLoss(const LossProblem<T>& p, int num_labels,
                                                      Accumulator<T> max, Accumulator<T> log_sum,
                                                      Accumulator<T> below_max) {
  using A = Accumulator<T>;
  A loss = log_sum + below_max / static_cast<A>(num_labels);
  if (p.options.z_loss != 0) {
    const A lse = max + log_sum;
    loss += static_cast<A>(p.options.z_loss) * lse * lse;
  }
  return loss;
}

// The loss of a label by the logistic link, (1 - t) softplus(z) + t softplus(-z).
template <typename T>
__device__ __forceinline__ Accumulator<T> LabelLoss(const LossProblem<T>& p, Accumulator<T> z) {
  using A = Accumulator<T>;
  const A t = static_cast<A>(p.options.positive_target);
  return (1 - t) * Softplus(z) + t * Softplus(-z);
}

// How the gradients of an example's logits follow from the gradient of its loss.
template <typename T>
struct Coefficients {
  using A = Accumulator<T>;
  LogitGradient<A> gradient;
  A target;
  bool softmax;

  __device__ Coefficients(const LossProblem<T>& p, const Example<T>& example, bool active, A d_loss,
                          A max, A log_sum)
      : gradient{max, log_sum, d_loss, active ? 1 : 0},
        target(0),
        softmax(p.options.link == Link::kSoftmax) {
    if (!active) {
      gradient.scale = 0;
      return;
    }
    if (p.options.z_loss != 0) {
      gradient.scale *= 1 + 2 * static_cast<A>(p.options.z_loss) * (max + log_sum);
    }
    target = d_loss * (softmax ? 1 / static_cast<A>(example.num_labels)
                               : static_cast<A>(p.options.positive_target));
  }

  __device__ A LogitGradientOf(const OwnLogit<A>& logit, bool is_label) const {
    if (!gradient.active) return 0;
    const A share = softmax ? std::exp(logit.z - gradient.max - gradient.log_sum)
                            : 1 / (1 + std::exp(-logit.z));
    return (gradient.scale * share - (is_label ? target : A{0})) * logit.slope;
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
    LoadRow<T, N>(p, p.weights + row * p.dim, column, false, x);
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

#endif  // FASTW2V_CUDA_OWN_CANDIDATES_H_
