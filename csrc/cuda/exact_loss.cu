// The exact softmax loss by products of tiles: 128 hidden rows meet 128 classes, and their logits
// exist in registers alone.
//
//   forward    A block owns a tile of rows and a run of class tiles. Every thread keeps the maximum
//              and the sum of exponentials of the columns it holds; they are joined at the end of
//              the run, and by FinishLoss over the runs of a row.
//   backward   A chunk of classes at a time: the logits again, their gradient P into scratch of
//              bounded size, and its products P W (d_hidden) and P^T X (d_weights).
//
// Sums are cut by the problem alone, never by the device, and joined in a fixed order.
#include <cmath>
#include <limits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/exact_logits.h"
#include "csrc/cuda/exact_loss_hopper.h"
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
constexpr int64_t kGradientBlocks = 256;
constexpr int64_t kChunkBytes = int64_t{64} << 20;  // of P; one tile of classes at least
// Where Hopper's products take P, whose tiles are larger: as many as keep all multiprocessors busy.
constexpr int64_t kHopperChunkBytes = int64_t{256} << 20;
constexpr int64_t kHopperBlocks = 132;

constexpr int64_t kPanelBytes = int64_t{kTile} * kPanelRowBytes;

__device__ __forceinline__ float Exp(float x) { return FastExp2(x * 1.44269504f); }
__device__ __forceinline__ double Exp(double x) { return exp(x); }
__device__ __forceinline__ float Max(float x, float y) { return fmaxf(x, y); }  // no NaN if it can
__device__ __forceinline__ double Max(double x, double y) { return fmax(x, y); }

// How the gradient of the logits of a row is made of their exponentials:
// factor * exp(z - max) - shift, and target less for every label.
template <typename A>
struct alignas(4 * sizeof(A)) RowGradientTerms {
  A max, factor, shift, target;
};

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
__global__ void __launch_bounds__(kThreads, Products::kBlocks)
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

  const auto bias_of = [&](int64_t tile) -> A {
    const int64_t c = tile * kTile + threadIdx.x;
    if (c >= operands.classes) return -std::numeric_limits<A>::infinity();
    return operands.biases == nullptr ? A{0} : static_cast<A>(ToFloat(operands.biases[c]));
  };
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

  // Of the four rows that a thread has columns of.
  constexpr int kRows = 2 * kPiecesM;
  const auto row_of = [&](int i) { return row0 + m0 + 8 * i + group; };
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

    // The logits of the tile.
    const A* const tile_biases = biases + tile % 2 * kTile + n0;
    const int64_t class0 = tile * kTile + n0;
    const int64_t left = operands.classes - class0;
    const int valid = left < kWarpN ? static_cast<int>(left) : kWarpN;  // columns of this warp
