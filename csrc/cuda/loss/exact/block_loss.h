// The exact loss by blocks of logits that lie in memory: a library multiplies (gemm.h), kernels
// make sums and gradients of what it has written (stored_logits.h). For all types, widths and
// options.
//
//   forward       Z = X W^T (2BVD operations), then the sums of the block
//   backward      Z again, then P, the gradients of the logits, in its place, and two products:
//                 d_hidden += P W, d_weights = P^T X (6BVD)
//   in one call   forward and backward, 6BVD, where blocks of some rows and all classes fit
//                 (BlockPlan): a row's sums are complete before its block is left, so that its
//                 logits become gradients without being computed again. Else both passes, 8BVD.
#ifndef FASTW2V_CUDA_LOSS_EXACT_BLOCK_LOSS_H_
#define FASTW2V_CUDA_LOSS_EXACT_BLOCK_LOSS_H_

#include <cstddef>

#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda {

// A problem that is not empty in all of these; see loss.h.
template <typename T>
std::size_t BlockLossScratchBytes(const LossProblem<T>& problem, const Device& device);

template <typename T>
Status BlockLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer);

template <typename T>
Status BlockPartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        const SoftmaxPart<Accumulator<T>>& part);

template <typename T>
Status BlockLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                         const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                         void* scratch, Accumulator<T>* d_hidden, T* d_weights, T* d_biases);

template <typename T>
Status BlockLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                              const Stream& stream, void* scratch, Accumulator<T>* loss,
                              const Normalizer<Accumulator<T>>& normalizer,
                              Accumulator<T>* d_hidden, T* d_weights, T* d_biases);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_BLOCK_LOSS_H_
