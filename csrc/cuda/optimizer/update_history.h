// The history of a table's updates (UpdateHistory, csrc/core/update_history.h) on a GPU: how many
// there have been, and with what numbers, is known on the device alone.
#ifndef FASTW2V_CUDA_OPTIMIZER_UPDATE_HISTORY_H_
#define FASTW2V_CUDA_OPTIMIZER_UPDATE_HISTORY_H_

#include <cstdint>

#include "csrc/core/optimizer.h"
#include "csrc/core/update_history.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/optimizer/update_step.h"

namespace fastw2v::cuda {

// Applies the pending updates of rows (`count` entries, which may repeat).
template <typename T>
Status ApplyPendingToRows(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                          const Stream& stream);

// Before and after an update of distinct rows. The first applies their pending updates and notes
// the one that follows as applied; the second counts the update, which goes by `entry`, and applies
// the pending updates of one part in `length` of the table. A table without a history needs
// neither.
template <typename T>
Status BeginUpdate(const OptimizedTable<T>& table, const MetRows& rows, int64_t count,
                   const Stream& stream);
template <typename T>
Status EndUpdate(const OptimizedTable<T>& table, const UpdateEntry& entry, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_OPTIMIZER_UPDATE_HISTORY_H_
