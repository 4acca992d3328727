// A group of word2vec (csrc/cpu/kernels/word2vec_kernels.h), compiled once per instruction set by
// the rules at the top of kernels.cc.
//
// Its matrix products are small: about 26 rows of words, 32 classes, 100 columns. So operands are
// read where they lie in the tables, results go straight there, and of the pairs of a word with a
// center only those near the text's own are computed: the centers that the rows of a tile meet are
// a band.
#include "csrc/cpu/isa/transpose.h"
#include "csrc/cpu/isa/vectors.h"
#include "csrc/cpu/kernels/word2vec_kernels.h"

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

using V = Vector<float>;
typedef int32_t Integers __attribute__((vector_size(kVectorBytes)));
constexpr int64_t kWidth = kLanes<float>;
// A tile is as many rows of a result by as many vectors of each; with the operands they fill
// sixteen registers.
constexpr int64_t kTileRows = 4, kTileVectors = 3;

inline Integers LoadIntegers(const int32_t* p) {
  Integers v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}

inline int64_t Min(int64_t x, int64_t y) { return x < y ? x : y; }
inline int64_t Max(int64_t x, int64_t y) { return x > y ? x : y; }
inline int64_t VectorsFor(int64_t n) { return (n + kWidth - 1) / kWidth; }

inline void PrefetchOne(RowsAhead* ahead) {
  if (ahead->count == 0) return;
  --ahead->count;
  const char* row = reinterpret_cast<const char*>(*ahead->rows++);
  for (int64_t i = 0; i < ahead->bytes; i += 64) __builtin_prefetch(row + i);
  // GCC takes a function that only prefetches for one without effects.
  asm volatile("");
}

template <int n>
struct Count {
  static constexpr int kValue = n;
};

// Calls body(first, Count<n>) for tiles of nearly the same size: one of few rows would not keep the
// multipliers busy.
template <typename Body>
inline void ForTiles(int64_t rows, const Body& body) {
  static_assert(kTileRows == 4, "cases");
  int64_t first = 0;
  for (int64_t t = (rows + kTileRows - 1) / kTileRows; t > 0; --t) {
    const int64_t size = (rows - first + t - 1) / t;
    switch (size) {
      case 1:
        body(first, Count<1>{});
        break;
      case 2:
        body(first, Count<2>{});
        break;
      case 3:
        body(first, Count<3>{});
        break;
      default:
        body(first, Count<4>{});
    }
    first += size;
  }
}

// The same for vectors: three at a time, or two, so that none is left alone. Of one there is only
// one.
template <typename Body>
inline void ForVectors(int64_t vectors, const Body& body) {
  static_assert(kTileVectors == 3, "cases");
  int64_t first = 0;
  while (first < vectors) {
    const int64_t left = vectors - first;
    if (left == 1) {
      body(first, Count<1>{});
      first += 1;
    } else if (left == 2 || left == 4) {
      body(first, Count<2>{});
      first += 2;
    } else {
      body(first, Count<3>{});
      first += 3;
    }
  }
}

// A range of the terms of a sum.
struct Range {
  int64_t first, last;
};

inline Range Join(const int32_t* first, const int32_t* last, int64_t begin, int64_t count) {
  Range joined = {first[begin], last[begin]};
  for (int64_t i = begin + 1; i < begin + count; ++i) {
    joined.first = Min(joined.first, first[i]);
    joined.last = Max(joined.last, last[i]);
  }
  return joined;
}

// ---- Logits -----------------------------------------------------------------------------------

// packed[v][p][lane] = column p of row v * kWidth + lane; `rows` is a multiple of kWidth.
void PackRows(const float* const* rows, const float* const* tails, int64_t num_rows, int64_t dim,
              float* packed) {
  const int64_t whole = dim / kWidth * kWidth, padded = VectorsFor(dim) * kWidth;
  for (int64_t first = 0; first < num_rows; first += kWidth) {
    for (int64_t p = 0; p < padded; p += kWidth) {
      const auto row_at = [&](int64_t i) {
        return p < whole ? rows[first + i] + p : tails[first + i];
      };
#ifdef FASTW2V_HAVE_SHUFFLE
      TransposeSquare<float>(row_at, packed + p * kWidth, kWidth);
#else
      for (int64_t i = 0; i < kWidth; ++i) {
        for (int64_t k = 0; k < kWidth; ++k) packed[(p + k) * kWidth + i] = row_at(i)[k];
      }
#endif
    }
    packed += padded * kWidth;
  }
}

