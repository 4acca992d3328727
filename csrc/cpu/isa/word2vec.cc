// The logistic loss of word2vec, compiled once per instruction set by the rules at the top of
// kernels.cc.
#include "csrc/cpu/isa/vectors.h"
#include "csrc/cpu/kernels.h"

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

// softplus(z) = max(z, 0) + log1p(exp(-|z|)) and its derivative.
inline void Logistic(Vector<float> z, Vector<float>* softplus, Vector<float>* sigmoid) {
  using V = Vector<float>;
  const V magnitude = z < 0 ? -z : z;
  const V t = Exp(-magnitude);
  const V inverse = 1.0f / (1.0f + t);
  *softplus = (z > 0 ? z : V{}) + Log1p(t);
  *sigmoid = z < 0 ? t * inverse : inverse;
}

// z becomes rate * (target - weight * sigmoid(z)); returns sum weight * softplus(z) - target * z.
float LogisticGradient(float* z, const float* weight, const float* target, float rate, int64_t n) {
  using V = Vector<float>;
  constexpr int lanes = kLanes<float>;
  V sum = {};
  for (int64_t i = 0; i < n; i += lanes) {
    const V x = Load<float>(z + i), w = Load<float>(weight + i), t = Load<float>(target + i);
    V softplus, sigmoid;
    Logistic(x, &softplus, &sigmoid);
    sum += w * softplus - t * x;
    Store<float>(z + i, rate * (t - w * sigmoid));
  }
  return Sum<float>(sum);
}

}  // namespace

extern const Word2VecKernels kWord2VecKernels;
const Word2VecKernels kWord2VecKernels = {LogisticGradient};

}  // namespace fastw2v::cpu::FASTW2V_ISA
