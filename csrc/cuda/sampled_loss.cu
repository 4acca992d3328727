// Sampled losses. An example has classes to itself: its labels and, where each example has a list,
// its sampled classes. A warp computes their logits one after the other. A list for the whole batch
// is gathered and met in tiles (shared_candidates.h). In both cases the gradient of the weights is
// made of terms, which are sorted by row and summed (rows.h).
#include <cmath>
#include <type_traits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/loss.h"
#include "csrc/cuda/row_sums.h"
#include "csrc/cuda/rows.h"
#include "csrc/cuda/shared_candidates.h"
#include "csrc/cuda/sort.h"
#include "csrc/cuda/vectors.h"

namespace fastw2v::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

template <typename T>
bool Shared(const LossProblem<T>& p) {
  return p.candidates == Candidates::kShared;
}

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

// ---- a list for each example

// A warp for each example. Without `wants_loss` the loss is left alone, with `wants_gradient` the
// terms and d_hidden are written. The gradient of a softmax needs the normaliser of an earlier
// call. kOneSpan: registers hold the row, which is read once for the logit and the gradient.
template <typename T, int N, bool kOneSpan>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    OwnListKernel(LossProblem<T> p, bool wants_loss, bool wants_gradient,
                  const Accumulator<T>* d_loss, Accumulator<T>* loss,
                  Normalizer<Accumulator<T>> normalizer, OwnGradients<Accumulator<T>> own) {
  using A = Accumulator<T>;
  const int64_t b = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (b >= p.batch) return;
  const int lane = threadIdx.x % kWarp;
  const bool softmax = p.options.link == Link::kSoftmax;
  const Example<T> example = FindExample(p, b);
  const bool active = example.valid && example.num_labels > 0;
  const int64_t num_own = OwnCandidates(p);

  const bool reads = wants_gradient && active;
  const Coefficients<T> coefficients(p, example, reads, reads ? d_loss[b] : A{0},
                                     reads && softmax ? normalizer.max[b] : A{0},
                                     reads && softmax ? normalizer.log_sum[b] : A{0});

  A hidden[kSpan][N], d_hidden[kSpan][N];
  ClearSpan(d_hidden);
  if constexpr (kOneSpan) {
    ClearSpan(hidden);
#pragma unroll
    for (int s = 0; s < kSpan; ++s) {
      const int64_t column = (s * kWarp + lane) * N;
      if (active && column < p.dim) LoadRow<T, N>(p, example.hidden, column, true, hidden[s]);
    }
  } else if (wants_gradient && own.d_hidden != nullptr) {
    for (int64_t i = lane; i < p.dim; i += kWarp) own.d_hidden[b * p.dim + i] = 0;
    __syncwarp();
  }

  A max = -INFINITY, sum = 0, label_loss = 0;
  for (int64_t k = 0; k < num_own; ++k) {
    const OwnCandidate candidate = FindOwn(p, b, k);
    A d_logit = 0;
    if (active && candidate.competes) {
      const T* weights = p.weights + candidate.row * p.dim;
      A row[kSpan][N], product = 0;
      if constexpr (kOneSpan) {
        ClearSpan(row);
#pragma unroll
        for (int s = 0; s < kSpan; ++s) {
          const int64_t column = (s * kWarp + lane) * N;
          if (column < p.dim) LoadRow<T, N>(p, weights, column, false, row[s]);
        }
#pragma unroll
        for (int s = 0; s < kSpan; ++s) {
#pragma unroll
          for (int i = 0; i < N; ++i) product += hidden[s][i] * row[s][i];
        }
        product = WarpSum(product);
      } else {
        product = Dot<T, N>(p, example.hidden, weights);
      }
      const OwnLogit<A> logit = FinishOwn(p, product, candidate);
      if (wants_loss && softmax) {
        const A larger = logit.z > max ? logit.z : max;
        const A reference = larger == -INFINITY ? A{0} : larger;
        sum = sum * std::exp(max - reference) + std::exp(logit.z - reference);
        max = larger;
        // Labels' logits wait for the maximum in the place of their gradients.
        if (k < p.num_true && lane == 0) own.d_logits[b * num_own + k] = logit.z;
      } else if (wants_loss) {
        if (k < p.num_true) {
          label_loss += LabelLoss(p, logit.z);
        } else {
          sum += Softplus(logit.z);
        }
      }
      if (wants_gradient) {
        d_logit = coefficients.LogitGradientOf(logit, k < p.num_true);
        if constexpr (kOneSpan) {
#pragma unroll
          for (int s = 0; s < kSpan; ++s) {
#pragma unroll
            for (int i = 0; i < N; ++i) d_hidden[s][i] += d_logit * row[s][i];
          }
        } else if (own.d_hidden != nullptr) {
          for (int64_t first = 0; first < p.dim; first += kSpanColumns<N>) {
            ClearSpan(d_hidden);
            AddRow<T, N>(p, d_logit, candidate.row, first, d_hidden);
#pragma unroll
            for (int s = 0; s < kSpan; ++s) {
              const int64_t column = first + (s * kWarp + lane) * N;
              if (column >= p.dim) continue;
#pragma unroll
              for (int i = 0; i < N; ++i) {
                own.d_hidden[b * p.dim + column + i] +=
                    static_cast<A>(p.options.logit_scale) * d_hidden[s][i];
              }
            }
          }
        }
      }
    }
    if (wants_gradient && lane == 0) {
      WriteTerm(p, candidate, example.valid, d_logit, b * num_own + k, own);
    }
  }
  if constexpr (kOneSpan) {
    if (wants_gradient && own.d_hidden != nullptr) {
      StoreSpan<T, N>(p, own.d_hidden + b * p.dim, 0, d_hidden);
    }
  }
  if (!wants_loss || lane != 0) return;
  A value = example.valid ? A{0} : A{NAN}, log_sum = 0;
  if (active && softmax) {
    log_sum = std::log(sum);
    A below_max = 0;
    for (int64_t j = 0; j < p.num_true; ++j) {
      if (FindOwn(p, b, j).competes) below_max += max - own.d_logits[b * num_own + j];
    }
    value = SoftmaxLoss(p, example.num_labels, max, log_sum, below_max);
  } else if (active) {
    value = label_loss + sum;
  }
  loss[b] = value;
  normalizer.max[b] = active && softmax ? max : A{0};
  normalizer.log_sum[b] = log_sum;
}

