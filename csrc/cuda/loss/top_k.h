// csrc/core/top_k.h on a GPU: the same order, so the same classes wherever logits are the same
// numbers. All pointers are to memory of the device. Logits are dot products of rows, each read
// once for every hidden row: made for few rows, as in a search.
#ifndef FASTW2V_CUDA_LOSS_TOP_K_H_
#define FASTW2V_CUDA_LOSS_TOP_K_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/types.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

template <typename T>
struct TopKProblem {
  static constexpr int64_t kMaxK = 512;

  int64_t batch = 0;
  int64_t classes = 0;
  int64_t dim = 0;
  const Accumulator<T>* hidden = nullptr;  // [batch, dim]
  const T* weights = nullptr;              // [classes, dim]
  const T* biases = nullptr;               // [classes], or null for none
  int64_t k = 1;                           // in [1, min(classes, kMaxK)]
  double logit_scale = 1;                  // finite
  double logit_softcap = 0;                // 0: none
};

template <typename T>
Status CheckTopKProblem(const TopKProblem<T>& problem);

template <typename T>
std::size_t TopKScratchBytes(const TopKProblem<T>& problem);

// logits and classes [batch, k], overwritten.
template <typename T>
Status TopK(const TopKProblem<T>& problem, const Stream& stream, void* scratch,
            Accumulator<T>* logits, int64_t* classes);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_TOP_K_H_