// The last dim % kWidth columns of rows, filled up with zeros, and where they begin.
void CopyTails(const float* const* rows, int64_t num_rows, int64_t dim, float* tails,
               const float** tail_rows) {
  const int64_t whole = dim / kWidth * kWidth;
  for (int64_t i = 0; i < num_rows; ++i) {
    float* tail = tails + i * kWidth;
    Store<float>(tail, V{});
    for (int64_t p = whole; p < dim; ++p) tail[p - whole] = rows[i][p];
    tail_rows[i] = tail;
  }
}

// Logits of some rows with the classes of vectors of columns.
template <int kRows, int kVectors>
inline void LogitTile(const Word2VecGroup& b, int64_t first, const int64_t* vectors,
                      int64_t columns) {
  const int64_t panel = VectorsFor(b.dim) * kWidth * kWidth;
  const float *left[kRows], *right[kVectors];
  V sum[kRows][kVectors];
#pragma GCC unroll 3
  for (int v = 0; v < kVectors; ++v) right[v] = b.packed + vectors[v] * panel;
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    left[i] = b.hidden[first + i];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) sum[i][v] = V{};
  }
  for (int64_t p = 0; p < b.dim; ++p) {
    V x[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) x[v] = Load<float>(right[v] + p * kWidth);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const float h = left[i][p];
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sum[i][v] += h * x[v];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    float* z = b.logits + (first + i) * columns;
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) Store<float>(z + vectors[v] * kWidth, sum[i][v]);
  }
}

// Of some rows with the noise, and with the centers of the band.
template <int kRows>
inline void LogitTiles(const Word2VecGroup& b, int64_t first, int64_t noise, const Range& band,
                       int64_t columns, RowsAhead* ahead) {
  const int64_t gap = noise < band.first ? band.first - noise : 0;
  const int64_t count = noise + (band.first < band.last ? band.last - band.first : 0);
  ForVectors(count, [&](int64_t begin, auto size) {
    constexpr int kVectors = decltype(size)::kValue;
    int64_t vectors[kVectors];
    for (int v = 0; v < kVectors; ++v) vectors[v] = begin + v + (begin + v < noise ? 0 : gap);
    PrefetchOne(ahead);
    LogitTile<kRows, kVectors>(b, first, vectors, columns);
  });
}

// ---- Sums of rows -----------------------------------------------------------------------------

// result[i] += factors[i] * sum over terms p of coefficient(i, p) * terms[p].
struct RowSums {
  const float* coefficients;
  int64_t stride;
  bool by_rows;  // coefficient (i, p) at [i * stride + p], else at [p * stride + i]
  const float* const* terms;
  const float* const* tails;  // the last columns of the terms; null: they are filled up with zeros
  Range always;               // terms of every result
  // Beside these, those from offset + band_first[i] to offset + band_last[i]; null: none.
  const int32_t *band_first, *band_last;
  int64_t offset;
  float* const* results;
  const float* factors;  // [num_results], of what is added to each; null: 1
  int64_t num_results, dim;
};

// Vectors of results; with kTail the last one is filled by the tails, and only partly added.
template <int kRows, int kVectors, bool kByRows, bool kTail>
inline void SumTile(const RowSums& s, int64_t first, const Range& band, int64_t column) {
  constexpr int kWhole = kTail ? kVectors - 1 : kVectors;
  V sum[kRows][kVectors] = {};
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) __builtin_prefetch(s.results[first + i] + column, 1);
  const float* const coefficients = s.coefficients + (kByRows ? first * s.stride : first);
  const int64_t tail_column = s.tails == nullptr ? column + kWhole * kWidth : 0;
  const float* const* const tails = s.tails == nullptr ? s.terms : s.tails;
  const auto add = [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const float* term = s.terms[p] + column;
      const float* const x = coefficients + (kByRows ? p : p * s.stride);
      V right[kVectors];
#pragma GCC unroll 3
      for (int v = 0; v < kWhole; ++v) right[v] = Load<float>(term + v * kWidth);
      if (kTail) right[kVectors - 1] = Load<float>(tails[p] + tail_column);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const float c = x[kByRows ? i * s.stride : i];
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) sum[i][v] += c * right[v];
      }
    }
  };
  add(s.always.first, s.always.last);
  add(band.first, band.last);
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const float factor = s.factors == nullptr ? 1.0f : s.factors[first + i];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) sum[i][v] *= factor;
    float* row = s.results[first + i] + column;
