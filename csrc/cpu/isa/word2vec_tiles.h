// The matrix products of word2vec's groups. Private to each compilation: see the top of kernels.cc.
//
// They are small: about 26 rows of words, 32 classes, 100 columns. So operands are read where they
// lie in the tables, results go straight there, and of the pairs of a word with a center only those
// near the text's own are computed: the centers that the rows of a tile are paired with are a
// band.
#ifndef FASTW2V_CPU_ISA_WORD2VEC_TILES_H_
#define FASTW2V_CPU_ISA_WORD2VEC_TILES_H_

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

// The last dim % kWidth columns of a class, filled up with zeros, and where they are.
inline void CopyTail(const Word2VecGroup& b, int64_t column) {
  const int64_t count = b.dim % kWidth;
  if (count == 0) return;  // nobody reads it
  float* const tail = b.tails + column * kWidth;
  Store<float>(tail, LoadFirst<float>(b.classes[column] + b.dim - count, count));
  b.tail_rows[column] = tail;
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

inline bool AreZeros(const float* factors, int64_t n) {
  bool zeros = true;
  for (int64_t i = 0; i < n; ++i) zeros &= factors[i] == 0;
  return zeros;
}

template <bool kByRows>
void AddSums(const RowSums& s, RowsAhead* ahead) {
  ForTiles(s.num_results, [&](int64_t first, auto rows) {
    constexpr int kRows = decltype(rows)::kValue;
    if (s.factors != nullptr && AreZeros(s.factors + first, kRows)) return;
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

}  // namespace
}  // namespace fastw2v::cpu::FASTW2V_ISA

#endif  // FASTW2V_CPU_ISA_WORD2VEC_TILES_H_
