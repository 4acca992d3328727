// Micro-kernels, written once with vector types of the compiler and compiled once per instruction
// set: FASTW2V_ISA is the name of that set and of the namespace, so that no two compilations share
// a symbol. For the same reason nothing here uses an inline function of the standard library: the
// linker could keep the copy that was built for instructions which the processor lacks.
#include "csrc/cpu/kernels.h"

#include <math.h>

#ifndef FASTW2V_ISA
#error "compile with -DFASTW2V_ISA=<baseline|avx2|avx512>"
#endif
#define FASTW2V_STRING_(x) #x
#define FASTW2V_STRING(x) FASTW2V_STRING_(x)

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kPackM = 12;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kPackM = 6;
#else
constexpr int kVectorBytes = 16;
constexpr int kPackM = 4;
#endif

template <typename A>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <>
struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Bits __attribute__((vector_size(kVectorBytes)));
};

template <typename A>
using Vector = typename Lanes<A>::Vector;
template <typename A>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(A));
template <typename A>
constexpr int kPackN = 2 * kLanes<A>;

template <typename A>
inline Vector<A> Load(const A* p) {
  Vector<A> v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

template <typename A>
inline void Store(A* p, Vector<A> v) {
  __builtin_memcpy(p, &v, sizeof(v));
}

template <typename A>
inline A Sum(Vector<A> v) {
  A sum = 0;
  for (int i = 0; i < kLanes<A>; ++i) sum += v[i];
  return sum;
}

// ---- Matrix product ---------------------------------------------------------------------------

template <typename A>
void Pack(const A* x, int64_t stride_i, int64_t stride_k, int64_t count_i, int64_t count_k,
          int width, A* packed) {
  for (int64_t first = 0; first < count_i; first += width) {
    const int64_t rows = count_i - first < width ? count_i - first : width;
    const A* source = x + first * stride_i;
    for (int64_t k = 0; k < count_k; ++k) {
      const A* column = source + k * stride_k;
      for (int64_t i = 0; i < rows; ++i) packed[i] = column[i * stride_i];
      for (int64_t i = rows; i < width; ++i) packed[i] = 0;
      packed += width;
    }
  }
}

// One tile of c: kPackM rows and two vectors of columns stay in registers.
template <typename A>
void MultiplyTile(int64_t k, const A* left, const A* right, A* c, int64_t stride, int64_t rows,
                  int64_t columns, bool accumulate) {
  constexpr int lanes = kLanes<A>;
  Vector<A> sum[kPackM][2];
#pragma GCC unroll 12
  for (int i = 0; i < kPackM; ++i) sum[i][0] = sum[i][1] = Vector<A>{};
  for (int64_t p = 0; p < k; ++p) {
    const Vector<A> right0 = Load<A>(right), right1 = Load<A>(right + lanes);
#pragma GCC unroll 12
    for (int i = 0; i < kPackM; ++i) {
      sum[i][0] += left[i] * right0;
      sum[i][1] += left[i] * right1;
    }
    left += kPackM;
    right += 2 * lanes;
  }
  if (rows == kPackM && columns == 2 * lanes) {
#pragma GCC unroll 12
    for (int i = 0; i < kPackM; ++i) {
      A* row = c + i * stride;
      if (accumulate) {
        sum[i][0] += Load<A>(row);
        sum[i][1] += Load<A>(row + lanes);
      }
      Store<A>(row, sum[i][0]);
      Store<A>(row + lanes, sum[i][1]);
    }
    return;
  }
  A edge[kPackM][2 * lanes];
#pragma GCC unroll 12
  for (int i = 0; i < kPackM; ++i) {
    Store<A>(edge[i], sum[i][0]);
    Store<A>(edge[i] + lanes, sum[i][1]);
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      c[i * stride + j] = accumulate ? c[i * stride + j] + edge[i][j] : edge[i][j];
    }
  }
}

template <typename A>
void Multiply(int64_t m, int64_t n, int64_t k, const A* packed_left, const A* packed_right, A* c,
              int64_t stride, bool accumulate) {
  for (int64_t j = 0; j < n; j += kPackN<A>) {
    const int64_t columns = n - j < kPackN<A> ? n - j : kPackN<A>;
    for (int64_t i = 0; i < m; i += kPackM) {
      const int64_t rows = m - i < kPackM ? m - i : kPackM;
      MultiplyTile<A>(k, packed_left + i * k, packed_right + j * k, c + i * stride + j, stride,
                      rows, columns, accumulate);
    }
  }
}

// ---- Vectors ----------------------------------------------------------------------------------