// ---- one list for the whole batch

// Of the shared list, in the order in which its classes are gathered: ascending where accidental
// hits are looked for, else as it came.
struct SharedList {
  int64_t* rows = nullptr;    // [num_sampled]; the number of classes where it is out of range
  int32_t* places = nullptr;  // where it was
  int* bad = nullptr;         // whether a class is out of range
};

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    ListKernel(LossProblem<T> p, int64_t* rows, int32_t* places, int* bad) {
  const int64_t s = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (s >= p.num_sampled) return;
  const bool in_range = InRange(p.sampled[s], p.classes);
  rows[s] = in_range ? p.sampled[s] : p.classes;
  places[s] = static_cast<int32_t>(s);
  if (!in_range) atomicOr(bad, 1);
}

// What is kept of the labels' logits between kernels, [batch, num_true].
template <typename A>
struct LabelLogits {
  A *z = nullptr, *slope = nullptr;
};

// Gradients of an example's labels: their terms and what they give to d_hidden. By a warp.
template <typename T, int N>
__device__ __forceinline__ void LabelGradients(const LossProblem<T>& p, int64_t b,
                                               const Example<T>& example,
                                               const Coefficients<T>& coefficients,
                                               const LabelLogits<Accumulator<T>>& logits,
                                               const OwnGradients<Accumulator<T>>& own) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  const auto gradient = [&](int64_t j) -> A {
    const int64_t i = b * p.num_true + j;
    if (!coefficients.gradient.active || Ignored(p, p.labels[i])) return 0;
    return coefficients.LogitGradientOf({logits.z[i], logits.slope[i]}, true);
  };
  for (int64_t j = lane; j < p.num_true; j += kWarp) {
    WriteTerm(p, FindOwn(p, b, j), example.valid, gradient(j), b * p.num_true + j, own);
  }
  if (own.d_hidden == nullptr) return;
  for (int64_t first = 0; first < p.dim; first += kSpanColumns<N>) {
    A sum[kSpan][N];
    ClearSpan(sum);
    for (int64_t j = 0; j < p.num_true; ++j) {
      const A d_logit = gradient(j);
      if (d_logit == 0) continue;  // its row may be none
      AddRow<T, N>(p, d_logit, p.labels[b * p.num_true + j], first, sum);
    }
    StoreSpan<T, N>(p, own.d_hidden + b * p.dim, first, sum);
  }
}

