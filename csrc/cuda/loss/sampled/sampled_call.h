// What is asked of a call of a sampled loss.
#ifndef FASTW2V_CUDA_LOSS_SAMPLED_SAMPLED_CALL_H_
#define FASTW2V_CUDA_LOSS_SAMPLED_SAMPLED_CALL_H_

#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda {

enum class Passes { kForward, kBackward, kBoth };

template <typename T>
struct SampledResults {
  using A = Accumulator<T>;
  const A* d_loss = nullptr;
  A* loss = nullptr;
  Normalizer<A> output;       // of a forward pass
  Normalizer<const A> input;  // of a backward pass
  A* d_hidden = nullptr;
  RowGradient<T> d_weights;
};

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SAMPLED_SAMPLED_CALL_H_
