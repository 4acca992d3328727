#include "csrc/tensorflow/support/huge_pages.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace fastw2v {

void PreferHugePages([[maybe_unused]] const tensorflow::Tensor& tensor) {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t kHugePage = std::uintptr_t{1} << 21;
  const std::size_t size = tensor.TotalBytes();
  if (size < 2 * kHugePage) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(tensor.data());
  const std::uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t last = (begin + size) / kHugePage * kHugePage;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace fastw2v
