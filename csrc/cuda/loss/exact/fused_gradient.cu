#include "csrc/cuda/loss/exact/fused_gradient.h"
#include "csrc/cuda/loss/gradient_terms.h"

namespace fastw2v::cuda {

namespace {

// The sums of x[k] over the eight groups of a warp, of which a thread keeps that of column
// SummedColumn<kCount>().
template <int kCount>
__device__ __forceinline__ float SumOverGroups(float (&x)[kCount]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int bits = 16, left = kCount; bits >= 4; bits /= 2) {
    if (left == 1) {
      x[0] += __shfl_xor_sync(kAllLanes, x[0], bits);
      continue;
    }
    left /= 2;
#pragma unroll
    for (int k = 0; k < left; ++k) {
      const bool upper = (lane & bits) != 0;
      const float other = __shfl_xor_sync(kAllLanes, upper ? x[k] : x[k + left], bits);
      x[k] = (upper ? x[k + left] : x[k]) + other;
    }
  }
  return x[0];
}
template <int kCount>
__device__ __forceinline__ int SummedColumn() {
  static_assert(kCount == 4 || kCount == 8);
  return threadIdx.x % kWarp / (32 / kCount);
}

template <int kPanels>
struct FusedWarps {  // of the product with the others: a warp has kM x kN pieces
  static constexpr int kAlongM = kPanels == 4 ? 2 : 4;
  static constexpr int kM = kTile / kAlongM / 16;
  static constexpr int kN = kPanels * 64 / (kThreads / kWarp / kAlongM) / 8;
};

// Blocks on a multiprocessor: as many as its registers hold without a spill.
constexpr int FusedBlocks(int panels) { return panels == 1 ? 2 : 1; }

// Block (x, 0, z): owner tile x, part z of the tiles of the others.
template <typename T, bool kOfHidden, int kPanels>
__global__ void __launch_bounds__(kThreads, FusedBlocks(kPanels))
    FusedGradient(Operands<T> operands, FusedResults<T> results) {
  constexpr int kWidth = kPanelWidth<T>;
  static_assert(kWidth == kOthers);
  // Of the tile of logits: rows, and a warp's place; a warp has 32 x 32 of them.
  constexpr int kRows = kOfHidden ? kTile : kOthers;
  constexpr int kAlongM = kRows / 32;
  constexpr int kN = 4;
  using Warps = FusedWarps<kPanels>;

  T* const owners = reinterpret_cast<T*>(SharedMemory());  // panels of [kTile, kWidth]
  T* const p = owners + kPanels * kTile * kWidth;          // panels of [kRows, kWidth]
  T* const stages = p + kTile * kWidth;                    // two, panels of [kOthers, kWidth]
  constexpr int kStage = kPanels * kOthers * kWidth;
  float* const biases = reinterpret_cast<float*>(stages + 2 * kStage);
  // [kOthers] of two tiles in turn, or of the owners.

  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int group = lane / 4, pair = lane % 4 * 2;
  const int m0 = warp % kAlongM * 32, n0 = warp / kAlongM * 32;
  const int product_m0 = warp % Warps::kAlongM * Warps::kM * 16;
  const int product_n0 = warp / Warps::kAlongM * Warps::kN * 8;
  const int64_t owner0 = int64_t{blockIdx.x} * kTile;
  const int64_t count =
      kOfHidden ? operands.examples.classes : operands.examples.batch;  // of the others
  const int all_tiles = static_cast<int>((count + kOthers - 1) / kOthers);
  const int part = static_cast<int>(results.part);
  const int tile0 = static_cast<int>(blockIdx.z) * part;
  const int tile1 = tile0 + part < all_tiles ? tile0 + part : all_tiles;
  const int panels = static_cast<int>(operands.hidden.pitch / kWidth);

  const Matrix<T>& owner_rows = kOfHidden ? operands.hidden : operands.weights;
  const Matrix<T>& other_rows = kOfHidden ? operands.weights : operands.hidden;
  const auto load = [&](int tile) {
    T* const stage = stages + (tile - tile0) % 2 * kStage;
    if (tile < tile1) {
#pragma unroll 1
      for (int panel = 0; panel < panels; ++panel) {
        CopyPanels<kOthers, 1>(stage + panel * kOthers * kWidth, other_rows,
                               int64_t{tile} * kOthers, panel * kWidth);
      }
    }
    CommitCopies();
  };
#pragma unroll 1
  for (int panel = 0; panel < panels; ++panel) {
    CopyPanels<kTile, 1>(owners + panel * kTile * kWidth, owner_rows, owner0, panel * kWidth);
  }
  load(tile0);
  const auto bias_of = [&](int tile) {
    return BiasOf(operands, (kOfHidden ? int64_t{tile} * kOthers : owner0) + threadIdx.x);
  };
  constexpr int kBiases = kOfHidden ? kOthers : kTile;
  if (threadIdx.x < kBiases) biases[threadIdx.x] = bias_of(tile0);

  const float unit = GradientUnit<T>(operands.examples.largest, /*inverse=*/false);
  float sum[Warps::kM][Warps::kN][4];
  Clear(sum);
  float column_sum = 0;  // of column SummedColumn()
  for (int tile = tile0; tile < tile1; ++tile) {
    WaitForCopies<0>();
    __syncthreads();  // the tile is there, and all are done with P and the tile before
    load(tile + 1);
    const int turn = (tile - tile0) % 2;
    const T* const others = stages + turn * kStage;
    float next_bias = 0;
    const bool loads_bias = kOfHidden && threadIdx.x < kOthers;
    if (loads_bias) next_bias = bias_of(tile + 1);

    const int row0 = kOfHidden ? static_cast<int>(owner0) : tile * kOthers;
    const int64_t class0 = kOfHidden ? int64_t{tile} * kOthers : owner0;
    float c[kPiecesM][kN][4];
    Clear(c);
#pragma unroll 1
    for (int panel = 0; panel < panels; ++panel) {
      const Operand<T, true, kTile> of_owners = {owners + panel * kTile * kWidth};
      const Operand<T, true, kOthers> of_others = {others + panel * kOthers * kWidth};
      const int left = static_cast<int>(operands.dim) - panel * kWidth;
      const int depth = left < kWidth ? left : kWidth;
      if constexpr (kOfHidden) {
        MultiplyTiles(c, of_owners, m0, of_others, n0, depth);
      } else {
        MultiplyTiles(c, of_others, m0, of_owners, n0, depth);
      }
    }
    LogitPiece<T, kN> piece(operands, c, row0 + m0, class0 + n0);
    piece.MakeLogits(biases + (kOfHidden ? turn * kOthers : 0) + n0);
    piece.MakeGradients(unit);
    if (!kOfHidden && (results.bias_sums != nullptr || results.biases != nullptr)) {
      float sums[2 * kN];
#pragma unroll
      for (int k = 0; k < 2 * kN; ++k) {
        sums[k] = piece.At(0, k);
#pragma unroll
        for (int i = 1; i < piece.kRows; ++i) sums[k] += piece.At(i, k);
      }
      column_sum += SumOverGroups(sums);
    }
#pragma unroll
    for (int i = 0; i < piece.kRows; ++i) {
#pragma unroll
      for (int k = 0; k < piece.kColumns; k += 2) {
        const int column = n0 + piece.Column(k);
        StorePair(
            PanelAt(p + column / kWidth * kRows * kWidth, m0 + 8 * i + group, column % kWidth),
            piece.At(i, k), piece.At(i, k + 1));
      }
    }
    if (loads_bias) biases[(1 - turn) * kOthers + threadIdx.x] = next_bias;
    if (!results.multiply) continue;
    __syncthreads();
    if (product_n0 < panels * kWidth) {
      MultiplyTiles(sum, Operand<T, kOfHidden, kRows>{p}, product_m0,
                    Operand<T, false, kOthers>{others}, product_n0, kOthers);
    }
  }

  const float inverse = GradientUnit<T>(operands.examples.largest, /*inverse=*/true);
  if (results.multiply) {
#pragma unroll
    for (int i = 0; i < 2 * Warps::kM; ++i) {
#pragma unroll
      for (int j = 0; j < Warps::kN; ++j) {
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          results.Store(owner0 + product_m0 + 8 * i + group, product_n0 + 8 * j + pair + q,
                        results.factor * inverse * sum[i / 2][j][i % 2 * 2 + q]);
        }
      }
    }
  }
  if constexpr (!kOfHidden) {
    if (results.bias_sums == nullptr && results.biases == nullptr) return;
    float* const shares = reinterpret_cast<float*>(p);  // [kAlongM, kTile]
    __syncthreads();
    const int k = SummedColumn<2 * kN>();
    const int column = n0 + 8 * (k / 2) + pair + k % 2;
    shares[warp % kAlongM * kTile + column] = column_sum;
    __syncthreads();
    const int64_t c = owner0 + threadIdx.x;
    if (threadIdx.x >= kTile || c >= operands.examples.classes) return;
    float total = 0;
    for (int w = 0; w < kAlongM; ++w) total += shares[w * kTile + threadIdx.x];
    total *= inverse;
    if (results.biases != nullptr) {
      results.biases[c] = Round<T>(total);
    } else {
      results.bias_sums[blockIdx.z * operands.examples.classes + c] = total;
    }
  }
}

}  // namespace

template <typename T, bool kOfHidden>
Status LaunchFusedGradient(int panels, const Operands<T>& operands, const FusedResults<T>& results,
                           int64_t parts, const Stream& stream) {
  const dim3 grid(NumBlocks(results.rows, kTile), 1, static_cast<unsigned>(parts));
  const auto launch = [&](auto kernel) {
    return Launch(kernel, grid, dim3(kThreads), FusedSharedBytes(panels), stream, operands,
                  results);
  };
  if (panels == 1) return launch(FusedGradient<T, kOfHidden, 1>);
  if (panels == 2) return launch(FusedGradient<T, kOfHidden, 2>);
  return launch(FusedGradient<T, kOfHidden, 4>);
}

#define FASTW2V_INSTANTIATE(T)                                                                   \
  template Status LaunchFusedGradient<T, false>(int, const Operands<T>&, const FusedResults<T>&, \
                                                int64_t, const Stream&);                         \
  template Status LaunchFusedGradient<T, true>(int, const Operands<T>&, const FusedResults<T>&,  \
                                               int64_t, const Stream&);
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