// The first of the ascending rows that is not below `row`.
__device__ __forceinline__ int32_t LowerBound(const int64_t* rows, int64_t count, int64_t row) {
  int64_t begin = 0, end = count;
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (rows[middle] < row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return static_cast<int32_t>(begin);
}

// What PrepareKernel writes for the tiles.
template <typename E>
struct SharedOperands {
  using A = Accumulator<E>;
  E *hidden = nullptr, *weights = nullptr;
  A *biases = nullptr, *log_q = nullptr;
  int32_t* hits = nullptr;  // or null: accidental hits compete
  int64_t width = 0;
  LogitGradient<A>* gradient = nullptr;
};

// What backward gives to PrepareKernel; d_loss is null in a forward pass.
template <typename A>
struct BackwardInputs {
  const A* d_loss = nullptr;
  Normalizer<const A> normalizer;
};

// Rows of 16-bit tables are packed as they are, and their products are scaled; others are scaled
// first, as on the CPU.
template <typename T, typename E>
__host__ __device__ bool ScalesProducts(const LossProblem<T>& p) {
  return std::is_same_v<T, E> && sizeof(T) == 2 && !p.options.round_bfloat16;
}

template <typename T, typename E>
__device__ __forceinline__ void PackRow(const LossProblem<T>& p, const T* row, bool is_hidden,
                                        int64_t width, E* packed) {
  using A = Accumulator<T>;
  const A scale =
      is_hidden && !ScalesProducts<T, E>(p) ? static_cast<A>(p.options.logit_scale) : A{1};
  for (int64_t i = threadIdx.x % kWarp; i < width; i += kWarp) {
    A x = row != nullptr && i < p.dim ? scale * ToFloat(row[i]) : A{0};
    if (p.options.round_bfloat16) x = ToFloat(Round<BFloat16>(static_cast<float>(x)));
    packed[i] = Round<E>(x);
  }
}

// A warp for each example, then one for each class of the list: packs the rows, computes the logits
// of labels and finds accidental hits. Backward it also makes the labels' gradients and all terms.
template <typename T, typename E, int N>
__global__ void __launch_bounds__(kThreads, 2)
    PrepareKernel(LossProblem<T> p, SharedList list, SharedOperands<E> operands,
                  LabelLogits<Accumulator<T>> logits, BackwardInputs<Accumulator<T>> inputs,
                  OwnGradients<Accumulator<T>> own) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  const int64_t b = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (b >= p.batch) {
    const int64_t s = b - p.batch;
    if (s >= p.num_sampled) return;
    const int64_t row = list.rows[s];
    const bool is_row = row < p.classes;
    PackRow(p, is_row ? p.weights + row * p.dim : nullptr, false, operands.width,
            operands.weights + s * operands.width);
    if (lane != 0) return;
    operands.biases[s] = is_row && p.biases != nullptr ? A{ToFloat(p.biases[row])} : A{0};
    operands.log_q[s] = p.sampled_expected_count != nullptr
                            ? LogCount<A>(p.sampled_expected_count[list.places[s]])
                            : A{0};
    if (own.term_rows == nullptr) return;
    const int64_t term = p.batch * p.num_true + s;
    own.term_rows[term] = row;
    own.places[term] = static_cast<int32_t>(term);
    return;
  }
  const Example<T> example = FindExample(p, b);
  PackRow(p, example.hidden, true, operands.width, operands.hidden + b * operands.width);
  for (int64_t j = 0; j < p.num_true; ++j) {
    const OwnCandidate label = FindOwn(p, b, j);
    OwnLogit<A> logit = {-INFINITY, 0};
    int32_t begin = 0, end = 0;
    if (example.valid && label.competes) {
      logit = FinishOwn(p, Dot<T, N>(p, example.hidden, p.weights + label.row * p.dim), label);
      if (operands.hits != nullptr) {
        begin = LowerBound(list.rows, p.num_sampled, label.row);
        end = LowerBound(list.rows, p.num_sampled, label.row + 1);
      }
    }
    if (lane != 0) continue;
    const int64_t i = b * p.num_true + j;
    logits.z[i] = logit.z;
    logits.slope[i] = logit.slope;
    if (operands.hits == nullptr) continue;
    operands.hits[2 * i] = begin;
    operands.hits[2 * i + 1] = end;
  }
  if (inputs.d_loss == nullptr) return;
  __syncwarp();
  const bool active = example.valid && example.num_labels > 0 && *list.bad == 0;
  const Coefficients<T> coefficients(p, example, active, inputs.d_loss[b], inputs.normalizer.max[b],
                                     inputs.normalizer.log_sum[b]);
  if (lane == 0) operands.gradient[b] = coefficients.gradient;
  LabelGradients<T, N>(p, b, example, coefficients, logits, own);
}

