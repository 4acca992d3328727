// The exact softmax loss by products of tiles: 128 hidden rows meet 128 classes, and their logits
// exist in registers alone.
//
//   forward    A block owns a tile of rows and a run of class tiles. Every thread keeps the maximum
//              and the sum of exponentials of the columns it holds; they are joined at the end of
//              the run, and by FinishLoss over the runs of a row.
//   backward   Narrow 16-bit tables: the logits again, twice, and their gradient P from shared
//              memory into the products P W (d_hidden) and P^T X (d_weights). Others: a chunk of
//              classes at a time, P into scratch of bounded size and from there into the products.
//
// Sums are cut by the problem alone, never by the device, and joined in a fixed order.
#include <cmath>
#include <limits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/exact_logits.h"
#include "csrc/cuda/exact_loss_hopper.h"
#include "csrc/cuda/logit_gradients_hopper.h"
#include "csrc/cuda/loss.h"
#include "csrc/cuda/products_hopper.h"
#include "csrc/cuda/tiles.h"

namespace fastw2v::cuda {

namespace {

constexpr int kTile = 128;  // rows and classes of a tile of logits; columns of a gradient's tile
constexpr int kStages = 3;  // of the copies that run ahead
// Warps of a block: four along m, two along n; of a warp 2 x 8 pieces of m16 x n8.
constexpr int kWarpM = 32, kWarpN = 64, kWarpsM = kTile / kWarpM;
constexpr int kPiecesM = kWarpM / 16, kPiecesN = kWarpN / 8;
static_assert(kWarpM * kWarpN * kThreads / kWarp == kTile * kTile);

// Blocks that have work at the same time, more than any device runs: ends of runs overlap.
constexpr int64_t kManyBlocks = 4096;
constexpr int64_t kGradientBlocks = 512;
constexpr int64_t kChunkBytes = int64_t{64} << 20;  // of P; one tile of classes at least
// Where Hopper's products take P, whose tiles are larger: as many as keep all multiprocessors busy.
constexpr int64_t kHopperChunkBytes = int64_t{256} << 20;
constexpr int64_t kHopperBlocks = 132;

constexpr int64_t kPanelBytes = int64_t{kTile} * kPanelRowBytes;

__device__ __forceinline__ float Exp(float x) { return FastExp2(x * 1.44269504f); }
__device__ __forceinline__ double Exp(double x) { return exp(x); }
__device__ __forceinline__ float Max(float x, float y) { return fmaxf(x, y); }  // no NaN if it can
__device__ __forceinline__ double Max(double x, double y) { return fmax(x, y); }

// Sums over some of the classes of a row.
template <typename A>
struct RowSums {
  A max, sum_exp;  // of exp(z - max)
  A sum_shifted;   // of z - max, for label smoothing
  A met;           // classes
};

template <typename A>
__device__ __forceinline__ void Join(RowSums<A>* sums, const RowSums<A>& more) {
  const A max = Max(sums->max, more.max);
  // A part of no weight (no class, or all logits -inf) has no usable maximum.
  const A drop = sums->sum_exp == 0 ? A{0} : sums->max - max;
  const A more_drop = more.sum_exp == 0 ? A{0} : more.max - max;
  sums->sum_exp = sums->sum_exp * Exp(drop) + more.sum_exp * Exp(more_drop);
  sums->sum_shifted =
      (sums->sum_shifted + sums->met * drop) + (more.sum_shifted + more.met * more_drop);
  sums->met += more.met;
  sums->max = max;
}

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
  bool has_ignore_label;
  int64_t ignore_label;
  A scale, softcap;

  __device__ __forceinline__ bool Ignored(int64_t label) const {
    return has_ignore_label && label == ignore_label;
  }
};

// ---- before and after the products

// hidden[r, :] = scale * row r, rounded; 0 where there is none. counts[r] is how many labels are
// not ignored, or -1 where an id or label is out of range.
template <typename Products>
__global__ void __launch_bounds__(kThreads)
    PrepareRows(Operands<Products> operands, const typename Products::Element* rows,
                const int64_t* ids, int64_t num_rows, typename Products::Sum scale,
                bool round_bfloat16, typename Products::Element* hidden, int32_t* counts) {
  using T = typename Products::Element;
  using A = typename Products::Sum;
  const int64_t r = blockIdx.x;
  int64_t row = r;
  bool valid = r < operands.batch;
  if (valid && ids != nullptr) {
    row = ids[r];
    valid = row >= 0 && row < num_rows;
  }
  if (threadIdx.x == 0) {
    int32_t count = valid ? 0 : -1;
    for (int64_t j = 0; valid && j < operands.num_true; ++j) {
      const int64_t label = operands.labels[r * operands.num_true + j];
      if (operands.Ignored(label)) continue;
      if (label < 0 || label >= operands.classes) {
        count = -1;
        break;
      }
      ++count;
    }
    counts[r] = count;
  }
  T* const to = hidden + r * operands.hidden.pitch;
  for (int64_t d = threadIdx.x; d < operands.hidden.pitch; d += kThreads) {
    T x = T{};
    if (valid && d < operands.dim) {
      x = rows[row * operands.dim + d];
      if (round_bfloat16) {
        const A scaled = scale * ToFloat(x);
        x = Round<T>(static_cast<A>(ToFloat(Round<BFloat16>(static_cast<float>(scaled)))));
      }
    }
    to[d] = x;
  }
}

template <typename A>
struct LossNumbers {
  A label_smoothing, z_loss;
};

template <typename Products>
__global__ void __launch_bounds__(kThreads)
    FinishLoss(Operands<Products> operands, LossNumbers<typename Products::Sum> numbers,
               const int32_t* counts, const RowSums<typename Products::Sum>* partial, int64_t runs,
               const typename Products::Sum* label_logits, typename Products::Sum* loss,
               Normalizer<typename Products::Sum> normalizer) {
  using A = typename Products::Sum;
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= operands.batch) return;
  const int32_t count = counts[b];
  normalizer.max[b] = normalizer.log_sum[b] = 0;
  loss[b] = 0;
  if (count < 0) loss[b] = std::numeric_limits<A>::quiet_NaN();
  if (count <= 0) return;
  const int64_t rows = operands.hidden.rows;
  RowSums<A> sums = partial[b];
  for (int64_t run = 1; run < runs; ++run) Join(&sums, partial[run * rows + b]);
  const A log_sum = log(sums.sum_exp);
  normalizer.max[b] = sums.max;
  normalizer.log_sum[b] = log_sum;
  // Logits are compared with the maximum before anything is added to it: a large common offset
  // cancels exactly.
  A below_max = 0;
  for (int64_t i = b * operands.num_true; i < (b + 1) * operands.num_true; ++i) {
    if (!operands.Ignored(operands.labels[i])) below_max += sums.max - label_logits[i];
  }
  below_max /= static_cast<A>(count);
  A value = log_sum + (1 - numbers.label_smoothing) * below_max;
  if (numbers.label_smoothing != 0) {
    value -= numbers.label_smoothing * sums.sum_shifted / static_cast<A>(operands.classes);
  }
  if (numbers.z_loss != 0) {
    const A lse = sums.max + log_sum;
    value += numbers.z_loss * lse * lse;
  }
  loss[b] = value;
}