template <typename A>
A Dot(const A* x, const A* y, int64_t n) {
  Vector<A> sum = {};
  int64_t i = 0;
  for (; i + kLanes<A> <= n; i += kLanes<A>) sum += Load<A>(x + i) * Load<A>(y + i);
  A total = Sum<A>(sum);
  for (; i < n; ++i) total += x[i] * y[i];
  return total;
}

template <typename A>
void Axpy(A a, const A* x, A* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes<A> <= n; i += kLanes<A>) Store<A>(y + i, Load<A>(y + i) + a * Load<A>(x + i));
  for (; i < n; ++i) y[i] += a * x[i];
}

inline uint16_t BFloat16Bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  if (x != x) return static_cast<uint16_t>((bits >> 16) | 0x40);  // keep NaN a NaN
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float FromBFloat16Bits(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}

template <typename A>
void RoundBFloat16(A* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = FromBFloat16Bits(BFloat16Bits(static_cast<float>(x[i])));
  }
}

// ---- Softmax and logistic ---------------------------------------------------------------------

inline float ScalarExp(float x) { return __builtin_expf(x); }
inline double ScalarExp(double x) { return __builtin_exp(x); }
inline float ScalarLog1p(float x) { return __builtin_log1pf(x); }
inline double ScalarLog1p(double x) { return __builtin_log1p(x); }
inline float ScalarTanh(float x) { return __builtin_tanhf(x); }
inline double ScalarTanh(double x) { return __builtin_tanh(x); }

// exp(x) by Cody and Waite's reduction x = n log 2 + r and the polynomial of degree 6 that is
// nearest to exp on |r| <= log(2)/2, relative to it and given 1 + r + r^2/2 (3.7e-9 away; Taylor's
// would be 1.6e-7); within 2 ULP on [-87.3, 88.3], 0 below, so that exp(-inf) is 0; NaN stays NaN.
inline Vector<float> Exp(Vector<float> x) {
  using V = Vector<float>;
  using Bits = Lanes<float>::Bits;
  const V low = V{} - 87.3f, high = V{} + 88.3f;
  V clamped = x < low ? low : x;
  clamped = clamped > high ? high : clamped;
  const V magic = V{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const V shifted = clamped * 1.44269504088896341f + magic;
  const V n = shifted - magic;
  V r = clamped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  V p = V{} + 1.38637132e-3f;
  p = p * r + 8.36755801e-3f;
  p = p * r + 4.16672416e-2f;
  p = p * r + 1.66665331e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Bits exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof(exponent));
  exponent = (exponent - 0x4b400000 + 127) << 23;
  V scale;
  __builtin_memcpy(&scale, &exponent, sizeof(scale));
  V result = p * scale;
  result = x < low ? V{} : result;
  return x != x ? x : result;
}

inline Vector<double> Exp(Vector<double> x) {
  Vector<double> y;
  for (int i = 0; i < kLanes<double>; ++i) y[i] = ScalarExp(x[i]);
  return y;
}

// Applies op(vector) -> vector to a row in place; the tail goes through a padded vector, so that a
// value does not depend on its place in the row.
template <typename A, typename Op>
inline void Transform(A* z, int64_t n, Op op) {
  int64_t i = 0;
  for (; i + kLanes<A> <= n; i += kLanes<A>) Store<A>(z + i, op(Load<A>(z + i)));
  if (i < n) {
    A tail[kLanes<A>] = {};
    for (int64_t j = i; j < n; ++j) tail[j - i] = z[j];
    Store<A>(tail, op(Load<A>(tail)));
    for (int64_t j = i; j < n; ++j) z[j] = tail[j - i];
  }
}

template <typename A>
void Softcap(A cap, A* z, A* slope, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const A t = ScalarTanh(z[i] / cap);
    z[i] = cap * t;
    if (slope != nullptr) slope[i] = 1 - t * t;
  }
}