// A warp for each example: losses from sums over its parts; with d_loss also the gradients of
// labels.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads, 2)
    FinishKernel(LossProblem<T> p, SharedList list, int64_t parts,
                 const RowSums<Accumulator<T>>* sums, LabelLogits<Accumulator<T>> logits,
                 const Accumulator<T>* d_loss, Accumulator<T>* loss,
                 Normalizer<Accumulator<T>> normalizer, LogitGradient<Accumulator<T>>* gradient,
                 OwnGradients<Accumulator<T>> own) {
  using A = Accumulator<T>;
  const int64_t b = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (b >= p.batch) return;
  const int lane = threadIdx.x % kWarp;
  const Example<T> example = FindExample(p, b);
  const bool softmax = p.options.link == Link::kSoftmax, valid = example.valid && *list.bad == 0;
  const bool active = valid && example.num_labels > 0;
  A max = 0, log_sum = 0, value = valid ? A{0} : A{NAN};
  if (active && softmax) {
    max = -INFINITY;
    for (int64_t part = 0; part < parts; ++part) {
      const RowSums<A> of = sums[part * p.batch + b];
      if (of.sum != 0 && of.max > max) max = of.max;
    }
    for (int64_t j = 0; j < p.num_true; ++j) {
      const A z = logits.z[b * p.num_true + j];
      max = z > max ? z : max;
    }
    const A reference = max == -INFINITY ? A{0} : max;
    A sum = 0, below_max = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const RowSums<A> of = sums[part * p.batch + b];
      if (of.sum != 0) sum += of.sum * std::exp(of.max - reference);
    }
    for (int64_t j = 0; j < p.num_true; ++j) {
      if (Ignored(p, p.labels[b * p.num_true + j])) continue;
      const A z = logits.z[b * p.num_true + j];
      sum += std::exp(z - reference);
      below_max += max - z;
    }
    log_sum = std::log(sum);
    value = SoftmaxLoss(p, example.num_labels, max, log_sum, below_max);
  } else if (active) {
    for (int64_t part = 0; part < parts; ++part) value += sums[part * p.batch + b].sum;
    for (int64_t j = 0; j < p.num_true; ++j) {
      const int64_t i = b * p.num_true + j;
      if (!Ignored(p, p.labels[i])) value += LabelLoss(p, logits.z[i]);
    }
  }
  if (lane == 0) {
    loss[b] = value;
    normalizer.max[b] = max;
    normalizer.log_sum[b] = log_sum;
  }
  if (d_loss == nullptr) return;
  const Coefficients<T> coefficients(p, example, active, d_loss[b], max, log_sum);
  if (lane == 0) gradient[b] = coefficients.gradient;
  LabelGradients<T, N>(p, b, example, coefficients, logits, own);
}

// ---- the gradient of weights

// Terms of own candidates, [batch, num_own], then those of the shared list.
template <typename T>
struct WeightTerms {
  using A = Accumulator<T>;
  LossProblem<T> p;
  int64_t num_own = 0;
  const A* d_logits = nullptr;
  const A* d_shared = nullptr;         // [parts, num_sampled, dim]
  const A* d_shared_biases = nullptr;  // [parts, num_sampled]
  int64_t parts = 0;

  __device__ int64_t Sampled(int64_t term) const { return term - p.batch * num_own; }
  __device__ A Coefficient(int64_t term) const { return Sampled(term) < 0 ? d_logits[term] : A{1}; }
  __device__ A Bias(int64_t term) const {
    const int64_t s = Sampled(term);
    if (s < 0) return d_logits[term];
    A sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += d_shared_biases[part * p.num_sampled + s];
    return sum;
  }
  template <int N>
  __device__ void Load(int64_t term, int64_t column, A (&x)[N]) const {
    const int64_t s = Sampled(term);
    if (s < 0) {
      const int64_t b = term / num_own;
      const int64_t row = p.ids != nullptr ? p.ids[b] : b;
      LoadRow<T, N>(p, p.hidden + row * p.dim, column, true, x);
      return;
    }
    LoadVector<N>(d_shared + s * p.dim + column, x);
    for (int64_t part = 1; part < parts; ++part) {
      A y[N];
      LoadVector<N>(d_shared + (part * p.num_sampled + s) * p.dim + column, y);
#pragma unroll
      for (int i = 0; i < N; ++i) x[i] += y[i];
    }
  }
};