#pragma unroll
    for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        const A bias = tile_biases[8 * j + pair + q];
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          A& z = c[i / 2][j][i % 2 * 2 + q];
          z = operands.scale * z + bias;
        }
      }
    }
    if (operands.softcap != 0) {
#pragma unroll
      for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          if (8 * j + pair + q >= valid) continue;  // stays -inf
#pragma unroll
          for (int i = 0; i < kRows; ++i) {
            A& z = c[i / 2][j][i % 2 * 2 + q];
            z = operands.softcap * tanh(z / operands.softcap);
          }
        }
      }
    }
    // use(logit, index of the label) for labels of row i that are among these columns.
    const auto for_labels = [&](int i, auto use) {
      if (row_of(i) >= operands.batch) return;
      for (int64_t k = 0; k < operands.num_true; ++k) {
        const int64_t index = row_of(i) * operands.num_true + k;
        const int64_t label = operands.labels[index];
        if (label < class0 || label >= class0 + valid || operands.Ignored(label)) continue;
        const int column = static_cast<int>(label - class0);
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
          for (int q = 0; q < 2; ++q) {
            if (column == 8 * j + pair + q) use(c[i / 2][j][i % 2 * 2 + q], index);
          }
        }
      }
    };

    if constexpr (!kGradient) {
      int now = 0;  // classes of this thread
      if (results.smoothing) {
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
          now += (8 * j + pair < valid) + (8 * j + pair + 1 < valid);
        }
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        for_labels(i, [&](A& z, int64_t index) { results.label_logits[index] = z; });
        A largest = max[i];
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
          largest = Max(largest, Max(c[i / 2][j][i % 2 * 2], c[i / 2][j][i % 2 * 2 + 1]));
        }
        // Where every logit is -inf the differences would be NaN: any finite reference will do.
        const A base = largest == -std::numeric_limits<A>::infinity() ? A{0} : largest;
        const A drop = sum_exp[i] == 0 ? A{0} : max[i] - base;
        if (results.smoothing) {
          A shifted = 0;
#pragma unroll
          for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
            for (int q = 0; q < 2; ++q) {
              if (8 * j + pair + q < valid) shifted += c[i / 2][j][i % 2 * 2 + q] - base;
            }
          }
          sum_shifted[i] += met * drop + shifted;
        }
        A sum = 0;  // of this tile: short sums round less
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
          for (int q = 0; q < 2; ++q) sum += Exp(c[i / 2][j][i % 2 * 2 + q] - base);
        }
        sum_exp[i] = sum_exp[i] * Exp(drop) + sum;
        max[i] = largest;
      }
      met += static_cast<A>(now);
    } else {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const RowGradientTerms<A> row = results.terms[row_of(i)];
        const bool active = operands.active[row_of(i)] != 0;
        const A factor = unit * row.factor, shift = unit * row.shift, target = unit * row.target;
        const auto fill = [&](auto after) {
#pragma unroll
          for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
            for (int q = 0; q < 2; ++q) {
              A& z = c[i / 2][j][i % 2 * 2 + q];
              after(z, 2 * j + q);
              z = active ? factor * Exp(z - row.max) - shift : A{0};
            }
          }
          if (active) for_labels(i, [&](A& p, int64_t) { p -= target; });
        };
        if (operands.softcap == 0) {
          fill([](A, int) {});
          continue;
        }
        A slopes[2 * kPiecesN];
        fill([&](A z, int k) {
          const A tangent = z / operands.softcap;
          slopes[k] = 1 - tangent * tangent;
        });
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
          for (int q = 0; q < 2; ++q) c[i / 2][j][i % 2 * 2 + q] *= slopes[2 * j + q];
        }
      }
      if (valid < kWarpN) {  // no classes: no gradient
#pragma unroll
        for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
          for (int q = 0; q < 2; ++q) {
            if (8 * j + pair + q < valid) continue;
#pragma unroll
            for (int i = 0; i < kRows; ++i) c[i / 2][j][i % 2 * 2 + q] = 0;
          }
        }
      }
      const int64_t column0 = (tile - first_tile) * kTile;
