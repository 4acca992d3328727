// A group of word2vec (csrc/cpu/kernels/word2vec_kernels.h), compiled once per instruction set by
// the rules at the top of kernels.cc. Here stands skip-gram; CBOW in word2vec_bags.h.
#include "csrc/cpu/isa/word2vec_bags.h"
#include "csrc/cpu/isa/word2vec_noise.h"
#include "csrc/cpu/isa/word2vec_tiles.h"
#include "csrc/cpu/kernels/word2vec_kernels.h"

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

// For each row the centers that it is paired with lie from band_first to band_last.
void FindBands(const CenterRows& pairs, int64_t centers, int64_t rows, int32_t* band_first,
               int32_t* band_last) {
  for (int64_t i = 0; i < rows; ++i) {
    band_first[i] = static_cast<int32_t>(centers);
    band_last[i] = 0;
  }
  for (int64_t c = 0; c < centers; ++c) {
    const int32_t center = static_cast<int32_t>(c);
    for (int64_t i = pairs.first[c]; i < pairs.last[c]; ++i) {
      band_first[i] = band_first[i] < center ? band_first[i] : center;
      band_last[i] = center + 1;
    }
  }
}

// Whether row i is paired with each of the centers from c on: -1 or 0.
inline Integers Paired(const CenterRows& pairs, int64_t c, int64_t row) {
  const Integers i = Integers{} + static_cast<int32_t>(row);
  return (LoadIntegers(pairs.first + c) <= i) & (i < LoadIntegers(pairs.last + c)) &
         (LoadIntegers(pairs.self + c) != i);
}

// Columns of logits: the noise and, unless there is a tree, the centers.
int64_t ColumnsOf(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth;
  return b.centers_are_classes() ? noise_columns + VectorsFor(b.centers) * kWidth : noise_columns;
}

// Sums over the centers that row i is paired with, of what is on the ways to them.
void SumWays(const Word2VecGroup& b, int64_t noise_columns, int64_t row) {
  for (int64_t n = 0; n < noise_columns; n += kWidth) {
    V nodes = {}, targets = {};
    for (int64_t c = b.band_first[row]; c < b.band_last[row]; ++c) {
      if (row < b.pairs.first[c] || row >= b.pairs.last[c] || row == b.pairs.self[c]) continue;
      nodes += Load<float>(b.way_nodes + c * noise_columns + n);
      targets += Load<float>(b.way_targets + c * noise_columns + n);
    }
    Store<float>(b.weights + n, nodes);
    Store<float>(b.targets + n, targets);
  }
}

// The centers that a row is paired with: 1 or 0 for each in `paired`. Returns how many they are.
int32_t FindPaired(const Word2VecGroup& b, int64_t row, float* paired) {
  Integers met = {};
  for (int64_t c = 0; c < b.centers; c += kWidth) {
    const Integers mask = Paired(b.pairs, c, row);
    met -= mask;
    Store<float>(paired + c, mask ? V{} + 1.0f : V{});
  }
  return SumOf(met);
}

// Logits of a row with the centers become what the step adds, 0 where they are no pair, and
// `paired` becomes curvatures. Returns parts of the loss.
V DifferentiatePairs(const Word2VecGroup& b, int64_t row, float* paired, float* z) {
  const int64_t band_first = b.band_first[row] / kWidth * kWidth, band_last = b.band_last[row];
  V loss = {};
  for (int64_t c = 0; c < b.centers; c += kWidth) {
    if (c < band_first || c >= band_last) {
      Store<float>(z + c, V{});
      continue;
    }
    const V x = Load<float>(z + c), weight = Load<float>(paired + c);
    V softplus, sigmoid;
    Logistic(x, &softplus, &sigmoid);
    const V derivative = weight > 0 ? 1.0f - sigmoid : V{};
    loss += weight > 0 ? softplus - x : V{};
    Store<float>(z + c, b.rate * derivative);
    Store<float>(paired + c, b.rate * Bend(derivative));
  }
  return loss;
}

// Logits become what the step adds for a gradient by them, 0 where there is no pair. Returns the
// loss.
double Differentiate(const Word2VecGroup& b, int64_t noise_columns, int64_t columns) {
  double loss = 0;
  for (int64_t c = 0; c < columns; c += kWidth) Store<float>(b.class_curvature + c, V{});
  for (int64_t i = 0; i < b.rows; ++i) {
    float* const z = b.logits + i * columns;
    V sum;
    if (b.centers_are_classes()) {
      float* const paired = b.weights + noise_columns;
      const float pairs = static_cast<float>(FindPaired(b, i, paired));
      for (int64_t n = 0; n < noise_columns; n += kWidth) {
        Store<float>(b.weights + n, pairs * Load<float>(b.noise_weight + n));
      }
      for (int64_t h = 0; h < b.num_hits; ++h) {
        const NoiseHit& hit = b.hits[h];
        b.weights[hit.noise] -= paired[hit.center] * b.noise_weight[hit.noise];
      }
      sum = DifferentiateNoise(b, noise_columns, nullptr, z);
      sum += DifferentiatePairs(b, i, paired, z + noise_columns);
    } else {
      SumWays(b, noise_columns, i);
      sum = DifferentiateNoise(b, noise_columns, b.targets, z);
    }
    const float length = SquaredLength(b.hidden[i], VectorsFor(b.dim) * kWidth);
    b.hidden_curvature[i] = FindCurvatures(b, columns, length);
    loss += static_cast<double>(Sum<float>(sum));
  }
  return loss;
}

