// The products of a chunk of gradients of logits, P [hidden rows, classes], with the other operand,
// on Hopper: P W is a part of d_hidden, P^T X a part of d_weights. T is BFloat16 or Half.
#ifndef FASTW2V_CUDA_LOSS_HOPPER_PRODUCTS_H_
#define FASTW2V_CUDA_LOSS_HOPPER_PRODUCTS_H_

#include <cstddef>
#include <cstdint>

#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda::hopper {

template <typename T>
struct GradientProduct {
  const T* p = nullptr;  // [p_rows, pitch], a pitch of whole 8 and an address of whole 16 bytes
  int64_t p_rows = 0, pitch = 0;
  const T* other = nullptr;  // W [classes, columns] or X [p_rows, columns]
  int64_t other_rows = 0, other_columns = 0;
  int64_t rows = 0, columns = 0;  // of the result
  float factor = 1;
  const uint32_t* largest = nullptr;  // see GradientUnit in exact_logits.h

  // P W goes to `sums` [parts, rows, columns], each part with its own share of the classes, added
  // to what is there where not `first`; P^T X to `rounded` [rows, columns]. The other is null.
  float* sums = nullptr;
  int64_t parts = 1;
  bool first = true;
  T* rounded = nullptr;
};

// Can these kernels take tables of this width, at this address?
bool SupportsProducts(const void* table, int64_t columns, const Device& device);

// Columns of a tile of the result; tiles have 128 rows.
int64_t ProductTileColumns(int64_t columns);

template <typename T>
Status MultiplyGradient(const GradientProduct<T>& product, const Stream& stream);

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_LOSS_HOPPER_PRODUCTS_H_
