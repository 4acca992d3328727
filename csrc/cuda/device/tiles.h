// Products of matrix tiles by a block of 256 threads: tiles in shared memory, copied there in the
// background, and the instructions that multiply them for every type of table.
//
// A tile lies in shared memory as panels: rows of 128 bytes, of which the 16-byte units are
// exchanged (unit ^ row % 8), so that the eight rows that one ldmatrix reads lie in different
// banks, whichever way the tile is read:
//   along k  (kAlongK): a row is an m or n, its columns are k; one panel for 128 bytes of k
//   across k          : a row is a k, its columns are m or n; as many panels as these take
#ifndef FASTW2V_CUDA_DEVICE_TILES_H_
#define FASTW2V_CUDA_DEVICE_TILES_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "csrc/core/loss_options.h"
#include "csrc/cuda/device/device.h"

namespace fastw2v::cuda {

constexpr int kThreads = 256;
constexpr int kPanelRowBytes = 128;

// Columns of a panel, and steps of k of a tile.
template <typename T>
constexpr int kPanelWidth = kPanelRowBytes / static_cast<int>(sizeof(T));

template <typename T>
__device__ __forceinline__ T* PanelAt(T* panel, int row, int column) {
  constexpr int kUnit = 16 / sizeof(T);
  return panel + row * kPanelWidth<T> + ((column / kUnit ^ (row & 7)) * kUnit + column % kUnit);
}

// ---- from global to shared memory

// A matrix in global memory of which parts are copied.
template <typename T>
struct Matrix {
  const T* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t pitch = 0;
  int copy_bytes = sizeof(T);  // what the start of every row is aligned to, at most 16
};

template <typename T>
Matrix<T> MakeMatrix(const T* data, int64_t rows, int64_t columns, int64_t pitch) {
  Matrix<T> matrix = {data, rows, columns, pitch, 16};
  const auto misaligned = [&](int bytes) {
    return (reinterpret_cast<std::uintptr_t>(data) |
            static_cast<std::uintptr_t>(pitch * sizeof(T)) |
            static_cast<std::uintptr_t>(columns * sizeof(T))) %
               bytes !=
           0;
  };
  while (matrix.copy_bytes > static_cast<int>(sizeof(T)) && misaligned(matrix.copy_bytes)) {
    matrix.copy_bytes /= 2;
  }
  return matrix;
}

// Starts to copy rows [row0, row0 + kRows) of kPanels panels from column0 on; zeros where the
// matrix ends. Rows of an odd number of 16-bit elements are copied at once, the only ones that are
// slow. One loop for all widths: several would take registers from the sums.
template <int kRows, int kPanels, typename T>
__device__ __forceinline__ void CopyPanels(T* panels, const Matrix<T>& matrix, int64_t row0,
                                           int64_t column0) {
  constexpr int kSize = sizeof(T), kRowBytes = kPanels * kPanelRowBytes;
#pragma unroll 1
  for (int i = threadIdx.x * matrix.copy_bytes; i < kRows * kRowBytes;
       i += kThreads * matrix.copy_bytes) {
    const int r = i / kRowBytes, c = i % kRowBytes / kSize;
    const int64_t row = row0 + r, column = column0 + c;
    const bool valid = row < matrix.rows && column < matrix.columns;
    T* const to =
        PanelAt(panels + c / kPanelWidth<T> * kRows * kPanelWidth<T>, r, c % kPanelWidth<T>);
    const T* const from = valid ? matrix.data + row * matrix.pitch + column : matrix.data;
    if (matrix.copy_bytes == 16) {
      CopyAsync<16>(to, from, valid);
    } else if (matrix.copy_bytes == 8) {
      CopyAsync<8>(to, from, valid);
    } else if constexpr (kSize <= 4) {
      if (matrix.copy_bytes == 4) {
        CopyAsync<4>(to, from, valid);
      } else if constexpr (kSize == 2) {
        *to = valid ? *from : T{};
      }
    }
  }
}

// ---- products

// An operand in shared memory: kRows is the height of its panels.
template <typename T, bool kAlongK, int kRows>
struct Operand {
  const T* panels;

  static constexpr bool kIsAlongK = kAlongK;

