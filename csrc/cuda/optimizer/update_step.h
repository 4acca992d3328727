// What the kernels of optimizer.cu and update_history.cu have in common: one update of one weight,
// and the rows that are updated. A warp works on a row.
#ifndef FASTW2V_CUDA_OPTIMIZER_UPDATE_STEP_H_
#define FASTW2V_CUDA_OPTIMIZER_UPDATE_STEP_H_

#include <cstdint>

#include "csrc/core/optimizer.h"
#include "csrc/core/update_formulas.h"
#include "csrc/core/update_history.h"
#include "csrc/cuda/device/device.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/rows/row_sums.h"
#include "csrc/cuda/rows/rows.h"

namespace fastw2v::cuda {

constexpr int kUpdateWarps = 8;
constexpr int kUpdateThreads = kUpdateWarps * kWarp;

// One update of one weight w with gradient g and slots s.
template <typename A>
__device__ __forceinline__ void Step(UpdateRule rule, const UpdateNumbers<A>& k, A g, A& w,
                                     A (&s)[kMaxSlots]) {
  w *= k.decay;
  UpdateWeight(rule, k, g, w, s);
}

// Which rows a step updates: all, or those of a list that is ascending and padded, or those that
// have been sorted.
struct MetRows {
  const int64_t* list = nullptr;
  RowOrder order;

  // The row of gradient u, or -1 for none.
  __device__ int64_t Row(int64_t u) const {
    if (order.num_distinct != nullptr) {
      const RowRun run = FindRun(order, u);
      return run.end > run.begin ? run.row : -1;
    }
    if (list == nullptr) return u;
    return u > 0 && list[u - 1] == list[u] ? -1 : list[u];
  }
};

// Whether a table, its slots and its average can be read and written in pieces of kVector.
template <typename T>
bool RowsInVectors(const OptimizedTable<T>& table) {
  const bool by_row = table.rule == UpdateRule::kRowwiseAdagrad;
  return InVectors(table.dim, table.weights, by_row ? nullptr : table.slots[0], table.slots[1],
                   table.slots[2], table.average);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_OPTIMIZER_UPDATE_STEP_H_
