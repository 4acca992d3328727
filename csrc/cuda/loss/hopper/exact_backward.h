// The gradients of the exact softmax on Hopper up to a width of 256, whose logits are computed
// again. T is BFloat16 or Half.
#ifndef FASTW2V_CUDA_LOSS_HOPPER_EXACT_BACKWARD_H_
#define FASTW2V_CUDA_LOSS_HOPPER_EXACT_BACKWARD_H_

#include <cstdint>

#include "csrc/cuda/device/hopper_tiles.h"
#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda::hopper {

constexpr int64_t kWidestBackward = 256;

// Of each hidden row: the gradient of a logit is factor * 2^(z * kLog2E - base) - shift, and target
// less where the class is the label. Rows without a gradient have a base of infinity and zeros.
struct RowGradients {
  float *base, *factor, *shift, *target;
  int* labels;
  uint32_t* largest;  // see GradientUnit in gradient_terms.h
};

// How the blocks are cut that own hidden rows.
struct BackwardPlan {
  int chunks;
  int64_t row_blocks;
  int row_splits;

  BackwardPlan(int64_t batch, int64_t classes, int64_t dim);
};

template <typename T>
struct BackwardPass {
  const LossProblem<T>& problem;
  const BackwardPlan& plan;
  const T* hidden;   // [batch, columns of whole chunks], gathered
  const T* weights;  // [classes, weights_pitch], whole 16 bytes
  int64_t weights_pitch;
  RowGradients rows;
  float* d_hidden_parts;  // [row_splits, batch, dim] where there are several
};

// Null: not wanted.
template <typename T>
Status RunBackward(const BackwardPass<T>& pass, const float* d_loss,
                   const Normalizer<const float>& normalizer, const Stream& stream, float* d_hidden,
                   T* d_weights, T* d_biases);

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_LOSS_HOPPER_EXACT_BACKWARD_H_
