// Gradients of tables of which only some rows were used, without the host: terms are sorted by row
// and summed in an order that is always the same.
//
// A row of up to kLongRow terms is summed in the order of its terms, as on the CPU. A longer one is
// cut into as many equal parts as a block has warps, and their sums are added in order.
#ifndef FASTW2V_CUDA_ROWS_ROWS_H_
#define FASTW2V_CUDA_ROWS_ROWS_H_

#include <cstdint>

#include "csrc/core/scratch.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/rows/sort.h"

namespace fastw2v::cuda {

// The order in which terms are summed: those of distinct row u, [begins[u], begins[u + 1]), are
// places[...]. Rows from `num_rows` on are none: terms that belong nowhere are given that number.
struct RowOrder {
  int64_t num_terms = 0;
  int64_t num_rows = 0;
  const int32_t* places = nullptr;
  const int64_t* distinct = nullptr;
  const int32_t* begins = nullptr;
  const int32_t* num_distinct = nullptr;
};

// Memory of a sort by row. Fill rows() and places() of all terms, then Sort().
class RowSorter {
 public:
  RowSorter() = default;
  RowSorter(int64_t num_terms, int64_t num_rows, Scratch* scratch)
      : num_terms_(num_terms),
        num_rows_(num_rows),
        rows_(scratch->Take<int64_t>(num_terms)),
        sorted_rows_(scratch->Take<int64_t>(num_terms)),
        places_(scratch->Take<int32_t>(num_terms)),
        sorted_places_(scratch->Take<int32_t>(num_terms)),
        begins_(scratch->Take<int32_t>(num_terms)),
        num_distinct_(scratch->Take<int32_t>(1)),
        memory_(SortScratchBytes(num_terms), scratch) {}

  int64_t* rows() const { return rows_; }
  int32_t* places() const { return places_; }

  // The unsorted rows make room for the distinct ones.
  Status Sort(const Stream& stream, RowOrder* order) const {
    FASTW2V_RETURN_IF_ERROR(SortRows(rows_, places_, num_terms_, num_rows_, stream, memory_,
                                     sorted_rows_, sorted_places_));
    FASTW2V_RETURN_IF_ERROR(
        FindDistinct(sorted_rows_, num_terms_, stream, memory_, rows_, begins_, num_distinct_));
    *order = {num_terms_, num_rows_, sorted_places_, rows_, begins_, num_distinct_};
    return Status();
  }

 private:
  int64_t num_terms_ = 0, num_rows_ = 0;
  int64_t *rows_ = nullptr, *sorted_rows_ = nullptr;
  int32_t *places_ = nullptr, *sorted_places_ = nullptr;
  int32_t *begins_ = nullptr, *num_distinct_ = nullptr;
  SortMemory memory_;
};

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_ROWS_ROWS_H_
