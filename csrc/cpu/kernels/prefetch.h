// Rows picked from a large table lie anywhere in memory: each one misses the caches and the TLB. A
// loop over rows hides most of that by asking for a row some iterations before it is read.
#ifndef FASTW2V_CPU_KERNELS_PREFETCH_H_
#define FASTW2V_CPU_KERNELS_PREFETCH_H_

#include <algorithm>
#include <cstdint>

namespace fastw2v::cpu {

// How many rows ahead to ask: enough to cover the latency of memory, few enough that the rows
// asked for stay in the first-level cache until they are read.
template <typename T>
int64_t PrefetchDistance(int64_t dim) {
  constexpr int64_t kBytes = 4096, kMinRows = 2, kMaxRows = 16;
  const int64_t row_bytes = std::max<int64_t>(1, dim * static_cast<int64_t>(sizeof(T)));
  return std::clamp(kBytes / row_bytes, kMinRows, kMaxRows);
}

// Asks for a row, or for the beginning of a long one: the processor itself foresees the rest.
template <typename T>
void PrefetchRow(const T* row, int64_t dim) {
  constexpr int64_t kLine = 64, kMaxBytes = 2048;
  const char* bytes = reinterpret_cast<const char*>(row);
  const int64_t size = std::min(kMaxBytes, dim * static_cast<int64_t>(sizeof(T)));
  for (int64_t i = 0; i < size; i += kLine) __builtin_prefetch(bytes + i);
  // GCC takes a function that only prefetches for one without effects and drops the calls to it.
  asm volatile("");
}

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_KERNELS_PREFETCH_H_
