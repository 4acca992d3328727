// Products of the gradients of logits, P [rows, classes], with the other operand, for widths of up
// to 4 panels of 16-bit tables: P W is the gradient of hidden rows, P^T X that of weights. P is not
// stored. A block keeps a tile of 128 rows (kOfHidden) or classes, its owners, and its gradient;
// tiles of 64 of the others come by. Of each pair of tiles the logits are computed again, and their
// gradient goes through shared memory into the product with the others.
#ifndef FASTW2V_CUDA_LOSS_EXACT_FUSED_GRADIENT_H_
#define FASTW2V_CUDA_LOSS_EXACT_FUSED_GRADIENT_H_

#include <cstdint>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/device/tiles.h"
#include "csrc/cuda/loss/exact/logit_tiles.h"

namespace fastw2v::cuda {

constexpr int kOthers = 64;

// Shared memory of a block: 148, 82 or 50 KB for 4, 2 or 1 panels.
constexpr int64_t FusedSharedBytes(int panels) {
  return (panels + 1) * kPanelBytes + panels * kPanelBytes + kTile * sizeof(float);
}

// Where a product goes: to the gradient itself, rounded, or to sums of which there is one for each
// part of what is summed over.
template <typename T>
struct FusedResults {
  int64_t rows, columns;  // of the product
  float factor;
  T* rounded;        // [rows, columns], or null
  float* sums;       // [parts, rows, columns]
  int64_t part;      // tiles of the others in a part
  bool multiply;     // false: nothing but the gradients of biases is wanted
  float* bias_sums;  // [parts, classes], or null
  T* biases;         // [classes], or null

  __device__ __forceinline__ void Store(int64_t row, int64_t column, float value) const {
    if (row >= rows || column >= columns) return;
    const int64_t at = row * columns + column;
    if (rounded != nullptr) {
      rounded[at] = Round<T>(value);
    } else {
      sums[blockIdx.z * rows * columns + at] = value;
    }
  }
};

// Tables of up to `panels` (1, 2 or 4) panels, with the tiles of the others in so many parts.
template <typename T, bool kOfHidden>
Status LaunchFusedGradient(int panels, const Operands<T>& operands, const FusedResults<T>& results,
                           int64_t parts, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_FUSED_GRADIENT_H_
