// A block of logits that lies in memory: what a library has multiplied becomes sums of a softmax,
// or the gradients of the logits, in one pass over the block each. Both are bound by memory: a
// logit takes 4 bytes in and at most as many out, and less arithmetic than a GPU does meanwhile.
#ifndef FASTW2V_CUDA_LOSS_EXACT_STORED_LOGITS_H_
#define FASTW2V_CUDA_LOSS_EXACT_STORED_LOGITS_H_

#include <cstdint>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/loss/exact/examples.h"
#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda {

// Of rows [row0, row0 + rows) and classes [class0, class0 + classes).
template <typename T>
struct StoredLogits {
  Accumulator<T>* products;  // [rows, pitch], hidden rows times weights and nothing else
  int64_t pitch;             // whole kPitchColumns; columns without a class are not defined
  int64_t row0, rows;
  int64_t class0, classes;  // fewer than 2^31, from a multiple of kPitchColumns on
  const T* biases;          // of all classes that are here, or null
  bool vector_biases;       // those of a block are aligned as kVector of them
  LogitNumbers<Accumulator<T>> numbers;
};

constexpr int64_t kPitchColumns = 128;

// Sums over `runs` runs of `run` classes, the last ones maybe without a class, go to examples.sums
// from run `first_run` on; logits of labels go to examples.label_logits.
template <typename T>
Status SumStoredLogits(const StoredLogits<T>& logits, const Examples<Accumulator<T>>& examples,
                       int64_t run, int64_t first_run, int64_t runs, bool smoothing,
                       const Stream& stream);

// Rows whose gradients of biases are one sum.
constexpr int64_t kBiasRows = 32;

// gradients [rows, pitch] of the logits, in the unit of E (GradientUnit) and, where so asked,
// rounded to bfloat16: may be the memory of the products. bias_sums [Divide(rows, kBiasRows),
// pitch]: of gradients that are not rounded, in the same unit, or null.
template <typename T, typename E>
Status DifferentiateStoredLogits(const StoredLogits<T>& logits,
                                 const Examples<Accumulator<T>>& examples, bool round, E* gradients,
                                 Accumulator<T>* bias_sums, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_STORED_LOGITS_H_
