// csrc/core/softmax_parts.h on a GPU. All pointers are to memory of the device, and no value is
// looked at on the host: a label that is no class of a part gives its example a loss of NaN, a
// negative number of classes all of them.
#ifndef FASTW2V_CUDA_LOSS_SOFTMAX_PARTS_H_
#define FASTW2V_CUDA_LOSS_SOFTMAX_PARTS_H_

#include "csrc/core/softmax_parts.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// What can be checked without the device: numbers and options.
template <typename A>
Status CheckSoftmaxParts(const SoftmaxParts<A>& parts) {
  return CheckLossOptions(parts.options, Candidates::kAll, /*classes=*/1, parts.num_true);
}

// loss [batch] and the normalizer, overwritten.
template <typename A>
Status JoinSoftmaxParts(const SoftmaxParts<A>& parts, const Stream& stream, A* loss,
                        const Normalizer<A>& normalizer);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SOFTMAX_PARTS_H_
