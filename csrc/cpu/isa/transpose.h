// Transposing squares of numbers in vectors. Private to each compilation: see the top of
// kernels.cc.
#ifndef FASTW2V_CPU_ISA_TRANSPOSE_H_
#define FASTW2V_CPU_ISA_TRANSPOSE_H_

#include <utility>

#include "csrc/cpu/isa/vectors.h"

#ifdef FASTW2V_HAVE_SHUFFLE
namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

template <typename A, int... i>
inline void Interleave(Vector<A> x, Vector<A> y, Vector<A>* low, Vector<A>* high,
                       std::integer_sequence<int, i...>) {
  constexpr int lanes = kLanes<A>;
  *low = __builtin_shufflevector(x, y, (i / 2 + i % 2 * lanes)...);
  *high = __builtin_shufflevector(x, y, (lanes / 2 + i / 2 + i % 2 * lanes)...);
}

// A square of kLanes rows, row_at(0), ..., whose columns become rows of `packed`. Interleaving the
// upper half of the rows with the lower half, log2(kLanes) times, transposes it.
template <typename A, typename RowAt>
inline void TransposeSquare(const RowAt& row_at, A* packed, int64_t stride) {
  constexpr int lanes = kLanes<A>;
  Vector<A> rows[lanes], next[lanes];
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) rows[i] = Load<A>(row_at(i));
#pragma GCC unroll 4
  for (int half = 1; half < lanes; half *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      Interleave<A>(rows[i], rows[i + lanes / 2], &next[2 * i], &next[2 * i + 1],
                    std::make_integer_sequence<int, lanes>{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) Store<A>(packed + i * stride, rows[i]);
}

}  // namespace
}  // namespace fastw2v::cpu::FASTW2V_ISA
#endif  // FASTW2V_HAVE_SHUFFLE

#endif  // FASTW2V_CPU_ISA_TRANSPOSE_H_
