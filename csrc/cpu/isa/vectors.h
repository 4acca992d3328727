// Vectors of the instruction set that a file is compiled for, and functions of them. Private to
// each of its compilations: see the top of kernels.cc.
#ifndef FASTW2V_CPU_ISA_VECTORS_H_
#define FASTW2V_CPU_ISA_VECTORS_H_

#include <cstdint>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FASTW2V_HAVE_SHUFFLE
#endif
#endif

#ifndef FASTW2V_ISA
#error "compile with -DFASTW2V_ISA=<name of a set in cmake/isa.cmake>"
#endif

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else  // SSE2, NEON
constexpr int kVectorBytes = 16;
#endif

template <typename A>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(kVectorBytes)));
  typedef uint32_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <>
struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(kVectorBytes)));
  typedef uint64_t Bits __attribute__((vector_size(kVectorBytes)));
};

template <typename A>
using Vector = typename Lanes<A>::Vector;
template <typename A>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(A));
template <typename A>
constexpr int kPanel = 2 * kLanes<A>;

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

// The first `count` numbers, of at most a vector; zeros in the lanes past them.
template <typename A>
inline Vector<A> LoadFirst(const A* p, int64_t count) {
  if (count == kLanes<A>) return Load<A>(p);
#ifdef __AVX512F__
  if constexpr (sizeof(A) == 4) {
    return (Vector<A>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
  } else {
    return (Vector<A>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p);
  }
#else
  A numbers[kLanes<A>] = {};
  for (int64_t i = 0; i < count; ++i) numbers[i] = p[i];
  return Load<A>(numbers);
#endif
}

template <typename A>
inline void StoreFirst(A* p, Vector<A> v, int64_t count) {
  if (count == kLanes<A>) return Store<A>(p, v);
#ifdef __AVX512F__
  if constexpr (sizeof(A) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1), (__m512d)v);
  }
#else
  A numbers[kLanes<A>];
  Store<A>(numbers, v);
  for (int64_t i = 0; i < count; ++i) p[i] = numbers[i];
#endif
}

// Adds to the first `count` numbers, of at most a vector.
inline void AddFirst(float* p, Vector<float> v, int64_t count) {
#ifdef __AVX512F__
  StoreFirst<float>(p, LoadFirst<float>(p, count) + v, count);
#else
  if (count == kLanes<float>) return Store<float>(p, Load<float>(p) + v);
  for (int64_t i = 0; i < count; ++i) p[i] += v[i];
#endif
}

// By halves: a sum lane by lane would wait for each addition.
template <typename V>
inline auto SumOf(V v) {
  constexpr int lanes = sizeof(V) / sizeof(v[0]);
#ifdef FASTW2V_HAVE_SHUFFLE
  if constexpr (lanes == 16) {
    return SumOf(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
  } else if constexpr (lanes == 8) {
    return SumOf(__builtin_shufflevector(v, v, 0, 1, 2, 3) +
                 __builtin_shufflevector(v, v, 4, 5, 6, 7));
  } else if constexpr (lanes == 4) {
    v += __builtin_shufflevector(v, v, 2, 3, 2, 3);
    return v[0] + v[1];
  } else {
    return v[0] + v[1];
  }
#else
  auto sum = v[0];
  for (int i = 1; i < lanes; ++i) sum += v[i];
  return sum;
#endif
}

template <typename A>
inline A Sum(Vector<A> v) {
  return SumOf(v);
}

// exp(x) by Cody and Waite's reduction x = n log 2 + r and the polynomial of degree 6 that is
// nearest to exp on |r| <= log(2)/2, relative to it and given 1 + r + r^2/2 (3.7e-9 away; Taylor's
// would be 1.6e-7); within 2 ULP on [-87.3, 88.3], 0 below, so that exp(-inf) is 0, exp(88.3)
// above; NaN stays NaN.
inline Vector<float> Exp(Vector<float> x) {
  using V = Vector<float>;
  using Bits = Lanes<float>::Bits;
  const V high = V{} + 88.3f;
  const V clamped = high < x ? high : x;
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
  exponent = (exponent << 23) + (127u << 23);
  V scale;
  __builtin_memcpy(&scale, &exponent, sizeof(scale));
  // Below, whatever n came to is dropped.
  return x < V{} - 87.3f ? V{} : p * scale;
}

inline Vector<double> Exp(Vector<double> x) {
  Vector<double> y = {};
  for (int i = 0; i < kLanes<double>; ++i) y[i] = __builtin_exp(x[i]);
  return y;
}

// tanh(x): 1 - 2 / (1 + exp(2 |x|)) from 0.625 on, and below, where that would cancel, the odd
// polynomial of degree 11 of Cephes' tanhf; within 3 ULP; NaN stays NaN.
inline Vector<float> Tanh(Vector<float> x) {
  using V = Vector<float>;
  const V size = x < V{} ? -x : x;
  const V above = 1.0f - 2.0f / (Exp(size + size) + 1.0f);
  const V q = x * x;
  V p = V{} - 5.70498872745e-3f;
  p = p * q + 2.06390887954e-2f;
  p = p * q - 5.37397155531e-2f;
  p = p * q + 1.33314422036e-1f;
  p = p * q - 3.33332819422e-1f;
  p = p * q * x + x;
  return size < V{} + 0.625f ? p : (x < V{} ? -above : above);
}

inline Vector<double> Tanh(Vector<double> x) {
  Vector<double> y = {};
  for (int i = 0; i < kLanes<double>; ++i) y[i] = __builtin_tanh(x[i]);
  return y;
}

// log(1 + t) for t in [0, 1]: 2 atanh(s) with s = t / (2 + t) <= 1/3, by the polynomial in s^2 that
// is nearest to it there (1.1e-10 away, relative to the logarithm); within 2 ULP.
inline Vector<float> Log1p(Vector<float> t) {
  using V = Vector<float>;
  const V s = t / (t + 2.0f);
  const V q = s * s;
  V p = V{} + 0.242895573f;
  p = p * q + 0.214307413f;
  p = p * q + 0.286165953f;
  p = p * q + 0.39998889f;
  p = p * q + 0.666666746f;
  return s * (p * q + 2.0f);
}

inline Vector<double> Log1p(Vector<double> t) {
  Vector<double> y = {};
  for (int i = 0; i < kLanes<double>; ++i) y[i] = __builtin_log1p(t[i]);
  return y;
}

}  // namespace
}  // namespace fastw2v::cpu::FASTW2V_ISA

#endif  // FASTW2V_CPU_ISA_VECTORS_H_
