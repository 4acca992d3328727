// Tiles of logits of the exact softmax by products of tiles: 128 hidden rows and 128 classes. Of
// what a tile holds only sums leave the registers, or the gradients of its logits.
#ifndef FASTW2V_CUDA_LOSS_EXACT_LOGIT_TILES_H_
#define FASTW2V_CUDA_LOSS_EXACT_LOGIT_TILES_H_

#include <cstdint>
#include <limits>

#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/device/tiles.h"
#include "csrc/cuda/loss/exact_logits.h"
#include "csrc/cuda/loss/partial_softmax.h"

namespace fastw2v::cuda {

constexpr int kTile = 128;  // rows and classes of a tile of logits; columns of a gradient's tile
constexpr int kStages = 3;  // of the copies that run ahead
// Warps of a block: four along m, two along n; of a warp 2 x 8 pieces of m16 x n8.
constexpr int kWarpM = 32, kWarpN = 64, kWarpsM = kTile / kWarpM;
constexpr int kPiecesM = kWarpM / 16, kPiecesN = kWarpN / 8;
static_assert(kWarpM * kWarpN * kThreads / kWarp == kTile * kTile);

constexpr int64_t kPanelBytes = int64_t{kTile} * kPanelRowBytes;

__device__ __forceinline__ float Max(float x, float y) { return fmaxf(x, y); }  // no NaN if it can
__device__ __forceinline__ double Max(double x, double y) { return fmax(x, y); }

// What kernels read of a problem.
template <typename Products>
struct Operands {
  using T = typename Products::Element;
  using A = typename Products::Sum;

  Products products;
  Matrix<T> hidden;   // [rows of whole tiles, width of whole panels], zeros where it is padded
  Matrix<T> weights;  // [classes, dim]
  const T* biases;
  const int64_t* labels;
  const uint8_t* active;  // [rows]: an example whose gradient is not zero
  int64_t batch, classes, dim, num_true;
  IgnoredLabel ignored;
  LogitNumbers<A> logits;
};

// The piece of a tile of logits that a thread holds: of 2 x kN pieces of m16 x n8 its rows
// row(0) .. row(3) and in each 2 kN columns. Products become logits and these their gradients.
template <typename Products, int kN>
struct LogitPiece {
  using A = typename Products::Sum;
  static constexpr int kRows = 2 * kPiecesM;
  static constexpr int kColumns = 2 * kN;

  const Operands<Products>& operands;
  A (&c)[kPiecesM][kN][4];
  int first_row;   // of the thread
  int64_t class0;  // of the warp
  int valid;       // columns of the warp that are classes
  int pair;        // the thread's first column

  __device__ __forceinline__ LogitPiece(const Operands<Products>& all,
                                        A (&products)[kPiecesM][kN][4], int warp_row,
                                        int64_t warp_class)
      : operands(all), c(products), class0(warp_class) {
    const int lane = threadIdx.x % kWarp;
    first_row = warp_row + lane / 4;
    pair = lane % 4 * 2;
    const int64_t left = operands.classes - class0;
    valid = left < 0 ? 0 : left < 8 * kN ? static_cast<int>(left) : 8 * kN;
  }

  __device__ __forceinline__ int Row(int i) const { return first_row + 8 * i; }
  __device__ __forceinline__ A& At(int i, int k) { return c[i / 2][k / 2][i % 2 * 2 + k % 2]; }
  __device__ __forceinline__ int Column(int k) const { return 8 * (k / 2) + pair + k % 2; }

  // Of the columns of the warp, before the margin; -inf where there is no class.
  __device__ __forceinline__ void MakeLogits(const A* biases) {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const A bias = biases[Column(k)];
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
    if (Row(i) >= operands.batch) return;
    for (int64_t j = 0; j < operands.num_true; ++j) {
      const int64_t index = Row(i) * operands.num_true + j;
      const int64_t label = operands.labels[index];
      if (label < class0 || label >= class0 + valid || operands.ignored.Is(label)) continue;
      const int column = static_cast<int>(label - class0);
#pragma unroll
      for (int k = 0; k < kColumns; ++k) {
        if (column == Column(k)) use(At(i, k), index);
      }
    }
  }

  // From the logits of the labels of row i.
  __device__ __forceinline__ void TakeMargin(int i) {
    if (operands.logits.margin == 0) return;
    const int64_t first = Row(i) * operands.num_true;
    ForLabels(i, [&](A& z, int64_t index) {
      if (IsFirstOfClass(operands.labels + first, index - first)) z -= operands.logits.margin;
    });
  }

  // Logits of row i become those of a loss, which has those of labels from here.
  __device__ __forceinline__ void StoreLabelLogits(int i, A* label_logits) {
    TakeMargin(i);
    ForLabels(i, [&](A& z, int64_t index) { label_logits[index] = z; });
  }

  // Logits become `unit` times their gradients. Without kMargin, for kernels whose registers are
  // all taken, there must be no margin.
  template <bool kMargin = false>
  __device__ __forceinline__ void MakeGradients(const RowGradientTerms<A>* terms, A unit) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const RowGradientTerms<A> row = terms[Row(i)];
      const bool active = operands.active[Row(i)] != 0;
      const A factor = unit * row.factor, shift = unit * row.shift, target = unit * row.target;
      const auto fill = [&](auto before) {
        const auto differentiate = [&](A z) {
          return active ? factor * Exp(z - row.max) - shift : A{0};
        };
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
          const A z = At(i, k);
          before(z, k);
          if constexpr (!kMargin) At(i, k) = differentiate(z);
        }
        if constexpr (kMargin) {
          TakeMargin(i);
#pragma unroll
          for (int k = 0; k < kColumns; ++k) At(i, k) = differentiate(At(i, k));
        }
        if (active) ForLabels(i, [&](A& p, int64_t) { p -= target; });
      };
      if (operands.logits.softcap == 0) {
        fill([](A, int) {});
        continue;
      }
      A slopes[kColumns];
      fill([&](A z, int k) { slopes[k] = CapSlope(z, operands.logits.softcap); });
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

template <typename Products>
__device__ __forceinline__ typename Products::Sum BiasOf(const Operands<Products>& operands,
                                                         int64_t c) {
  using A = typename Products::Sum;
  if (c >= operands.classes) return -std::numeric_limits<A>::infinity();
  return operands.biases == nullptr ? A{0} : static_cast<A>(ToFloat(operands.biases[c]));
}

// Where logits go: sums of a forward pass, or their gradient.
template <typename Products>
struct LogitResults {
  using T = typename Products::Element;
  using A = typename Products::Sum;

  PartialSoftmax<A>* sums;  // [runs, rows]
  A* label_logits;          // [batch, num_true]
  bool smoothing;

  const RowGradientTerms<A>* terms;  // [rows]
  const uint32_t* largest;
  T* p;  // [rows, pitch]; its first column is that of the first class tile
  int64_t pitch;
  A* bias_sums;  // [row tiles, pitch], or null: not wanted
};

// Logits of the class tiles [first, last), a block for each row tile and `tiles` of them;
// kGradient: their gradients.
template <typename Products, bool kGradient>
Status LaunchLogits(const Operands<Products>& operands, const LogitResults<Products>& results,
                    int64_t first, int64_t last, int64_t tiles, const Stream& stream);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_EXACT_LOGIT_TILES_H_
