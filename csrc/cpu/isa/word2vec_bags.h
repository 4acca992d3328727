// A CBOW group, whose bags are each compared with their own center and with the noise. Private to
// each compilation: see the top of kernels.cc.
#ifndef FASTW2V_CPU_ISA_WORD2VEC_BAGS_H_
#define FASTW2V_CPU_ISA_WORD2VEC_BAGS_H_

#include "csrc/cpu/isa/word2vec_noise.h"

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

// Calls body(column, count) for the vectors of a row: count < kWidth where the last is not full.
template <typename Body>
inline void ForColumns(int64_t dim, const Body& body) {
  int64_t column = 0;
  for (; column + kWidth <= dim; column += kWidth) body(column, kWidth);
  if (column < dim) body(column, dim - column);
}

// Logits of bags with their own centers; squared lengths of both.
void MeetCenters(const Word2VecGroup& b, int64_t noise_columns, float* logits) {
  for (int64_t c = 0; c < b.centers; ++c) {
    const float *const h = b.hidden[c], *const w = b.classes[noise_columns + c];
    V product = {}, of_h = {}, of_w = {};
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      const V x = Load<float>(h + column), y = LoadFirst<float>(w + column, count);
      product += x * y;
      of_h += x * x;
      of_w += y * y;
    });
    logits[c] = Sum<float>(product);
    b.hidden_lengths[c] = Sum<float>(of_h);
    b.lengths[noise_columns + c] = Sum<float>(of_w);
  }
}

// Logits with the own centers become their steps; adds to the curvatures. Returns the loss.
V DifferentiateCenters(const Word2VecGroup& b, int64_t noise_columns, float* logits) {
  Integers lane;
  for (int i = 0; i < kWidth; ++i) lane[i] = i;
  V loss = {};
  for (int64_t c = 0; c < b.centers; c += kWidth) {
    const Integers is_center = lane < static_cast<int32_t>(Min(b.centers - c, kWidth));
    const V x = Load<float>(logits + c), one = V{} + 1.0f;
    V softplus, sigmoid;
    Logistic(x, &softplus, &sigmoid);
    loss += is_center ? softplus - x : V{};
    const V derivative = is_center ? one - sigmoid : V{}, bent = b.rate * Bend(derivative);
    Store<float>(logits + c, b.rate * derivative);
    float* const of_hidden = b.hidden_curvature + c;
    float* const of_class = b.class_curvature + noise_columns + c;
    const V of_h = is_center ? Load<float>(b.hidden_lengths + c) : V{};
    const V of_w = is_center ? Load<float>(b.lengths + noise_columns + c) : V{};
    Store<float>(of_hidden, Load<float>(of_hidden) + bent * of_w);
    Store<float>(of_class, bent * of_h);
  }
  return loss;
}

// Where the steps of bags by their own centers are, behind those by the noise.
inline float* OwnSteps(const Word2VecGroup& b, int64_t noise_columns) {
  return b.logits + b.rows * noise_columns;
}

double FindStepsOfBags(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth;
  PackClasses(b, noise_columns);
  ForTiles(b.rows, [&](int64_t first, auto rows) {
    LogitTiles<decltype(rows)::kValue>(b, first, noise_columns / kWidth, {0, 0}, noise_columns,
                                       b.ahead);
  });
  float* const own = OwnSteps(b, noise_columns);
  for (int64_t c = 0; c < noise_columns; c += kWidth) Store<float>(b.class_curvature + c, V{});
  if (b.centers_are_classes()) {
    MeetCenters(b, noise_columns, own);
  } else {
    for (int64_t i = 0; i < b.rows; ++i) {
      b.hidden_lengths[i] = SquaredLength(b.hidden[i], VectorsFor(b.dim) * kWidth);
    }
  }
  V loss = {};
  const NoiseHit *hit = b.hits, *const last_hit = b.hits + b.num_hits;
  for (int64_t i = 0; i < b.rows; ++i) {
    const float* const weights =
        b.centers_are_classes() ? b.noise_weight : b.way_nodes + i * noise_columns;
    const float* const targets =
        b.centers_are_classes() ? nullptr : b.way_targets + i * noise_columns;
    for (int64_t n = 0; n < noise_columns; n += kWidth) {
      Store<float>(b.weights + n, Load<float>(weights + n));
    }
    for (; hit != last_hit && hit->center == i; ++hit) b.weights[hit->noise] = 0;
    float* const z = b.logits + i * noise_columns;
    loss += DifferentiateNoise(b, noise_columns, targets, z);
    b.hidden_curvature[i] = FindCurvatures(b, noise_columns, b.hidden_lengths[i]);
  }
  if (b.centers_are_classes()) loss += DifferentiateCenters(b, noise_columns, own);
  return static_cast<double>(Sum<float>(loss));
}

