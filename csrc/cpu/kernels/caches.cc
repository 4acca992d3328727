#include "csrc/cpu/kernels/caches.h"

#include <unistd.h>

#include <algorithm>

namespace fastw2v::cpu {

int64_t SecondLevelBytes() {
  static const int64_t bytes = [] {
    int64_t told = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    told = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    if (told <= 0) told = 512 << 10;
    return std::clamp<int64_t>(told, 256 << 10, 2 << 20);
  }();
  return bytes;
}

}  // namespace fastw2v::cpu
