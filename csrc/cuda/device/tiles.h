// Products of matrix tiles of 16-bit numbers by a block of 256 threads: tiles in shared memory,
// copied there in the background, and the instructions that multiply them.
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
    } else if (matrix.copy_bytes == 4) {
      CopyAsync<4>(to, from, valid);
    } else {
      *to = valid ? *from : T{};
    }
  }
}

// ---- products

// An operand in shared memory: kRows is the height of its panels.
template <typename T, bool kAlongK, int kRows>
struct Operand {
  const T* panels;

  // mn counts rows of A or columns of B.
  __device__ __forceinline__ const T* At(int mn, int k) const {
    if constexpr (kAlongK) {
      return PanelAt(panels, mn, k);
    } else {
      return PanelAt(panels + mn / kPanelWidth<T> * kRows * kPanelWidth<T>, k, mn % kPanelWidth<T>);
    }
  }
};

// Registers of an m16 x k16 piece of A, as Mma16816 wants it.
template <typename T, bool kAlongK, int kRows>
__device__ __forceinline__ void LoadA(uint32_t (&a)[4], const Operand<T, kAlongK, kRows>& operand,
                                      int m, int k) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (kAlongK) {
    LoadMatrices<false>(a, operand.At(m + lane % 16, k + lane / 16 * 8));
  } else {
    LoadMatrices<true>(a, operand.At(m + lane / 8 % 2 * 8, k + lane % 8 + lane / 16 * 8));
  }
}

// Two pieces of B, k16 x n8 each, side by side.
template <typename T, bool kAlongK, int kRows>
__device__ __forceinline__ void LoadB(uint32_t (&b)[4], const Operand<T, kAlongK, kRows>& operand,
                                      int n, int k) {
  const int lane = threadIdx.x % kWarp;
  if constexpr (kAlongK) {
    LoadMatrices<false>(b, operand.At(n + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8));
  } else {
    LoadMatrices<true>(b, operand.At(n + lane / 16 * 8, k + lane % 16));
  }
}

// By a warp: c[i][j] += a[16 i.., k..] b[k.., 8 j..], k over the first `depth` of a panel's width;
// c[i][j] lies in the lanes as that of Mma16816 does.
template <int kM, int kN, typename T, bool kAAlongK, int kARows, bool kBAlongK, int kBRows>
__device__ __forceinline__ void MultiplyTiles(float (&c)[kM][kN][4],
                                              const Operand<T, kAAlongK, kARows>& a, int m,
                                              const Operand<T, kBAlongK, kBRows>& b, int n,
                                              int depth) {
  constexpr int kStep = 16;
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

// Two neighbors, rounded and stored at once.
template <typename T>
__device__ __forceinline__ void StorePair(T* to, float first, float second) {
  *reinterpret_cast<uint32_t*>(to) = RoundPair<T>(first, second);
}

template <int kM, int kN>
__device__ __forceinline__ void Clear(float (&c)[kM][kN][4]) {
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
