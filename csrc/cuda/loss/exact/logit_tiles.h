// Tiles of logits of 16-bit tables, 128 hidden rows and 128 classes, that exist in registers alone:
// only their sums leave them.
#ifndef FASTW2V_CUDA_LOSS_EXACT_LOGIT_TILES_H_
#define FASTW2V_CUDA_LOSS_EXACT_LOGIT_TILES_H_

#include <cstdint>
#include <limits>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/device/tiles.h"
#include "csrc/cuda/loss/exact/examples.h"
#include "csrc/cuda/loss/gradient_terms.h"
#include "csrc/cuda/loss/partial_softmax.h"

namespace fastw2v::cuda {

constexpr int kTile = 128;  // rows and classes of a tile of logits; columns of a gradient's tile
constexpr int kStages = 3;  // of the copies that run ahead
// Warps of a block: four along m, two along n; of a warp 2 x 8 pieces of m16 x n8.
constexpr int kWarpM = 32, kWarpN = 64, kWarpsM = kTile / kWarpM;
constexpr int kPiecesM = kWarpM / 16, kPiecesN = kWarpN / 8;
static_assert(kWarpM * kWarpN * kThreads / kWarp == kTile * kTile);

constexpr int64_t kPanelBytes = int64_t{kTile} * kPanelRowBytes;

// What kernels read of a problem.
template <typename T>
struct Operands {
  Matrix<T> hidden;   // [rows of whole tiles, width of whole panels], zeros where it is padded
  Matrix<T> weights;  // [classes, dim]
  const T* biases;
  Examples<float> examples;
  int64_t dim;
  LogitNumbers<float> logits;  // without a margin
};

// The piece of a tile of logits that a thread holds: of 2 x kN pieces of m16 x n8 its rows
// row(0) .. row(3) and in each 2 kN columns. Products become logits and these their gradients.
template <typename T, int kN>
struct LogitPiece {
  static constexpr int kRows = 2 * kPiecesM;
  static constexpr int kColumns = 2 * kN;

  const Operands<T>& operands;
  float (&c)[kPiecesM][kN][4];
  int first_row;   // of the thread
  int64_t class0;  // of the warp
  int valid;       // columns of the warp that are classes
  int pair;        // the thread's first column

  __device__ __forceinline__ LogitPiece(const Operands<T>& all, float (&products)[kPiecesM][kN][4],
                                        int warp_row, int64_t warp_class)
      : operands(all), c(products), class0(warp_class) {
    const int lane = threadIdx.x % kWarp;
    first_row = warp_row + lane / 4;
    pair = lane % 4 * 2;
    const int64_t left = operands.examples.classes - class0;
    valid = left < 0 ? 0 : left < 8 * kN ? static_cast<int>(left) : 8 * kN;
  }

  __device__ __forceinline__ int Row(int i) const { return first_row + 8 * i; }
  __device__ __forceinline__ float& At(int i, int k) { return c[i / 2][k / 2][i % 2 * 2 + k % 2]; }
  __device__ __forceinline__ int Column(int k) const { return 8 * (k / 2) + pair + k % 2; }

  // Of the columns of the warp; -inf where there is no class.
  __device__ __forceinline__ void MakeLogits(const float* biases) {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const float bias = biases[Column(k)];
#pragma unroll
      for (int i = 0; i < kRows; ++i) At(i, k) = operands.logits.scale * At(i, k) + bias;
    }
    if (operands.logits.softcap == 0) return;
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      if (Column(k) >= valid) continue;
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        At(i, k) = CapLogit(At(i, k), operands.logits.softcap).z;
      }
    }
  }

  // use(entry, index of the label) for the labels of row i that are among the columns.
  template <typename Use>
  __device__ __forceinline__ void ForLabels(int i, Use use) {
    const Examples<float>& examples = operands.examples;
    if (Row(i) >= examples.batch) return;
    for (int64_t j = 0; j < examples.num_true; ++j) {
      const int64_t index = Row(i) * examples.num_true + j;
      const int64_t label = examples.labels[index];
      if (label < class0 || label >= class0 + valid || examples.ignored.Is(label)) continue;
      const int column = static_cast<int>(label - class0);
#pragma unroll
      for (int k = 0; k < kColumns; ++k) {
        if (column == Column(k)) use(At(i, k), index);
      }
    }
  }

  __device__ __forceinline__ void StoreLabelLogits(int i) {
    ForLabels(i, [&](float z, int64_t index) { operands.examples.label_logits[index] = z; });
  }

  // Logits become `unit` times their gradients.
  __device__ __forceinline__ void MakeGradients(float unit) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const RowGradientTerms<float> row = operands.examples.terms[Row(i)];
      const bool active = operands.examples.active[Row(i)] != 0;
      const float factor = unit * row.factor, shift = unit * row.shift, target = unit * row.target;
      const auto fill = [&](auto before) {
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
          const float z = At(i, k);
          before(z, k);
          At(i, k) = active ? factor * Exp(z - row.max) - shift : 0.0f;
        }
        if (active) ForLabels(i, [&](float& p, int64_t) { p -= target; });
      };
      if (operands.logits.softcap == 0) {
        fill([](float, int) {});
        continue;
      }
      float slopes[kColumns];
      fill([&](float z, int k) { slopes[k] = CapSlope(z, operands.logits.softcap); });
#pragma unroll
      for (int k = 0; k < kColumns; ++k) At(i, k) *= slopes[k];
    }
    if (valid >= 8 * kN) return;
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      if (Column(k) < valid) continue;
#pragma unroll
      for (int i = 0; i < kRows; ++i) At(i, k) = 0;
    }
  }
};

template <typename T>
__device__ __forceinline__ float BiasOf(const Operands<T>& operands, int64_t c) {
  if (c >= operands.examples.classes) return -std::numeric_limits<float>::infinity();
  return operands.biases == nullptr ? 0.0f : ToFloat(operands.biases[c]);
}

// Shared memory of a block that sums: its hidden rows, tiles of weights that come by, and biases.
constexpr int64_t SumSharedBytes(int64_t panels) {
  return (panels + kStages) * kPanelBytes + 2 * kTile * static_cast<int64_t>(sizeof(float));
}

// Sums of the logits of [0, class_tiles), a block for each row tile and each run of `tiles` of
// them.
template <typename T>
Status SumLogitTiles(const Operands<T>& operands, bool smoothing, int64_t class_tiles,
                     int64_t tiles, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_LOGIT_TILES_H_