#pragma GCC unroll 3
    for (int v = 0; v < kWhole; ++v) {
      Store<float>(row + v * kWidth, Load<float>(row + v * kWidth) + sum[i][v]);
    }
    if (!kTail) continue;
    const int64_t whole = kWhole * kWidth;
    AddFirst(row + whole, sum[i][kVectors - 1], s.dim - column - whole);
  }
}

template <bool kByRows>
void AddSums(const RowSums& s, RowsAhead* ahead) {
  ForTiles(s.num_results, [&](int64_t first, auto rows) {
    constexpr int kRows = decltype(rows)::kValue;
    Range band = {0, 0};
    if (s.band_first != nullptr) {
      band = Join(s.band_first, s.band_last, first, kRows);
      band = {band.first + s.offset, band.last + s.offset};
    }
    ForVectors(VectorsFor(s.dim), [&](int64_t vector, auto size) {
      constexpr int kVectors = decltype(size)::kValue;
      if (ahead != nullptr) PrefetchOne(ahead);
      const int64_t column = vector * kWidth;
      if (column + kVectors * kWidth <= s.dim) {
        SumTile<kRows, kVectors, kByRows, false>(s, first, band, column);
      } else {
        SumTile<kRows, kVectors, kByRows, true>(s, first, band, column);
      }
    });
  });
}

void AddSums(const RowSums& s, RowsAhead* ahead) {
  s.by_rows ? AddSums<true>(s, ahead) : AddSums<false>(s, ahead);
}

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

// ---- Loss -------------------------------------------------------------------------------------

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

// Bounds the curvature of the loss along the logits that have these steps.
inline V Bend(V step, V weight, float rate) {
  const V most = (0.25f * rate) * weight, size = step < 0 ? -step : step;
  return size < most ? size : most;
}

// What a row of that squared length adds to the curvatures of the classes, by its steps and their
// weights. Returns its own.
inline float FindCurvatures(const Word2VecGroup& b, const float* steps, int64_t columns,
                            float length) {
  V curvature = {};
  for (int64_t c = 0; c < columns; c += kWidth) {
    const V bent = Bend(Load<float>(steps + c), Load<float>(b.weights + c), b.rate);
    curvature += bent * Load<float>(b.lengths + c);
    Store<float>(b.class_curvature + c, Load<float>(b.class_curvature + c) + bent * length);
  }
  return Sum<float>(curvature);
}

// Logits of a row with the noise, each of the weight in `b.weights`, become what the step adds for
// a gradient by them. Returns parts of the loss.
inline V DifferentiateNoise(const Word2VecGroup& b, int64_t noise_columns, float* z) {
  V loss = {};
  for (int64_t n = 0; n < noise_columns; n += kWidth) {
    const V x = Load<float>(z + n), weight = Load<float>(b.weights + n);
    const V target = Load<float>(b.noise_target + n);
    V softplus, sigmoid;
    Logistic(x, &softplus, &sigmoid);
    loss += weight * (softplus - target * x);
    Store<float>(z + n, b.rate * weight * (target - sigmoid));
  }
  return loss;
}

