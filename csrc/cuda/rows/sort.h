// Sorting of terms by row and running sums, on the device, by CUB.
#ifndef FASTW2V_CUDA_ROWS_SORT_H_
#define FASTW2V_CUDA_ROWS_SORT_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/scratch.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// Most entries that can be sorted: places are 32-bit numbers.
constexpr int64_t kMaxSorted = (int64_t{1} << 31) - 1;

inline Status CheckSorted(int64_t count) {
  if (count <= kMaxSorted) return Status();
  return ResourceExhausted("a gradient of rows has ", count, " terms, more than the ", kMaxSorted,
                           " that can be sorted on a GPU");
}

// Scratch memory of this file's functions, aligned to Scratch::kAlignment. Its size is found by
// calls of CUB that ask the device, so who sorts keeps it.
struct SortMemory {
  std::size_t bytes = 0;
  void* data = nullptr;

  SortMemory() = default;
  SortMemory(std::size_t size, Scratch* scratch)
      : bytes(size), data(scratch->Take<unsigned char>(static_cast<int64_t>(size))) {}
};

// For either of the next two functions.
std::size_t SortScratchBytes(int64_t count);

// Ascending rows [count], each in [0, largest], with the places that belong to them; equal rows
// keep their order.
Status SortRows(const int64_t* rows, const int32_t* places, int64_t count, int64_t largest,
                const Stream& stream, const SortMemory& memory, int64_t* sorted_rows,
                int32_t* sorted_places);

// Of ascending rows [count]: the distinct ones, where each of them begins, and their number.
Status FindDistinct(const int64_t* sorted_rows, int64_t count, const Stream& stream,
                    const SortMemory& memory, int64_t* distinct, int32_t* begins,
                    int32_t* num_distinct);

std::size_t SumScratchBytes(int64_t count);

// sums[i] = values[0] + ... + values[i - 1], for i in [0, count). The two may be the same array.
Status SumBefore(const int64_t* values, int64_t count, const Stream& stream,
                 const SortMemory& memory, int64_t* sums);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_ROWS_SORT_H_
