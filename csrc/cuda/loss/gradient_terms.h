// What the gradients of stored and of recomputed logits are made of, and how they are kept.
#ifndef FASTW2V_CUDA_LOSS_GRADIENT_TERMS_H_
#define FASTW2V_CUDA_LOSS_GRADIENT_TERMS_H_

#include <cstdint>
#include <type_traits>

#include "csrc/core/loss_formulas.h"
#include "csrc/core/types.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// GradientTerms (csrc/core/loss_formulas.h) of a row by its exponentials:
// factor * exp(z - max) - shift (with the logistic link, factor * sigmoid(z) - shift), and target
// less for every label.
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

// Makes `largest` that of a gradient up to this large, too; not of one that is not finite.
template <typename A>
__device__ __forceinline__ void WidenUnit(A gradient, uint32_t* largest) {
  const uint32_t bits = __float_as_uint(static_cast<float>(fabs(gradient)));
  if (bits < 0x7F800000) atomicMax(largest, bits);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_GRADIENT_TERMS_H_
