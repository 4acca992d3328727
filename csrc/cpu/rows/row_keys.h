// Sorting by row of a table.
#ifndef FASTW2V_CPU_ROWS_ROW_KEYS_H_
#define FASTW2V_CPU_ROWS_ROW_KEYS_H_

#include <cstdint>
#include <vector>

namespace fastw2v::cpu {

struct RowKey {
  int64_t row;    // not negative
  int64_t place;  // where the caller finds what belongs to it
};

// Ascending rows; equal ones keep their order.
void SortKeys(std::vector<RowKey>* keys);

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_ROWS_ROW_KEYS_H_