double FindSteps(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth, columns = ColumnsOf(b);
  PackClasses(b, columns);
  FindBands(b.pairs, b.centers, b.rows, b.band_first, b.band_last);
  ForTiles(b.rows, [&](int64_t first, auto rows) {
    constexpr int kRows = decltype(rows)::kValue;
    Range band = {0, 0};
    if (b.centers_are_classes()) band = Join(b.band_first, b.band_last, first, kRows);
    const int64_t noise = noise_columns / kWidth;
    LogitTiles<kRows>(b, first, noise, {noise + band.first / kWidth, noise + VectorsFor(band.last)},
                      columns, b.ahead);
  });
  return Differentiate(b, noise_columns, columns);
}

void AddSteps(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth, columns = ColumnsOf(b);
  const RowSums of_noise = StepsOfNoise(b, columns);
  const auto add_to_centers = [&](const float* factors) {
    RowSums of_centers = of_noise;
    of_centers.coefficients = b.logits + noise_columns;
    of_centers.always = {0, 0};
    of_centers.band_first = b.pairs.first;
    of_centers.band_last = b.pairs.last;
    of_centers.results = b.to_classes + noise_columns;
    of_centers.factors = factors;
    of_centers.num_results = b.centers;
    AddSums(of_centers, b.ahead);
  };
  if (b.first_factors != nullptr) {
    add_to_centers(b.first_factors);
    for (int64_t c = 0; c < b.centers; ++c) CopyTail(b, noise_columns + c);
    for (int64_t h = 0; h < b.num_hits; ++h) CopyTail(b, b.hits[h].noise);
  }
  RowSums of_rows = StepsOfRows(b, columns);
  if (b.centers_are_classes()) {
    of_rows.band_first = b.band_first;
    of_rows.band_last = b.band_last;
    of_rows.offset = noise_columns;
  }
  AddSums(of_rows, b.ahead);
  if (b.to_classes != nullptr) AddSums(of_noise, b.ahead);
  if (b.last_factors != nullptr) add_to_centers(b.last_factors);
  while (b.ahead->count > 0) PrefetchOne(b.ahead);
}

// A block of vectors of each row, from `first` on, whose sums stay in registers.
template <int64_t kVectors>
void SumBlock(const float* table, const int32_t* rows, int64_t count, int64_t stride, int64_t first,
              float factor, float* sum) {
  V sums[kVectors] = {};
  for (int64_t i = 0; i < count; ++i) {
    const float* const row = table + rows[i] * stride + first;
    for (int64_t v = 0; v < kVectors; ++v) sums[v] += Load<float>(row + v * kWidth);
  }
  for (int64_t v = 0; v < kVectors; ++v) Store<float>(sum + first + v * kWidth, factor * sums[v]);
}

// Adds a block of vectors of a step to those of each row.
template <int64_t kVectors>
void AddBlock(const float* step, const int32_t* rows, const float* factors, int64_t count,
              int64_t stride, int64_t first, float* table) {
  V steps[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) steps[v] = Load<float>(step + first + v * kWidth);
  for (int64_t i = 0; i < count; ++i) {
    float* const row = table + rows[i] * stride + first;
    const float factor = factors == nullptr ? 1.0f : factors[i];
    for (int64_t v = 0; v < kVectors; ++v) {
      Store<float>(row + v * kWidth, Load<float>(row + v * kWidth) + factor * steps[v]);
    }
  }
}

// Calls body(Count<n>) for n vectors, but for at most kMost.
template <int kMost, typename Body>
void ForCount(int64_t vectors, const Body& body) {
  if constexpr (kMost > 1) {
    if (vectors < kMost) return ForCount<kMost - 1>(vectors, body);
  }
  body(Count<kMost>{});
}

// Calls body(first, Count<n>) for blocks of at most eight vectors of a row.
template <typename Body>
void ForBlocks(int64_t stride, const Body& body) {
  constexpr int kMost = 8;
  for (int64_t first = 0; first < stride; first += kMost * kWidth) {
    ForCount<kMost>((stride - first) / kWidth, [&](auto vectors) { body(first, vectors); });
  }
}

void SumRows(const float* table, const int32_t* rows, int64_t count, int64_t stride, float factor,
             float* sum) {
  ForBlocks(stride, [&](int64_t first, auto vectors) {
    SumBlock<decltype(vectors)::kValue>(table, rows, count, stride, first, factor, sum);
  });
}

void AddToRows(const float* step, const int32_t* rows, const float* factors, int64_t count,
               int64_t stride, float* table) {
  ForBlocks(stride, [&](int64_t first, auto vectors) {
    AddBlock<decltype(vectors)::kValue>(step, rows, factors, count, stride, first, table);
  });
}

}  // namespace

extern const Word2VecKernels kWord2VecKernels;
const Word2VecKernels kWord2VecKernels = {static_cast<int>(kWidth),
                                          FindSteps,
                                          AddSteps,
                                          FindStepsOfBags,
                                          AddStepsOfBags,
                                          SumBags,
                                          SpreadBags,
                                          SumRows,
                                          AddToRows};

}  // namespace fastw2v::cpu::FASTW2V_ISA