template <typename Products>
__global__ void __launch_bounds__(kThreads)
    PrepareGradient(Operands<Products> operands, LossNumbers<typename Products::Sum> numbers,
                    const int32_t* counts, const typename Products::Sum* d_loss,
                    Normalizer<const typename Products::Sum> normalizer,
                    RowGradientTerms<typename Products::Sum>* terms, uint8_t* active,
                    uint32_t* largest) {
  using A = typename Products::Sum;
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= operands.hidden.rows) return;
  RowGradientTerms<A> row = {0, 0, 0, 0};
  active[b] = counts[b] > 0;
  if (counts[b] > 0) {
    const A d = d_loss[b], max = normalizer.max[b], log_sum = normalizer.log_sum[b];
    A factor = d;
    if (numbers.z_loss != 0) factor *= 1 + 2 * numbers.z_loss * (max + log_sum);
    row.max = max;
    row.factor = factor * static_cast<A>(exp(-log_sum));
    row.shift = d * numbers.label_smoothing / static_cast<A>(operands.classes);
    row.target = d * (1 - numbers.label_smoothing) / static_cast<A>(counts[b]);
    const float bound = static_cast<float>(fabs(factor) + fabs(row.shift) +
                                           fabs(row.target) * static_cast<A>(operands.num_true));
    const uint32_t bits = __float_as_uint(bound);
    if (bits < 0x7F800000) atomicMax(largest, bits);
  }
  terms[b] = row;
}

// sum[i] = unit * (parts[i] + parts[stride + i] + ...), over `count` parts.
template <typename Products, typename T>
__global__ void __launch_bounds__(kThreads)
    AddParts(const typename Products::Sum* parts, int64_t count, int64_t stride, int64_t size,
             const uint32_t* largest, T* sum) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= size) return;
  typename Products::Sum total = 0;
  for (int64_t part = 0; part < count; ++part) total += parts[part * stride + i];
  if (largest != nullptr)
    total *= GradientUnit<typename Products::Element>(largest, /*inverse=*/true);
  sum[i] = Round<T>(total);
}

// ---- logits

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

  // Of the columns of the warp; -inf where there is no class.
  __device__ __forceinline__ void MakeLogits(const A* biases) {
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const A bias = biases[Column(k)];
#pragma unroll
      for (int i = 0; i < kRows; ++i) At(i, k) = operands.scale * At(i, k) + bias;
    }
    if (operands.softcap == 0) return;
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      if (Column(k) >= valid) continue;
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        At(i, k) = operands.softcap * tanh(At(i, k) / operands.softcap);
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
      if (label < class0 || label >= class0 + valid || operands.Ignored(label)) continue;
      const int column = static_cast<int>(label - class0);
#pragma unroll
      for (int k = 0; k < kColumns; ++k) {
        if (column == Column(k)) use(At(i, k), index);
      }
    }
  }

  // Logits become `unit` times their gradients.
  __device__ __forceinline__ void MakeGradients(const RowGradientTerms<A>* terms, A unit) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const RowGradientTerms<A> row = terms[Row(i)];
      const bool active = operands.active[Row(i)] != 0;
      const A factor = unit * row.factor, shift = unit * row.shift, target = unit * row.target;
      const auto fill = [&](auto before) {
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
          const A z = At(i, k);
          before(z, k);
          At(i, k) = active ? factor * Exp(z - row.max) - shift : A{0};
        }
        if (active) ForLabels(i, [&](A& p, int64_t) { p -= target; });
      };
      if (operands.softcap == 0) {
        fill([](A, int) {});
        continue;
      }
      A slopes[kColumns];
      fill([&](A z, int k) {
        const A tangent = z / operands.softcap;
        slopes[k] = 1 - tangent * tangent;
      });
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

  RowSums<A>* sums;  // [runs, rows]
  A* label_logits;   // [batch, num_true]
  bool smoothing;

  const RowGradientTerms<A>* terms;  // [rows]
  const uint32_t* largest;
  T* p;  // [rows, pitch]; its first column is that of the first class tile
  int64_t pitch;
  A* bias_sums;  // [row tiles, pitch], or null: not wanted
};

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
        piece.ForLabels(i, [&](A& z, int64_t index) { results.label_logits[index] = z; });
        A largest = max[i];
