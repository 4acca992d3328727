// What Hopper's kernels of the exact softmax know of a hidden row beside its numbers.
#ifndef FASTW2V_CUDA_LOSS_HOPPER_EXACT_ROWS_H_
#define FASTW2V_CUDA_LOSS_HOPPER_EXACT_ROWS_H_

#include "csrc/cuda/device/device.h"

namespace fastw2v::cuda::hopper {

constexpr float kLog2E = 1.44269504f;

// Or an id with no row; kElsewhere: in another part of the classes, above all that are here.
enum Label { kIgnoredLabel = -1, kInvalidLabel = -2, kElsewhere = 0x7FFFFFFF };

// max in the exponent of 2, rounded: exponentials are 2^(z * kLog2E - base) with one rounding, and
// what the base is away from max is set right once for a sum.
__device__ __forceinline__ float Base(float max) { return __fmul_rn(max, kLog2E); }

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_LOSS_HOPPER_EXACT_ROWS_H_
