#include <limits>

#include "csrc/cuda/loss/exact/logit_tiles.h"
#include "csrc/cuda/loss/exact_logits.h"

namespace fastw2v::cuda {

namespace {

template <typename Products>
constexpr int64_t kBiasBytes = (2 + kWarpsM) * kTile * sizeof(typename Products::Sum);

// Block (x, y): row tile x, run y of `tiles` class tiles from first_tile on.
template <typename Products, bool kGradient>
__global__ void __launch_bounds__(kThreads, kGradient ? 1 : Products::kBlocks)
    Logits(Operands<Products> operands, LogitResults<Products> results, int64_t first_tile,
           int64_t last_tile, int64_t tiles, bool rows_stay) {
  using T = typename Products::Element;
  using A = typename Products::Sum;
  constexpr int kWidth = kPanelWidth<T>;
  constexpr int kPanel = kTile * kWidth;

  const int chunks = static_cast<int>(operands.hidden.pitch / kWidth);
  T* const hidden_panels = reinterpret_cast<T*>(SharedMemory());
  T* const stages = hidden_panels + (rows_stay ? chunks : 0) * kPanel;
  const int stage_size = (rows_stay ? 1 : 2) * kPanel;
  A* const biases = reinterpret_cast<A*>(stages + kStages * stage_size);  // [2, kTile]
  A* const column_sums = biases + 2 * kTile;                              // [kWarpsM, kTile]

  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int group = lane / 4, pair = lane % 4 * 2;
  const int m0 = warp % kWarpsM * kWarpM, n0 = warp / kWarpsM * kWarpN;
  const int64_t row0 = int64_t{blockIdx.x} * kTile;
  const int64_t tile0 = first_tile + blockIdx.y * tiles;
  const int64_t tile1 = tile0 + tiles < last_tile ? tile0 + tiles : last_tile;
  const int64_t steps = (tile1 - tile0) * chunks;

  const auto bias_of = [&](int64_t tile) { return BiasOf(operands, tile * kTile + threadIdx.x); };
  int64_t load_tile = tile0;
  int load_chunk = 0, load_stage = 0;
  const auto load = [&] {
    if (load_tile < tile1) {
      T* const stage = stages + load_stage * stage_size;
      CopyPanels<kTile, 1>(stage, operands.weights, load_tile * kTile, load_chunk * kWidth);
      if (!rows_stay) {
        CopyPanels<kTile, 1>(stage + kPanel, operands.hidden, row0, load_chunk * kWidth);
      }
      if (++load_chunk == chunks) {
        load_chunk = 0;
        ++load_tile;
      }
      load_stage = (load_stage + 1) % kStages;
    }
    CommitCopies();
  };

  if (rows_stay) {
    for (int chunk = 0; chunk < chunks; ++chunk) {
      CopyPanels<kTile, 1>(hidden_panels + chunk * kPanel, operands.hidden, row0, chunk * kWidth);
    }
  }
  for (int s = 0; s < kStages - 1; ++s) load();
  if (threadIdx.x < kTile) biases[tile0 % 2 * kTile + threadIdx.x] = bias_of(tile0);

  constexpr int kRows = 2 * kPiecesM;  // that a thread has columns of
  A max[kRows], sum_exp[kRows], sum_shifted[kRows], met = 0;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    max[i] = -std::numeric_limits<A>::infinity();
    sum_exp[i] = sum_shifted[i] = 0;
  }
  const A unit = kGradient
                     ? GradientUnit<typename Products::Element>(results.largest, /*inverse=*/false)
                     : A{1};