void AddStepsOfBags(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth;
  const float* const own = OwnSteps(b, noise_columns);
  AddSums(StepsOfRows(b, noise_columns), b.ahead);
  // Each bag reads its center before a step of the noise may change it.
  for (int64_t c = 0; b.centers_are_classes() && c < b.centers; ++c) {
    const float* const w = b.classes[noise_columns + c];
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      float* const d = b.to_hidden[c] + column;
      Store<float>(d, Load<float>(d) + own[c] * LoadFirst<float>(w + column, count));
    });
  }
  if (b.to_classes != nullptr) AddSums(StepsOfNoise(b, noise_columns), b.ahead);
  const bool centers_move = b.centers_are_classes() && b.to_classes != nullptr;
  for (int64_t c = 0; centers_move && c < b.centers; ++c) {
    PrefetchOne(b.ahead);
    const float* const h = b.hidden[c];
    const float factor = b.class_factors == nullptr ? 1.0f : b.class_factors[noise_columns + c];
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      AddFirst(b.to_classes[noise_columns + c] + column,
               (factor * own[c]) * Load<float>(h + column), count);
    });
  }
  while (b.ahead->count > 0) PrefetchOne(b.ahead);
}

// Sums of runs of rows are differences of these: sums[i] is that of the rows before row i.
void SumBags(const Word2VecBags& b) {
  const int64_t stride = VectorsFor(b.dim) * kWidth;
  ForColumns(b.dim, [&](int64_t column, int64_t count) {
    V sum = {};
    float* sums = b.sums + column;
    Store<float>(sums, sum);
    for (int64_t i = 0; i < b.rows; ++i) {
      sum += LoadFirst<float>(b.embeddings[i] + column, count);
      Store<float>(sums += stride, sum);
    }
  });
  for (int64_t c = 0; c < b.centers; ++c) {
    const float* const before = b.sums + b.bags.first[c] * stride;
    const float* const after = b.sums + b.bags.last[c] * stride;
    const float* const self = b.embeddings[b.bags.self[c]];
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      const V sum = Load<float>(after + column) - Load<float>(before + column);
      Store<float>(b.hidden[c] + column,
                   b.forward[c] * (sum - LoadFirst<float>(self + column, count)));
    });
  }
}

// A bag's gradient is added to the sums where its run begins, and taken off where it ends.
void SpreadBags(const Word2VecBags& b) {
  const int64_t stride = VectorsFor(b.dim) * kWidth;
  for (int64_t i = 0; i < (b.rows + 1) * stride; i += kWidth) Store<float>(b.sums + i, V{});
  for (int64_t i = 0; i < b.rows; ++i) b.center_at[i] = -1;
  for (int64_t c = 0; c < b.centers; ++c) {
    float* const begin = b.sums + b.bags.first[c] * stride;
    float* const end = b.sums + b.bags.last[c] * stride;
    b.center_at[b.bags.self[c]] = static_cast<int32_t>(c);
    for (int64_t p = 0; p < stride; p += kWidth) {
      const V d = b.backward[c] * Load<float>(b.d_hidden[c] + p);
      Store<float>(begin + p, Load<float>(begin + p) + d);
      Store<float>(end + p, Load<float>(end + p) - d);
    }
  }
  ForColumns(b.dim, [&](int64_t column, int64_t count) {
    V sum = {};
    for (int64_t i = 0; i < b.rows; ++i) {
      sum += Load<float>(b.sums + i * stride + column);
      const int32_t c = b.center_at[i];
      const float own = c < 0 ? 0.0f : b.backward[c];
      const V of_row = sum - own * Load<float>(b.d_hidden[c < 0 ? 0 : c] + column);
      const float factor = b.factors == nullptr ? 1.0f : b.factors[i];
      AddFirst(b.to_embeddings[i] + column, factor * of_row, count);
    }
  });
}

}  // namespace
}  // namespace fastw2v::cpu::FASTW2V_ISA

#endif  // FASTW2V_CPU_ISA_WORD2VEC_BAGS_H_