template <typename A>
void SoftmaxAccumulate(const A* z, int64_t n, SoftmaxStats<A>* stats) {
  if (n == 0) return;
  using V = Vector<A>;
  constexpr int lanes = kLanes<A>;
  A largest = stats->max;
  int64_t i = 0;
  V most = V{} + largest;
  for (; i + lanes <= n; i += lanes) {
    const V v = Load<A>(z + i);
    most = v > most ? v : most;
  }
  for (int j = 0; j < lanes; ++j) largest = most[j] > largest ? most[j] : largest;
  for (; i < n; ++i) largest = z[i] > largest ? z[i] : largest;
  // Where every logit is -inf the differences below would be NaN: any finite reference will do.
  const A reference = largest == -static_cast<A>(INFINITY) ? 0 : largest;

  V sum = {}, shifted = {};
  for (i = 0; i + lanes <= n; i += lanes) {
    const V d = Load<A>(z + i) - reference;
    sum += Exp(d);
    shifted += d;
  }
  A sum_exp = Sum<A>(sum), sum_shifted = Sum<A>(shifted);
  if (i < n) {
    V tail = V{} - static_cast<A>(INFINITY);
    for (int64_t j = i; j < n; ++j) {
      tail[j - i] = z[j] - reference;
      sum_shifted += z[j] - reference;
    }
    sum_exp += Sum<A>(Exp(tail));
  }
  // Where nothing was summed yet the maximum is -inf and must not meet the differences.
  if (stats->sum_exp != 0) {
    const A drop = stats->max - reference;
    sum_exp += stats->sum_exp * ScalarExp(drop);
    sum_shifted += stats->sum_shifted + stats->count * drop;
  } else {
    sum_shifted += stats->sum_shifted;
  }
  stats->max = largest;
  stats->sum_exp = sum_exp;
  stats->sum_shifted = sum_shifted;
  stats->count += static_cast<A>(n);
}

template <typename A>
void SoftmaxGradient(A max, A log_sum, A a, A b, A* z, int64_t n) {
  Transform(z, n, [=](Vector<A> v) { return a * Exp((v - max) - log_sum) - b; });
}

template <typename A>
A SoftplusSum(const A* z, int64_t n) {
  A sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const A magnitude = z[i] < 0 ? -z[i] : z[i];
    sum += (z[i] > 0 ? z[i] : z[i] != z[i] ? z[i] : 0) + ScalarLog1p(ScalarExp(-magnitude));
  }
  return sum;
}

template <typename A>
void Sigmoid(A a, A* z, int64_t n) {
  // exp of a number that is never positive does not overflow: 1 / (1 + e) or e / (1 + e).
  Transform(z, n, [=](Vector<A> v) {
    const Vector<A> e = Exp(v < 0 ? v : -v);
    return a * (v < 0 ? e : Vector<A>{} + 1) / (1 + e);
  });
}

// ---- 16-bit types -----------------------------------------------------------------------------

void HalfToFloat(const Half* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = x[i].bits;
    const uint32_t sign = (bits & 0x8000) << 16;
    const uint32_t exponent = bits & 0x7c00;
    const uint32_t magnitude = (bits & 0x7fff) << 13;
    // A subnormal m * 2^-24 is (2^-14 + m * 2^-24) - 2^-14. No step meets a subnormal float, which
    // threads that flush these to zero, as TensorFlow's do, would lose.
    const uint32_t above = magnitude + 0x38800000;
    float subnormal;
    __builtin_memcpy(&subnormal, &above, sizeof(subnormal));
    subnormal -= 0x1p-14f;
    uint32_t wide;
    __builtin_memcpy(&wide, &subnormal, sizeof(wide));
    if (exponent != 0) wide = magnitude + (exponent == 0x7c00 ? 0x70000000 : 0x38000000);
    wide |= sign;
    __builtin_memcpy(&y[i], &wide, sizeof(wide));
  }
}

void FloatToHalf(const float* x, Half* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x[i], sizeof(bits));
    const uint32_t sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    uint32_t half;
    if (bits > 0x7f800000) {
      half = 0x7e00;  // NaN
    } else if (bits >= 0x477ff000) {
      half = 0x7c00;  // rounds past the largest finite value
    } else if (bits < 0x38800000) {
      // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
      float value;
      __builtin_memcpy(&value, &bits, sizeof(value));
      value += 0.5f;
      __builtin_memcpy(&half, &value, sizeof(half));
      half -= 0x3f000000;
    } else {
      half = (bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >> 13;
    }
    y[i].bits = static_cast<uint16_t>(sign | half);
  }
}

void BFloat16ToFloat(const BFloat16* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = FromBFloat16Bits(x[i].bits);
}

void FloatToBFloat16(const float* x, BFloat16* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i].bits = BFloat16Bits(x[i]);
}

template <typename A>
constexpr KernelsFor<A> MakeKernels() {
  return {kPackM,         kPackN<A>,        Pack<A>,    Multiply<A>,          Dot<A>,
          Axpy<A>,        RoundBFloat16<A>, Softcap<A>, SoftmaxAccumulate<A>, SoftmaxGradient<A>,
          SoftplusSum<A>, Sigmoid<A>};
}

}  // namespace

extern const KernelTable kTable;
const KernelTable kTable = {FASTW2V_STRING(FASTW2V_ISA),
                            MakeKernels<float>(),
                            MakeKernels<double>(),
                            {HalfToFloat, FloatToHalf, BFloat16ToFloat, FloatToBFloat16}};

}  // namespace fastw2v::cpu::FASTW2V_ISA