  A c[kPiecesM][kPiecesN][4];
  Clear(c);
  int64_t tile = tile0;
  int chunk = 0, stage_number = 0;
  for (int64_t step = 0; step < steps; ++step) {
    WaitForCopies<kStages - 2>();
    __syncthreads();
    load();
    A next_bias = 0;
    const bool loads_bias = chunk == 0 && threadIdx.x < kTile;
    if (loads_bias) next_bias = bias_of(tile + 1);
    const T* const stage = stages + stage_number * stage_size;
    const int64_t depth = operands.dim - int64_t{chunk} * kWidth;
    operands.products.Multiply(
        c, Operand<T, true, kTile>{rows_stay ? hidden_panels + chunk * kPanel : stage + kPanel}, m0,
        Operand<T, true, kTile>{stage}, n0, depth < kWidth ? static_cast<int>(depth) : kWidth);
    if (loads_bias) biases[(tile + 1) % 2 * kTile + threadIdx.x] = next_bias;
    stage_number = (stage_number + 1) % kStages;
    if (++chunk < chunks) continue;
    chunk = 0;

    LogitPiece<Products, kPiecesN> piece(operands, c, static_cast<int>(row0) + m0,
                                         tile * kTile + n0);
    piece.MakeLogits(biases + tile % 2 * kTile + n0);
    if constexpr (!kGradient) {
      int now = 0;  // classes of this thread
      if (results.smoothing) {
#pragma unroll
        for (int k = 0; k < piece.kColumns; ++k) now += piece.Column(k) < piece.valid;
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        piece.StoreLabelLogits(i, results.label_logits);
        A largest = max[i];
#pragma unroll
        for (int k = 0; k < piece.kColumns; ++k) largest = Max(largest, piece.At(i, k));
        // Where every logit is -inf the differences would be NaN: any finite reference will do.
        const A base = largest == -std::numeric_limits<A>::infinity() ? A{0} : largest;
        const PartialSoftmax<A> before =
            RelativeTo(base, PartialSoftmax<A>{max[i], sum_exp[i], sum_shifted[i], met});
        if (results.smoothing) {
          A shifted = 0;
#pragma unroll
          for (int k = 0; k < piece.kColumns; ++k) {
            if (piece.Column(k) < piece.valid) shifted += piece.At(i, k) - base;
          }
          sum_shifted[i] = before.sum_shifted + shifted;
        }
        A sum = 0;  // of this tile: short sums round less
#pragma unroll
        for (int k = 0; k < piece.kColumns; ++k) sum += Exp(piece.At(i, k) - base);
        sum_exp[i] = before.sum_exp + sum;
        max[i] = largest;
      }
      met += static_cast<A>(now);
    } else {
      piece.template MakeGradients</*kMargin=*/true>(results.terms, unit);
      const int64_t column0 = (tile - first_tile) * kTile;
#pragma unroll
      for (int i = 0; results.p != nullptr && i < kRows; ++i) {
        T* const p = results.p + int64_t{piece.Row(i)} * results.pitch + column0 + n0 + pair;
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
          StorePair(p + 8 * j, c[i / 2][j][i % 2 * 2], c[i / 2][j][i % 2 * 2 + 1]);
        }
      }
      if (results.bias_sums != nullptr) {
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
          for (int q = 0; q < 2; ++q) {
            A sum = 0;
#pragma unroll
            for (int i = 0; i < kRows; ++i) sum += c[i / 2][j][i % 2 * 2 + q];
            for (int bits = 4; bits < kWarp; bits *= 2) {
              sum += __shfl_xor_sync(kAllLanes, sum, bits);
            }
            if (group == 0) column_sums[warp % kWarpsM * kTile + n0 + 8 * j + pair + q] = sum;
          }
        }
        __syncthreads();
        if (threadIdx.x < kTile) {
          A sum = 0;
          for (int w = 0; w < kWarpsM; ++w) sum += column_sums[w * kTile + threadIdx.x];
          results.bias_sums[blockIdx.x * results.pitch + column0 + threadIdx.x] = sum;
        }
      }
    }
    Clear(c);
    ++tile;
  }

  if constexpr (!kGradient) {
    // Of a row eight threads have sums: four lanes in each of two warps.
    constexpr int kShares = 4 * (kTile / kWarpN);
    PartialSoftmax<A>* const shares = reinterpret_cast<PartialSoftmax<A>*>(stages);
    static_assert(kTile * kShares * sizeof(PartialSoftmax<A>) <= kStages * kPanelBytes);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int r = m0 + 8 * i + group;
      shares[r * kShares + warp / kWarpsM * 4 + pair / 2] = {max[i], sum_exp[i], sum_shifted[i],
                                                             met};
    }
    __syncthreads();
    if (threadIdx.x < kTile) {
      PartialSoftmax<A> sums = shares[threadIdx.x * kShares];
      for (int k = 1; k < kShares; ++k) sums = Join(sums, shares[threadIdx.x * kShares + k]);
      results.sums[blockIdx.y * operands.hidden.rows + row0 + threadIdx.x] = sums;
    }
  }
}

}  // namespace

template <typename Products, bool kGradient>
Status LaunchLogits(const Operands<Products>& operands, const LogitResults<Products>& results,
                    int64_t first, int64_t last, int64_t tiles, const Stream& stream) {
  // Hidden rows stay in shared memory where it has room; else they come with each class tile.
  constexpr int64_t kWidth = kPanelWidth<typename Products::Element>;
  const int64_t hidden_bytes = operands.hidden.pitch / kWidth * kPanelBytes;
  const int64_t staying = hidden_bytes + kStages * kPanelBytes + kBiasBytes<Products>;
  const bool rows_stay = staying <= stream.device.shared_bytes;
  return Launch(Logits<Products, kGradient>,
                dim3(NumBlocks(operands.hidden.rows, kTile), NumBlocks(last - first, tiles)),
                dim3(kThreads),
                rows_stay ? staying : 2 * kStages * kPanelBytes + kBiasBytes<Products>, stream,
                operands, results, first, last, tiles, rows_stay);
}

#define FASTW2V_INSTANTIATE(...)                                                              \
  template Status LaunchLogits<__VA_ARGS__, false>(const Operands<__VA_ARGS__>&,              \
                                                   const LogitResults<__VA_ARGS__>&, int64_t, \
                                                   int64_t, int64_t, const Stream&);          \
  template Status LaunchLogits<__VA_ARGS__, true>(const Operands<__VA_ARGS__>&,               \
                                                  const LogitResults<__VA_ARGS__>&, int64_t,  \
                                                  int64_t, int64_t, const Stream&);
FASTW2V_INSTANTIATE(PlainProducts<double>)
FASTW2V_INSTANTIATE(PlainProducts<Half>)
FASTW2V_INSTANTIATE(ProductsTf32<false>)
FASTW2V_INSTANTIATE(ProductsTf32<true>)
FASTW2V_INSTANTIATE(Products16<Half>)
FASTW2V_INSTANTIATE(Products16<BFloat16>)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
