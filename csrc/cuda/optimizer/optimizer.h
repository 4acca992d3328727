// The row-wise updates of csrc/core/optimizer.h on a GPU: the same rules, weight decay and moving
// averages. The table and its slots are memory of the device, hyperparameters are the host's.
//
// Rows cannot be looked at before an update: one that is out of range is left out, and values that
// are not finite make of a row what the formulas make of them. The pending
// updates of a row that was read too early are applied before its own. Same bits on every run.
#ifndef FASTW2V_CUDA_OPTIMIZER_OPTIMIZER_H_
#define FASTW2V_CUDA_OPTIMIZER_OPTIMIZER_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/optimizer.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/rows/row_gradient.h"

namespace fastw2v::cuda {

// One step with a gradient as losses make it: rows [count], ascending and padded by repeats of the
// last one (see row_gradient.h), values [count, dim].
template <typename T>
Status UpdateRows(const OptimizedTable<T>& table, const RowSlices<T>& gradient,
                  const Stream& stream);

// One step with rows in any order, which may repeat: the sum of the values of each row.
template <typename T>
std::size_t UpdateSlicesScratchBytes(const OptimizedTable<T>& table, int64_t count);
template <typename T>
Status UpdateSlices(const OptimizedTable<T>& table, const RowSlices<T>& slices,
                    const Stream& stream, void* scratch);

// One step with the gradient [rows, dim] of all rows.
template <typename T>
Status UpdateAll(const OptimizedTable<T>& table, const T* gradient, const Stream& stream);

// Applies the pending updates of rows [count]; rows may repeat, and numbers that are no rows are
// left out. A null list stands for all rows.
template <typename T>
Status ApplyPending(const OptimizedTable<T>& table, const int64_t* rows, int64_t count,
                    const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_OPTIMIZER_OPTIMIZER_H_
