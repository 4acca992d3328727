// BFloat16Kernels of instruction sets with AVX512_BF16: operands, and the product by that set. What
// kernels.cc says of symbols and of the standard library holds here too.
#include "csrc/cpu/kernels/kernels.h"

#ifdef __AVX512BF16__
#include <immintrin.h>

#ifndef __clang__
// GCC 12 takes _mm512_undefined_epi32(), of which its own shuffles are made, for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace fastw2v::cpu::FASTW2V_ISA {

#ifdef __AMX_BF16__
// By tiles: amx.cc.
void MultiplyTiles(int64_t m, int64_t n, int64_t k, const BFloat16* left, const BFloat16* right,
                   float* c, int64_t stride, bool accumulate);
#endif

namespace {

constexpr int64_t kPanel = BFloat16Kernels::kPanel;
constexpr int64_t kDepth = BFloat16Kernels::kDepth;
constexpr int64_t kLanes = 16;  // of float, or of pairs

static_assert(kPanel == 2 * kLanes && kDepth == 2 * kLanes && BFloat16Kernels::kRows == kLanes);

// What an operand takes for k, or for columns.
inline int64_t Filled(int64_t count) { return (count + kDepth - 1) / kDepth * kDepth; }

// Picks the first `count` lanes: none below 0, all above kLanes.
inline __mmask16 First(int64_t count) {
  if (count >= kLanes) return 0xffff;
  return count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

// ---- Operands ---------------------------------------------------------------------------------

// Of x, the numbers that `low` picks of the first 16 and `high` of the next; 0 elsewhere.
inline __m512i Convert(const float* x, __mmask16 low, __mmask16 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, x + kLanes),
                                      _mm512_maskz_loadu_ps(low, x));
}

// x[0], y[0], x[1], y[1], ... of those that the mask picks; 0 elsewhere.
inline __m512i ConvertPairs(const float* x, const float* y, __mmask16 mask) {
  alignas(64) static const uint16_t kOrder[2 * kLanes] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(
      _mm512_load_si512(kOrder),
      (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(mask, y), _mm512_maskz_loadu_ps(mask, x)));
}

// A row of a matrix, `stride` apart from the next; zeros past the last.
struct RowsOf {
  const float* data;
  int64_t stride;
  int64_t rows;

  const float* operator[](int64_t i) const { return i < rows ? data + i * stride : kZeros; }

  static const float kZeros[2 * kLanes];
};
const float RowsOf::kZeros[2 * kLanes] = {};

// Lane j of x[i] goes to lane i of x[j]: within each quarter of a vector first, then whole
// quarters.
inline void Transpose(__m512i x[kLanes]) {
  __m512i y[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i even0 = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88);
    const __m512i odd0 = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xdd);
    const __m512i even1 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88);
    const __m512i odd1 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xdd);
    x[j] = _mm512_shuffle_i32x4(even0, even1, 0x88);
    x[4 + j] = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
    x[8 + j] = _mm512_shuffle_i32x4(even0, even1, 0xdd);
    x[12 + j] = _mm512_shuffle_i32x4(odd0, odd1, 0xdd);
  }
}

inline void StoreRows(const __m512i x[kLanes], BFloat16* y, int64_t stride) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) _mm512_storeu_si512(y + i * stride, x[i]);
}

void ConvertLeft(int64_t m, int64_t k, const LeftOperand<float>& x, BFloat16* left) {
  const int64_t depth = Filled(k), stride = x.stride;
  if (x.by_rows) {
    for (int64_t i = 0; i < m; ++i, left += depth) {
      const float* row = x.data + i * stride;
      for (int64_t p = 0; p < k; p += kDepth) {
        _mm512_storeu_si512(left + p, Convert(row + p, First(k - p), First(k - p - kLanes)));
      }
    }
    return;
  }
  for (int64_t i = 0; i < m; i += kLanes, left += kLanes * depth) {
    const __mmask16 mask = First(m - i);
    for (int64_t p = 0; p < k; p += kDepth) {
      const RowsOf rows{x.data + p * stride + i, stride, k - p};
      __m512i pairs[kLanes];
#pragma GCC unroll 16
      for (int q = 0; q < kLanes; ++q) pairs[q] = ConvertPairs(rows[2 * q], rows[2 * q + 1], mask);
      Transpose(pairs);
      StoreRows(pairs, left + p, depth);
    }
  }
}