// ---- a call: all of it in scratch memory of the caller

enum class Passes { kForward, kBackward, kBoth };

template <typename T>
struct Results {
  using A = Accumulator<T>;
  const A* d_loss = nullptr;
  A* loss = nullptr;
  Normalizer<A> output;       // of a forward pass
  Normalizer<const A> input;  // of a backward pass
  A* d_hidden = nullptr;
  RowGradient<T> d_weights;
};

template <typename T>
bool RowsInVectors(const LossProblem<T>& p) {
  return InVectors(p.dim, p.hidden, p.weights);
}

template <typename T>
class OwnListCall {
  using A = Accumulator<T>;

 public:
  OwnListCall(const LossProblem<T>& p, Passes, const Device&, Scratch* scratch)
      : p_(p),
        sorter_(SampledRowCapacity(p), p.classes, scratch),
        d_logits_(scratch->Take<A>(SampledRowCapacity(p))) {}

  Status Run(Passes passes, const Results<T>& results, const Stream& stream) const {
    const bool softmax = p_.options.link == Link::kSoftmax;
    const bool forward = passes != Passes::kBackward, backward = passes != Passes::kForward;
    if (forward && (softmax || !backward)) {
      FASTW2V_RETURN_IF_ERROR(Launch(true, false, results, stream));
    }
    if (!backward) return Status();
    FASTW2V_RETURN_IF_ERROR(Launch(forward && !softmax, true, results, stream));
    RowOrder order;
    FASTW2V_RETURN_IF_ERROR(sorter_.Sort(stream, &order));
    const WeightTerms<T> terms = {p_, OwnCandidates(p_), d_logits_, nullptr, nullptr, 0};
    return SumRows(order, p_.dim, terms, InVectors(p_.dim, p_.hidden), results.d_weights, stream);
  }

 private:
  Status Launch(bool wants_loss, bool wants_gradient, const Results<T>& results,
                const Stream& stream) const {
    // A backward pass reads the normaliser, which its constant pointers name.
    const Normalizer<A> normalizer = results.output.max != nullptr
                                         ? results.output
                                         : Normalizer<A>{const_cast<A*>(results.input.max),
                                                         const_cast<A*>(results.input.log_sum)};
    const OwnGradients<A> own = {d_logits_, sorter_.rows(), sorter_.places(), results.d_hidden};
    const auto launch = [&](auto kernel) {
      return cuda::Launch(kernel, NumBlocks(p_.batch, kWarps), kThreads, 0, stream, p_, wants_loss,
                          wants_gradient, results.d_loss, results.loss, normalizer, own);
    };
    if (!RowsInVectors(p_) || !InVectors(p_.dim, results.d_hidden)) {
      return launch(OwnListKernel<T, 1, false>);
    }
    if (p_.dim <= kSpanColumns<kVector>) return launch(OwnListKernel<T, kVector, true>);
    return launch(OwnListKernel<T, kVector, false>);
  }

  const LossProblem<T>& p_;
  RowSorter sorter_;
  A* d_logits_;
};

// E: of the operands of products.
template <typename T, typename E>
class SharedListCall {
  using A = Accumulator<T>;

