// Gradients of logits of the exact softmax, stored for a library's products, on Hopper: the logits
// of exact_forward.cu once more, by the same loop. T is BFloat16 or Half.
#ifndef FASTW2V_CUDA_LOSS_HOPPER_LOGIT_GRADIENTS_H_
#define FASTW2V_CUDA_LOSS_HOPPER_LOGIT_GRADIENTS_H_

#include <cstdint>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/loss/gradient_terms.h"

namespace fastw2v::cuda::hopper {

// Rows whose gradients of biases are one sum.
constexpr int kBiasRows = 64;

template <typename T>
struct LogitGradients {
  const T* hidden = nullptr;  // [rows, width], whole 128 and whole 64; zeros where it is padded
  int64_t batch = 0, rows = 0, width = 0;
  const T* weights = nullptr;  // [classes, dim], of a part of the classes
  const T* biases = nullptr;   // or null
  int64_t classes = 0, dim = 0;
  int64_t first_class = 0;          // number of that part's first class
  const int64_t* labels = nullptr;  // [batch, num_true]
  int64_t num_true = 1;
  IgnoredLabel ignored;
  float scale = 1, softcap = 0;                    // softcap 0: none
  const RowGradientTerms<float>* terms = nullptr;  // [rows]
  const uint8_t* active = nullptr;                 // [rows]
  const uint32_t* largest = nullptr;               // see GradientUnit in gradient_terms.h

  // Columns up to a multiple of 128 are written, zeros where there is no class.
  T* p = nullptr;  // [rows, pitch], or null; a pitch of whole 128, an address of whole 16 bytes
  int64_t pitch = 0;
  float* bias_sums = nullptr;  // [rows / kBiasRows, pitch], or null
};

template <typename T>
Status StoreLogitGradients(const LogitGradients<T>& gradients, const Stream& stream);

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_LOSS_HOPPER_LOGIT_GRADIENTS_H_
