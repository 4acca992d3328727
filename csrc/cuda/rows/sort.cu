#include <thrust/iterator/counting_iterator.h>

#include <algorithm>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_select.cuh>

#include "csrc/cuda/rows/sort.h"

namespace fastw2v::cuda {

namespace {

int BitWidth(int64_t x) {
  int bits = 1;
  while (bits < 63 && x >> bits != 0) ++bits;
  return bits;
}

// CUB only measures where it gets no scratch.
cudaError_t Sort(void* scratch, std::size_t* bytes, const int64_t* rows, const int32_t* places,
                 int64_t count, int bits, cudaStream_t stream, int64_t* sorted_rows,
                 int32_t* sorted_places) {
  return cub::DeviceRadixSort::SortPairs(scratch, *bytes, rows, sorted_rows, places, sorted_places,
                                         static_cast<int32_t>(count), 0, bits, stream);
}

cudaError_t Select(void* scratch, std::size_t* bytes, const int64_t* rows, int64_t count,
                   cudaStream_t stream, int64_t* distinct, int32_t* begins, int32_t* num_distinct) {
  return cub::DeviceSelect::UniqueByKey(scratch, *bytes, rows,
                                        thrust::counting_iterator<int32_t>(0), distinct, begins,
                                        num_distinct, static_cast<int32_t>(count), stream);
}

cudaError_t Sum(void* scratch, std::size_t* bytes, const int64_t* values, int64_t count,
                cudaStream_t stream, int64_t* sums) {
  return cub::DeviceScan::ExclusiveSum(scratch, *bytes, values, sums, count, stream);
}

}  // namespace

std::size_t SortScratchBytes(int64_t count) {
  // A list that is too long, and a device that cannot be asked, fail when they sort.
  if (count > kMaxSorted) return 0;
  std::size_t sort = 0, select = 0;
  constexpr int kAllBits = 63;
  if (Sort(nullptr, &sort, nullptr, nullptr, count, kAllBits, nullptr, nullptr, nullptr) !=
          cudaSuccess ||
      Select(nullptr, &select, nullptr, count, nullptr, nullptr, nullptr, nullptr) != cudaSuccess) {
    return 0;
  }
  return std::max(sort, select);
}

Status SortRows(const int64_t* rows, const int32_t* places, int64_t count, int64_t largest,
                const Stream& stream, const SortMemory& memory, int64_t* sorted_rows,
                int32_t* sorted_places) {
  FASTW2V_RETURN_IF_ERROR(CheckSorted(count));
  if (count == 0) return Status();
  std::size_t bytes = memory.bytes;
  return ToStatus(Sort(memory.data, &bytes, rows, places, count, BitWidth(largest), stream.stream,
                       sorted_rows, sorted_places));
}

Status FindDistinct(const int64_t* sorted_rows, int64_t count, const Stream& stream,
                    const SortMemory& memory, int64_t* distinct, int32_t* begins,
                    int32_t* num_distinct) {
  if (count == 0) return Zero(num_distinct, sizeof *num_distinct, stream);
  std::size_t bytes = memory.bytes;
  return ToStatus(Select(memory.data, &bytes, sorted_rows, count, stream.stream, distinct, begins,
                         num_distinct));
}

std::size_t SumScratchBytes(int64_t count) {
  std::size_t bytes = 0;
  return Sum(nullptr, &bytes, nullptr, count, nullptr, nullptr) == cudaSuccess ? bytes : 0;
}

Status SumBefore(const int64_t* values, int64_t count, const Stream& stream,
                 const SortMemory& memory, int64_t* sums) {
  if (count == 0) return Status();
  std::size_t bytes = memory.bytes;
  return ToStatus(Sum(memory.data, &bytes, values, count, stream.stream, sums));
}

}  // namespace fastw2v::cuda