 public:
  SharedListCall(const LossProblem<T>& p, Passes passes, const Device& device, Scratch* scratch)
      : p_(p), plan_(MakeSharedPlan<E>(p.batch, p.num_sampled, p.dim, device)) {
    const int64_t labels = p.batch * p.num_true, sampled = p.num_sampled;
    operands_.width = PaddedWidth<E>(p.dim);
    operands_.hidden = scratch->Take<E>(p.batch * operands_.width);
    operands_.weights = scratch->Take<E>(sampled * operands_.width);
    operands_.biases = scratch->Take<A>(sampled);
    operands_.log_q = scratch->Take<A>(sampled);
    list_.rows = scratch->Take<int64_t>(sampled);
    list_.places = scratch->Take<int32_t>(sampled);
    list_.bad = scratch->Take<int>(1);
    logits_.z = scratch->Take<A>(labels);
    logits_.slope = scratch->Take<A>(labels);
    if (p.options.remove_accidental_hits) {
      operands_.hits = scratch->Take<int32_t>(2 * labels);
      unsorted_rows_ = scratch->Take<int64_t>(sampled);
      unsorted_places_ = scratch->Take<int32_t>(sampled);
      sort_memory_ = scratch->Take<unsigned char>(static_cast<int64_t>(SortScratchBytes(sampled)));
    }
    if (passes != Passes::kBackward) {
      sums_ = scratch->Take<RowSums<A>>(plan_.forward_parts * p.batch);
    }
    if (passes == Passes::kForward) return;
    operands_.gradient = scratch->Take<LogitGradient<A>>(p.batch);
    sorter_ = RowSorter(labels + sampled, p.classes, scratch);
    d_logits_ = scratch->Take<A>(labels);
    gradients_.d_weights = scratch->Take<A>(plan_.weights_parts * sampled * p.dim);
    gradients_.d_biases = scratch->Take<A>(plan_.weights_parts * sampled);
    if (plan_.hidden_parts > 1) {
      gradients_.d_hidden_parts = scratch->Take<A>(plan_.hidden_parts * p.batch * p.dim);
    }
  }

  Status Run(Passes passes, const Results<T>& results, const Stream& stream) {
    const bool forward = passes != Passes::kBackward, backward = passes != Passes::kForward;
    FASTW2V_RETURN_IF_ERROR(MakeList(stream));
    OwnGradients<A> own;
    if (backward) own = {d_logits_, sorter_.rows(), sorter_.places(), results.d_hidden};
    BackwardInputs<A> inputs;
    if (!forward) inputs = {results.d_loss, results.input};
    const bool vectors = RowsInVectors(p_) && InVectors(p_.dim, results.d_hidden);
    const auto prepare = [&](auto kernel) {
      return Launch(kernel, NumBlocks(p_.batch + p_.num_sampled, kWarps), kThreads, 0, stream, p_,
                    list_, operands_, logits_, inputs, own);
    };
    FASTW2V_RETURN_IF_ERROR(vectors ? prepare(PrepareKernel<T, E, kVector>)
                                    : prepare(PrepareKernel<T, E, 1>));
    const SharedProblem<E> shared = Problem();
    if (forward) {
      FASTW2V_RETURN_IF_ERROR(SharedForward(shared, plan_, stream, sums_));
      const auto finish = [&](auto kernel) {
        return Launch(kernel, NumBlocks(p_.batch, kWarps), kThreads, 0, stream, p_, list_,
                      plan_.forward_parts, sums_, logits_, backward ? results.d_loss : nullptr,
                      results.loss, results.output, operands_.gradient, own);
      };
      FASTW2V_RETURN_IF_ERROR(vectors ? finish(FinishKernel<T, kVector>)
                                      : finish(FinishKernel<T, 1>));
    }
    if (!backward) return Status();
    gradients_.d_hidden = results.d_hidden;
    gradients_.hidden_factor = static_cast<A>(p_.options.logit_scale);
    gradients_.weights_factor = shared.scale;
    FASTW2V_RETURN_IF_ERROR(SharedBackward(shared, plan_, operands_.gradient, stream, gradients_));
    RowOrder order;
    FASTW2V_RETURN_IF_ERROR(sorter_.Sort(stream, &order));
    const WeightTerms<T> terms = {
        p_, p_.num_true, d_logits_, gradients_.d_weights, gradients_.d_biases, plan_.weights_parts};
    const bool in_vectors = InVectors(p_.dim, p_.hidden) && InVectors(p_.dim, gradients_.d_weights);
    return SumRows(order, p_.dim, terms, in_vectors, results.d_weights, stream);
  }

 private:
  Status MakeList(const Stream& stream) const {
    FASTW2V_RETURN_IF_ERROR(Zero(list_.bad, sizeof *list_.bad, stream));
    const bool sorts = operands_.hits != nullptr;
    FASTW2V_RETURN_IF_ERROR(Launch(ListKernel<T>, NumBlocks(p_.num_sampled, kThreads), kThreads, 0,
                                   stream, p_, sorts ? unsorted_rows_ : list_.rows,
                                   sorts ? unsorted_places_ : list_.places, list_.bad));
    if (!sorts) return Status();
    return SortRows(unsorted_rows_, unsorted_places_, p_.num_sampled, p_.classes, stream,
                    sort_memory_, list_.rows, list_.places);
  }

