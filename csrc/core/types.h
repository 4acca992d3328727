// The number types of tables and the type each is summed in.
#ifndef FASTW2V_CORE_TYPES_H_
#define FASTW2V_CORE_TYPES_H_

#include <cstdint>

namespace fastw2v {

// IEEE binary16 and bfloat16 as bit patterns; kernels convert whole rows (see
// csrc/cpu/kernels/kernels.h).
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// Sums, logits and losses of a 16-bit table are kept in float32.
template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

}  // namespace fastw2v

#endif  // FASTW2V_CORE_TYPES_H_