void PackRight(const float* x, int64_t stride_k, int64_t stride_n, int64_t k, int64_t n,
               BFloat16* right) {
  const int64_t depth = Filled(k);
  for (int64_t j = 0; j < Filled(n); j += kLanes) {
    // Half of a panel.
    BFloat16* packed = right + j / kPanel * kPanel * depth + j % kPanel * 2;
    if (stride_n == 1) {
      const RowsOf rows{x + j, stride_k, k};
      const __mmask16 mask = First(n - j);
      for (int64_t p = 0; p < depth; p += 2, packed += 2 * kPanel) {
        _mm512_storeu_si512(packed, ConvertPairs(rows[p], rows[p + 1], mask));
      }
      continue;
    }
    for (int64_t p = 0; p < k; p += kDepth, packed += kDepth * kPanel) {
      const RowsOf columns{x + p + j * stride_n, stride_n, n - j};
      const __mmask16 low = First(k - p), high = First(k - p - kLanes);
      __m512i pairs[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) pairs[i] = Convert(columns[i], low, high);
      Transpose(pairs);
      StoreRows(pairs, packed, 2 * kPanel);
    }
  }
}

// ---- Product ----------------------------------------------------------------------------------

#ifndef __AMX_BF16__

constexpr int kTileRows = 12;

// A pair of k in all lanes.
inline __m512bh Everywhere(const BFloat16* pair) {
  int32_t bits;
  __builtin_memcpy(&bits, pair, sizeof(bits));
  __m512i x = _mm512_set1_epi32(bits);
#ifdef __clang__
  __asm__("" : "+v"(x));  // without which Clang 16 crashes
#endif
  return (__m512bh)x;
}

// One tile of c: kRows rows and kVectors vectors of columns, a panel or half of one, stay in
// registers; `last` picks columns of the last vector.
template <int kRows, int kVectors>
inline void MultiplyTile(int64_t k, int64_t depth, const BFloat16* left, const BFloat16* right,
                         float* c, int64_t stride, __mmask16 last, bool accumulate) {
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    // The result arrives from a distant cache while the sums are made.
    for (int v = 0; v < kVectors; ++v) {
      __builtin_prefetch(c + i * stride + v * kLanes, 1);
      sum[i][v] = _mm512_setzero_ps();
    }
  }
  for (int64_t p = 0; p < k; p += 2) {
    __m512bh y[kVectors];
    for (int v = 0; v < kVectors; ++v) y[v] = (__m512bh)_mm512_loadu_si512(right + v * kPanel);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const __m512bh x = Everywhere(left + i * depth);
      for (int v = 0; v < kVectors; ++v) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], y[v], x);
    }
    left += 2;
    right += 2 * kPanel;
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      float* row = c + i * stride + v * kLanes;
      const __mmask16 mask = v == kVectors - 1 ? last : First(kLanes);
      if (accumulate) sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_maskz_loadu_ps(mask, row));
      _mm512_mask_storeu_ps(row, mask, sum[i][v]);
    }
  }
}

template <int kRows, int kVectors>
int64_t MultiplyRows(int64_t i, int64_t m, int64_t k, int64_t depth, const BFloat16* left,
                     const BFloat16* right, float* c, int64_t stride, __mmask16 last,
                     bool accumulate) {
  for (; i + kRows <= m; i += kRows) {
    MultiplyTile<kRows, kVectors>(k, depth, left + i * depth, right, c + i * stride, stride, last,
                                  accumulate);
  }
  return i;
}

template <int kVectors>
void MultiplyVectors(int64_t m, int64_t k, int64_t depth, const BFloat16* left,
                     const BFloat16* right, float* c, int64_t stride, __mmask16 last,
                     bool accumulate) {
  int64_t i = 0;
  i = MultiplyRows<kTileRows, kVectors>(i, m, k, depth, left, right, c, stride, last, accumulate);
  i = MultiplyRows<4, kVectors>(i, m, k, depth, left, right, c, stride, last, accumulate);
  MultiplyRows<1, kVectors>(i, m, k, depth, left, right, c, stride, last, accumulate);
}

void Multiply(int64_t m, int64_t n, int64_t k, const BFloat16* left, const BFloat16* right,
              float* c, int64_t stride, bool accumulate) {
  const int64_t depth = Filled(k);
  for (int64_t j = 0; j < n; j += kPanel) {
    const BFloat16* panel = right + j * depth;
    const int64_t columns = n - j;
    if (columns > kLanes) {
      MultiplyVectors<2>(m, k, depth, left, panel, c + j, stride, First(columns - kLanes),
                         accumulate);
    } else {
      MultiplyVectors<1>(m, k, depth, left, panel, c + j, stride, First(columns), accumulate);
    }
  }
}

#endif

}  // namespace

extern const BFloat16Kernels kBFloat16Kernels;
#ifdef __AMX_BF16__
const BFloat16Kernels kBFloat16Kernels = {ConvertLeft, PackRight, MultiplyTiles};
#else
const BFloat16Kernels kBFloat16Kernels = {ConvertLeft, PackRight, Multiply};
#endif

}  // namespace fastw2v::cpu::FASTW2V_ISA
#endif  // __AVX512BF16__
