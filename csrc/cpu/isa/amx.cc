// The product of BFloat16Kernels by the tiles of AMX-BF16.
#include "csrc/cpu/kernels/kernels.h"

#ifdef __AMX_BF16__
#include <immintrin.h>

namespace fastw2v::cpu::FASTW2V_ISA {

void MultiplyTiles(int64_t m, int64_t n, int64_t k, const BFloat16* left, const BFloat16* right,
                   float* c, int64_t stride, bool accumulate);

namespace {

// A tile is 16 rows of 64 bytes: floats of c, or pairs of k of an operand.
constexpr int64_t kTile = 16;
constexpr int64_t kPanel = BFloat16Kernels::kPanel;
constexpr int64_t kDepth = BFloat16Kernels::kDepth;

static_assert(kPanel == 2 * kTile && kDepth == 2 * kTile && BFloat16Kernels::kRows == kTile);

struct alignas(64) TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

constexpr TileConfig kEightTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// kRowTiles x kColumnTiles whole tiles of c, which are tiles 0 to 3; operands are 4 to 7.
template <int kRowTiles, int kColumnTiles>
inline void MultiplyBlock(int64_t depth, const BFloat16* left, const BFloat16* right, float* c,
                          int64_t stride, bool accumulate) {
  constexpr bool kRow1 = kRowTiles == 2, kColumn1 = kColumnTiles == 2;
  const int64_t row_bytes = stride * static_cast<int64_t>(sizeof(float));
  float* const below = c + kTile * stride;
  if (accumulate) {
    _tile_loadd(0, c, row_bytes);
    if constexpr (kColumn1) _tile_loadd(1, c + kTile, row_bytes);
    if constexpr (kRow1) _tile_loadd(2, below, row_bytes);
    if constexpr (kRow1 && kColumn1) _tile_loadd(3, below + kTile, row_bytes);
  } else {
    _tile_zero(0);
    if constexpr (kColumn1) _tile_zero(1);
    if constexpr (kRow1) _tile_zero(2);
    if constexpr (kRow1 && kColumn1) _tile_zero(3);
  }
  const int64_t left_bytes = 2 * depth, right_bytes = 4 * kPanel;
  for (int64_t p = 0; p < depth; p += kDepth, left += kDepth, right += kDepth * kPanel) {
    _tile_loadd(6, right, right_bytes);
    _tile_loadd(4, left, left_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kColumn1) {
      _tile_loadd(7, right + 2 * kTile, right_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kRow1) {
      _tile_loadd(5, left + kTile * depth, left_bytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (kRow1 && kColumn1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, row_bytes);
  if constexpr (kColumn1) _tile_stored(1, c + kTile, row_bytes);
  if constexpr (kRow1) _tile_stored(2, below, row_bytes);
  if constexpr (kRow1 && kColumn1) _tile_stored(3, below + kTile, row_bytes);
}

// Of a block of panel width, moves the part that c has.
inline void Keep(int64_t rows, int64_t columns, const float* block, float* c, int64_t stride,
                 bool accumulate) {
  const __mmask32 all = static_cast<__mmask32>((uint64_t{1} << columns) - 1);
  const auto low = static_cast<__mmask16>(all), high = static_cast<__mmask16>(all >> kTile);
  for (int64_t i = 0; i < rows; ++i, block += kPanel, c += stride) {
    __m512 x = _mm512_load_ps(block), y = _mm512_load_ps(block + kTile);
    if (accumulate) {
      x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(low, c));
      y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(high, c + kTile));
    }
    _mm512_mask_storeu_ps(c, low, x);
    _mm512_mask_storeu_ps(c + kTile, high, y);
  }
}

}  // namespace

void MultiplyTiles(int64_t m, int64_t n, int64_t k, const BFloat16* left, const BFloat16* right,
                   float* c, int64_t stride, bool accumulate) {
  const int64_t depth = (k + kDepth - 1) / kDepth * kDepth;
  // Not every compiler knows that loads of tiles read memory: what was written before has to lie
  // there.
  __asm__ volatile("" ::: "memory");
  // Tiles belong to the thread, which may use them otherwise in between: each call sets them up and
  // leaves them unused, so that the system need not save them.
  _tile_loadconfig(&kEightTiles);
  for (int64_t j = 0; j < n; j += kPanel) {
    const BFloat16* panel = right + j * depth;
    const int64_t columns = n - j < kPanel ? n - j : kPanel;
    for (int64_t i = 0; i < m; i += 2 * kTile) {
      const int64_t rows = m - i < 2 * kTile ? m - i : 2 * kTile;
      const auto block = rows <= kTile
                             ? columns <= kTile ? MultiplyBlock<1, 1> : MultiplyBlock<1, 2>
                         : columns <= kTile ? MultiplyBlock<2, 1>
                                            : MultiplyBlock<2, 2>;
      float* const corner = c + i * stride + j;
      if (rows % kTile == 0 && columns % kTile == 0) {
        block(depth, left + i * depth, panel, corner, stride, accumulate);
        continue;
      }
      alignas(64) float whole[2 * kTile * kPanel];
      block(depth, left + i * depth, panel, whole, kPanel, false);
      Keep(rows, columns, whole, corner, stride, accumulate);
    }
  }
  _tile_release();
}

}  // namespace fastw2v::cpu::FASTW2V_ISA
#endif  // __AMX_BF16__