#pragma unroll
        for (int k = 0; k < piece.kColumns; ++k) largest = Max(largest, piece.At(i, k));
        // Where every logit is -inf the differences would be NaN: any finite reference will do.
        const A base = largest == -std::numeric_limits<A>::infinity() ? A{0} : largest;
        const A drop = sum_exp[i] == 0 ? A{0} : max[i] - base;
        if (results.smoothing) {
          A shifted = 0;
#pragma unroll
          for (int k = 0; k < piece.kColumns; ++k) {
            if (piece.Column(k) < piece.valid) shifted += piece.At(i, k) - base;
          }
          sum_shifted[i] += met * drop + shifted;
        }
        A sum = 0;  // of this tile: short sums round less
#pragma unroll
        for (int k = 0; k < piece.kColumns; ++k) sum += Exp(piece.At(i, k) - base);
        sum_exp[i] = sum_exp[i] * Exp(drop) + sum;
        max[i] = largest;
      }
      met += static_cast<A>(now);
    } else {
      piece.MakeGradients(results.terms, unit);
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
    RowSums<A>* const shares = reinterpret_cast<RowSums<A>*>(stages);
    static_assert(kTile * kShares * sizeof(RowSums<A>) <= kStages * kPanelBytes);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int r = m0 + 8 * i + group;
      shares[r * kShares + warp / kWarpsM * 4 + pair / 2] = {max[i], sum_exp[i], sum_shifted[i],
                                                             met};
    }
    __syncthreads();
    if (threadIdx.x < kTile) {
      RowSums<A> sums = shares[threadIdx.x * kShares];
      for (int k = 1; k < kShares; ++k) Join(&sums, shares[threadIdx.x * kShares + k]);
      results.sums[blockIdx.y * operands.hidden.rows + row0 + threadIdx.x] = sums;
    }
  }
}

// ---- gradients

// Where a product of the gradients of the logits goes: to the gradient itself, rounded, or to sums
// of which there is one for each part of the sum over k.
template <typename Products>
struct ProductResults {
  using T = typename Products::Element;
  using A = typename Products::Sum;

  int64_t rows, columns;  // of the result
  A factor;
  const uint32_t* largest;
  T* rounded;  // [rows, columns], or null
  A* sums;     // [parts, rows, columns], added to where not `first`
  bool first;
  int64_t part;  // steps of k in a part, or tiles

  __device__ __forceinline__ void Store(int64_t row, int64_t column, A value) const {
    if (row >= rows || column >= columns) return;
    const int64_t at = row * columns + column;
    if (rounded != nullptr) {
      rounded[at] = Round<T>(value);
    } else {
      A* const sum = sums + blockIdx.z * rows * columns + at;
      *sum = first ? value : *sum + value;
    }
  }
};

// A tile of P W (kOfHidden: rows of P lie along k) or P^T X. Block (x, y, z): tile (x, y), part z
// of the sum over k.
template <typename Products, bool kOfHidden>
__global__ void __launch_bounds__(kThreads, Products::kBlocks)
    MultiplyGradient(Products products, Matrix<typename Products::Element> p,
                     Matrix<typename Products::Element> other, ProductResults<Products> results) {
  using T = typename Products::Element;
  using A = typename Products::Sum;
  constexpr int kWidth = kPanelWidth<T>;   // steps of k at a time
  constexpr int kPanels = kTile / kWidth;  // that 128 columns take
  constexpr int kOperand = kTile * kWidth;
  T* const stages = reinterpret_cast<T*>(SharedMemory());

  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int group = lane / 4, pair = lane % 4 * 2;
  const int m0 = warp % kWarpsM * kWarpM, n0 = warp / kWarpsM * kWarpN;
  const int64_t row0 = int64_t{blockIdx.x} * kTile, column0 = int64_t{blockIdx.y} * kTile;
  const int64_t count = other.rows;
  const int64_t k0 = blockIdx.z * results.part * kWidth;
  const int64_t k1 = k0 + results.part * kWidth < count ? k0 + results.part * kWidth : count;

  int64_t load_k = k0;
  int load_stage = 0;
  const auto load = [&] {
    if (load_k < k1) {
      T* const stage = stages + load_stage * 2 * kOperand;
      if constexpr (kOfHidden) {
        CopyPanels<kTile, 1>(stage, p, row0, load_k);
      } else {
        CopyPanels<kWidth, kPanels>(stage, p, load_k, row0);
      }
      CopyPanels<kWidth, kPanels>(stage + kOperand, other, load_k, column0);
      load_k += kWidth;
      load_stage = (load_stage + 1) % kStages;
    }
    CommitCopies();
  };
  for (int s = 0; s < kStages - 1; ++s) load();

  A c[kPiecesM][kPiecesN][4];
  Clear(c);
  int stage_number = 0;
  for (int64_t k = k0; k < k1; k += kWidth) {
    WaitForCopies<kStages - 2>();
    __syncthreads();
    load();
    const T* const stage = stages + stage_number * 2 * kOperand;
    products.Multiply(c, Operand<T, kOfHidden, kOfHidden ? kTile : kWidth>{stage}, m0,
                      Operand<T, false, kWidth>{stage + kOperand}, n0,
                      k1 - k < kWidth ? static_cast<int>(k1 - k) : kWidth);
    stage_number = (stage_number + 1) % kStages;
  }

  const A factor =
      results.factor * GradientUnit<typename Products::Element>(results.largest, /*inverse=*/true);
#pragma unroll
  for (int i = 0; i < 2 * kPiecesM; ++i) {
#pragma unroll
    for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        results.Store(row0 + m0 + 8 * i + group, column0 + n0 + 8 * j + pair + q,
                      factor * c[i / 2][j][i % 2 * 2 + q]);
      }
    }
  }
}

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

