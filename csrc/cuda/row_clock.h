// The clock of a table's rows (RowClock, csrc/core/optimizer.h) on a GPU: how many updates there
// have been, and with what, is known on the device alone.
#ifndef FASTW2V_CUDA_ROW_CLOCK_H_
#define FASTW2V_CUDA_ROW_CLOCK_H_

#include <cstdint>

#include "csrc/core/optimizer.h"
#include "csrc/core/row_clock.h"
#include "csrc/cuda/runtime.h"
#include "csrc/cuda/update_step.h"

namespace fastw2v::cuda {

// Brings rows (`count` entries, which may repeat) up to date.
template <typename T>
Status CatchUpRows(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                   const Stream& stream);

// Before and after an update of distinct rows. The first brings them up to date and notes that they
// take part; the second counts the update, which goes by `entry`, and brings one part in `length`
// of the table up to date. A table without a clock needs neither.
template <typename T>
Status BeginUpdate(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                   const Stream& stream);
template <typename T>
Status EndUpdate(const OptimizedTable<T>& table, const UpdateEntry& entry, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_ROW_CLOCK_H_