  // mn counts rows of A or columns of B.
  __device__ __forceinline__ const T* At(int mn, int k) const {
    if constexpr (kAlongK) {
      return PanelAt(panels, mn, k);
    } else {
      return PanelAt(panels + mn / kPanelWidth<T> * kRows * kPanelWidth<T>, k, mn % kPanelWidth<T>);
    }
  }
};

// Registers of an m16 x k32-byte piece of A, as Mma16816 and Mma1688Tf32 want it.
template <typename T, bool kAlongK, int kRows>
__device__ __forceinline__ void LoadA(uint32_t (&a)[4], const Operand<T, kAlongK, kRows>& operand,
                                      int m, int k) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (kAlongK) {
    LoadMatrices<false>(a, operand.At(m + lane % 16, k + lane / 16 * (16 / sizeof(T))));
  } else if constexpr (sizeof(T) == 2) {
    LoadMatrices<true>(a, operand.At(m + lane / 8 % 2 * 8, k + lane % 8 + lane / 16 * 8));
  } else {
    for (int i = 0; i < 4; ++i) {
      a[i] = __float_as_uint(*operand.At(m + lane / 4 + i % 2 * 8, k + lane % 4 + i / 2 * 4));
    }
  }
}

// Two pieces of B, k32-byte x n8 each, side by side.
template <typename T, bool kAlongK, int kRows>
__device__ __forceinline__ void LoadB(uint32_t (&b)[4], const Operand<T, kAlongK, kRows>& operand,
                                      int n, int k) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (kAlongK) {
    LoadMatrices<false>(
        b, operand.At(n + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * (16 / sizeof(T))));
  } else if constexpr (sizeof(T) == 2) {
    LoadMatrices<true>(b, operand.At(n + lane / 16 * 8, k + lane % 16));
  } else {
    for (int i = 0; i < 4; ++i) {
      b[i] = __float_as_uint(*operand.At(n + lane / 4 + i / 2 * 8, k + lane % 4 + i % 2 * 4));
    }
  }
}

// How a warp multiplies. Each has
//   Element      of tiles in shared memory
//   Sum          of c
//   kBlocks      on a multiprocessor for which registers are allotted
//   Multiply     c[i][j] += a[16 i.., k..] b[k.., 8 j..], k over the first `depth` of a panel's
//                width; c[i][j] lies in the lanes as that of Mma16816 does

// bfloat16 and float16 by their own instruction.
template <typename T>
struct Products16 {
  using Element = T;
  using Sum = float;
  static constexpr int kBlocks = 2;
  static constexpr int kStep = 16;

  template <int kM, int kN, typename A, typename B>
  __device__ __forceinline__ void Multiply(float (&c)[kM][kN][4], const A& a, int m, const B& b,
                                           int n, int depth) const {
    // Rolled up: the addresses of several steps would not fit into registers beside the sums.
#pragma unroll 1
    for (int k = 0; k < depth; k += kStep) {
      uint32_t of_a[kM][4];
#pragma unroll
      for (int i = 0; i < kM; ++i) LoadA(of_a[i], a, m + 16 * i, k);
#pragma unroll
      for (int j = 0; j < kN; j += 2) {
        uint32_t of_b[4];
        LoadB(of_b, b, n + 8 * j, k);
        const uint32_t first[2] = {of_b[0], of_b[1]}, second[2] = {of_b[2], of_b[3]};
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          Mma16816<T>(c[i][j], of_a[i], first);
          Mma16816<T>(c[i][j + 1], of_a[i], second);
        }
      }
    }
  }
};

// float by instructions that take 11 bits of the significand. With three of them a number is the
// sum of two: x = big + rest, and what is left out, rest * rest, is below 2^-21 of the product.
template <bool kThree>
struct ProductsTf32 {
  using Element = float;
  using Sum = float;
  static constexpr int kBlocks = 1;
  static constexpr int kStep = 8;

  // bfloat16 is in place of TF32, whose numbers contain its own.
  ComputeDtype compute_dtype = ComputeDtype::kAccumulator;

  template <int kCount>
  struct Parts {
    // `factor` of the small products is `big` or, where that is not finite, 0: infinity is to
    // multiply the other number only once and whole.
    uint32_t big[kCount], rest[kThree ? kCount : 1], factor[kThree ? kCount : 1];
  };

