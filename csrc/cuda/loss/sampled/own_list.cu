#include <cmath>

#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/sampled/own_candidates.h"
#include "csrc/cuda/loss/sampled/own_list.h"
#include "csrc/cuda/loss/sampled/weight_terms.h"

namespace fastw2v::cuda {

namespace {

// A warp for each example. Without `wants_loss` the loss is left alone, with `wants_gradient` the
// terms and d_hidden are written. The gradient of a softmax needs the normalizer of an earlier
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
  const LossNumbers<A> numbers = Numbers(p);
  const int64_t num_own = NumOwnCandidates(p);

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
      if (active && column < p.dim) LoadRow<T, N>(p, example.hidden, column, hidden[s]);
    }
  } else if (wants_gradient && own.d_hidden != nullptr) {
    for (int64_t i = lane; i < p.dim; i += kWarp) own.d_hidden[b * p.dim + i] = 0;
    __syncwarp();
  }

  PartialSoftmax<A> total = NoClasses<A>();
  A label_loss = 0, sampled_loss = 0;  // logistic
  for (int64_t k = 0; k < num_own; ++k) {
    const OwnCandidate candidate = FindOwnCandidate(p, b, k);
    A d_logit = 0;
    if (active && candidate.competes) {
      const T* weights = p.weights + candidate.row * p.dim;
      A row[kSpan][N], product = 0;
      if constexpr (kOneSpan) {
        ClearSpan(row);
#pragma unroll
        for (int s = 0; s < kSpan; ++s) {
          const int64_t column = (s * kWarp + lane) * N;
          if (column < p.dim) LoadRow<T, N>(p, weights, column, row[s]);
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
      const Logit<A> logit = FinishOwn(p, product, candidate);
      if (wants_loss && softmax) {
        total = Join(total, OneClass(logit.z), [](A x) { return std::exp(x); });
        // Labels' logits wait for the maximum in the place of their gradients.
        if (k < p.num_true && lane == 0) own.d_logits[b * num_own + k] = logit.z;
      } else if (wants_loss) {
        if (k < p.num_true) {
          label_loss += LabelLoss(numbers.positive_target, Softplus(logit.z), Softplus(-logit.z));
        } else {
          sampled_loss += Softplus(logit.z);
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
    log_sum = std::log(total.sum_exp);
    A below_max = 0;
    for (int64_t j = 0; j < p.num_true; ++j) {
      if (FindOwnCandidate(p, b, j).competes) {
        below_max += total.max - own.d_logits[b * num_own + j];
      }
    }
    below_max /= static_cast<A>(example.num_labels);
    value = SoftmaxLoss(numbers, total.max, log_sum, below_max, A{0});
  } else if (active) {
    value = label_loss + sampled_loss;
  }
  loss[b] = value;
  normalizer.max[b] = active && softmax ? total.max : A{0};
  normalizer.log_sum[b] = log_sum;
}

}  // namespace

template <typename T>
Status OwnListCall<T>::Run(Passes passes, const SampledResults<T>& results,
                           const Stream& stream) const {
  const bool softmax = p_.options.link == Link::kSoftmax;
  const bool forward = passes != Passes::kBackward, backward = passes != Passes::kForward;
  if (forward && (softmax || !backward)) {
    FASTW2V_RETURN_IF_ERROR(Launch(true, false, results, stream));
  }
  if (!backward) return Status();
  FASTW2V_RETURN_IF_ERROR(Launch(forward && !softmax, true, results, stream));
  RowOrder order;
  FASTW2V_RETURN_IF_ERROR(sorter_.Sort(stream, &order));
  const WeightTerms<T> terms = {p_, NumOwnCandidates(p_), d_logits_, nullptr, nullptr};
  return SumWeightTerms(order, terms, InVectors(p_.dim, p_.hidden), results.d_weights, stream);
}

template <typename T>
Status OwnListCall<T>::Launch(bool wants_loss, bool wants_gradient,
                              const SampledResults<T>& results, const Stream& stream) const {
  // A backward pass reads the normalizer, which its constant pointers name.
  const Normalizer<A> normalizer =
      results.output.max != nullptr
          ? results.output
          : Normalizer<A>{const_cast<A*>(results.input.max), const_cast<A*>(results.input.log_sum)};
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

template class OwnListCall<float>;
template class OwnListCall<double>;
template class OwnListCall<Half>;
template class OwnListCall<BFloat16>;

}  // namespace fastw2v::cuda