  SharedProblem<E> Problem() const {
    SharedProblem<E> shared;
    shared.batch = p_.batch;
    shared.classes = p_.num_sampled;
    shared.dim = p_.dim;
    shared.width = operands_.width;
    shared.hidden = operands_.hidden;
    shared.weights = operands_.weights;
    shared.biases = operands_.biases;
    shared.log_q = operands_.log_q;
    if (ScalesProducts<T, E>(p_)) shared.scale = static_cast<A>(p_.options.logit_scale);
    shared.softcap = static_cast<A>(p_.options.logit_softcap);
    shared.link = p_.options.link;
    shared.hits = operands_.hits;
    shared.num_true = p_.num_true;
    shared.one_pass = p_.allow_tf32;
    return shared;
  }

  const LossProblem<T>& p_;
  const SharedPlan plan_;
  SharedOperands<E> operands_;
  SharedList list_;
  LabelLogits<A> logits_;
  int64_t* unsorted_rows_ = nullptr;
  int32_t* unsorted_places_ = nullptr;
  unsigned char* sort_memory_ = nullptr;
  RowSums<A>* sums_ = nullptr;
  RowSorter sorter_;
  A* d_logits_ = nullptr;
  SharedGradients<A> gradients_;
};

// use(call) with the call that the problem asks for.
template <typename T, typename Use>
auto WithCall(const LossProblem<T>& p, Passes passes, const Device& device, Scratch* scratch,
              Use use) {
  if (!Shared(p)) return use(OwnListCall<T>(p, passes, device, scratch));
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, Half>) {
    if (p.options.round_bfloat16) {
      return use(SharedListCall<T, BFloat16>(p, passes, device, scratch));
    }
  }
  return use(SharedListCall<T, T>(p, passes, device, scratch));
}

template <typename T>
Status Run(const LossProblem<T>& p, Passes passes, const Results<T>& results, const Stream& stream,
           void* memory) {
  if (p.batch == 0 && passes == Passes::kForward) return Status();
  Scratch scratch(memory);
  return WithCall(p, passes, stream.device, &scratch,
                  [&](auto&& call) { return call.Run(passes, results, stream); });
}

}  // namespace

template <typename T>
std::size_t SampledLossScratchBytes(const LossProblem<T>& problem, const Device& device) {
  Scratch scratch;
  WithCall(problem, Passes::kBoth, device, &scratch, [](auto&&) { return 0; });
  return scratch.used();
}

template <typename T>
Status SampledLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                          Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  Results<T> results;
  results.loss = loss;
  results.output = normalizer;
  return Run(problem, Passes::kForward, results, stream, scratch);
}

template <typename T>
Status SampledLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                           const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                           void* scratch, Accumulator<T>* d_hidden,
                           const RowGradient<T>& d_weights) {
  Results<T> results;
  results.d_loss = d_loss;
  results.input = normalizer;
  results.d_hidden = d_hidden;
  results.d_weights = d_weights;
  return Run(problem, Passes::kBackward, results, stream, scratch);
}

template <typename T>
Status SampledLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                                const Stream& stream, void* scratch, Accumulator<T>* loss,
                                const Normalizer<Accumulator<T>>& normalizer,
                                Accumulator<T>* d_hidden, const RowGradient<T>& d_weights) {
  Results<T> results;
  results.d_loss = d_loss;
  results.loss = loss;
  results.output = normalizer;
  results.input = {normalizer.max, normalizer.log_sum};
  results.d_hidden = d_hidden;
  results.d_weights = d_weights;
  return Run(problem, Passes::kBoth, results, stream, scratch);
}

#define FASTW2V_INSTANTIATE(T)                                                                   \
  template std::size_t SampledLossScratchBytes<T>(const LossProblem<T>&, const Device&);         \
  template Status SampledLossForward<T>(const LossProblem<T>&, const Stream&, void*,             \
                                        Accumulator<T>*, const Normalizer<Accumulator<T>>&);     \
  template Status SampledLossBackward<T>(const LossProblem<T>&, const Accumulator<T>*,           \
                                         const Normalizer<const Accumulator<T>>&, const Stream&, \
                                         void*, Accumulator<T>*, const RowGradient<T>&);         \
  template Status SampledLossWithGradients<T>(                                                   \
      const LossProblem<T>&, const Accumulator<T>*, const Stream&, void*, Accumulator<T>*,       \
      const Normalizer<Accumulator<T>>&, Accumulator<T>*, const RowGradient<T>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
