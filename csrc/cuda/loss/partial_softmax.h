// The sums of a softmax over parts of its classes (PartialSoftmax of csrc/core/loss_formulas.h), by
// the exponential that kernels take of whole tiles of logits.
#ifndef FASTW2V_CUDA_LOSS_PARTIAL_SOFTMAX_H_
#define FASTW2V_CUDA_LOSS_PARTIAL_SOFTMAX_H_

#include <cstdint>
#include <limits>

#include "csrc/core/loss.h"
#include "csrc/core/loss_formulas.h"
#include "csrc/cuda/device/device.h"

namespace fastw2v::cuda {

__device__ __forceinline__ float Exp(float x) { return FastExp2(x * 1.44269504f); }
__device__ __forceinline__ double Exp(double x) { return exp(x); }

template <typename A>
__device__ __forceinline__ PartialSoftmax<A> RelativeTo(A max, const PartialSoftmax<A>& part) {
  return fastw2v::RelativeTo(max, part, [](A x) { return Exp(x); });
}

template <typename A>
__device__ __forceinline__ PartialSoftmax<A> Join(const PartialSoftmax<A>& x,
                                                  const PartialSoftmax<A>& y) {
  return fastw2v::Join(x, y, [](A z) { return Exp(z); });
}

// The statistics that a part of the classes has of example b.
template <typename A>
__device__ __forceinline__ void StorePart(const SoftmaxPart<A>& part, int64_t b,
                                          const PartialSoftmax<A>& sums, A below_max) {
  part.max[b] = sums.max;
  part.sum_exp[b] = sums.sum_exp;
  part.below_max[b] = below_max;
  part.sum_shifted[b] = sums.sum_shifted;
}

// The same of an example whose loss is NaN.
template <typename A>
__device__ __forceinline__ void StoreNaN(const SoftmaxPart<A>& part, int64_t b) {
  const A nan = std::numeric_limits<A>::quiet_NaN();
  StorePart(part, b, PartialSoftmax<A>{nan, nan, nan, 0}, nan);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_PARTIAL_SOFTMAX_H_
