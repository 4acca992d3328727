// Products of the gradients of logits, P [rows, classes], with the other operand: P W is a part of
// the gradient of hidden rows, P^T X that of weights. Here P lies in memory.
#ifndef FASTW2V_CUDA_LOSS_EXACT_GRADIENT_PRODUCTS_H_
#define FASTW2V_CUDA_LOSS_EXACT_GRADIENT_PRODUCTS_H_

#include <cstdint>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/device/tiles.h"
#include "csrc/cuda/loss/exact/logit_tiles.h"

namespace fastw2v::cuda {

// Where a product of the gradients of the logits goes: to the gradient itself, rounded, or to sums
// of which there is one for each part of the sum over k.
template <typename Products>
struct ProductResults {
  using T = typename Products::Element;
  using A = typename Products::Sum;

  int64_t rows, columns;  // of the result
  A factor;
  const uint32_t* largest;
  T* rounded;  // [rows, columns], or null
  A* sums;     // [parts, rows, columns], added to where not `first`
  bool first;
  int64_t part;  // steps of k in a part, or tiles

  __device__ __forceinline__ void Store(int64_t row, int64_t column, A value) const {
    if (row >= rows || column >= columns) return;
    const int64_t at = row * columns + column;
    if (rounded != nullptr) {
      rounded[at] = Round<T>(value);
    } else {
      A* const sum = sums + blockIdx.z * rows * columns + at;
      *sum = first ? value : *sum + value;
    }
  }
};

// P W (kOfHidden: rows of P lie along k) or P^T X, with the sum over k in so many parts.
template <typename Products, bool kOfHidden>
Status LaunchMultiplyGradient(const Products& products, const Matrix<typename Products::Element>& p,
                              const Matrix<typename Products::Element>& other,
                              const ProductResults<Products>& results, int64_t parts,
                              const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_GRADIENT_PRODUCTS_H_
