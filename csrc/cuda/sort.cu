#include <algorithm>

#include "csrc/cuda/sort.h"

#if defined(FASTW2V_CUDA_EMULATED)
#include <numeric>
#include <vector>
#else
#include <thrust/iterator/counting_iterator.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_select.cuh>
#endif

namespace fastw2v::cuda {

namespace {

Status CheckCount(int64_t count) {
  if (count <= kMaxSorted) return Status();
  return ResourceExhausted("a gradient of rows has ", count, " terms, more than the ", kMaxSorted,
                           " that can be sorted on a GPU");
}

#if !defined(FASTW2V_CUDA_EMULATED)
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
#endif

}  // namespace

#if defined(FASTW2V_CUDA_EMULATED)

std::size_t SortScratchBytes(int64_t) { return 0; }

Status SortRows(const int64_t* rows, const int32_t* places, int64_t count, int64_t largest,
                const Stream&, void*, int64_t* sorted_rows, int32_t* sorted_places) {
  FASTW2V_RETURN_IF_ERROR(CheckCount(count));
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

Status FindDistinct(const int64_t* sorted_rows, int64_t count, const Stream&, void*,
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

Status SumBefore(const int64_t* values, int64_t count, const Stream&, void*, int64_t* sums) {
  int64_t before = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = values[i];
    sums[i] = before;
    before += value;
  }
  return Status();
}

#else

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
                const Stream& stream, void* scratch, int64_t* sorted_rows, int32_t* sorted_places) {
  FASTW2V_RETURN_IF_ERROR(CheckCount(count));
  if (count == 0) return Status();
  std::size_t bytes = SortScratchBytes(count);
  return ToStatus(Sort(scratch, &bytes, rows, places, count, BitWidth(largest), stream.stream,
                       sorted_rows, sorted_places));
}

Status FindDistinct(const int64_t* sorted_rows, int64_t count, const Stream& stream, void* scratch,
                    int64_t* distinct, int32_t* begins, int32_t* num_distinct) {
  if (count == 0) return Zero(num_distinct, sizeof *num_distinct, stream);
  std::size_t bytes = SortScratchBytes(count);
  return ToStatus(
      Select(scratch, &bytes, sorted_rows, count, stream.stream, distinct, begins, num_distinct));
}

std::size_t SumScratchBytes(int64_t count) {
  std::size_t bytes = 0;
  return Sum(nullptr, &bytes, nullptr, count, nullptr, nullptr) == cudaSuccess ? bytes : 0;
}

Status SumBefore(const int64_t* values, int64_t count, const Stream& stream, void* scratch,
                 int64_t* sums) {
  if (count == 0) return Status();
  std::size_t bytes = SumScratchBytes(count);
  return ToStatus(Sum(scratch, &bytes, values, count, stream.stream, sums));
}

#endif

}  // namespace fastw2v::cuda