#pragma unroll
      for (int i = 0; results.p != nullptr && i < kRows; ++i) {
        T* const p = results.p + row_of(i) * results.pitch + column0 + n0 + pair;
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

// Where a product of the gradients of the logits goes.
template <typename Products>
struct ProductResults {
  using A = typename Products::Sum;

  int64_t rows, columns;  // of the result
  A factor;
  const uint32_t* largest;
  A* sums;  // d_hidden: [parts, rows, columns], added to where not `first`
  bool first;
  int64_t steps;                        // of k in a part
  typename Products::Element* rounded;  // d_weights: [rows, columns]
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
  const int64_t k0 = blockIdx.z * results.steps * kWidth;
  const int64_t k1 = k0 + results.steps * kWidth < count ? k0 + results.steps * kWidth : count;

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
    const int64_t row = row0 + m0 + 8 * i + group;
    if (row >= results.rows) continue;
#pragma unroll
    for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        const int64_t column = column0 + n0 + 8 * j + pair + q;
        if (column >= results.columns) continue;
        const A value = factor * c[i / 2][j][i % 2 * 2 + q];
        const int64_t at = row * results.columns + column;
        if constexpr (kOfHidden) {
          A* const sum = results.sums + blockIdx.z * results.rows * results.columns + at;
          *sum = results.first ? value : *sum + value;
        } else {
          results.rounded[at] = Round<T>(value);
        }
      }
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

// How the work is cut, which follows from the problem and the arch of the device alone.
template <typename T>
struct Sizes {
  int64_t rows, width;  // of padded hidden rows
  int64_t row_tiles, class_tiles;
  int64_t run_tiles, runs;    // class tiles of a block of the forward pass
  int64_t chunk_tiles;        // class tiles of which P is kept at a time
  int64_t chunk_run;          // class tiles of a block that computes P
  int64_t part_steps, parts;  // of a chunk, whose products with W are summed on their own

  bool hopper;  // whose products take P

  Sizes(const LossProblem<T>& p, const Device& device) : hopper(HopperProducts(p, device)) {
    const auto divide = [](int64_t x, int64_t y) { return (x + y - 1) / y; };
    constexpr int64_t kWidth = kPanelWidth<T>;
    row_tiles = divide(p.batch, kTile);
    rows = row_tiles * kTile;
    width = divide(p.dim, kWidth) * kWidth;
    class_tiles = divide(p.classes, kTile);
    run_tiles = divide(class_tiles * row_tiles, kManyBlocks);
    runs = divide(class_tiles, run_tiles);
    const int64_t chunk_bytes = hopper ? kHopperChunkBytes : kChunkBytes;
    const int64_t fitting = chunk_bytes / static_cast<int64_t>(rows * kTile * sizeof(T));
    const int64_t chunks = divide(class_tiles, std::max<int64_t>(fitting, 1));
    chunk_tiles = divide(class_tiles, chunks);
    chunk_run = std::min<int64_t>(8, divide(chunk_tiles * row_tiles, kManyBlocks / 4));
    const int64_t steps = chunk_tiles * kTile / kWidth;
    const int64_t tile_columns =
        hopper ? ::fastw2v::cuda::hopper::ProductTileColumns(p.dim) : kTile;
    const int64_t tiles = row_tiles * divide(p.dim, tile_columns);
    const int64_t blocks = hopper ? kHopperBlocks : kGradientBlocks;
    // Parts are as many as keep the device busy, if each has some work.
    part_steps = divide(steps, std::clamp<int64_t>(blocks / tiles, 1, divide(steps, 32)));
    parts = divide(steps, part_steps);
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
  A* parts;

  ExactScratch(const LossProblem<T>& problem, const Sizes<T>& sizes, Scratch* scratch)
      : hidden(scratch->Take<T>(sizes.rows * sizes.width)),
        counts(scratch->Take<int32_t>(sizes.rows)),
        sums(scratch->Take<RowSums<A>>(sizes.runs * sizes.rows)),
        label_logits(scratch->Take<A>(problem.batch * problem.num_true)),
        terms(scratch->Take<RowGradientTerms<A>>(sizes.rows)),
        active(scratch->Take<uint8_t>(sizes.rows)),
        largest(scratch->Take<uint32_t>(1)),
        p(scratch->Take<T>(sizes.rows * sizes.chunk_tiles * kTile)),
        bias_sums(scratch->Take<A>(sizes.row_tiles * sizes.chunk_tiles * kTile)),
        parts(scratch->Take<A>(sizes.parts > 1 ? sizes.parts * problem.batch * problem.dim : 0)) {}
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
    A* const hidden_sums = sizes_.parts > 1 ? scratch_.parts : d_hidden;
    for (int64_t first = 0; first < sizes_.class_tiles; first += sizes_.chunk_tiles) {
      const int64_t last = std::min(first + sizes_.chunk_tiles, sizes_.class_tiles);
      FASTW2V_RETURN_IF_ERROR(
          Chunk(first, last, d_hidden == nullptr ? nullptr : hidden_sums, d_weights, d_biases));
    }
    if (d_hidden == nullptr || sizes_.parts == 1) return Status();
    const int64_t size = p_.batch * p_.dim;
    return Launch(AddParts<Products, A>, dim3(NumBlocks(size, kThreads)), dim3(kThreads), 0,
                  stream_, scratch_.parts, sizes_.parts, size, size, nullptr, d_hidden);
  }

 private:
  // Class tiles [first, last).
  Status Chunk(int64_t first, int64_t last, A* hidden_sums, T* d_weights, T* d_biases) {
    const bool products = hidden_sums != nullptr || d_weights != nullptr;
    LogitResults<Products> results = {};
    results.terms = scratch_.terms;
    results.largest = scratch_.largest;
    results.p = products ? scratch_.p : nullptr;
    results.pitch = sizes_.chunk_tiles * kTile;
    results.bias_sums = d_biases == nullptr ? nullptr : scratch_.bias_sums;
    FASTW2V_RETURN_IF_ERROR(LaunchLogits<true>(results, first, last, sizes_.chunk_run));

    const int64_t class0 = first * kTile;
    const int64_t classes = std::min(last * kTile, p_.classes) - class0;
    if (d_biases != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Launch(AddParts<Products, T>, dim3(NumBlocks(classes, kThreads)),
                                     dim3(kThreads), 0, stream_, scratch_.bias_sums,
                                     sizes_.row_tiles, results.pitch, classes, scratch_.largest,
                                     d_biases + class0));
    }
    const A scale = static_cast<A>(p_.options.logit_scale);
    const Matrix<T> p = MakeMatrix<T>(scratch_.p, sizes_.rows, results.pitch, results.pitch);
    ProductResults<Products> product = {};
    product.columns = p_.dim;
    product.largest = scratch_.largest;
    const unsigned columns = NumBlocks(p_.dim, kTile);
    if constexpr (sizeof(T) == 2) {
      if (sizes_.hopper) return HopperChunk(class0, classes, hidden_sums, d_weights);
    }
    if (hidden_sums != nullptr) {
      const T* const weights = p_.weights + class0 * p_.dim;
      product.rows = p_.batch;
      product.factor = scale;
      product.sums = hidden_sums;
      product.first = first == 0;
      product.steps = sizes_.part_steps;
      FASTW2V_RETURN_IF_ERROR(
          Launch(MultiplyGradient<Products, true>,
                 dim3(sizes_.row_tiles, columns, static_cast<unsigned>(sizes_.parts)),
                 dim3(kThreads), 2 * kStages * kPanelBytes, stream_, operands_.products, p,
                 MakeMatrix<T>(weights, classes, p_.dim, p_.dim), product));
    }
    if (d_weights == nullptr) return Status();
    product.rows = classes;
    product.factor = operands_.scale;
    product.steps = sizes_.rows;  // all
    product.rounded = d_weights + class0 * p_.dim;
    return Launch(MultiplyGradient<Products, false>,
                  dim3(static_cast<unsigned>(last - first), columns), dim3(kThreads),
                  2 * kStages * kPanelBytes, stream_, operands_.products, p, operands_.hidden,
                  product);
  }

  // The products of P with `classes` classes from class0 on.
  Status HopperChunk(int64_t class0, int64_t classes, A* hidden_sums, T* d_weights) {
    hopper::GradientProduct<T> product;
    product.p = scratch_.p;
    product.p_rows = sizes_.rows;
    product.pitch = sizes_.chunk_tiles * kTile;
    product.columns = p_.dim;
    product.largest = scratch_.largest;
    if (hidden_sums != nullptr) {
      product.other = p_.weights + class0 * p_.dim;
      product.other_rows = classes;
      product.other_columns = p_.dim;
      product.rows = p_.batch;
      product.factor = static_cast<float>(p_.options.logit_scale);
      product.sums = hidden_sums;
      product.parts = sizes_.parts;
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