// The same products without P in memory, for widths of up to kPanels panels of 16-bit tables. A
// block keeps a tile of 128 rows (kOfHidden) or classes, its owners, and its gradient; tiles of 64
// of the others come by. Of each pair of tiles the logits are computed again, and their gradient
// goes through shared memory into the product with the others.
//
// A block takes 148, 82 or 50 KB of shared memory for 4, 2 or 1 panels.
constexpr int kOthers = 64;

template <int kPanels>
struct FusedWarps {  // of the product with the others: a warp has kM x kN pieces
  static constexpr int kAlongM = kPanels == 4 ? 2 : 4;
  static constexpr int kM = kTile / kAlongM / 16;
  static constexpr int kN = kPanels * 64 / (kThreads / kWarp / kAlongM) / 8;
};

constexpr int64_t FusedSharedBytes(int panels) {
  return (panels + 1) * kPanelBytes + panels * kPanelBytes + kTile * sizeof(float);
}

// Blocks on a multiprocessor: as many as its registers hold without a spill.
constexpr int FusedBlocks(int panels) { return panels == 1 ? 2 : 1; }

template <typename Products>
struct FusedResults {
  using T = typename Products::Element;

  ProductResults<Products> product;
  bool multiply;     // false: nothing but the gradients of biases is wanted
  float* bias_sums;  // [parts, classes], or null
  T* biases;         // [classes], or null
};

