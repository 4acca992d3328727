// The exact loss of 16-bit tables of up to 256 columns by products of tiles of 128 hidden rows and
// 128 classes, whose logits exist in registers alone.
//
//   forward    logit_tiles.cu. A block owns a tile of rows and a run of class tiles. Every thread
//              keeps the maximum and the sum of exponentials of the columns it holds; they are
//              joined at the end of the run, and by FinishLoss over the runs of a row.
//   backward   fused_gradient.cu: the logits again, twice, and their gradient P from shared memory
//              into the products P W (d_hidden) and P^T X (d_weights).
//
// Sums are cut by the problem alone, never by the device, and joined in a fixed order.
#ifndef FASTW2V_CUDA_LOSS_EXACT_TILE_LOSS_H_
#define FASTW2V_CUDA_LOSS_EXACT_TILE_LOSS_H_

#include <cstddef>

#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda {

// T is BFloat16 or Half in all of these.
template <typename T>
bool TilesSupportForward(const LossProblem<T>& problem, const Device& device);
template <typename T>
bool TilesSupportBackward(const LossProblem<T>& problem, const Device& device);

// A problem that is not empty in all of these; see loss.h.
template <typename T>
std::size_t TileLossScratchBytes(const LossProblem<T>& problem);

template <typename T>
Status TileLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                       float* loss, const Normalizer<float>& normalizer);

template <typename T>
Status TilePartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                       const SoftmaxPart<float>& part);

template <typename T>
Status TileLossBackward(const LossProblem<T>& problem, const float* d_loss,
                        const Normalizer<const float>& normalizer, const Stream& stream,
                        void* scratch, float* d_hidden, T* d_weights, T* d_biases);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_TILE_LOSS_H_