// Logits become what the step adds for a gradient by them, 0 where there is no pair. Returns the
// loss.
double Differentiate(const Word2VecGroup& b, int64_t noise_columns, int64_t columns) {
  const int64_t center_columns = columns - noise_columns;
  double loss = 0;
  for (int64_t c = 0; c < columns; c += kWidth) Store<float>(b.class_curvature + c, V{});
  for (int64_t i = 0; i < b.rows; ++i) {
    float* z = b.logits + i * columns;
    float* paired = b.weights + noise_columns;
    Integers met = {};
    for (int64_t c = 0; c < center_columns; c += kWidth) {
      const Integers mask = Paired(b.pairs, c, i);
      met -= mask;
      Store<float>(paired + c, mask ? V{} + 1.0f : V{});
    }
    const int32_t pairs = SumOf(met);
    for (int64_t n = 0; n < noise_columns; n += kWidth) {
      Store<float>(b.weights + n, static_cast<float>(pairs) * Load<float>(b.noise_weight + n));
    }
    for (int64_t h = 0; h < b.num_hits; ++h) {
      const NoiseHit& hit = b.hits[h];
      b.weights[hit.noise] -= paired[hit.center] * b.noise_weight[hit.noise];
    }
    V sum = DifferentiateNoise(b, noise_columns, z);
    z += noise_columns;
    const int64_t band_first = b.band_first[i] / kWidth * kWidth, band_last = b.band_last[i];
    for (int64_t c = 0; c < center_columns; c += kWidth) {
      if (c < band_first || c >= band_last) {
        Store<float>(z + c, V{});
        continue;
      }
      const V x = Load<float>(z + c), weight = Load<float>(paired + c);
      V softplus, sigmoid;
      Logistic(x, &softplus, &sigmoid);
      sum += weight > 0 ? softplus - x : V{};
      Store<float>(z + c, weight > 0 ? b.rate * (1.0f - sigmoid) : V{});
    }
    const float length = SquaredLength(b.hidden[i], VectorsFor(b.dim) * kWidth);
    b.hidden_curvature[i] = FindCurvatures(b, b.logits + i * columns, columns, length);
    loss += static_cast<double>(Sum<float>(sum));
  }
  return loss;
}

// Classes as operands of the logits.
void PackClasses(const Word2VecGroup& b, int64_t columns) {
  CopyTails(b.classes, columns, b.dim, b.tails, b.tail_rows);
  PackRows(b.classes, b.tail_rows, columns, b.dim, b.packed);
  SquaredLengths(b.packed, columns, b.dim, b.lengths);
}