// Block (x, 0, z): owner tile x, part z of the tiles of the others.
template <typename Products, bool kOfHidden, int kPanels>
__global__ void __launch_bounds__(kThreads, FusedBlocks(kPanels))
    FusedGradient(Operands<Products> operands,
                  const RowGradientTerms<typename Products::Sum>* terms,
                  FusedResults<Products> results) {
  using T = typename Products::Element;
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
  const int64_t count = kOfHidden ? operands.classes : operands.batch;  // of the others
  const int all_tiles = static_cast<int>((count + kOthers - 1) / kOthers);
  const int part = static_cast<int>(results.product.part);
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

  const float unit =
      GradientUnit<typename Products::Element>(results.product.largest, /*inverse=*/false);
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
        operands.products.Multiply(c, of_owners, m0, of_others, n0, depth);
      } else {
        operands.products.Multiply(c, of_others, m0, of_owners, n0, depth);
      }
    }
    LogitPiece<Products, kN> piece(operands, c, row0 + m0, class0 + n0);
    piece.MakeLogits(biases + (kOfHidden ? turn * kOthers : 0) + n0);
    piece.MakeGradients(terms, unit);
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
      operands.products.Multiply(sum, Operand<T, kOfHidden, kRows>{p}, product_m0,
                                 Operand<T, false, kOthers>{others}, product_n0, kOthers);
    }
  }

  const float inverse =
      GradientUnit<typename Products::Element>(results.product.largest, /*inverse=*/true);
  if (results.multiply) {
#pragma unroll
    for (int i = 0; i < 2 * Warps::kM; ++i) {
#pragma unroll
      for (int j = 0; j < Warps::kN; ++j) {
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          results.product.Store(owner0 + product_m0 + 8 * i + group, product_n0 + 8 * j + pair + q,
                                results.product.factor * inverse * sum[i / 2][j][i % 2 * 2 + q]);
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
    if (threadIdx.x >= kTile || c >= operands.classes) return;
    float total = 0;
    for (int w = 0; w < kAlongM; ++w) total += shares[w * kTile + threadIdx.x];
    total *= inverse;
    if (results.biases != nullptr) {
      results.biases[c] = Round<T>(total);
    } else {
      results.bias_sums[blockIdx.z * operands.classes + c] = total;
    }
  }
}

// ---- the calls

// Do Hopper's products take P? They multiply operands as they are.
template <typename T>
bool HopperProducts(const LossProblem<T>& p, const Device& device) {
  return sizeof(T) == 2 && !(std::is_same_v<T, Half> && p.options.round_bfloat16) &&
         hopper::SupportsProducts(p.weights, p.dim, device);
}

// How the work is cut: by the problem and by what fits into a multiprocessor's shared memory.
template <typename T>
struct Sizes {
  int64_t rows, width;  // of padded hidden rows
  int64_t row_tiles, class_tiles;
  int64_t run_tiles, runs;  // class tiles of a block of the forward pass
  int fused_panels = 0;     // of FusedGradient, or 0: P goes through memory
  int64_t chunk_tiles;      // class tiles of which P is kept at a time
  int64_t chunk_run;        // class tiles of a block that computes P
  // Gradients are summed in parts where they have too few tiles to keep a device busy: steps of k
  // (or tiles of the others) in a part, and parts.
  int64_t hidden_part, hidden_parts;
  int64_t weight_part, weight_parts;
  int64_t bias_parts;  // of a chunk

  bool hopper = false;  // Hopper's kernels make P, and their products take it

  Sizes(const LossProblem<T>& p, const Device& device) {
    constexpr int64_t kWidth = kPanelWidth<T>;
    row_tiles = Divide(p.batch, kTile);
    rows = row_tiles * kTile;
    width = Divide(p.dim, kWidth) * kWidth;
    class_tiles = Divide(p.classes, kTile);
    run_tiles = Divide(class_tiles * row_tiles, kManyBlocks);
    runs = Divide(class_tiles, run_tiles);

    const bool plain = std::is_same_v<T, Half> && p.options.round_bfloat16;
    for (const int panels : {4, 2, 1}) {
      if (sizeof(T) == 2 && !plain && width <= panels * kWidth &&
          FusedSharedBytes(panels) <= device.shared_bytes) {
        fused_panels = panels;
      }
    }
    if (fused_panels > 0) {
      chunk_tiles = chunk_run = 0;
      Cut(Divide(p.classes, kOthers), row_tiles, 8, &hidden_part, &hidden_parts);
      Cut(Divide(p.batch, kOthers), class_tiles, 8, &weight_part, &weight_parts);
      return;
    }
    hopper = HopperProducts(p, device);
    bias_parts = hopper ? rows / ::fastw2v::cuda::hopper::kBiasRows : row_tiles;
    const int64_t chunk_bytes = hopper ? kHopperChunkBytes : kChunkBytes;
    const int64_t fitting = chunk_bytes / static_cast<int64_t>(rows * kTile * sizeof(T));
    const int64_t chunks = Divide(class_tiles, std::max<int64_t>(fitting, 1));
    chunk_tiles = Divide(class_tiles, chunks);
    chunk_run = std::min<int64_t>(8, Divide(chunk_tiles * row_tiles, kManyBlocks / 4));
    if (hopper) {
      const int64_t columns = Divide(p.dim, ::fastw2v::cuda::hopper::ProductTileColumns(p.dim));
      const int64_t blocks = row_tiles * columns;
      hidden_parts = std::clamp<int64_t>(kHopperBlocks / blocks, 1, Divide(chunk_tiles, 8));
      hidden_part = Divide(chunk_tiles * kTile / kWidth, hidden_parts);
      weight_part = rows / kWidth;
      weight_parts = 1;
      return;
    }
    const int64_t columns = Divide(p.dim, kTile);
    Cut(chunk_tiles * kTile / kWidth, row_tiles * columns, 32, &hidden_part, &hidden_parts);
    Cut(rows / kWidth, chunk_tiles * columns, 32, &weight_part, &weight_parts);
  }

 private:
  static int64_t Divide(int64_t x, int64_t y) { return (x + y - 1) / y; }

  // So many parts of `steps` that, with `tiles` blocks each, a device is busy, if each has some
  // work.
  static void Cut(int64_t steps, int64_t tiles, int64_t fewest, int64_t* part, int64_t* parts) {
    *part = Divide(steps, std::clamp<int64_t>(kGradientBlocks / tiles, 1, Divide(steps, fewest)));
    *parts = Divide(steps, *part);
  }
};

template <typename T>
struct ExactScratch {
  using A = Accumulator<T>;

  T* hidden;
  int32_t* counts;
  RowSums<A>* sums;
  A* label_logits;
  RowGradientTerms<A>* terms;
  uint8_t* active;
  uint32_t* largest;
  T* p;
  A* bias_sums;
  A* hidden_sums;
  A* weight_sums;

  ExactScratch(const LossProblem<T>& problem, const Sizes<T>& sizes, Scratch* scratch)
      : hidden(scratch->Take<T>(sizes.rows * sizes.width)),
        counts(scratch->Take<int32_t>(sizes.rows)),
        sums(scratch->Take<RowSums<A>>(sizes.runs * sizes.rows)),
        label_logits(scratch->Take<A>(problem.batch * problem.num_true)),
        terms(scratch->Take<RowGradientTerms<A>>(sizes.rows)),
        active(scratch->Take<uint8_t>(sizes.rows)),
        largest(scratch->Take<uint32_t>(1)),
        p(scratch->Take<T>(sizes.rows * sizes.chunk_tiles * kTile)),
        bias_sums(scratch->Take<A>(sizes.fused_panels > 0
                                       ? sizes.weight_parts * problem.classes
                                       : sizes.bias_parts * sizes.chunk_tiles * kTile)),
        hidden_sums(scratch->Take<A>(
            sizes.hidden_parts > 1 ? sizes.hidden_parts * problem.batch * problem.dim : 0)),
        weight_sums(scratch->Take<A>(
            sizes.weight_parts > 1 ? sizes.weight_parts * WeightRows(problem, sizes) * problem.dim
                                   : 0)) {}

  // Of the gradient that are summed at a time.
  static int64_t WeightRows(const LossProblem<T>& problem, const Sizes<T>& sizes) {
    return sizes.fused_panels > 0 ? problem.classes
                                  : std::min(sizes.chunk_tiles * kTile, problem.classes);
  }
};

// A call on a problem that is not empty, with the products that suit it.
template <typename Products>
class ExactLoss {
  using T = typename Products::Element;
  using A = typename Products::Sum;

 public:
  ExactLoss(const LossProblem<T>& problem, Products products, const Stream& stream, void* memory)
      : p_(problem),
        sizes_(problem, stream.device),
        stream_(stream),
        memory_(memory),
        scratch_(problem, sizes_, &memory_) {
    const LossOptions& options = p_.options;
    // Rounded operands are rounded after they are scaled, as on the CPU.
    const A scale = static_cast<A>(options.logit_scale);
    operands_.products = products;
    operands_.hidden = MakeMatrix<T>(scratch_.hidden, sizes_.rows, sizes_.width, sizes_.width);
    operands_.weights = MakeMatrix<T>(p_.weights, p_.classes, p_.dim, p_.dim);
    operands_.biases = p_.biases;
    operands_.labels = p_.labels;
    operands_.active = scratch_.active;
    operands_.batch = p_.batch;
    operands_.classes = p_.classes;
    operands_.dim = p_.dim;
    operands_.num_true = p_.num_true;
    operands_.has_ignore_label = options.has_ignore_label;
    operands_.ignore_label = options.ignore_label;
    operands_.scale = options.round_bfloat16 ? A{1} : scale;
    operands_.softcap = static_cast<A>(options.logit_softcap);
    numbers_ = {static_cast<A>(options.label_smoothing), static_cast<A>(options.z_loss)};
  }

  // Fills the padded copy of hidden rows, for Forward and Backward.
  Status Prepare() {
    return Launch(PrepareRows<Products>, dim3(sizes_.rows), dim3(kThreads), 0, stream_, operands_,
                  p_.hidden, p_.ids, p_.hidden_rows, static_cast<A>(p_.options.logit_scale),
                  p_.options.round_bfloat16, scratch_.hidden, scratch_.counts);
  }

  Status Forward(A* loss, const Normalizer<A>& normalizer) {
    LogitResults<Products> results = {};
    results.sums = scratch_.sums;
    results.label_logits = scratch_.label_logits;
    results.smoothing = p_.options.label_smoothing != 0;
    FASTW2V_RETURN_IF_ERROR(LaunchLogits<false>(results, 0, sizes_.class_tiles, sizes_.run_tiles));
    return Launch(FinishLoss<Products>, dim3(NumBlocks(p_.batch, kThreads)), dim3(kThreads), 0,
                  stream_, operands_, numbers_, scratch_.counts, scratch_.sums, sizes_.runs,
                  scratch_.label_logits, loss, normalizer);
  }

  Status Backward(const A* d_loss, const Normalizer<const A>& normalizer, A* d_hidden, T* d_weights,
                  T* d_biases) {
    if (d_hidden == nullptr && d_weights == nullptr && d_biases == nullptr) return Status();
    FASTW2V_RETURN_IF_ERROR(Zero(scratch_.largest, sizeof(uint32_t), stream_));
    FASTW2V_RETURN_IF_ERROR(Launch(PrepareGradient<Products>,
                                   dim3(NumBlocks(sizes_.rows, kThreads)), dim3(kThreads), 0,
                                   stream_, operands_, numbers_, scratch_.counts, d_loss,
                                   normalizer, scratch_.terms, scratch_.active, scratch_.largest));
    if constexpr (sizeof(T) == 2 && std::is_same_v<Products, Products16<T>>) {
      switch (sizes_.fused_panels) {
        case 1:
          FASTW2V_RETURN_IF_ERROR(Fused<1>(d_hidden, d_weights, d_biases));
          break;
        case 2:
          FASTW2V_RETURN_IF_ERROR(Fused<2>(d_hidden, d_weights, d_biases));
          break;
        case 4:
          FASTW2V_RETURN_IF_ERROR(Fused<4>(d_hidden, d_weights, d_biases));
          break;
      }
    }
    for (int64_t first = 0; sizes_.chunk_tiles > 0 && first < sizes_.class_tiles;
         first += sizes_.chunk_tiles) {
      const int64_t last = std::min(first + sizes_.chunk_tiles, sizes_.class_tiles);
      FASTW2V_RETURN_IF_ERROR(Chunk(first, last, d_hidden, d_weights, d_biases));
    }
    if (d_hidden == nullptr || sizes_.hidden_parts == 1) return Status();
    const int64_t size = p_.batch * p_.dim;
    return Add(scratch_.hidden_sums, sizes_.hidden_parts, size, size, nullptr, d_hidden);
  }

 private:
  ProductResults<Products> HiddenProduct(A* d_hidden) const {
    ProductResults<Products> product = {};
    product.rows = p_.batch;
    product.columns = p_.dim;
    product.factor = static_cast<A>(p_.options.logit_scale);
    product.largest = scratch_.largest;
    product.sums = sizes_.hidden_parts > 1 ? scratch_.hidden_sums : d_hidden;
    product.first = true;
    product.part = sizes_.hidden_part;
    return product;
  }

  // Of `rows` rows from d_weights on.
  ProductResults<Products> WeightProduct(int64_t rows, T* d_weights) const {
    ProductResults<Products> product = {};
    product.rows = rows;
    product.columns = p_.dim;
    product.factor = operands_.scale;
    product.largest = scratch_.largest;
    product.rounded = sizes_.weight_parts > 1 ? nullptr : d_weights;
    product.sums = scratch_.weight_sums;
    product.first = true;
    product.part = sizes_.weight_part;
    return product;
  }

  template <typename R>
  Status Add(const A* parts, int64_t count, int64_t stride, int64_t size, const uint32_t* largest,
             R* sum) const {
    return Launch(AddParts<Products, R>, dim3(NumBlocks(size, kThreads)), dim3(kThreads), 0,
                  stream_, parts, count, stride, size, largest, sum);
  }

  template <int kPanels>
  Status Fused(A* d_hidden, T* d_weights, T* d_biases) {
    const std::size_t bytes = FusedSharedBytes(kPanels);
    if (d_hidden != nullptr) {
      FusedResults<Products> results = {};
      results.product = HiddenProduct(d_hidden);
      results.multiply = true;
      FASTW2V_RETURN_IF_ERROR(Launch(FusedGradient<Products, true, kPanels>,
                                     dim3(sizes_.row_tiles, 1, sizes_.hidden_parts), dim3(kThreads),
                                     bytes, stream_, operands_, scratch_.terms, results));
    }
    if (d_weights == nullptr && d_biases == nullptr) return Status();
    const bool in_parts = sizes_.weight_parts > 1;
    FusedResults<Products> results = {};
    results.product = WeightProduct(p_.classes, d_weights);
    results.multiply = d_weights != nullptr;
    results.bias_sums = d_biases != nullptr && in_parts ? scratch_.bias_sums : nullptr;
    results.biases = in_parts ? nullptr : d_biases;
    FASTW2V_RETURN_IF_ERROR(Launch(FusedGradient<Products, false, kPanels>,
                                   dim3(sizes_.class_tiles, 1, sizes_.weight_parts), dim3(kThreads),
                                   bytes, stream_, operands_, scratch_.terms, results));
    if (!in_parts) return Status();
    const int64_t parts = sizes_.weight_parts, size = p_.classes * p_.dim;
    if (d_weights != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Add(scratch_.weight_sums, parts, size, size, nullptr, d_weights));
    }
    if (d_biases == nullptr) return Status();
    return Add(scratch_.bias_sums, parts, p_.classes, p_.classes, nullptr, d_biases);
  }

  // Class tiles [first, last).
  Status Chunk(int64_t first, int64_t last, A* d_hidden, T* d_weights, T* d_biases) {
    LogitResults<Products> results = {};
    results.terms = scratch_.terms;
    results.largest = scratch_.largest;
    results.p = d_hidden != nullptr || d_weights != nullptr ? scratch_.p : nullptr;
    results.pitch = sizes_.chunk_tiles * kTile;
    results.bias_sums = d_biases == nullptr ? nullptr : scratch_.bias_sums;
    const int64_t class0 = first * kTile;
    const int64_t classes = std::min(last * kTile, p_.classes) - class0;
    FASTW2V_RETURN_IF_ERROR(sizes_.hopper
                                ? HopperLogits(results, class0, classes)
                                : LaunchLogits<true>(results, first, last, sizes_.chunk_run));

    if (d_biases != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Add(scratch_.bias_sums, sizes_.bias_parts, results.pitch, classes,
                                  scratch_.largest, d_biases + class0));
    }
    const Matrix<T> p = MakeMatrix<T>(scratch_.p, sizes_.rows, results.pitch, results.pitch);
    const unsigned columns = NumBlocks(p_.dim, kTile);
    if constexpr (sizeof(T) == 2) {
      if (sizes_.hopper) return HopperChunk(class0, classes, d_hidden, d_weights);
    }
    constexpr std::size_t kBytes = 2 * kStages * kPanelBytes;
    if (d_hidden != nullptr) {
      const T* const weights = p_.weights + class0 * p_.dim;
      ProductResults<Products> product = HiddenProduct(d_hidden);
      product.first = first == 0;
      FASTW2V_RETURN_IF_ERROR(Launch(MultiplyGradient<Products, true>,
                                     dim3(sizes_.row_tiles, columns, sizes_.hidden_parts),
                                     dim3(kThreads), kBytes, stream_, operands_.products, p,
                                     MakeMatrix<T>(weights, classes, p_.dim, p_.dim), product));
    }
    if (d_weights == nullptr) return Status();
    T* const to = d_weights + class0 * p_.dim;
    FASTW2V_RETURN_IF_ERROR(Launch(MultiplyGradient<Products, false>,
                                   dim3(last - first, columns, sizes_.weight_parts), dim3(kThreads),
                                   kBytes, stream_, operands_.products, p, operands_.hidden,
                                   WeightProduct(classes, to)));
    if (sizes_.weight_parts == 1) return Status();
    const int64_t size = classes * p_.dim;
    return Add(scratch_.weight_sums, sizes_.weight_parts, size, size, nullptr, to);
  }

  // P of `classes` classes from class0 on.
  Status HopperLogits(const LogitResults<Products>& results, int64_t class0, int64_t classes) {
    if constexpr (sizeof(T) == 2) {
      hopper::LogitGradients<T> gradients;
      gradients.hidden = scratch_.hidden;
      gradients.batch = p_.batch;
      gradients.rows = sizes_.rows;
      gradients.width = sizes_.width;
      gradients.weights = p_.weights + class0 * p_.dim;
      gradients.biases = p_.biases == nullptr ? nullptr : p_.biases + class0;
      gradients.classes = classes;
      gradients.dim = p_.dim;
      gradients.first_class = class0;
      gradients.labels = p_.labels;
      gradients.num_true = p_.num_true;
      gradients.has_ignore_label = operands_.has_ignore_label;
      gradients.ignore_label = operands_.ignore_label;
      gradients.scale = operands_.scale;
      gradients.softcap = operands_.softcap;
      gradients.terms = results.terms;
      gradients.active = scratch_.active;
      gradients.largest = results.largest;
      gradients.p = results.p;
      gradients.pitch = results.pitch;
      gradients.bias_sums = results.bias_sums;
      return hopper::StoreLogitGradients(gradients, stream_);
    }
    return Status();
  }

  // The products of P with `classes` classes from class0 on.
  Status HopperChunk(int64_t class0, int64_t classes, A* d_hidden, T* d_weights) {
    hopper::GradientProduct<T> product;
    product.p = scratch_.p;
    product.p_rows = sizes_.rows;
    product.pitch = sizes_.chunk_tiles * kTile;
    product.columns = p_.dim;
    product.largest = scratch_.largest;
    if (d_hidden != nullptr) {
      product.other = p_.weights + class0 * p_.dim;
      product.other_rows = classes;
      product.other_columns = p_.dim;
      product.rows = p_.batch;
      product.factor = static_cast<float>(p_.options.logit_scale);
      product.sums = sizes_.hidden_parts > 1 ? scratch_.hidden_sums : d_hidden;
      product.parts = sizes_.hidden_parts;
      product.first = class0 == 0;
      FASTW2V_RETURN_IF_ERROR(hopper::MultiplyGradient(product, stream_));
    }
    if (d_weights == nullptr) return Status();
    product.other = scratch_.hidden;
    product.other_rows = sizes_.rows;
    product.other_columns = sizes_.width;
    product.rows = classes;
    product.factor = operands_.scale;
    product.sums = nullptr;
    product.rounded = d_weights + class0 * p_.dim;
    return hopper::MultiplyGradient(product, stream_);
  }

  template <bool kGradient>
  Status LaunchLogits(const LogitResults<Products>& results, int64_t first, int64_t last,
                      int64_t tiles) {
    // Hidden rows stay in shared memory where it has room; else they come with each class tile.
    const int64_t hidden_bytes = sizes_.width / kPanelWidth<T> * kPanelBytes;
    const int64_t staying = hidden_bytes + kStages * kPanelBytes + kBiasBytes<Products>;
    const bool rows_stay = staying <= stream_.device.shared_bytes;
    return Launch(Logits<Products, kGradient>,
                  dim3(static_cast<unsigned>(sizes_.row_tiles), NumBlocks(last - first, tiles)),
                  dim3(kThreads),
                  rows_stay ? staying : 2 * kStages * kPanelBytes + kBiasBytes<Products>, stream_,
                  operands_, results, first, last, tiles, rows_stay);
  }

  const LossProblem<T>& p_;
  const Sizes<T> sizes_;
  const Stream& stream_;
  Scratch memory_;
  const ExactScratch<T> scratch_;
  Operands<Products> operands_ = {};
  LossNumbers<A> numbers_;
};

