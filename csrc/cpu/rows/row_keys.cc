#include "csrc/cpu/rows/row_keys.h"

#include <algorithm>
#include <utility>

namespace fastw2v::cpu {

namespace {

int BitWidth(int64_t x) {
  int bits = 0;
  while (bits < 63 && x >> bits != 0) ++bits;
  return bits;
}

}  // namespace

// A radix sort from the lowest digit up. Few keys get short digits, so that no pass costs more than
// the keys do.
void SortKeys(std::vector<RowKey>* keys) {
  constexpr int kMinDigit = 4, kMaxDigit = 11;
  int64_t all_rows = 0;
  for (const RowKey& key : *keys) all_rows |= key.row;
  const int row_bits = BitWidth(all_rows);
  const int widest = std::clamp(BitWidth(static_cast<int64_t>(keys->size())), kMinDigit, kMaxDigit);
  const int passes = (row_bits + widest - 1) / widest;
  std::vector<RowKey> sorted(keys->size());
  int64_t next[1 << kMaxDigit];
  for (int pass = 0, shift = 0; pass < passes; ++pass) {
    const int digit_bits = (row_bits - shift + passes - pass - 1) / (passes - pass);
    const int64_t mask = (int64_t{1} << digit_bits) - 1;
    std::fill_n(next, mask + 1, 0);
    for (const RowKey& key : *keys) ++next[key.row >> shift & mask];
    int64_t begin = 0;
    for (int64_t digit = 0; digit <= mask; ++digit) {
      const int64_t size = next[digit];
      next[digit] = begin;
      begin += size;
    }
    for (const RowKey& key : *keys) sorted[next[key.row >> shift & mask]++] = key;
    std::swap(*keys, sorted);
    shift += digit_bits;
  }
}

}  // namespace fastw2v::cpu
