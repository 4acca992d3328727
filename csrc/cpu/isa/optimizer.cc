// Updates of one row of a table, in plain loops over csrc/core/update_formulas.h that the compiler
// vectorizes. Compiled once per instruction set, by the rules at the top of kernels.cc.
#include "csrc/core/update_formulas.h"
#include "csrc/cpu/kernels/kernels.h"

#ifndef FASTW2V_ISA
#error "compile with -DFASTW2V_ISA=<name of a set in cmake/isa.cmake>"
#endif

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

template <typename A>
void Scale(A factor, A* __restrict x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

template <typename A>
void Blend(A momentum, const A* __restrict w, A* __restrict average, int64_t n) {
  for (int64_t i = 0; i < n; ++i) average[i] = BlendAverage(momentum, average[i], w[i]);
}

// How many slots each weight has of its own.
template <UpdateRule kRule>
constexpr int kSlotsOf = kRule == UpdateRule::kRowwiseAdagrad ? 0 : NumSlots(kRule);

template <UpdateRule kRule, typename A>
void UpdateLoop(const UpdateNumbers<A>& numbers, const A* __restrict g, A* __restrict w,
                A* __restrict s0, A* __restrict s1, A* __restrict s2, int64_t n) {
  constexpr int kSlots = kSlotsOf<kRule>;
  const UpdateNumbers<A> k = numbers;
  const A of_row = kRule == UpdateRule::kRowwiseAdagrad ? *s0 : A{0};
  for (int64_t i = 0; i < n; ++i) {
    A weight = w[i];
    A s[kMaxSlots] = {kSlots > 0 ? s0[i] : of_row, kSlots > 1 ? s1[i] : 0, kSlots > 2 ? s2[i] : 0};
    UpdateWeight(kRule, k, g[i], weight, s);
    w[i] = weight;
    if (kSlots > 0) s0[i] = s[0];
    if (kSlots > 1) s1[i] = s[1];
    if (kSlots > 2) s2[i] = s[2];
  }
}

// Tries the rules one after the other: loops have theirs as a constant.
template <int kIndex, typename A>
void Update(UpdateRule rule, const UpdateNumbers<A>& k, const A* g, A* w, A* const* s, int64_t n) {
  constexpr UpdateRule kRule = kUpdateRules[kIndex].rule;
  if (rule == kRule) return UpdateLoop<kRule>(k, g, w, s[0], s[1], s[2], n);
  if constexpr (kIndex + 1 < kNumUpdateRules) Update<kIndex + 1>(rule, k, g, w, s, n);
}

template <UpdateRule kRule, typename A>
void DriftLoop(const DriftNumbers<A>& numbers, A* __restrict w, A* __restrict s0, A* __restrict s1,
               A* __restrict s2, int64_t n) {
  constexpr int kSlots = kSlotsOf<kRule>;
  const DriftNumbers<A> k = numbers;
  for (int64_t i = 0; i < n; ++i) {
    A weight = w[i];
    A s[kMaxSlots] = {kSlots > 0 ? s0[i] : 0, kSlots > 1 ? s1[i] : 0, kSlots > 2 ? s2[i] : 0};
    DriftWeight(kRule, k, weight, s);
    w[i] = weight;
    if (kSlots > 0) s0[i] = s[0];
    if (kSlots > 1) s1[i] = s[1];
  }
}

template <int kIndex, typename A>
void DriftRow(UpdateRule rule, const DriftNumbers<A>& k, A* w, A* const* s, int64_t n) {
  constexpr UpdateRule kRule = kUpdateRules[kIndex].rule;
  if (rule == kRule) return DriftLoop<kRule>(k, w, s[0], s[1], s[2], n);
  if constexpr (kIndex + 1 < kNumUpdateRules) DriftRow<kIndex + 1>(rule, k, w, s, n);
}

template <typename A>
constexpr UpdateKernels<A> MakeKernels() {
  return {Scale<A>, Blend<A>, Update<0, A>, DriftRow<0, A>};
}

}  // namespace

extern const UpdateKernels<float> kUpdatesF32;
extern const UpdateKernels<double> kUpdatesF64;
const UpdateKernels<float> kUpdatesF32 = MakeKernels<float>();
const UpdateKernels<double> kUpdatesF64 = MakeKernels<double>();

}  // namespace fastw2v::cpu::FASTW2V_ISA
