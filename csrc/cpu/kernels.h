// The innermost loops. csrc/cpu/isa/kernels.cc is compiled once per instruction set and each
// compilation fills one KernelTable; the rest of csrc/cpu calls through Kernels<A>(), where A is
// the accumulator type (float or double).
#ifndef FASTW2V_CPU_KERNELS_H_
#define FASTW2V_CPU_KERNELS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "csrc/core/status.h"
#include "csrc/core/types.h"

namespace fastw2v::cpu {

// Running sums of a softmax over some classes, relative to the largest logit met.
template <typename A>
struct SoftmaxStats {
  A max;          // -inf when no class was met
  A sum_exp;      // sum of exp(z - max)
  A sum_shifted;  // sum of (z - max), for label smoothing
  A count;        // classes met
};

template <typename A>
constexpr SoftmaxStats<A> kNoClasses = {-std::numeric_limits<A>::infinity(), 0, 0, 0};

template <typename A>
struct KernelsFor {
  // Packed matrix product. Panels hold `pack_m` rows of the left or `pack_n` columns of the right
  // matrix, k-major, zero-padded, so that one micro-kernel serves every shape.
  int pack_m;
  int pack_n;
  // Packs x, whose element (i, k) lies at x[i * stride_i + k * stride_k], into panels of `width`.
  void (*pack)(const A* x, int64_t stride_i, int64_t stride_k, int64_t count_i, int64_t count_k,
               int width, A* packed);
  // c[m, n] = (or +=) left[m, k] * right[k, n]; c is row-major with `stride` between rows.
  void (*multiply)(int64_t m, int64_t n, int64_t k, const A* packed_left, const A* packed_right,
                   A* c, int64_t stride, bool accumulate);

  A (*dot)(const A* x, const A* y, int64_t n);
  void (*axpy)(A a, const A* x, A* y, int64_t n);  // y += a * x
  void (*round_bfloat16)(A* x, int64_t n);         // to nearest, ties to even

  // z = cap * tanh(z / cap) in place; slope, if not null, gets the derivative 1 - tanh^2.
  void (*softcap)(A cap, A* z, A* slope, int64_t n);
  // Adds a row of logits to the running sums.
  void (*softmax_accumulate)(const A* z, int64_t n, SoftmaxStats<A>* stats);
  // z = a * exp((z - max) - log_sum) - b in place: gradients of the logits but for the true class.
  void (*softmax_gradient)(A max, A log_sum, A a, A b, A* z, int64_t n);
  // Sum of softplus(z) = log(1 + exp(z)).
  A (*softplus_sum)(const A* z, int64_t n);
  // z = a / (1 + exp(-z)) in place.
  void (*sigmoid)(A a, A* z, int64_t n);
};

struct Conversions {
  void (*half_to_float)(const Half* x, float* y, int64_t n);
  void (*float_to_half)(const float* x, Half* y, int64_t n);
  void (*bfloat16_to_float)(const BFloat16* x, float* y, int64_t n);
  void (*float_to_bfloat16)(const float* x, BFloat16* y, int64_t n);
};

struct KernelTable {
  const char* name;
  KernelsFor<float> f32;
  KernelsFor<double> f64;
  Conversions convert;
};

// The table in use: the best that the processor has, or the one that the environment variable
// FASTW2V_ISA names ("baseline", "avx2", "avx512").
const KernelTable& ActiveKernels();
// Refuses a value of FASTW2V_ISA that names no such table; the best one is in use then.
Status CheckKernelChoice();
// Names of all that processor and build have, best last.
std::vector<std::string> AvailableKernels();
// Refuses a name that is unknown or that the processor does not have. For tests.
Status SelectKernels(const std::string& name);

template <typename A>
const KernelsFor<A>& Kernels();
template <>
inline const KernelsFor<float>& Kernels<float>() {
  return ActiveKernels().f32;
}
template <>
inline const KernelsFor<double>& Kernels<double>() {
  return ActiveKernels().f64;
}

inline void ConvertRow(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i];
}
inline void ConvertRow(const double* x, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i];
}
inline void ConvertRow(const Half* x, float* y, int64_t n) {
  ActiveKernels().convert.half_to_float(x, y, n);
}
inline void ConvertRow(const float* x, Half* y, int64_t n) {
  ActiveKernels().convert.float_to_half(x, y, n);
}
inline void ConvertRow(const BFloat16* x, float* y, int64_t n) {
  ActiveKernels().convert.bfloat16_to_float(x, y, n);
}
inline void ConvertRow(const float* x, BFloat16* y, int64_t n) {
  ActiveKernels().convert.float_to_bfloat16(x, y, n);
}

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_KERNELS_H_