  template <int kCount>
  __device__ __forceinline__ Parts<kCount> Split(const uint32_t* x) const {
    Parts<kCount> parts;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float whole = __uint_as_float(x[i]);
      if constexpr (kThree) {
        // Cut, not rounded: what is cut off is exact and no number becomes infinite.
        const float big = __uint_as_float(x[i] & 0xFFFFE000);
        const bool finite = (x[i] & 0x7F800000) != 0x7F800000;
        parts.big[i] = finite ? __float_as_uint(big) : x[i];
        parts.rest[i] = finite ? __float_as_uint(RoundTf32(whole - big)) : 0;
        parts.factor[i] = finite ? __float_as_uint(big) : 0;
      } else {
        const float rounded = compute_dtype == ComputeDtype::kBFloat16
                                  ? ToFloat(Round<BFloat16>(whole))
                                  : RoundTf32(whole);
        parts.big[i] = __float_as_uint(rounded);
      }
    }
    return parts;
  }

  template <int kM, int kN, typename A, typename B>
  __device__ __forceinline__ void Multiply(float (&c)[kM][kN][4], const A& a, int m, const B& b,
                                           int n, int depth) const {
    const auto multiply = [](float (&c)[4], const uint32_t (&a)[4], const uint32_t* b) {
      const uint32_t pair[2] = {b[0], b[1]};
      Mma1688Tf32(c, a, pair);
    };
#pragma unroll 1
    for (int k = 0; k < depth; k += kStep) {
      Parts<4> of_a[kM];
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        uint32_t whole[4];
        LoadA(whole, a, m + 16 * i, k);
        of_a[i] = Split<4>(whole);
      }
#pragma unroll
      for (int j = 0; j < kN; j += 2) {
        uint32_t whole[4];
        LoadB(whole, b, n + 8 * j, k);
        const Parts<4> of_b = Split<4>(whole);
#pragma unroll
        for (int i = 0; i < kM; ++i) {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            if constexpr (kThree) {
              multiply(c[i][j + h], of_a[i].rest, of_b.factor + 2 * h);
              multiply(c[i][j + h], of_a[i].factor, of_b.rest + 2 * h);
            }
            multiply(c[i][j + h], of_a[i].big, of_b.big + 2 * h);
          }
        }
      }
    }
  }
};

// Plain arithmetic: float64, and float16 whose operands are rounded to bfloat16.
template <typename T>
struct PlainProducts {
  using Element = T;
  using Sum = Accumulator<T>;
  static constexpr int kBlocks = 1;

  ComputeDtype compute_dtype = ComputeDtype::kAccumulator;

  __device__ __forceinline__ Sum Read(const T* element) const {
    const Sum x = ToFloat(*element);
    return compute_dtype == ComputeDtype::kBFloat16
               ? static_cast<Sum>(ToFloat(Round<BFloat16>(static_cast<float>(x))))
               : x;
  }

  template <int kM, int kN, typename A, typename B>
  __device__ __forceinline__ void Multiply(Sum (&c)[kM][kN][4], const A& a, int m, const B& b,
                                           int n, int depth) const {
    const int group = threadIdx.x % kWarp / 4, pair = threadIdx.x % 4 * 2;
#pragma unroll 1
    for (int k = 0; k < depth; ++k) {
      Sum of_a[kM][2];
#pragma unroll
      for (int i = 0; i < 2 * kM; ++i) {
        of_a[i / 2][i % 2] = Read(a.At(m + 8 * i + group, k));
      }
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        const Sum left = Read(b.At(n + 8 * j + pair, k));
        const Sum right = Read(b.At(n + 8 * j + pair + 1, k));
#pragma unroll
        for (int i = 0; i < kM; ++i) {
          c[i][j][0] += of_a[i][0] * left;
          c[i][j][1] += of_a[i][0] * right;
          c[i][j][2] += of_a[i][1] * left;
          c[i][j][3] += of_a[i][1] * right;
        }
      }
    }
  }
};

// Two neighbors, rounded and stored at once.
template <typename T, typename A>
__device__ __forceinline__ void StorePair(T* to, A first, A second) {
  if constexpr (sizeof(T) == 2) {
    *reinterpret_cast<uint32_t*>(to) = RoundPair<T>(first, second);
  } else if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float2*>(to) = float2{first, second};
  } else {
    *reinterpret_cast<double2*>(to) = double2{first, second};
  }
}

template <typename Sum, int kM, int kN>
__device__ __forceinline__ void Clear(Sum (&c)[kM][kN][4]) {
#pragma unroll
  for (int i = 0; i < kM; ++i) {
#pragma unroll
    for (int j = 0; j < kN; ++j) {
#pragma unroll
      for (int q = 0; q < 4; ++q) c[i][j][q] = 0;
    }
  }
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_DEVICE_TILES_H_