// use(an ExactLoss with the products that suit the problem).
template <typename T, typename Use>
Status WithProducts(const LossProblem<T>& problem, const Stream& stream, void* memory, Use use) {
  const bool rounded = problem.options.round_bfloat16;
  const auto run = [&](auto products) {
    ExactLoss<decltype(products)> loss(problem, products, stream, memory);
    FASTW2V_RETURN_IF_ERROR(loss.Prepare());
    return use(loss);
  };
  if constexpr (std::is_same_v<T, double>) {
    return run(PlainProducts<double>{rounded});
  } else if constexpr (std::is_same_v<T, float>) {
    if (rounded || problem.allow_tf32) return run(ProductsTf32<false>{rounded});
    return run(ProductsTf32<true>{});
  } else {
    if constexpr (std::is_same_v<T, Half>) {
      if (rounded) return run(PlainProducts<Half>{rounded});
    }
    return run(Products16<T>{});
  }
}

// Hopper has kernels of its own for many problems.
template <typename T>
bool HopperForward(const LossProblem<T>& problem, const Device& device) {
  if constexpr (sizeof(T) == 2) return hopper::SupportsForward(problem, device);
  return false;
}
template <typename T>
bool HopperBackward(const LossProblem<T>& problem, const Device& device) {
  if constexpr (sizeof(T) == 2) return hopper::SupportsBackward(problem, device);
  return false;
}

}  // namespace