double FindSteps(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth;
  const int64_t classes = b.centers_are_classes ? VectorsFor(b.centers) * kWidth : 0;
  const int64_t columns = noise_columns + VectorsFor(b.centers) * kWidth;
  const int64_t met = noise_columns + classes;
  PackClasses(b, met);
  for (int64_t c = met; c < columns; c += kWidth) Store<float>(b.lengths + c, V{});
  FindBands(b.pairs, b.centers_are_classes ? b.centers : 0, b.rows, b.band_first, b.band_last);
  ForTiles(b.rows, [&](int64_t first, auto rows) {
    constexpr int kRows = decltype(rows)::kValue;
    const Range band = Join(b.band_first, b.band_last, first, kRows);
    const int64_t noise = noise_columns / kWidth;
    LogitTiles<kRows>(b, first, noise, {noise + band.first / kWidth, noise + VectorsFor(band.last)},
                      columns, b.ahead);
  });
  return Differentiate(b, noise_columns, columns);
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

void AddSteps(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth;
  const int64_t columns = noise_columns + VectorsFor(b.centers) * kWidth;
  RowSums of_rows = StepsOfRows(b, columns);
  of_rows.band_first = b.band_first;
  of_rows.band_last = b.band_last;
  of_rows.offset = noise_columns;
  AddSums(of_rows, b.ahead);
  const RowSums of_noise = StepsOfNoise(b, columns);
  AddSums(of_noise, b.ahead);
  if (b.centers_are_classes) {
    RowSums of_centers = of_noise;
    of_centers.coefficients = b.logits + noise_columns;
    of_centers.always = {0, 0};
    of_centers.band_first = b.pairs.first;
    of_centers.band_last = b.pairs.last;
    of_centers.results = b.to_classes + noise_columns;
    if (b.class_factors != nullptr) of_centers.factors = b.class_factors + noise_columns;
    of_centers.num_results = b.centers;
    AddSums(of_centers, b.ahead);
  }
  while (b.ahead->count > 0) PrefetchOne(b.ahead);
}

// ---- Bags -------------------------------------------------------------------------------------

// Calls body(column, count) for the vectors of a row: count < kWidth where the last is not full.
template <typename Body>
inline void ForColumns(int64_t dim, const Body& body) {
  int64_t column = 0;
  for (; column + kWidth <= dim; column += kWidth) body(column, kWidth);
  if (column < dim) body(column, dim - column);
}

inline V LoadColumns(const float* p, int64_t count) {
  return count == kWidth ? Load<float>(p) : LoadFirst(p, count);
}

inline void AddColumns(float* p, V v, int64_t count) {
  if (count == kWidth) {
    Store<float>(p, Load<float>(p) + v);
  } else {
    AddFirst(p, v, count);
  }
}

// Logits of bags with their own centers; squared lengths of both.
void MeetCenters(const Word2VecGroup& b, int64_t noise_columns, float* logits) {
  for (int64_t c = 0; c < b.centers; ++c) {
    const float *const h = b.hidden[c], *const w = b.classes[noise_columns + c];
    V product = {}, of_h = {}, of_w = {};
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      const V x = Load<float>(h + column), y = LoadColumns(w + column, count);
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
    const V step = is_center ? b.rate * (one - sigmoid) : V{}, bent = Bend(step, one, b.rate);
    Store<float>(logits + c, step);
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
  if (b.centers_are_classes) {
    MeetCenters(b, noise_columns, own);
  } else {
    for (int64_t i = 0; i < b.rows; ++i) {
      b.hidden_lengths[i] = SquaredLength(b.hidden[i], VectorsFor(b.dim) * kWidth);
    }
  }
  V loss = {};
  const NoiseHit *hit = b.hits, *const last_hit = b.hits + b.num_hits;
  for (int64_t i = 0; i < b.rows; ++i) {
    for (int64_t n = 0; n < noise_columns; n += kWidth) {
      Store<float>(b.weights + n, Load<float>(b.noise_weight + n));
    }
    for (; hit != last_hit && hit->center == i; ++hit) b.weights[hit->noise] = 0;
    float* const z = b.logits + i * noise_columns;
    loss += DifferentiateNoise(b, noise_columns, z);
    b.hidden_curvature[i] = FindCurvatures(b, z, noise_columns, b.hidden_lengths[i]);
  }
  if (b.centers_are_classes) loss += DifferentiateCenters(b, noise_columns, own);
  return static_cast<double>(Sum<float>(loss));
}

void AddStepsOfBags(const Word2VecGroup& b) {
  const int64_t noise_columns = VectorsFor(b.noise) * kWidth;
  const float* const own = OwnSteps(b, noise_columns);
  AddSums(StepsOfRows(b, noise_columns), b.ahead);
  // Each bag reads its center before a step of the noise may change it.
  for (int64_t c = 0; b.centers_are_classes && c < b.centers; ++c) {
    const float* const w = b.classes[noise_columns + c];
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      float* const d = b.to_hidden[c] + column;
      Store<float>(d, Load<float>(d) + own[c] * LoadColumns(w + column, count));
    });
  }
  AddSums(StepsOfNoise(b, noise_columns), b.ahead);
  for (int64_t c = 0; b.centers_are_classes && c < b.centers; ++c) {
    PrefetchOne(b.ahead);
    const float* const h = b.hidden[c];
    const float factor = b.class_factors == nullptr ? 1.0f : b.class_factors[noise_columns + c];
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      AddColumns(b.to_classes[noise_columns + c] + column,
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
      sum += LoadColumns(b.embeddings[i] + column, count);
      Store<float>(sums += stride, sum);
    }
  });
  for (int64_t c = 0; c < b.centers; ++c) {
    const float* const before = b.sums + b.bags.first[c] * stride;
    const float* const after = b.sums + b.bags.last[c] * stride;
    const float* const self = b.embeddings[b.bags.self[c]];
    ForColumns(b.dim, [&](int64_t column, int64_t count) {
      const V sum = Load<float>(after + column) - Load<float>(before + column);
      Store<float>(b.hidden[c] + column, b.forward[c] * (sum - LoadColumns(self + column, count)));
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
      AddColumns(b.to_embeddings[i] + column, factor * of_row, count);
    }
  });
}

}  // namespace

extern const Word2VecKernels kWord2VecKernels;
const Word2VecKernels kWord2VecKernels = {
    static_cast<int>(kWidth), FindSteps, AddSteps,  FindStepsOfBags,
    AddStepsOfBags,           SumBags,   SpreadBags};

}  // namespace fastw2v::cpu::FASTW2V_ISA
