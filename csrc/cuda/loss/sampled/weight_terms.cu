#include "csrc/cuda/loss/sampled/weight_terms.h"
#include "csrc/cuda/rows/row_sums.h"

namespace fastw2v::cuda {

template <typename T>
Status SumWeightTerms(const RowOrder& order, const WeightTerms<T>& terms, bool in_vectors,
                      const RowGradient<T>& sums, const Stream& stream) {
  return SumRows(order, terms.p.dim, terms, in_vectors, sums, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                    \
  template Status SumWeightTerms<T>(const RowOrder&, const WeightTerms<T>&, bool, \
                                    const RowGradient<T>&, const Stream&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