template <typename T>
std::size_t ExactLossScratchBytes(const LossProblem<T>& problem, const Device& device) {
  if (problem.batch == 0) return 0;
  std::size_t of_hopper = 0;
  if constexpr (sizeof(T) == 2) {
    if (HopperForward(problem, device)) of_hopper = hopper::ExactLossScratchBytes(problem, device);
    if (HopperBackward(problem, device)) return of_hopper;
  }
  Scratch scratch;
  ExactScratch<T>(problem, Sizes<T>(problem, device), &scratch);
  return std::max(scratch.used(), of_hopper);
}

template <typename T>
Status ExactLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  if (problem.batch == 0) return Status();
  if constexpr (sizeof(T) == 2) {
    if (HopperForward(problem, stream.device)) {
      return hopper::ExactLossForward(problem, stream, scratch, loss, normalizer);
    }
  }
  return WithProducts(problem, stream, scratch,
                      [&](auto& call) { return call.Forward(loss, normalizer); });
}

template <typename T>
Status ExactLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                         const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                         void* scratch, Accumulator<T>* d_hidden, T* d_weights, T* d_biases) {
  if (problem.batch == 0) {
    const std::size_t bytes = problem.classes * sizeof(T);
    if (d_weights != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Zero(d_weights, bytes * problem.dim, stream));
    }
    return d_biases == nullptr ? Status() : Zero(d_biases, bytes, stream);
  }
  if constexpr (sizeof(T) == 2) {
    if (HopperBackward(problem, stream.device)) {
      return hopper::ExactLossBackward(problem, d_loss, normalizer, stream, scratch, d_hidden,
                                       d_weights, d_biases);
    }
  }
  return WithProducts(problem, stream, scratch, [&](auto& call) {
    return call.Backward(d_loss, normalizer, d_hidden, d_weights, d_biases);
  });
}

