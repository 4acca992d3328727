// The gathers of csrc/core/gather.h on a GPU: bags of rows of a table, and the gradient of that.
//
// All pointers are to memory of the device, where nothing can be refused: a bag with an id that is
// out of range, an empty bag and one whose row_splits are not as they should be give a row of NaN
// and no gradient, and nothing outside the table and the ids is read. Same bits on every run.
#ifndef FASTW2V_CUDA_ROWS_GATHER_H_
#define FASTW2V_CUDA_ROWS_GATHER_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/gather.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/rows/row_gradient.h"

namespace fastw2v::cuda {

template <typename T>
struct BagProblem {
  const T* embeddings = nullptr;  // [rows, dim]
  int64_t rows = 0;
  int64_t dim = 0;
  Bags bags;
};

// hidden [batch, dim], overwritten: of type T, or of its accumulator.
template <typename T, typename Out>
Status GatherBags(const BagProblem<T>& problem, const Stream& stream, Out* hidden);

// The gradient of the embeddings [capacity = num_ids, dim], padded; see row_gradient.h. Its
// `biases` are left alone.
template <typename T>
std::size_t BagGradientScratchBytes(const BagProblem<T>& problem);
template <typename T>
Status BagGradient(const BagProblem<T>& problem, const Accumulator<T>* d_hidden,
                   const Stream& stream, void* scratch, const RowGradient<T>& d_embeddings);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_ROWS_GATHER_H_
