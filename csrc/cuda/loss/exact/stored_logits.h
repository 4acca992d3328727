// Sums and gradients of stored logits (csrc/cuda/loss/stored_logits.h) where all classes compete.
#ifndef FASTW2V_CUDA_LOSS_EXACT_STORED_LOGITS_H_
#define FASTW2V_CUDA_LOSS_EXACT_STORED_LOGITS_H_

#include <cstdint>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/loss/exact/examples.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/stored_logits.h"

namespace fastw2v::cuda {

// Of classes [class0, class0 + classes), from a multiple of kPitchColumns on.
template <typename T>
struct StoredLogits : LogitBlock<Accumulator<T>> {
  int64_t class0 = 0;
  const T* biases = nullptr;   // of all classes that are here, or null
  bool vector_biases = false;  // those of a block are aligned as kVector of them
};

// Sums go to examples.sums from run `first_run` on; logits of labels go to examples.label_logits.
template <typename T>
Status SumStoredLogits(const StoredLogits<T>& logits, const Examples<Accumulator<T>>& examples,
                       const SumRuns& runs, int64_t first_run, bool smoothing,
                       const Stream& stream);

// As DifferentiateLogits.
template <typename T, typename E>
Status DifferentiateStoredLogits(const StoredLogits<T>& logits,
                                 const Examples<Accumulator<T>>& examples, bool round, E* gradients,
                                 Accumulator<T>* bias_sums, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_STORED_LOGITS_H_
