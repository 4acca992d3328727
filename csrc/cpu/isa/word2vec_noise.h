// What rows of a group, words or bags, have with the noise: logits, steps along them, curvatures.
// Private to each compilation: see the top of kernels.cc.
#ifndef FASTW2V_CPU_ISA_WORD2VEC_NOISE_H_
#define FASTW2V_CPU_ISA_WORD2VEC_NOISE_H_

#include "csrc/cpu/isa/word2vec_tiles.h"

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

// Softplus and Sigmoid of csrc/core/loss_formulas.h in vectors, which share an exponential.
inline void Logistic(V z, V* softplus, V* sigmoid) {
  const V magnitude = z < 0 ? -z : z;
  const V t = Exp(-magnitude);
  const V inverse = 1.0f / (1.0f + t);
  *softplus = (z > 0 ? z : V{}) + Log1p(t);
  *sigmoid = z < 0 ? t * inverse : inverse;
}

// Of the packed rows.
void SquaredLengths(const float* packed, int64_t num_rows, int64_t dim, float* lengths) {
  const int64_t padded = VectorsFor(dim) * kWidth;
  for (int64_t first = 0; first < num_rows; first += kWidth, packed += padded * kWidth) {
    V sums[4] = {};
    for (int64_t p = 0; p < padded; p += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const V x = Load<float>(packed + (p + i) * kWidth);
        sums[i] += x * x;
      }
    }
    Store<float>(lengths + first, (sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}

float SquaredLength(const float* row, int64_t padded) {
  V sum = {};
  for (int64_t p = 0; p < padded; p += kWidth) {
    const V x = Load<float>(row + p);
    sum += x * x;
  }
  return Sum<float>(sum);
}

// Bounds the curvature of a logistic loss of that derivative along its logit.
inline V Bend(V derivative) {
  const V most = V{} + 0.25f;
  return derivative < most ? derivative : most;
}

// What a row of that squared length adds to the curvatures of the classes, by those of the loss
// along its logits, which are in `b.weights`. Returns its own.
inline float FindCurvatures(const Word2VecGroup& b, int64_t columns, float length) {
  V curvature = {};
  for (int64_t c = 0; c < columns; c += kWidth) {
    const V bent = Load<float>(b.weights + c);
    curvature += bent * Load<float>(b.lengths + c);
    Store<float>(b.class_curvature + c, Load<float>(b.class_curvature + c) + bent * length);
  }
  return Sum<float>(curvature);
}

// Logits of a row with the noise, each of the weight in `b.weights`, of which that in `targets` has
// the target 1 (null: none has), become what the step adds for a gradient by them, and the weights
// become curvatures along them. Returns parts of the loss.
inline V DifferentiateNoise(const Word2VecGroup& b, int64_t noise_columns, const float* targets,
                            float* z) {
  V loss = {};
  for (int64_t n = 0; n < noise_columns; n += kWidth) {
    const V x = Load<float>(z + n), weight = Load<float>(b.weights + n);
    V softplus, sigmoid;
    Logistic(x, &softplus, &sigmoid);
    loss += weight * softplus;
    V step = -weight * sigmoid, bent = weight * Bend(sigmoid);
    if (targets != nullptr) {
      const V target = Load<float>(targets + n);
      loss -= target * x;
      step += target;
      bent += target * (Bend(1.0f - sigmoid) - Bend(sigmoid));
    }
    Store<float>(z + n, b.rate * step);
    Store<float>(b.weights + n, b.rate * bent);
  }
  return loss;
}

// Classes as operands of the logits.
void PackClasses(const Word2VecGroup& b, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c) CopyTail(b, c);
  PackRows(b.classes, b.tail_rows, columns, b.dim, b.packed);
  SquaredLengths(b.packed, columns, b.dim, b.lengths);
}

// Of the rows, by the noise, and of the noise, by the rows; steps are `columns` apart.
RowSums StepsOfRows(const Word2VecGroup& b, int64_t columns) {
  RowSums sums = {};
  sums.coefficients = b.logits;
  sums.stride = columns;
  sums.by_rows = true;
  sums.terms = b.classes;
  sums.tails = b.dim % kWidth == 0 ? nullptr : b.tail_rows;
  sums.always = {0, b.noise};
  sums.results = b.to_hidden;
  sums.factors = b.hidden_factors;
  sums.num_results = b.rows;
  sums.dim = b.dim;
  return sums;
}

RowSums StepsOfNoise(const Word2VecGroup& b, int64_t columns) {
  RowSums sums = {};
  sums.coefficients = b.logits;
  sums.stride = columns;
  sums.by_rows = false;
  sums.terms = b.hidden;
  sums.always = {0, b.rows};
  sums.results = b.to_classes;
  sums.factors = b.class_factors;
  sums.num_results = b.noise;
  sums.dim = b.dim;
  return sums;
}

}  // namespace
}  // namespace fastw2v::cpu::FASTW2V_ISA

#endif  // FASTW2V_CPU_ISA_WORD2VEC_NOISE_H_
