// Two ways to form the operands of matrix products and to multiply them, with one interface:
//   Left, Right       operands [m, k] and [k, n]
//   Number            what the memory of formed operands holds: LeftSize(), RightSize() of them
//   kRounds           operands are rounded to bfloat16 as they are formed
//   MakeLeft()        forms a left operand in memory, or names the matrix as it lies
//   Pack(), Packed()  form a right operand, and name what has been formed
// Kernels (kernels.h) say how operands lie.
#ifndef FASTW2V_CPU_LOSS_PRODUCTS_H_
#define FASTW2V_CPU_LOSS_PRODUCTS_H_

#include <cstdint>

#include "csrc/cpu/kernels/kernels.h"

namespace fastw2v::cpu {

// In the type of the sums.
template <typename A>
struct PlainProducts {
  using Number = A;
  using Left = LeftOperand<A>;
  using Right = RightOperand<A>;
  static constexpr bool kRounds = false;

  static int64_t LeftSize(int64_t, int64_t) { return 0; }
  static int64_t RightSize(int64_t k, int64_t n) { return k * RoundUp(n, Kernels<A>().panel); }

  static Left MakeLeft(int64_t, int64_t, const LeftOperand<A>& x, Number*) { return x; }
  static void Pack(const A* x, int64_t stride_k, int64_t stride_n, int64_t k, int64_t n,
                   Number* packed) {
    Kernels<A>().pack(x, stride_k, stride_n, k, n, packed);
  }
  static Right Packed(const Number* packed, int64_t k) {
    const int64_t panel = Kernels<A>().panel;
    return {packed, panel, panel * k};
  }

  static void Multiply(int64_t m, int64_t n, int64_t k, const Left& left, const Right& right, A* c,
                       int64_t stride, bool accumulate) {
    Kernels<A>().multiply(m, n, k, left, right, c, stride, accumulate);
  }
};

// Whether products in bfloat16 are BFloat16Products; else operands are rounded beside them.
inline bool MultipliesBFloat16() { return ActiveKernels().bfloat16 != nullptr; }

// In bfloat16, with sums in float, where MultipliesBFloat16().
struct BFloat16Products {
  using Number = BFloat16;
  using Left = const BFloat16*;
  using Right = const BFloat16*;
  static constexpr bool kRounds = true;

  static int64_t LeftSize(int64_t m, int64_t k) {
    return RoundUp(m, BFloat16Kernels::kRows) * RoundUp(k, BFloat16Kernels::kDepth);
  }
  static int64_t RightSize(int64_t k, int64_t n) {
    return RoundUp(k, BFloat16Kernels::kDepth) * RoundUp(n, BFloat16Kernels::kPanel);
  }

  static Left MakeLeft(int64_t m, int64_t k, const LeftOperand<float>& x, Number* left) {
    ActiveKernels().bfloat16->convert(m, k, x, left);
    return left;
  }
  static void Pack(const float* x, int64_t stride_k, int64_t stride_n, int64_t k, int64_t n,
                   Number* packed) {
    ActiveKernels().bfloat16->pack(x, stride_k, stride_n, k, n, packed);
  }
  static Right Packed(const Number* packed, int64_t) { return packed; }

  static void Multiply(int64_t m, int64_t n, int64_t k, Left left, Right right, float* c,
                       int64_t stride, bool accumulate) {
    ActiveKernels().bfloat16->multiply(m, n, k, left, right, c, stride, accumulate);
  }
};

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_LOSS_PRODUCTS_H_