template <typename T>
Status ExactLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                              const Stream& stream, void* scratch, Accumulator<T>* loss,
                              const Normalizer<Accumulator<T>>& normalizer,
                              Accumulator<T>* d_hidden, T* d_weights, T* d_biases) {
  if (problem.batch == 0) {
    return ExactLossBackward<T>(problem, d_loss, {}, stream, scratch, d_hidden, d_weights,
                                d_biases);
  }
  if (HopperForward(problem, stream.device)) {
    FASTW2V_RETURN_IF_ERROR(ExactLossForward<T>(problem, stream, scratch, loss, normalizer));
    return ExactLossBackward<T>(problem, d_loss, {normalizer.max, normalizer.log_sum}, stream,
                                scratch, d_hidden, d_weights, d_biases);
  }
  return WithProducts(problem, stream, scratch, [&](auto& call) -> Status {
    FASTW2V_RETURN_IF_ERROR(call.Forward(loss, normalizer));
    return call.Backward(d_loss, {normalizer.max, normalizer.log_sum}, d_hidden, d_weights,
                         d_biases);
  });
}

#define FASTW2V_INSTANTIATE(T)                                                                 \
  template std::size_t ExactLossScratchBytes<T>(const LossProblem<T>&, const Device&);         \
  template Status ExactLossForward<T>(const LossProblem<T>&, const Stream&, void*,             \
                                      Accumulator<T>*, const Normalizer<Accumulator<T>>&);     \
  template Status ExactLossBackward<T>(const LossProblem<T>&, const Accumulator<T>*,           \
                                       const Normalizer<const Accumulator<T>>&, const Stream&, \
                                       void*, Accumulator<T>*, T*, T*);                        \
  template Status ExactLossWithGradients<T>(                                                   \
      const LossProblem<T>&, const Accumulator<T>*, const Stream&, void*, Accumulator<T>*,     \
      const Normalizer<Accumulator<T>>&, Accumulator<T>*, T*, T*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
