// Updates of one row of a table, in plain loops that the compiler vectorises. Compiled once per
// instruction set, by the rules at the top of kernels.cc.
#include "csrc/cpu/kernels.h"

#ifndef FASTW2V_ISA
#error "compile with -DFASTW2V_ISA=<baseline|avx2|avx512|avx512_bf16|amx>"
#endif

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

inline float Sqrt(float x) { return __builtin_sqrtf(x); }
inline double Sqrt(double x) { return __builtin_sqrt(x); }
inline float Pow(float x, float y) { return __builtin_powf(x, y); }
inline double Pow(double x, double y) { return __builtin_pow(x, y); }

template <typename A>
void Scale(A factor, A* __restrict x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

template <typename A>
void Blend(A momentum, const A* __restrict w, A* __restrict average, int64_t n) {
  for (int64_t i = 0; i < n; ++i) average[i] = momentum * average[i] + (1 - momentum) * w[i];
}

template <typename A>
void Momentum(A rate, A momentum, const A* __restrict g, A* __restrict w, A* __restrict m,
              int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = m[i] * momentum - g[i] * rate;
    w[i] += m[i];
  }
}

template <typename A>
void Nesterov(A rate, A momentum, const A* __restrict g, A* __restrict w, A* __restrict m,
              int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = m[i] * momentum - g[i] * rate;
    w[i] += m[i] * momentum - g[i] * rate;
  }
}

template <typename A>
void Adagrad(A rate, A epsilon, const A* __restrict g, A* __restrict w, A* __restrict sum,
             int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    sum[i] += g[i] * g[i];
    w[i] -= rate * g[i] / Sqrt(sum[i] + epsilon);
  }
}

template <typename A>
void Adam(const AdamNumbers<A>& k, const A* __restrict g, A* __restrict w, A* __restrict m,
          A* __restrict v, int64_t n) {
  const A rate = k.rate, share_1 = k.share_1, share_2 = k.share_2, epsilon = k.epsilon;
  for (int64_t i = 0; i < n; ++i) {
    m[i] += (g[i] - m[i]) * share_1;
    v[i] += (g[i] * g[i] - v[i]) * share_2;
    w[i] -= m[i] * rate / (Sqrt(v[i]) + epsilon);
  }
}

template <typename A>
void Amsgrad(const AdamNumbers<A>& k, const A* __restrict g, A* __restrict w, A* __restrict m,
             A* __restrict v, A* __restrict largest, int64_t n) {
  const A rate = k.rate, share_1 = k.share_1, share_2 = k.share_2, epsilon = k.epsilon;
  for (int64_t i = 0; i < n; ++i) {
    m[i] += (g[i] - m[i]) * share_1;
    v[i] += (g[i] * g[i] - v[i]) * share_2;
    largest[i] = largest[i] >= v[i] ? largest[i] : v[i];  // NaN in v stays
    w[i] -= m[i] * rate / (Sqrt(largest[i]) + epsilon);
  }
}

template <typename A>
inline A FtrlWeight(A linear, A power, const FtrlNumbers<A>& k) {
  const A clipped = linear < -k.l1 ? -k.l1 : (linear > k.l1 ? k.l1 : linear);
  return (clipped - linear) / (power / k.rate + 2 * k.l2);
}

template <typename A>
void Ftrl(const FtrlNumbers<A>& k, const A* __restrict g, A* __restrict w, A* __restrict sum,
          A* __restrict linear, int64_t n) {
  const bool root = k.power == A{0.5};
  for (int64_t i = 0; i < n; ++i) {
    const A next = sum[i] + g[i] * g[i];
    const A power = root ? Sqrt(next) : Pow(next, k.power);
    const A last = root ? Sqrt(sum[i]) : Pow(sum[i], k.power);
    linear[i] += g[i] + 2 * k.shrinkage * w[i] - (power - last) / k.rate * w[i];
    w[i] = FtrlWeight(linear[i], power, k);
    sum[i] = next;
  }
}

template <typename A>
void Drift(A decay, A step, A momentum, A* __restrict w, A* __restrict m, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    w[i] = decay * w[i] - step * m[i];
    m[i] *= momentum;
  }
}

template <typename A>
void DriftScaled(const DriftNumbers<A>& k, A* __restrict w, A* __restrict m, const A* __restrict v,
                 int64_t n) {
  const A decay = k.decay, step = k.step, momentum = k.momentum, epsilon = k.epsilon;
  for (int64_t i = 0; i < n; ++i) {
    w[i] = decay * w[i] - step * m[i] / (Sqrt(v[i]) + epsilon);
    m[i] *= momentum;
  }
}

template <typename A>
constexpr UpdateKernels<A> MakeKernels() {
  return {Scale<A>, Blend<A>,   Momentum<A>, Nesterov<A>, Adagrad<A>,
          Adam<A>,  Amsgrad<A>, Ftrl<A>,     Drift<A>,    DriftScaled<A>};
}

}  // namespace

extern const UpdateKernels<float> kUpdatesF32;
extern const UpdateKernels<double> kUpdatesF64;
const UpdateKernels<float> kUpdatesF32 = MakeKernels<float>();
const UpdateKernels<double> kUpdatesF64 = MakeKernels<double>();

}  // namespace fastw2v::cpu::FASTW2V_ISA
