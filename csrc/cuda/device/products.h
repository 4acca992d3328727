// Products of a warp whose operands lie in shared memory, by what the type of their elements asks
// for: 16-bit ones on tensor cores; float in TF32 parts, three products of which are as good as one
// of floats; double by plain arithmetic. Sums are c[i] of a 16 x 8 tile as device.h has them.
#ifndef FASTW2V_CUDA_DEVICE_PRODUCTS_H_
#define FASTW2V_CUDA_DEVICE_PRODUCTS_H_

#include <cstdint>
#include <type_traits>

#include "csrc/cuda/device/device.h"
#include "csrc/cuda/device/vectors.h"

namespace fastw2v::cuda {

// Operands in shared memory: rows of `stride` elements, with 16 bytes of padding so that the rows
// of a fragment lie in different banks. Widths are multiples of kDepth.
constexpr int kDepth = 16;
template <typename E>
__host__ __device__ constexpr int PaddedStride(int width) {
  return width + 16 / static_cast<int>(sizeof(E));
}

// A pair of fragments of b, for columns [0, 8) and [8, 16), is loaded at a time.
constexpr int kPairColumns = 16;

struct Tf32Parts {
  uint32_t big, small;
};
__device__ __forceinline__ Tf32Parts SplitTf32(float x) {
  const float big = RoundTf32(x);
  // Infinite numbers have no rest.
  const float small = x == big ? 0.0f : RoundTf32(x - big);
  return {__float_as_uint(big), __float_as_uint(small)};
}

__device__ __forceinline__ void MultiplyParts(float (&c)[4], const Tf32Parts (&a)[4],
                                              const Tf32Parts (&b)[2], bool one_pass) {
  const uint32_t a_big[4] = {a[0].big, a[1].big, a[2].big, a[3].big};
  const uint32_t b_big[2] = {b[0].big, b[1].big};
  if (one_pass) {
    Mma1688Tf32(c, a_big, b_big);
    return;
  }
  // Tensor cores cut sums towards zero: what is added to a long sum is added by a float addition,
  // which rounds.
  const uint32_t a_small[4] = {a[0].small, a[1].small, a[2].small, a[3].small};
  const uint32_t b_small[2] = {b[0].small, b[1].small};
  float step[4] = {};
  Mma1688Tf32(step, a_small, b_big);
  Mma1688Tf32(step, a_big, b_small);
  Mma1688Tf32(step, a_big, b_big);
#pragma unroll
  for (int i = 0; i < 4; ++i) c[i] += step[i];
}

// c[m][n] += a b over `depth` elements. a [16 kM, depth] row-major. b is [16 kPairs columns, depth]
// (kColumnsOutside, as weights lie: a row for each column of the product) or [depth, columns].
// Pairs from `pairs` on are left out. one_pass: TF32 alone.
template <typename E, int kM, int kPairs, bool kColumnsOutside>
__device__ __forceinline__ void WarpProduct(const E* a, int stride_a, const E* b, int stride_b,
                                            int depth, int pairs, bool one_pass,
                                            Accumulator<E> (&c)[kM][2 * kPairs][4]) {
  const int lane = threadIdx.x % kWarp;
  const int g = lane / 4, t = lane % 4;
  if constexpr (sizeof(E) == 2) {
    // Which row of which of the four matrices this lane names.
    const int row = lane % 8, low = lane / 8 % 2 * 8, high = lane / 16 * 8;
    const E* a_row = a + (row + low) * stride_a + high;
    const E* b_row =
        kColumnsOutside ? b + (row + high) * stride_b + low : b + (row + low) * stride_b + high;
    const int b_pair = kColumnsOutside ? kPairColumns * stride_b : kPairColumns;
    const int b_step = kColumnsOutside ? kDepth : kDepth * stride_b;
#pragma unroll 1  // registers full of sums have no room for the operands of several steps
    for (int k = 0; k < depth; k += kDepth) {
      uint32_t a_part[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        LoadMatrices<false>(a_part[m], a_row + m * 16 * stride_a + k);
      }
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        if (pair >= pairs) continue;
        uint32_t b_part[4];
        LoadMatrices<!kColumnsOutside>(b_part, b_row + pair * b_pair);
        const uint32_t first[2] = {b_part[0], b_part[1]}, second[2] = {b_part[2], b_part[3]};
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          Mma16816<E>(c[m][2 * pair], a_part[m], first);
          Mma16816<E>(c[m][2 * pair + 1], a_part[m], second);
        }
      }
      b_row += b_step;
    }
  } else if constexpr (std::is_same_v<E, float>) {
    const int b_column = kColumnsOutside ? stride_b : 1, b_depth = kColumnsOutside ? 1 : stride_b;
    for (int k = 0; k < depth; k += 8) {
      Tf32Parts a_part[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          a_part[m][i] = SplitTf32(a[(16 * m + g + i % 2 * 8) * stride_a + k + t + i / 2 * 4]);
        }
      }
#pragma unroll
      for (int n = 0; n < 2 * kPairs; ++n) {
        if (n / 2 >= pairs) continue;
        Tf32Parts b_part[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          b_part[i] = SplitTf32(b[(8 * n + g) * b_column + (k + t + 4 * i) * b_depth]);
        }
#pragma unroll
        for (int m = 0; m < kM; ++m) MultiplyParts(c[m][n], a_part[m], b_part, one_pass);
      }
    }
  } else {
    const int b_column = kColumnsOutside ? stride_b : 1, b_depth = kColumnsOutside ? 1 : stride_b;
    for (int k = 0; k < depth; ++k) {
#pragma unroll
      for (int n = 0; n < 2 * kPairs; ++n) {
        if (n / 2 >= pairs) continue;
        const double b0 = b[(8 * n + 2 * t) * b_column + k * b_depth];
        const double b1 = b[(8 * n + 2 * t + 1) * b_column + k * b_depth];
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          const double a0 = a[(16 * m + g) * stride_a + k], a1 = a[(16 * m + g + 8) * stride_a + k];
          c[m][n][0] += a0 * b0;
          c[m][n][1] += a0 * b1;
          c[m][n][2] += a1 * b0;
          c[m][n][3] += a1 * b1;
        }
      }
    }
  }
}

// Copies rows [0, count) of `width` elements from a matrix whose rows are `from_stride` apart into
// shared memory, in the background; rows from `valid` on become zeros. Rows of the matrix are
// aligned to 16 bytes, width is a multiple of kDepth.
template <typename E>
__device__ __forceinline__ void CopyRows(const E* from, int64_t from_stride, int count, int valid,
                                         int width, E* to, int stride) {
  constexpr int kPiece = 16 / static_cast<int>(sizeof(E));
  const int lane = threadIdx.x % kWarp, num_warps = static_cast<int>(blockDim.x) / kWarp;
#pragma unroll 1
  for (int row = threadIdx.x / kWarp; row < count; row += num_warps) {
    const bool is_row = row < valid;
    const E* source = from + (is_row ? row * from_stride : 0);
#pragma unroll 1
    for (int i = lane * kPiece; i < width; i += kWarp * kPiece) {
      CopyAsync(to + row * stride + i, source + i, is_row);
    }
  }
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_DEVICE_PRODUCTS_H_
