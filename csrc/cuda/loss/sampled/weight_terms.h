// The gradient of weights of a sampled loss, as terms that are sorted by row and summed (rows.h).
#ifndef FASTW2V_CUDA_LOSS_SAMPLED_WEIGHT_TERMS_H_
#define FASTW2V_CUDA_LOSS_SAMPLED_WEIGHT_TERMS_H_

#include <cstdint>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/sampled/own_candidates.h"
#include "csrc/cuda/rows/rows.h"

namespace fastw2v::cuda {

// Terms of own candidates, [batch, num_own], then those of the shared list.
template <typename T>
struct WeightTerms {
  using A = Accumulator<T>;
  LossProblem<T> p;
  int64_t num_own = 0;
  const A* d_logits = nullptr;
  const A* d_shared = nullptr;         // [num_sampled, dim]
  const A* d_shared_biases = nullptr;  // [num_sampled]

  __device__ int64_t Sampled(int64_t term) const { return term - p.batch * num_own; }
  __device__ A Coefficient(int64_t term) const {
    return Sampled(term) < 0 ? static_cast<A>(p.options.logit_scale) * d_logits[term] : A{1};
  }
  __device__ A Bias(int64_t term) const {
    const int64_t s = Sampled(term);
    return s < 0 ? d_logits[term] : d_shared_biases[s];
  }
  template <int N>
  __device__ void Load(int64_t term, int64_t column, A (&x)[N]) const {
    const int64_t s = Sampled(term);
    if (s < 0) {
      const int64_t b = term / num_own;
      const int64_t row = p.ids != nullptr ? p.ids[b] : b;
      LoadRow<T, N>(p, p.hidden + row * p.dim, column, x);
      return;
    }
    LoadVector<N>(d_shared + s * p.dim + column, x);
  }
};

// in_vectors: rows of the terms can be read in pieces of kVector.
template <typename T>
Status SumWeightTerms(const RowOrder& order, const WeightTerms<T>& terms, bool in_vectors,
                      const RowGradient<T>& sums, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SAMPLED_WEIGHT_TERMS_H_
