// The forward pass of the exact softmax on Hopper: sums over ranges of classes, and from them the
// loss, or the statistics of a part of the classes. T is BFloat16 or Half.
#ifndef FASTW2V_CUDA_LOSS_HOPPER_EXACT_FORWARD_H_
#define FASTW2V_CUDA_LOSS_HOPPER_EXACT_FORWARD_H_

#include <cstdint>

#include "csrc/cuda/loss/hopper/logit_tiles.h"
#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda::hopper {

// Sums over a range of classes, [splits, batch] each. sum_exp is relative to 2^Base(max).
struct PartialSums {
  float *max, *sum_exp, *sum_shifted;
};

template <typename T>
struct ForwardPass {
  const LossProblem<T>& problem;
  const LogitPlan& plan;
  const T* hidden;   // [batch, columns of whole chunks], gathered
  const T* weights;  // [classes, weights_pitch], whole 16 bytes
  int64_t weights_pitch;
  const int* labels;  // [batch], of the kind of RowLabel where there is none
  PartialSums sums;
  float* label_logits;  // [batch]
};

template <typename T>
Status RunForward(const ForwardPass<T>& pass, const Stream& stream, float* loss,
                  const Normalizer<float>& normalizer);
template <typename T>
Status RunPart(const ForwardPass<T>& pass, const Stream& stream, const SoftmaxPart<float>& part);

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_LOSS_HOPPER_EXACT_FORWARD_H_
