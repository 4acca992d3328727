// How the passes over shared candidates are cut into blocks, tiles and tasks. All sizes that trade
// speed for memory are decided here, from the problem and the processor's caches: never from the
// number of threads. The model is in docs/design/cpu-plans.md.
#ifndef FASTW2V_CPU_LOSS_SHARED_PLAN_H_
#define FASTW2V_CPU_LOSS_SHARED_PLAN_H_

#include <algorithm>
#include <cstdint>

#include "csrc/cpu/loss/shared_candidates.h"

namespace fastw2v::cpu {

// Rows of a tile of logits, at most: a multiple of every panel.
constexpr int64_t kRowTile = 96;

inline int64_t CeilDiv(int64_t x, int64_t y) { return (x + y - 1) / y; }
inline int64_t RoundDown(int64_t x, int64_t multiple) { return x / multiple * multiple; }
inline int64_t Clamp(int64_t x, int64_t low, int64_t high) {
  return std::max(low, std::min(x, high));
}

// How many classes make a tile, and how many hidden rows are worked on at a time, where a row of
// accumulators takes `row_bytes` and a block `bytes`.
int64_t ClassTileSize(int64_t row_bytes);
int64_t RowBlockSize(int64_t row_bytes, int64_t bytes = 1 << 20);

struct Plan {
  bool few;       // classes: a task is a run of rows
  bool stores;    // exponentials stay in scratch between the passes
  bool early;     // the forward pass multiplies them with the weights: the sums for d_hidden
  bool in_place;  // d_weights are summed where they are wanted
  int64_t class_tile;
  int64_t row_tile;       // a multiple of kRowMultiple
  int64_t block;          // rows worked on at a time
  int64_t run;            // rows of one task, a multiple of kRowMultiple
  int64_t num_runs;       // in a block
  int64_t forward_chunk;  // classes of one task
  int64_t chunk;          // the same in backward
  int64_t num_chunks;     // in a group
  int64_t group;          // classes whose d_weights are summed at a time
};

template <typename T>
Plan MakePlan(const SharedCandidates<T>& problem, Passes passes);

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_LOSS_SHARED_PLAN_H_
