// The exact softmax of csrc/cuda/loss/loss.h on Hopper (compute capability 9.0): warp-specialised
// kernels whose products are wgmma and whose tiles come by the copy engine. Same contract; other
// ways (csrc/cuda/loss/exact) take what is not supported here.
//
// No logit leaves the multiprocessor. Memory beside inputs and outputs: the hidden rows once more,
// the weights, too, where their rows are no whole 16 bytes, some numbers per row, and, where the
// batch alone has too few tiles for the chip, partial sums of d_hidden per range of classes.
#ifndef FASTW2V_CUDA_LOSS_HOPPER_EXACT_LOSS_H_
#define FASTW2V_CUDA_LOSS_HOPPER_EXACT_LOSS_H_

#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda::hopper {

// T is BFloat16 or Half in all of these.
//
// 16-bit tables of an even width, one label, and not every option; weights that have to be padded
// only up to the bytes that logits may take.
template <typename T>
bool SupportsForward(const LossProblem<T>& problem, const Device& device);
// The same, up to a width of 256.
template <typename T>
bool SupportsBackward(const LossProblem<T>& problem, const Device& device);
// Whether StoreLogitGradients (logit_gradients.h) takes it, given weights in rows that are aligned.
template <typename T>
bool SupportsStoredGradients(const LossProblem<T>& problem, const Device& device);

// For each of the calls below.
template <typename T>
std::size_t ExactLossScratchBytes(const LossProblem<T>& problem, const Device& device);

template <typename T>
Status ExactLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        float* loss, const Normalizer<float>& normalizer);

template <typename T>
Status SoftmaxPartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                          const SoftmaxPart<float>& part);

template <typename T>
Status ExactLossBackward(const LossProblem<T>& problem, const float* d_loss,
                         const Normalizer<const float>& normalizer, const Stream& stream,
                         void* scratch, float* d_hidden, T* d_weights, T* d_biases);

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_LOSS_HOPPER_EXACT_LOSS_H_
