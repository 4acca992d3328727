// What all kernels of the exact softmax do with one example once its sums over the classes are
// known (formulas: csrc/core/loss.h).
#ifndef FASTW2V_CUDA_EXACT_LOGITS_H_
#define FASTW2V_CUDA_EXACT_LOGITS_H_

#include "csrc/core/loss.h"
#include "csrc/cuda/runtime.h"

namespace fastw2v::cuda {

template <typename A>
struct ExactTerms {
  A label_smoothing, z_loss, classes;

  ExactTerms() = default;
  ExactTerms(const LossOptions& options, int64_t num_classes)
      : label_smoothing(static_cast<A>(options.label_smoothing)),
        z_loss(static_cast<A>(options.z_loss)),
        classes(static_cast<A>(num_classes)) {}

  // max + log_sum is the logarithm of the normaliser, below_max the mean of max - z over the
  // labels, sum_shifted the sum of z - max over the classes (looked at with label smoothing only).
  __device__ __forceinline__ A Loss(A max, A log_sum, A below_max, A sum_shifted) const {
    A loss = log_sum + (1 - label_smoothing) * below_max;
    if (label_smoothing != 0) loss -= label_smoothing * sum_shifted / classes;
    const A lse = max + log_sum;
    if (z_loss != 0) loss += z_loss * lse * lse;
    return loss;
  }

  // The gradient of a logit is scale * softmax - shift, and target less where it is a label's.
  struct Gradient {
    A scale, shift, target;
  };
  __device__ __forceinline__ Gradient LogitGradient(A d_loss, A max, A log_sum,
                                                    int num_labels) const {
    Gradient gradient;
    gradient.scale = d_loss;
    if (z_loss != 0) gradient.scale *= 1 + 2 * z_loss * (max + log_sum);
    gradient.shift = d_loss * label_smoothing / classes;
    gradient.target = d_loss * (1 - label_smoothing) / static_cast<A>(num_labels);
    return gradient;
  }
};

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_EXACT_LOGITS_H_
