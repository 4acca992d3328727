// Sums of which several blocks of a kernel, or several blocks of logits, have made a part each.
#ifndef FASTW2V_CUDA_LOSS_ADD_PARTS_H_
#define FASTW2V_CUDA_LOSS_ADD_PARTS_H_

#include <cstdint>

#include "csrc/core/types.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// sum[i] = parts[i] + parts[stride + i] + ..., over `count` parts, beside what is there where not
// `first`. `largest` is null, or that of the gradients of logits in float16, whose unit the parts
// are in.
template <typename T>
Status AddParts(const Accumulator<T>* parts, int64_t count, int64_t stride, int64_t size,
                bool first, const uint32_t* largest, const Stream& stream, T* sum);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_ADD_PARTS_H_
