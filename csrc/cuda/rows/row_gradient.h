// What the gradient of a table is of which only some rows were used.
#ifndef FASTW2V_CUDA_ROWS_ROW_GRADIENT_H_
#define FASTW2V_CUDA_ROWS_ROW_GRADIENT_H_

#include <cstdint>

namespace fastw2v::cuda {

// Distinct rows, ascending, padded to `capacity`, since their number is known on the device alone:
// by rows that repeat the largest one, with values of 0.
template <typename T>
struct RowGradient {
  int64_t* rows = nullptr;  // [capacity]
  T* values = nullptr;      // [capacity, dim]
  T* biases = nullptr;      // [capacity], or null where there are none
};

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_ROWS_ROW_GRADIENT_H_
