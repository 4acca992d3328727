// How often each class occurs: what samplers, subsampling and word trees are made from.
#ifndef FASTW2V_CORE_COUNTS_H_
#define FASTW2V_CORE_COUNTS_H_

#include <cmath>
#include <cstdint>

#include "csrc/core/status.h"

namespace fastw2v {

inline Status CheckCounts(const double* counts, int64_t num_classes) {
  for (int64_t k = 0; k < num_classes; ++k) {
    if (counts[k] >= 0 && counts[k] < INFINITY) continue;
    return InvalidArgument("counts[", k, "] = ", counts[k], " is not in [0, inf)");
  }
  return Status();
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_COUNTS_H_
