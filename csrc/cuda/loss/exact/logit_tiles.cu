#include <limits>

#include "csrc/cuda/loss/exact/logit_tiles.h"

namespace fastw2v::cuda {

namespace {

// Block (x, y): row tile x, run y of `tiles` class tiles.
template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    Logits(Operands<T> operands, bool smoothing, int class_tiles, int tiles) {
  constexpr int kWidth = kPanelWidth<T>;
  constexpr int kPanel = kTile * kWidth;

  const int chunks = static_cast<int>(operands.hidden.pitch / kWidth);
  T* const hidden_panels = reinterpret_cast<T*>(SharedMemory());
  T* const stages = hidden_panels + chunks * kPanel;
  float* const biases = reinterpret_cast<float*>(stages + kStages * kPanel);  // [2, kTile]

  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int group = lane / 4, pair = lane % 4 * 2;
  const int m0 = warp % kWarpsM * kWarpM, n0 = warp / kWarpsM * kWarpN;
  const int64_t row0 = int64_t{blockIdx.x} * kTile;
  const int tile0 = static_cast<int>(blockIdx.y) * tiles;
  const int tile1 = tile0 + tiles < class_tiles ? tile0 + tiles : class_tiles;

  const auto bias_of = [&](int tile) {
    return BiasOf(operands, int64_t{tile} * kTile + threadIdx.x);
  };
  int load_tile = tile0;
  int load_chunk = 0, load_stage = 0;
  const auto load = [&] {
    if (load_tile < tile1) {
      CopyPanels<kTile, 1>(stages + load_stage * kPanel, operands.weights,
                           int64_t{load_tile} * kTile, load_chunk * kWidth);
      if (++load_chunk == chunks) {
        load_chunk = 0;
        ++load_tile;
      }
      load_stage = (load_stage + 1) % kStages;
    }
    CommitCopies();
  };

  for (int chunk = 0; chunk < chunks; ++chunk) {
    CopyPanels<kTile, 1>(hidden_panels + chunk * kPanel, operands.hidden, row0, chunk * kWidth);
  }
  for (int s = 0; s < kStages - 1; ++s) load();
  if (threadIdx.x < kTile) biases[tile0 % 2 * kTile + threadIdx.x] = bias_of(tile0);

  constexpr int kRows = 2 * kPiecesM;  // that a thread has columns of
  float max[kRows], sum_exp[kRows], sum_shifted[kRows], met = 0;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    max[i] = -std::numeric_limits<float>::infinity();
    sum_exp[i] = sum_shifted[i] = 0;
  }

  float c[kPiecesM][kPiecesN][4];
  Clear(c);
  int tile = tile0, chunk = 0, stage_number = 0;
  while (tile < tile1) {
    WaitForCopies<kStages - 2>();
    __syncthreads();
    load();
    float next_bias = 0;
    const bool loads_bias = chunk == 0 && threadIdx.x < kTile;
    if (loads_bias) next_bias = bias_of(tile + 1);
    const int depth = static_cast<int>(operands.dim) - chunk * kWidth;
    MultiplyTiles(c, Operand<T, true, kTile>{hidden_panels + chunk * kPanel}, m0,
                  Operand<T, true, kTile>{stages + stage_number * kPanel}, n0,
                  depth < kWidth ? depth : kWidth);
    if (loads_bias) biases[(tile + 1) % 2 * kTile + threadIdx.x] = next_bias;
    stage_number = (stage_number + 1) % kStages;
    if (++chunk < chunks) continue;
    chunk = 0;

    LogitPiece<T, kPiecesN> piece(operands, c, static_cast<int>(row0) + m0,
                                  int64_t{tile} * kTile + n0);
    piece.MakeLogits(biases + tile % 2 * kTile + n0);
    int now = 0;  // classes of this thread
    if (smoothing) {
#pragma unroll
      for (int k = 0; k < piece.kColumns; ++k) now += piece.Column(k) < piece.valid;
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      piece.StoreLabelLogits(i);
      float largest = max[i];
#pragma unroll
      for (int k = 0; k < piece.kColumns; ++k) largest = fmaxf(largest, piece.At(i, k));  // not NaN
      // Where every logit is -inf the differences would be NaN: any finite reference will do.
      const float base = largest == -std::numeric_limits<float>::infinity() ? 0.0f : largest;
      const PartialSoftmax<float> before =
          RelativeTo(base, PartialSoftmax<float>{max[i], sum_exp[i], sum_shifted[i], met});
      if (smoothing) {
        float shifted = 0;
#pragma unroll
        for (int k = 0; k < piece.kColumns; ++k) {
          if (piece.Column(k) < piece.valid) shifted += piece.At(i, k) - base;
        }
        sum_shifted[i] = before.sum_shifted + shifted;
      }
      float sum = 0;  // of this tile: short sums round less
#pragma unroll
      for (int k = 0; k < piece.kColumns; ++k) sum += Exp(piece.At(i, k) - base);
      sum_exp[i] = before.sum_exp + sum;
      max[i] = largest;
    }
    met += static_cast<float>(now);
    Clear(c);
    ++tile;
  }

  // Of a row eight threads have sums: four lanes in each of two warps.
  constexpr int kShares = 4 * (kTile / kWarpN);
  auto* const shares = reinterpret_cast<PartialSoftmax<float>*>(stages);
  static_assert(kTile * kShares * sizeof(PartialSoftmax<float>) <= kStages * kPanelBytes);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int r = m0 + 8 * i + group;
    shares[r * kShares + warp / kWarpsM * 4 + pair / 2] = {max[i], sum_exp[i], sum_shifted[i], met};
  }
  __syncthreads();
  if (threadIdx.x < kTile) {
    PartialSoftmax<float> sums = shares[threadIdx.x * kShares];
    for (int k = 1; k < kShares; ++k) sums = Join(sums, shares[threadIdx.x * kShares + k]);
    operands.examples.sums[blockIdx.y * operands.hidden.rows + row0 + threadIdx.x] = sums;
  }
}

}  // namespace

template <typename T>
Status SumLogitTiles(const Operands<T>& operands, bool smoothing, int64_t class_tiles,
                     int64_t tiles, const Stream& stream) {
  return Launch(Logits<T>,
                dim3(NumBlocks(operands.hidden.rows, kTile), NumBlocks(class_tiles, tiles)),
                dim3(kThreads), SumSharedBytes(operands.hidden.pitch / kPanelWidth<T>), stream,
                operands, smoothing, static_cast<int>(class_tiles), static_cast<int>(tiles));
}

template Status SumLogitTiles(const Operands<Half>&, bool, int64_t, int64_t, const Stream&);
template Status SumLogitTiles(const Operands<BFloat16>&, bool, int64_t, int64_t, const Stream&);

}  // namespace fastw2v::cuda
