// csrc/cuda/rows/sort.h by the standard library.
#include "csrc/cuda/rows/sort.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace fastw2v::cuda {

std::size_t SortScratchBytes(int64_t) { return 0; }

Status SortRows(const int64_t* rows, const int32_t* places, int64_t count, int64_t largest,
                const Stream&, const SortMemory&, int64_t* sorted_rows, int32_t* sorted_places) {
  FASTW2V_RETURN_IF_ERROR(CheckSorted(count));
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] < 0 || rows[i] > largest) {
      return Status(StatusCode::kInternal, "a row to be sorted is out of range");
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t x, int64_t y) { return rows[x] < rows[y]; });
  for (int64_t i = 0; i < count; ++i) {
    sorted_rows[i] = rows[order[i]];
    sorted_places[i] = places[order[i]];
  }
  return Status();
}

Status FindDistinct(const int64_t* sorted_rows, int64_t count, const Stream&, const SortMemory&,
                    int64_t* distinct, int32_t* begins, int32_t* num_distinct) {
  *num_distinct = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0 && sorted_rows[i] == sorted_rows[i - 1]) continue;
    distinct[*num_distinct] = sorted_rows[i];
    begins[(*num_distinct)++] = static_cast<int32_t>(i);
  }
  return Status();
}

std::size_t SumScratchBytes(int64_t) { return 0; }

Status SumBefore(const int64_t* values, int64_t count, const Stream&, const SortMemory&,
                 int64_t* sums) {
  int64_t before = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = values[i];
    sums[i] = before;
    before += value;
  }
  return Status();
}

}  // namespace fastw2v::cuda
