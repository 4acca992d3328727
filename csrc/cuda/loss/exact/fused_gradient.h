// The products of gradient_products.h without P in memory, for widths of up to 4 panels of 16-bit
// tables. A block keeps a tile of 128 rows (kOfHidden) or classes, its owners, and its gradient;
// tiles of 64 of the others come by. Of each pair of tiles the logits are computed again, and their
// gradient goes through shared memory into the product with the others.
#ifndef FASTW2V_CUDA_LOSS_EXACT_FUSED_GRADIENT_H_
#define FASTW2V_CUDA_LOSS_EXACT_FUSED_GRADIENT_H_

#include <cstdint>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/device/tiles.h"
#include "csrc/cuda/loss/exact/gradient_products.h"
#include "csrc/cuda/loss/exact/logit_tiles.h"

namespace fastw2v::cuda {

constexpr int kOthers = 64;

// Shared memory of a block: 148, 82 or 50 KB for 4, 2 or 1 panels.
constexpr int64_t FusedSharedBytes(int panels) {
  return (panels + 1) * kPanelBytes + panels * kPanelBytes + kTile * sizeof(float);
}

template <typename Products>
struct FusedResults {
  using T = typename Products::Element;

  ProductResults<Products> product;
  bool multiply;     // false: nothing but the gradients of biases is wanted
  float* bias_sums;  // [parts, classes], or null
  T* biases;         // [classes], or null
};

// Tables of up to `panels` (1, 2 or 4) panels, with the tiles of the others in so many parts.
template <typename T, bool kOfHidden>
Status LaunchFusedGradient(int panels, const Operands<Products16<T>>& operands,
                           const RowGradientTerms<float>* terms,
                           const FusedResults<Products16<T>>& results, int64_t parts,
                           const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_FUSED_GRADIENT_H_
