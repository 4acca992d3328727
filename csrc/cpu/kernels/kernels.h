// The innermost loops. csrc/cpu/isa/kernels.cc is compiled once per instruction set and each
// compilation fills one KernelTable; the rest of csrc/cpu calls through Kernels<A>(), where A is
// the accumulator type (float or double).
#ifndef FASTW2V_CPU_KERNELS_KERNELS_H_
#define FASTW2V_CPU_KERNELS_KERNELS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "csrc/core/status.h"
#include "csrc/core/types.h"
#include "csrc/core/update_formulas.h"

namespace fastw2v::cpu {

struct Word2VecKernels;  // csrc/cpu/kernels/word2vec_kernels.h

// Operands of a matrix product c[m, n] = left[m, k] * right[k, n].
template <typename A>
struct LeftOperand {
  const A* data;
  int64_t stride;
  bool by_rows;  // element (i, p) at data[i * stride + p], else at data[p * stride + i]
};

// Panels of `panel` columns: element (p, j) at data[j / panel * panel_stride + p * stride + j %
// panel]. Packed, or a row-major matrix as it lies whose width is a multiple of `panel`.
template <typename A>
struct RightOperand {
  const A* data;
  int64_t stride;
  int64_t panel_stride;
};

// Running sums of softmaxes over the classes so far, one per row of a tile.
template <typename A>
struct SoftmaxSums {
  A* max;          // the largest logit; -inf before any
  A* sum_exp;      // sum of exp(z - max)
  A* sum_shifted;  // sum of (z - max), for label smoothing
};

template <typename A>
struct KernelsFor {
  int panel;
  // Packs x, whose element (p, j) lies at x[p * stride_k + j * stride_n], padded with zero columns.
  void (*pack)(const A* x, int64_t stride_k, int64_t stride_n, int64_t k, int64_t n, A* packed);
  // c is row-major with `stride` between rows; accumulate: added to.
  void (*multiply)(int64_t m, int64_t n, int64_t k, const LeftOperand<A>& left,
                   const RightOperand<A>& right, A* c, int64_t stride, bool accumulate);

  A (*dot)(const A* x, const A* y, int64_t n);
  void (*axpy)(A a, const A* x, A* y, int64_t n);  // y += a * x
  // To nearest, ties to even; in place or elsewhere.
  void (*round_bfloat16)(const A* x, A* rounded, int64_t n);

  // z = cap * tanh(z / cap) in place; slope, if not null, gets the derivative 1 - tanh^2.
  void (*softcap)(A cap, A* z, A* slope, int64_t n);

  // Tiles of logits z[class * stride + row]. `rows` is a multiple of half a panel and every
  // array over rows holds a multiple of kRowMultiple; offset, an array over classes, may be null.
  //
  // z += offset, and max[row] is raised to the largest of the column.
  void (*tile_max)(A* z, int64_t classes, int64_t rows, int64_t stride, const A* offset, A* max);
  // z = exp(z - new_max), 0 where both are -inf; adds the tile to sums over `met` classes, which
  // become relative to new_max.
  void (*tile_exp)(A* z, int64_t classes, int64_t rows, int64_t stride, const A* new_max, A met,
                   const SoftmaxSums<A>& sums);
  // z = scale * exp((z + offset - max) - log_sum) - shift.
  void (*tile_softmax_gradient)(A* z, int64_t classes, int64_t rows, int64_t stride,
                                const A* offset, const A* max, const A* log_sum, const A* scale,
                                const A* shift);
  // Adds softplus(z + offset) = log(1 + exp(z + offset)) of all classes to sum_softplus, and z
  // becomes its derivative 1 / (1 + exp(-z - offset)).
  void (*tile_sigmoid)(A* z, int64_t classes, int64_t rows, int64_t stride, const A* offset,
                       A* sum_softplus);
  // scaled = scale * z - shift, in place or elsewhere.
  void (*tile_scale)(const A* z, int64_t classes, int64_t rows, int64_t stride, const A* scale,
                     const A* shift, A* scaled);
  // z += offset, and the rows that have a logit which is not below or at limit[row] (NaN is not) go
  // to `found`, ascending. Returns how many they are.
  int64_t (*tile_above)(A* z, int64_t classes, int64_t rows, int64_t stride, const A* offset,
                        const A* limit, int32_t* found);
  // sums[class] += sum over rows of z; here `rows` may be any number.
  void (*tile_class_sums)(const A* z, int64_t classes, int64_t rows, int64_t stride, A* sums);
};

// Of every vector and every panel.
constexpr int64_t kRowMultiple = 32;

inline int64_t RoundUp(int64_t x, int64_t multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

// Products of matrices that are rounded to bfloat16, with sums in float, by instructions made for
// them, which take subnormal numbers for zero. In k both operands are filled up with zeros to a
// multiple of kDepth.
struct BFloat16Kernels {
  static constexpr int64_t kRows = 16;
  static constexpr int64_t kPanel = 32;
  static constexpr int64_t kDepth = 32;

  // Left operands are rows, in memory for a multiple of kRows: what lies past the last is read, and
  // makes no difference.
  void (*convert)(int64_t m, int64_t k, const LeftOperand<float>& x, BFloat16* left);
  // Right operands are panels of kPanel columns, filled up with zeros, in which pairs of k lie side
  // by side: of a panel, element (p, j) at [(p / 2 * kPanel + j) * 2 + p % 2]. Element (p, j) of x
  // lies at x[p * stride_k + j * stride_n]; one of the strides is 1.
  void (*pack)(const float* x, int64_t stride_k, int64_t stride_n, int64_t k, int64_t n,
               BFloat16* right);
  // c is row-major with `stride` between rows; accumulate: added to.
  void (*multiply)(int64_t m, int64_t n, int64_t k, const BFloat16* left, const BFloat16* right,
                   float* c, int64_t stride, bool accumulate);
};

// Updates of one row of a table and its optimizer's slots, n wide: loops over the formulas of
// csrc/core/update_formulas.h. No two arrays overlap.
template <typename A>
struct UpdateKernels {
  void (*scale)(A factor, A* x, int64_t n);
  void (*blend)(A momentum, const A* w, A* average, int64_t n);  // BlendAverage
  // UpdateWeight; with kRowwiseAdagrad slots[0] is the row's one number, already updated.
  void (*update)(UpdateRule rule, const UpdateNumbers<A>& numbers, const A* g, A* w,
                 A* const* slots, int64_t n);
  // DriftWeight
  void (*drift)(UpdateRule rule, const DriftNumbers<A>& numbers, A* w, A* const* slots, int64_t n);
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
  const BFloat16Kernels* bfloat16;  // null where the instruction set has none
  const UpdateKernels<float>* updates_f32;
  const UpdateKernels<double>* updates_f64;
  const Word2VecKernels* word2vec;
};

// The table in use: the best that the processor has, or the one that the environment variable
// FASTW2V_ISA names (those of cmake/isa.cmake).
const KernelTable& ActiveKernels();
// Refuses a value of FASTW2V_ISA that names no such table; the best one is in use then.
Status CheckKernelChoice();
// Names of all that processor and build have; each set has the instructions of those before it.
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

template <typename A>
const UpdateKernels<A>& Updates();
template <>
inline const UpdateKernels<float>& Updates<float>() {
  return *ActiveKernels().updates_f32;
}
template <>
inline const UpdateKernels<double>& Updates<double>() {
  return *ActiveKernels().updates_f64;
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

#endif  // FASTW2V_CPU_KERNELS_KERNELS_H_
