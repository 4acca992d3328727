// What all kernels of the exact softmax do with one example once its sums over the classes are
// known (formulas: csrc/core/loss.h).
#ifndef FASTW2V_CUDA_EXACT_LOGITS_H_
#define FASTW2V_CUDA_EXACT_LOGITS_H_

#include <cstdint>
#include <type_traits>

#include "csrc/core/loss.h"
#include "csrc/core/types.h"
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

// How the gradient of the logits of a row is made of their exponentials:
// factor * exp(z - max) - shift, and target less for every label.
template <typename A>
struct alignas(4 * sizeof(A)) RowGradientTerms {
  A max, factor, shift, target;
};

// Gradients of logits in float16 are kept as 2^shift times themselves, so that small ones do not
// vanish: the largest possible one lies in [2^14, 2^15). `largest` has its bits, as a float. Other
// types are kept as they are, and `largest` is not read.
template <typename T>
__device__ __forceinline__ float GradientUnit(const uint32_t* largest, bool inverse) {
  if constexpr (!std::is_same_v<T, Half>) return 1;
  const int exponent = static_cast<int>(*largest >> 23) - 127;
  const int shift = *largest == 0 ? 0 : exponent < -100 ? 114 : 14 - exponent;
  return __uint_as_float(static_cast<uint32_t>(127 + (inverse ? -shift : shift)) << 23);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_EXACT_LOGITS_H_
