// Three warpgroups a block: one brings tiles, two multiply. Each of these two takes turns between
// the tensor cores and its exponentials, so that both are busy.
//
//   forward   a block owns 128 or 256 rows of hidden and meets a range of classes, 128 at a time;
//             each thread keeps the running maximum and sum of what it sees of its rows. Rows up to
//             a width of 512 stay in shared memory, wider ones come again with every tile of
//             classes.
//   backward  a block owns 128 rows of one operand, meets the rows of the other and computes their
//             logits again. The gradients of the logits go from the accumulators straight into the
//             left operand of the second product, whose right operand is the tile that is there
//             already, read across. Once with blocks that own hidden rows (d_hidden, in partial
//             sums per range of classes that are added in their order), once with blocks that own
//             classes (d_weights, d_biases).
//
// In cycles of a multiprocessor a logit costs D / 2048 for its product and 1/16 for MUFU.EX2: as
// much at D = 128. An eighth of the forward pass' exponentials is a polynomial on the other pipes:
// at D = 128, of 2048 cycles of tensor cores, MUFU is then busy for 1920, and 1700 of the slots in
// which a scheduler can issue are taken (a quarter: 1660 and 2020).
#include <algorithm>

#include "csrc/core/scratch.h"
#include "csrc/cuda/exact_logits.h"
#include "csrc/cuda/exact_loss_hopper.h"
#include "csrc/cuda/hopper_tiles.h"

namespace fastw2v::cuda::hopper {

namespace {

constexpr int kForwardClasses = 128;  // of a tile
constexpr int kStageBytes = kForwardClasses * kChunkRowBytes;
constexpr int kBiasSlots = 4;
constexpr int kCopiesAhead =
    2;  // groups of a producer's copies under way when it asks for the next
constexpr int kStayingChunks = 8;
constexpr int kBiasBytes = kBiasSlots * kForwardClasses * static_cast<int>(sizeof(float));
constexpr int kOwnRows = 128;  // of a block of the backward pass

constexpr float kLog2E = 1.44269504f;
// Below every logit but -inf; its multiple by kLog2E is finite.
constexpr float kLowest = -1.7e38f;

enum Label { kIgnoredLabel = -1, kInvalidLabel = -2 };  // or an id with no row

// 2^x for x <= 0 by a polynomial, relative error 1.6e-7; 2^-126 for what is below.
__device__ __forceinline__ float PolynomialExp2(float x) {
  constexpr float kShift = 12582912.0f + 127;  // 1.5 * 2^23: the sum's last bits are round(x) + 127
  x = x < -126 ? -126 : x;                     // NaN stays
  const float shifted = x + kShift;
  const float f = x - (shifted - kShift);
  float y = 0.0013264727f;
  y = fmaf(y, f, 0.009671513f);
  y = fmaf(y, f, 0.055507336f);
  y = fmaf(y, f, 0.24022242f);
  y = fmaf(y, f, 0.693147f);
  y = fmaf(y, f, 1.0f);
  return y * __uint_as_float(__float_as_uint(shifted) << 23);
}

// Number `i` of a thread's exponentials of the forward pass.
__device__ __forceinline__ float Exp2(float x, int i) {
  return i % 8 == 7 ? PolynomialExp2(x) : FastExp2(x);
}

// max in the exponent of 2, rounded: exponentials are 2^(z * kLog2E - base) with one rounding, and
// what the base is away from max is set right once for a sum.
__device__ __forceinline__ float Base(float max) { return __fmul_rn(max, kLog2E); }

// Barriers of the rings of stages; shared memory ends with them.
struct Barriers {
  Barrier full[kMaxStages], empty[kMaxStages];
  Barrier bias_full[kBiasSlots], bias_empty[kBiasSlots];
  Barrier resident;
};

// ---- before and after

// Copies hidden rows, with zeros up to a multiple of kChunkColumns, and looks at ids and labels.
template <typename T>
__global__ void __launch_bounds__(256)
    PrepareKernel(const T* hidden, const int64_t* ids, int64_t hidden_rows, const int64_t* labels,
                  bool has_ignore_label, int64_t ignore_label, int batch, int classes, int dim,
                  int padded_dim, T* rows, int* row_labels) {
  const int b = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (b >= batch) return;
  const int lane = threadIdx.x % kWarp;
  const int64_t id = ids == nullptr ? b : ids[b];
  const bool valid = ids == nullptr || (id >= 0 && id < hidden_rows);
  const auto* const from = reinterpret_cast<const uint32_t*>(hidden + (valid ? id : 0) * dim);
  auto* const to = reinterpret_cast<uint32_t*>(rows + static_cast<int64_t>(b) * padded_dim);
  for (int i = lane; i < padded_dim / 2; i += kWarp) {
    to[i] = valid && i < dim / 2 ? from[i] : 0;
  }
  if (lane != 0) return;
  const int64_t label = labels[b];
  int row_label = static_cast<int>(label);
  if (has_ignore_label && label == ignore_label) {
    row_label = kIgnoredLabel;
  } else if (label < 0 || label >= classes) {
    row_label = kInvalidLabel;
  }
  row_labels[b] = valid ? row_label : kInvalidLabel;
}

// Sums over a range of classes, [splits, batch] each. sum_exp is relative to 2^Base(max).
struct PartialSums {
  float *max, *sum_exp, *sum_shifted;
};

__global__ void __launch_bounds__(256)
    FinishKernel(PartialSums sums, const float* label_logits, const int* labels,
                 ExactTerms<float> terms, int batch, int classes, int class_tiles, int splits,
                 float* loss, float* max, float* log_sum) {
  const int b = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (b >= batch) return;
  const int label = labels[b];
  if (label < 0) {
    max[b] = log_sum[b] = 0;
    loss[b] = label == kIgnoredLabel ? 0.0f : __uint_as_float(0x7FC00000);
    return;
  }
  float largest = kLowest;
  for (int s = 0; s < splits; ++s) largest = fmaxf(largest, sums.max[int64_t{s} * batch + b]);
  const float base = Base(largest);
  float sum_exp = 0, sum_shifted = 0;
  for (int s = 0; s < splits; ++s) {
    const int64_t i = int64_t{s} * batch + b;
    sum_exp += sums.sum_exp[i] * exp2f(Base(sums.max[i]) - base);
    if (terms.label_smoothing == 0) continue;
    const int64_t begin = int64_t{class_tiles} * s / splits * kForwardClasses;
    const int64_t end = int64_t{class_tiles} * (s + 1) / splits * kForwardClasses;
    const float count = static_cast<float>((end < classes ? end : classes) - begin);
    sum_shifted += sums.sum_shifted[i] + count * (sums.max[i] - largest);
  }
  // From the rounded base to the maximum itself; never below 0, as the largest term is among them.
  const float rounding = fmaf(largest, kLog2E, -base);
  const float total = logf(sum_exp * exp2f(-rounding));
  max[b] = largest;
  log_sum[b] = total < 0 ? 0 : total;
  loss[b] = terms.Loss(largest, log_sum[b], largest - label_logits[b], sum_shifted);
}

// ---- forward

template <typename T>
struct ForwardArguments {
  Source<T> hidden, weights;
  const T* biases;
  const int* labels;
  int batch, classes;
  int chunks;  // of 64 columns, in a row
  int class_tiles, stages;
  float logit_scale;
  bool sums_logits;
  PartialSums sums;
  float* label_logits;
};

// What one warpgroup of the forward pass does that brings tiles [first, last) of classes.
// kStays: the hidden rows are brought once, to `own`; otherwise in every stage, after the weights.
template <int kOwnBytes, bool kStays, typename T>
__device__ __forceinline__ void ProduceForward(const ForwardArguments<T>& p, unsigned char* own,
                                               unsigned char* stages, float* biases,
                                               Barriers* barriers, int own_row, int first,
                                               int last) {
  constexpr int kRows = kOwnBytes / kChunkRowBytes;
  constexpr int kMovingBytes = kStays ? 0 : kOwnBytes;
  constexpr int kStageStride = kStageBytes + kMovingBytes;
  const int warp = threadIdx.x % kWarpgroup / kWarp, lane = threadIdx.x % kWarp;
  if (kStays && warp == 0 && lane == 0) {
    ArriveExpecting(&barriers->resident, p.chunks * kOwnBytes);
    for (int c = 0; c < p.chunks; ++c) {
      LoadChunk(own + c * kOwnBytes, p.hidden, own_row, kRows, c * kChunkColumns,
                &barriers->resident);
    }
  }
  const auto load_own = [&](unsigned char* stage, int chunk, Barrier* full) {
    if constexpr (!kStays) {
      LoadChunk(stage + kStageBytes, p.hidden, own_row, kRows, chunk * kChunkColumns, full);
    }
  };
  const bool mapped = p.weights.mapped;
  const auto fill_biases = [&](int tile, Turn turn, int thread, int threads) {
    Wait(&barriers->bias_empty[turn.stage], turn.parity ^ 1);
    for (int i = thread; i < kForwardClasses; i += threads) {
      const int c = tile * kForwardClasses + i;
      float bias = p.biases == nullptr || c >= p.classes ? 0 : ToFloat(p.biases[c]);
      if (c >= p.classes) bias = -INFINITY;  // does not compete
      biases[turn.stage * kForwardClasses + i] = bias;
    }
    Arrive(&barriers->bias_full[turn.stage]);
  };
  if (mapped && warp == 0 && lane == 0) {
    Turn turn;
    for (int tile = first; tile < last; ++tile) {
      for (int c = 0; c < p.chunks; ++c) {
        Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
        unsigned char* const stage = stages + turn.stage * kStageStride;
        ArriveExpecting(&barriers->full[turn.stage], kStageStride);
        load_own(stage, c, &barriers->full[turn.stage]);
        LoadChunk(stage, p.weights, tile * kForwardClasses, kForwardClasses, c * kChunkColumns,
                  &barriers->full[turn.stage]);
        turn.Next(p.stages);
      }
    }
  } else if (mapped && warp == 1) {
    Turn turn;
    for (int tile = first; tile < last; ++tile, turn.Next(kBiasSlots)) {
      fill_biases(tile, turn, lane, kWarp);
    }
  } else if (!mapped) {
    Turn turn, bias_turn;
    int under_way = 0, oldest = 0;
    const auto publish = [&] {
      FenceAsyncProxy();
      Arrive(&barriers->full[oldest]);
      if (++oldest == p.stages) oldest = 0;
      --under_way;
    };
    for (int tile = first; tile < last; ++tile, bias_turn.Next(kBiasSlots)) {
      fill_biases(tile, bias_turn, threadIdx.x % kWarpgroup, kWarpgroup);
      for (int c = 0; c < p.chunks; ++c) {
        Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
        unsigned char* const stage = stages + turn.stage * kStageStride;
        if (!kStays && threadIdx.x % kWarpgroup == 0) {
          ArriveExpecting(&barriers->full[turn.stage], kMovingBytes);
          load_own(stage, c, &barriers->full[turn.stage]);
        }
        CopyChunk(stage, p.weights, tile * kForwardClasses, kForwardClasses, c * kChunkColumns);
        CommitCopies();
        turn.Next(p.stages);
        if (++under_way <= kCopiesAhead) continue;
        WaitForCopies<kCopiesAhead>();
        publish();
      }
    }
    WaitForCopies<0>();
    while (under_way > 0) publish();
  }
}

// kTiles: of 64 rows, for each of the two warpgroups that multiply.
template <typename T, int kTiles, bool kStays>
__global__ void __launch_bounds__(kThreads, 1)
    ForwardKernel(const __grid_constant__ ForwardArguments<T> p) {
  constexpr int kRows = 2 * 64 * kTiles, kOwnBytes = kRows * kChunkRowBytes;
  constexpr int kStageStride = kStageBytes + (kStays ? 0 : kOwnBytes);
  unsigned char* const own = SharedMemory();
  unsigned char* const stages = own + (kStays ? p.chunks * kOwnBytes : 0);
  auto* const biases = reinterpret_cast<float*>(stages + p.stages * kStageStride);
  auto* const barriers = reinterpret_cast<Barriers*>(biases + kBiasSlots * kForwardClasses);
  const int warpgroup = threadIdx.x / kWarpgroup;
  const int own_row = static_cast<int>(blockIdx.x) * kRows;
  const int split = static_cast<int>(blockIdx.y), splits = static_cast<int>(gridDim.y);
  const int first = static_cast<int>(int64_t{p.class_tiles} * split / splits);
  const int last = static_cast<int>(int64_t{p.class_tiles} * (split + 1) / splits);

  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      Init(&barriers->full[i], p.weights.mapped ? 1 : kWarpgroup + (kStays ? 0 : 1));
      Init(&barriers->empty[i], kConsumerWarps);
    }
    for (int i = 0; i < kBiasSlots; ++i) {
      Init(&barriers->bias_full[i], p.weights.mapped ? kWarp : kWarpgroup);
      Init(&barriers->bias_empty[i], kConsumerWarps);
    }
    Init(&barriers->resident, 1);
    FenceInit();
  }
  __syncthreads();

  if (warpgroup == 0) {
    ShrinkRegisters<kProducerRegisters>();
    ProduceForward<kOwnBytes, kStays>(p, own, stages, biases, barriers, own_row, first, last);
  } else {
    GrowRegisters<kConsumerRegisters>();
    const int consumer = warpgroup - 1, lane = threadIdx.x % kWarp;
    // Of the first of the thread's rows; the others are 8 and multiples of 64 further.
    const int row =
        own_row + consumer * 64 * kTiles + threadIdx.x % kWarpgroup / kWarp * 16 + lane / 4;
    int label[kTiles][2];
    float max[kTiles][2], base[kTiles][2], sum[kTiles][2], shifted[kTiles][2];
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int b = row + 64 * r + 8 * half;
        label[r][half] = b < p.batch ? p.labels[b] : kIgnoredLabel;
        max[r][half] = kLowest;
        base[r][half] = Base(kLowest);
        sum[r][half] = shifted[r][half] = 0;
      }
    }
    const uint64_t left =
        Operand((kStays ? own : stages + kStageBytes) + consumer * kTiles * 64 * kChunkRowBytes);
    const uint64_t right = Operand(stages);
    if (kStays) Wait(&barriers->resident, 0);

    // The warpgroups multiply in turns: barrier 1 + i is the turn of number i. The first one then
    // needs all chunks of a tile before the other gives a stage back, and producers that copy are
    // two stages behind with what they publish. Where there are not so many stages, both go on
    // together and number 1 starts some chunks later.
    const bool in_turns = p.stages >= p.chunks + kCopiesAhead;
    const int later =
        p.chunks / 2 < p.stages - kCopiesAhead ? p.chunks / 2 : p.stages - 1 - kCopiesAhead;
    if (in_turns && consumer == 1) NamedArrive(1, 2 * kWarpgroup);
    Turn turn, bias_turn;
    int classes_met = 0;
    for (int tile = first; tile < last; ++tile) {
      float z[kTiles][64];
      if (in_turns || (consumer == 1 && tile == first)) NamedBarrier(1 + consumer, 2 * kWarpgroup);
      int before = 0;
      for (int c = 0; c < p.chunks; ++c) {
        const int chunk = kStays ? c * kOwnBytes : turn.stage * kStageStride;
        Wait(&barriers->full[turn.stage], turn.parity);
        FenceProducts();
#pragma unroll
        for (int k = 0; k < 4; ++k) {
#pragma unroll
          for (int r = 0; r < kTiles; ++r) {
            Multiply<T, Major::kDepth, Major::kDepth>(
                z[r], Advance(left, chunk + r * 64 * kChunkRowBytes + k * 32),
                Advance(right, turn.stage * kStageStride + k * 32), c + k > 0);
          }
        }
        CommitProducts();
        if (!in_turns && consumer == 0 && tile == first && c == later) {
          NamedArrive(2, 2 * kWarpgroup);
        }
        if (c > 0) {
          WaitForProducts<1>();
          ArriveWarp(&barriers->empty[before]);
        }
        before = turn.stage;
        turn.Next(p.stages);
      }
      if (in_turns && (consumer == 0 || tile + 1 < last)) {
        NamedArrive(2 - consumer, 2 * kWarpgroup);
      }
      WaitForProducts<0>();
      ArriveWarp(&barriers->empty[before]);
#pragma unroll
      for (int r = 0; r < kTiles; ++r) TakeProducts(z[r]);

      Wait(&barriers->bias_full[bias_turn.stage], bias_turn.parity);
      const auto* const bias =
          reinterpret_cast<const float2*>(biases + bias_turn.stage * kForwardClasses) + lane % 4;
#pragma unroll
      for (int j = 0; j < kForwardClasses / 8; ++j) {
        const float2 pair = bias[4 * j];
#pragma unroll
        for (int r = 0; r < kTiles; ++r) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            z[r][4 * j + i] = fmaf(z[r][4 * j + i], p.logit_scale, i % 2 == 0 ? pair.x : pair.y);
          }
        }
      }
      ArriveWarp(&barriers->bias_empty[bias_turn.stage]);
      bias_turn.Next(kBiasSlots);

#pragma unroll
      for (int r = 0; r < kTiles; ++r) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const auto at = [&](int i) { return z[r][i / 2 * 4 + 2 * half + i % 2]; };
          float largest = max[r][half];
#pragma unroll
          for (int i = 0; i < 32; ++i) largest = fmaxf(largest, at(i));
          const float new_base = Base(largest);
          float total = sum[r][half] * FastExp2(base[r][half] - new_base);
#pragma unroll
          for (int i = 0; i < 32; ++i) total += Exp2(fmaf(at(i), kLog2E, -new_base), i);
          sum[r][half] = total;
          if (p.sums_logits) {
            float below = static_cast<float>(classes_met) * (max[r][half] - largest);
#pragma unroll
            for (int i = 0; i < 32; ++i) {
              const int c = tile * kForwardClasses + i / 2 * 8 + 2 * (lane % 4) + i % 2;
              if (c < p.classes) below += at(i) - largest;
            }
            shifted[r][half] += below;
          }
          max[r][half] = largest;
          base[r][half] = new_base;

          const int column = label[r][half] - tile * kForwardClasses;
          if (static_cast<unsigned>(column) < kForwardClasses && column % 8 / 2 == lane % 4) {
            float found = 0;
#pragma unroll
            for (int i = 0; i < 32; ++i) {
              if (i == column / 8 * 2 + column % 2) found = at(i);
            }
            p.label_logits[row + 64 * r + 8 * half] = found;
          }
        }
      }
      if (p.sums_logits) {
#pragma unroll
        for (int i = 0; i < 32; ++i) {
          classes_met +=
              tile * kForwardClasses + i / 2 * 8 + 2 * (lane % 4) + i % 2 < p.classes ? 1 : 0;
        }
      }
    }

    // Four lanes have met a row, each a part of the classes.
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = max[r][half];
        for (int bits = 1; bits <= 2; bits *= 2) {
          largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, bits));
        }
        const float total = WarpSum(sum[r][half] * FastExp2(base[r][half] - Base(largest)), 4);
        const float below = WarpSum(
            shifted[r][half] + static_cast<float>(classes_met) * (max[r][half] - largest), 4);
        const int b = row + 64 * r + 8 * half;
        if (lane % 4 != 0 || b >= p.batch) continue;
        const int64_t i = int64_t{split} * p.batch + b;
        p.sums.max[i] = largest;
        p.sums.sum_exp[i] = total;
        if (p.sums_logits) p.sums.sum_shifted[i] = below;
      }
    }
  }
}

// ---- backward

// Of each hidden row: the gradient of a logit is factor * 2^(z * kLog2E - base) - shift, and target
// less where the class is the label. Rows without a gradient have a base of infinity and zeros.
struct RowGradients {
  float *base, *factor, *shift, *target;
  int* labels;
  uint32_t* largest;  // see GradientUnit in exact_logits.h
};

__global__ void __launch_bounds__(256)
    RowGradientsKernel(RowGradients rows, const float* d_loss, const float* max,
                       const float* log_sum, ExactTerms<float> terms, int batch) {
  const int b = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (b >= batch) return;
  rows.base[b] = INFINITY;
  rows.factor[b] = rows.shift[b] = rows.target[b] = 0;
  if (rows.labels[b] < 0) return;
  const auto gradient = terms.LogitGradient(d_loss[b], max[b], log_sum[b], 1);
  rows.base[b] = Base(max[b]);
  // 2^(z * kLog2E - base) is exp(z - max) but for the rounding of the base.
  const float rounding = fmaf(max[b], kLog2E, -rows.base[b]);
  rows.factor[b] = gradient.scale * expf(-log_sum[b]) * exp2f(-rounding);
  rows.shift[b] = gradient.shift;
  rows.target[b] = gradient.target;
  const uint32_t bound =
      __float_as_uint(fabsf(gradient.scale) + fabsf(gradient.shift) + fabsf(gradient.target));
  if (bound < 0x7F800000) atomicMax(rows.largest, bound);  // not of Inf and NaN
}

template <typename T>
struct BackwardArguments {
  Source<T> own;  // a block's rows
  Source<T> met;  // go by, tile after tile
  const T* biases;
  RowGradients rows;
  int dim;
  int tiles, stages;  // of met rows
  float logit_scale;
  float* d_hidden;  // own: hidden; [splits, own.count, dim]
  T* d_weights;     // own: weights; may be null
  T* d_biases;      // may be null
};

// How a block of the backward pass is cut. kChunks: of 64 columns, in a row.
template <int kChunks>
struct BackwardShape {
  static constexpr int kMetRows = kChunks <= 2 ? 128 : 64;  // of a tile
  static constexpr int kOwnChunkBytes = kOwnRows * kChunkRowBytes;
  static constexpr int kMetChunkBytes = kMetRows * kChunkRowBytes;
  static constexpr int kOwnBytes = kChunks * kOwnChunkBytes;
  static constexpr int kMetBytes = kChunks * kMetChunkBytes;
  static constexpr int kOutColumns = kChunks == 1 ? 64 : 128;  // of one product
  static constexpr int kOuts = kChunks * 64 / kOutColumns;
  // What consumers have to know of the rows of a tile: biases (classes), or what RowGradients
  // holds (hidden rows), and whether one of the labels is a class of the block.
  struct Side {
    float base[kMetRows];  // or the bias
    float factor[kMetRows], shift[kMetRows], target[kMetRows];
    int label[kMetRows];  // relative to the first class of the block
    int has_label, unused[3];
  };
};

template <bool kOwnsClasses, typename Side, typename T>
__device__ __forceinline__ void FillSide(const BackwardArguments<T>& p, Side* side, int rows,
                                         int first_row, int own_row, int thread, int threads) {
  if (thread == 0) side->has_label = 0;
  const float unit = GradientUnit<T>(p.rows.largest, /*inverse=*/false);
  for (int i = thread; i < rows; i += threads) {
    const int row = first_row + i;
    const bool valid = row < p.met.count;
    if constexpr (kOwnsClasses) {
      side->base[i] = valid ? p.rows.base[row] : INFINITY;
      side->factor[i] = valid ? unit * p.rows.factor[row] : 0;
      side->shift[i] = valid ? unit * p.rows.shift[row] : 0;
      side->target[i] = valid ? unit * p.rows.target[row] : 0;
      side->label[i] = valid ? p.rows.labels[row] - own_row : -1;
    } else {
      const bool has_bias = valid && p.biases != nullptr;
      side->base[i] = has_bias ? ToFloat(p.biases[row]) : (valid ? 0 : -INFINITY);
    }
  }
}

template <bool kOwnsClasses, int kChunks, typename T>
__device__ __forceinline__ void ProduceBackward(const BackwardArguments<T>& p, unsigned char* own,
                                                unsigned char* stages,
                                                typename BackwardShape<kChunks>::Side* sides,
                                                Barriers* barriers, int own_row, int first,
                                                int last) {
  using Shape = BackwardShape<kChunks>;
  const int thread = threadIdx.x % kWarpgroup, warp = thread / kWarp, lane = thread % kWarp;
  if (p.own.mapped) {
    if (thread == 0) {
      ArriveExpecting(&barriers->resident, Shape::kOwnBytes);
      for (int c = 0; c < kChunks; ++c) {
        LoadChunk(own + c * Shape::kOwnChunkBytes, p.own, own_row, kOwnRows, c * kChunkColumns,
                  &barriers->resident);
      }
    }
  } else {
    for (int c = 0; c < kChunks; ++c) {
      CopyChunk(own + c * Shape::kOwnChunkBytes, p.own, own_row, kOwnRows, c * kChunkColumns);
    }
    CommitCopies();
    WaitForCopies<0>();
    FenceAsyncProxy();
    Arrive(&barriers->resident);
  }

  const auto fill = [&](int tile, int stage, int thread_of, int threads) {
    FillSide<kOwnsClasses>(p, &sides[stage], Shape::kMetRows, tile * Shape::kMetRows, own_row,
                           thread_of, threads);
  };
  Turn turn;
  if (p.met.mapped && thread == 0) {
    for (int tile = first; tile < last; ++tile, turn.Next(p.stages)) {
      Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
      ArriveExpecting(&barriers->full[turn.stage], Shape::kMetBytes);
      for (int c = 0; c < kChunks; ++c) {
        LoadChunk(stages + turn.stage * Shape::kMetBytes + c * Shape::kMetChunkBytes, p.met,
                  tile * Shape::kMetRows, Shape::kMetRows, c * kChunkColumns,
                  &barriers->full[turn.stage]);
      }
    }
  } else if (p.met.mapped && warp == 1) {
    for (int tile = first; tile < last; ++tile, turn.Next(p.stages)) {
      Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
      fill(tile, turn.stage, lane, kWarp);
      if constexpr (kOwnsClasses) {
        bool found = false;
        for (int i = lane; i < Shape::kMetRows; i += kWarp) {
          found |= static_cast<unsigned>(sides[turn.stage].label[i]) < kOwnRows;
        }
        found = __any_sync(kAllLanes, found);
        if (lane == 0) sides[turn.stage].has_label = found ? 1 : 0;
      }
      Arrive(&barriers->full[turn.stage]);
    }
  } else if (!p.met.mapped) {
    // Classes go by here: hidden rows are always mapped.
    constexpr int kAhead = 1;
    int under_way = 0, oldest = 0;
    const auto publish = [&] {
      FenceAsyncProxy();
      Arrive(&barriers->full[oldest]);
      if (++oldest == p.stages) oldest = 0;
      --under_way;
    };
    for (int tile = first; tile < last; ++tile, turn.Next(p.stages)) {
      Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
      fill(tile, turn.stage, thread, kWarpgroup);
      for (int c = 0; c < kChunks; ++c) {
        CopyChunk(stages + turn.stage * Shape::kMetBytes + c * Shape::kMetChunkBytes, p.met,
                  tile * Shape::kMetRows, Shape::kMetRows, c * kChunkColumns);
      }
      CommitCopies();
      if (++under_way <= kAhead) continue;
      WaitForCopies<kAhead>();
      publish();
    }
    WaitForCopies<0>();
    while (under_way > 0) publish();
  }
}

template <typename T, int kChunks, bool kOwnsClasses>
__global__ void __launch_bounds__(kThreads, 1)
    BackwardKernel(const __grid_constant__ BackwardArguments<T> p) {
  using Shape = BackwardShape<kChunks>;
  using Side = typename Shape::Side;
  constexpr int kMetRows = Shape::kMetRows;
  unsigned char* const own = SharedMemory();
  unsigned char* const stages = own + Shape::kOwnBytes;
  auto* const sides = reinterpret_cast<Side*>(stages + p.stages * Shape::kMetBytes);
  auto* const barriers = reinterpret_cast<Barriers*>(sides + p.stages);
  const int warpgroup = threadIdx.x / kWarpgroup;
  const int own_row = static_cast<int>(blockIdx.x) * kOwnRows;
  const int split = static_cast<int>(blockIdx.y), splits = static_cast<int>(gridDim.y);
  const int first = static_cast<int>(int64_t{p.tiles} * split / splits);
  const int last = static_cast<int>(int64_t{p.tiles} * (split + 1) / splits);

  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      Init(&barriers->full[i], p.met.mapped ? 1 + kWarp : kWarpgroup);
      Init(&barriers->empty[i], kConsumerWarps);
    }
    Init(&barriers->resident, p.own.mapped ? 1 : kWarpgroup);
    FenceInit();
  }
  __syncthreads();

  if (warpgroup == 0) {
    ShrinkRegisters<kProducerRegisters>();
    ProduceBackward<kOwnsClasses, kChunks>(p, own, stages, sides, barriers, own_row, first, last);
  } else {
    GrowRegisters<kConsumerRegisters>();
    const int consumer = warpgroup - 1, lane = threadIdx.x % kWarp;
    // The thread's first row in the block; the second is 8 further.
    const int place = consumer * 64 + threadIdx.x % kWarpgroup / kWarp * 16 + lane / 4;
    float own_base[2], own_factor[2], own_shift[2], own_target[2];  // hidden rows
    int own_label[2];
    float own_bias[2], bias_sum[2] = {0, 0};  // classes
    const float unit = GradientUnit<T>(p.rows.largest, /*inverse=*/false);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = own_row + place + 8 * half;
      const bool valid = row < p.own.count;
      if constexpr (kOwnsClasses) {
        own_bias[half] = valid && p.biases != nullptr ? ToFloat(p.biases[row]) : 0;
      } else {
        own_base[half] = valid ? p.rows.base[row] : INFINITY;
        own_factor[half] = valid ? unit * p.rows.factor[row] : 0;
        own_shift[half] = valid ? unit * p.rows.shift[row] : 0;
        own_target[half] = valid ? unit * p.rows.target[row] : 0;
        own_label[half] = valid ? p.rows.labels[row] : kIgnoredLabel;
      }
    }
    const uint64_t left = Operand(own + consumer * 64 * kChunkRowBytes);
    const uint64_t right = Operand(stages);
    const uint64_t across = Operand(stages, 1024, Shape::kMetChunkBytes);
    float out[Shape::kOuts][Shape::kOutColumns / 2];
#pragma unroll
    for (int o = 0; o < Shape::kOuts; ++o) {
#pragma unroll
      for (int i = 0; i < Shape::kOutColumns / 2; ++i) out[o][i] = 0;
    }
    float z[kMetRows / 2];
    uint32_t gradients[kMetRows / 16][4];
    const auto multiply_logits = [&](int stage) {
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const uint64_t a = Advance(left, c * Shape::kOwnChunkBytes + k * 32);
          const uint64_t b =
              Advance(right, stage * Shape::kMetBytes + c * Shape::kMetChunkBytes + k * 32);
          if (c + k == 0) {
            MultiplyFirst<T, Major::kDepth, Major::kDepth>(z, a, b);
          } else {
            Multiply<T, Major::kDepth, Major::kDepth>(z, a, b, true);
          }
        }
      }
      CommitProducts();
    };
    const auto multiply_gradients = [&](int stage) {
#pragma unroll
      for (int k = 0; k < kMetRows / 16; ++k) {
#pragma unroll
        for (int o = 0; o < Shape::kOuts; ++o) {
          constexpr int kOutBytes = Shape::kOutColumns / kChunkColumns * Shape::kMetChunkBytes;
          MultiplyAdd<T, Major::kLength>(
              out[o], gradients[k],
              Advance(across, stage * Shape::kMetBytes + o * kOutBytes + k * 2048));
        }
      }
      CommitProducts();
    };
    // Logits become their gradients.
    const auto differentiate = [&](int tile, int stage) {
      const Side& side = sides[stage];
      if constexpr (kOwnsClasses) {
#pragma unroll
        for (int j = 0; j < kMetRows / 8; ++j) {
          const int i = 8 * j + 2 * (lane % 4);
          const float2 base = *reinterpret_cast<const float2*>(side.base + i);
          const float2 factor = *reinterpret_cast<const float2*>(side.factor + i);
          const float2 shift = *reinterpret_cast<const float2*>(side.shift + i);
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float* const pair = &z[4 * j + 2 * half];
            const float first_z = fmaf(pair[0], p.logit_scale, own_bias[half]);
            const float second_z = fmaf(pair[1], p.logit_scale, own_bias[half]);
            pair[0] = fmaf(FastExp2(fmaf(first_z, kLog2E, -base.x)), factor.x, -shift.x);
            pair[1] = fmaf(FastExp2(fmaf(second_z, kLog2E, -base.y)), factor.y, -shift.y);
          }
        }
        if (side.has_label != 0) {
#pragma unroll
          for (int j = 0; j < kMetRows / 8; ++j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              const int met = 8 * j + 2 * (lane % 4) + i % 2;
              if (side.label[met] == place + 8 * (i / 2)) z[4 * j + i] -= side.target[met];
            }
          }
        }
        if (p.d_biases != nullptr) {
#pragma unroll
          for (int i = 0; i < kMetRows / 2; ++i) bias_sum[i / 2 % 2] += z[i];
        }
      } else {
#pragma unroll
        for (int j = 0; j < kMetRows / 8; ++j) {
          const float2 bias = *reinterpret_cast<const float2*>(side.base + 8 * j + 2 * (lane % 4));
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int half = i / 2;
            const float logit = fmaf(z[4 * j + i], p.logit_scale, i % 2 == 0 ? bias.x : bias.y);
            z[4 * j + i] = fmaf(FastExp2(fmaf(logit, kLog2E, -own_base[half])), own_factor[half],
                                -own_shift[half]);
          }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int column = own_label[half] - tile * kMetRows;
          if (static_cast<unsigned>(column) < kMetRows && column % 8 / 2 == lane % 4) {
#pragma unroll
            for (int i = 0; i < kMetRows / 4; ++i) {
              const bool hit = i == column / 8 * 2 + column % 2;
              z[i / 2 * 4 + 2 * half + i % 2] -= hit ? own_target[half] : 0;
            }
          }
        }
      }
    };
    const auto round_gradients = [&] {
#pragma unroll
      for (int k = 0; k < kMetRows / 16; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          gradients[k][i] = RoundPair<T>(z[8 * k + 2 * i], z[8 * k + 2 * i + 1]);
        }
      }
    };

    // The second products of a tile run while the exponentials of the next one are taken.
    Turn turn;
    Wait(&barriers->resident, 0);
    Wait(&barriers->full[0], 0);
    FenceProducts();
    multiply_logits(0);
    WaitForProducts<0>();
    TakeProducts(z);
    differentiate(first, 0);
    round_gradients();
    int before = 0;
    for (int tile = first + 1; tile < last; ++tile) {
      turn.Next(p.stages);
      Wait(&barriers->full[turn.stage], turn.parity);
      FenceProducts();
      multiply_logits(turn.stage);
      multiply_gradients(before);
      WaitForProducts<1>();
      TakeProducts(z);
      differentiate(tile, turn.stage);
      WaitForProducts<0>();
#pragma unroll
      for (int o = 0; o < Shape::kOuts; ++o) TakeProducts(out[o]);
      ArriveWarp(&barriers->empty[before]);
      round_gradients();
      before = turn.stage;
    }
    FenceProducts();
    multiply_gradients(before);
    WaitForProducts<0>();
#pragma unroll
    for (int o = 0; o < Shape::kOuts; ++o) TakeProducts(out[o]);

    const float bias_scale = GradientUnit<T>(p.rows.largest, /*inverse=*/true);
    const float scale = p.logit_scale * bias_scale;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = own_row + place + 8 * half;
      if constexpr (kOwnsClasses) {
        const float sum = WarpSum(bias_sum[half], 4);
        if (p.d_biases != nullptr && lane % 4 == 0 && row < p.own.count) {
          p.d_biases[row] = Round<T>(sum * bias_scale);
        }
        if (p.d_weights == nullptr) continue;
      }
      if (row >= p.own.count) continue;
      // A row without a gradient has none whatever the weights hold.
      const bool active = kOwnsClasses || own_label[half] >= 0;
#pragma unroll
      for (int o = 0; o < Shape::kOuts; ++o) {
#pragma unroll
        for (int j = 0; j < Shape::kOutColumns / 8; ++j) {
          const int c = o * Shape::kOutColumns + 8 * j + 2 * (lane % 4);
          if (c >= p.dim) continue;
          const float first_value = out[o][4 * j + 2 * half] * scale;
          const float second_value = out[o][4 * j + 2 * half + 1] * scale;
          if constexpr (kOwnsClasses) {
            T* const to = p.d_weights + static_cast<int64_t>(row) * p.dim + c;
            *reinterpret_cast<uint32_t*>(to) = RoundPair<T>(first_value, second_value);
          } else {
            float* const to = p.d_hidden + (int64_t{split} * p.own.count + row) * p.dim + c;
            *reinterpret_cast<float2*>(to) =
                active ? make_float2(first_value, second_value) : make_float2(0, 0);
          }
        }
      }
    }
  }
}

// The sum of `splits` parts, in their order.
__global__ void __launch_bounds__(256)
    SumPartsKernel(const float* parts, int splits, int64_t size, float* sum) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= size) return;
  float total = parts[i];
  for (int s = 1; s < splits; ++s) total += parts[s * size + i];
  sum[i] = total;
}

// ---- the host's side

int Chunks(int64_t dim) { return static_cast<int>((dim + kChunkColumns - 1) / kChunkColumns); }

// In how many ranges `tiles` are met, so that `blocks` times that keep all multiprocessors at work.
int Splits(int64_t blocks, int64_t tiles) {
  constexpr int64_t kStart = 4;  // what a block costs before its first tile, in tiles
  int64_t best = 1, least = INT64_MAX;
  for (int64_t splits = 1; splits <= std::min<int64_t>(tiles, kMultiprocessors); ++splits) {
    const int64_t waves = (blocks * splits + kMultiprocessors - 1) / kMultiprocessors;
    const int64_t cost = waves * ((tiles + splits - 1) / splits + kStart);
    if (cost < least) {
      best = splits;
      least = cost;
    }
  }
  return static_cast<int>(best);
}

template <typename T>
struct Plan {
  int chunks, padded_dim;
  // Forward: rows of a block are 128 * tiles_per_warpgroup, and may stay in shared memory.
  bool stays;
  int tiles_per_warpgroup;
  int64_t forward_blocks, class_tiles;
  int forward_splits;
  // Backward, blocks that own hidden rows.
  int met_classes;
  int64_t row_blocks, met_tiles;
  int row_splits;

  explicit Plan(const LossProblem<T>& p) {
    chunks = Chunks(p.dim);
    padded_dim = chunks * kChunkColumns;
    stays = chunks <= kStayingChunks;
    tiles_per_warpgroup = (chunks <= 4 || !stays) && p.batch > 128 ? 2 : 1;
    forward_blocks = NumBlocks(p.batch, 128 * tiles_per_warpgroup);
    class_tiles = NumBlocks(p.classes, kForwardClasses);
    forward_splits = Splits(forward_blocks, class_tiles);
    met_classes = chunks <= 2 ? 128 : 64;
    row_blocks = NumBlocks(p.batch, kOwnRows);
    met_tiles = NumBlocks(p.classes, met_classes);
    row_splits = Splits(row_blocks, met_tiles);
  }
};

template <typename T>
struct Pieces {
  T* hidden;
  int* labels;
  PartialSums sums;
  float* label_logits;
  RowGradients rows;
  float* d_hidden_parts;

  Pieces(const LossProblem<T>& p, const Plan<T>& plan, Scratch* scratch) {
    hidden = scratch->Take<T>(p.batch * plan.padded_dim);
    labels = scratch->Take<int>(p.batch);
    const int64_t sums_size = plan.forward_splits * p.batch;
    const bool backward = plan.chunks <= 4;
    sums.max = scratch->Take<float>(sums_size);
    sums.sum_exp = scratch->Take<float>(sums_size);
    sums.sum_shifted = scratch->Take<float>(p.options.label_smoothing != 0 ? sums_size : 0);
    label_logits = scratch->Take<float>(p.batch);
    rows.base = scratch->Take<float>(backward ? p.batch : 0);
    rows.factor = scratch->Take<float>(backward ? p.batch : 0);
    rows.shift = scratch->Take<float>(backward ? p.batch : 0);
    rows.target = scratch->Take<float>(backward ? p.batch : 0);
    rows.labels = labels;
    rows.largest = scratch->Take<uint32_t>(1);
    const bool parts = backward && plan.row_splits > 1;
    d_hidden_parts = scratch->Take<float>(parts ? plan.row_splits * p.batch * p.dim : 0);
  }
};

template <typename T>
Status Prepare(const LossProblem<T>& p, const Plan<T>& plan, const Pieces<T>& pieces,
               const Stream& stream) {
  return Launch(PrepareKernel<T>, NumBlocks(p.batch, 8), 256, 0, stream, p.hidden, p.ids,
                p.hidden_rows, p.labels, p.options.has_ignore_label, p.options.ignore_label,
                static_cast<int>(p.batch), static_cast<int>(p.classes), static_cast<int>(p.dim),
                plan.padded_dim, pieces.hidden, pieces.labels);
}

template <typename T, int kChunks, bool kOwnsClasses>
Status LaunchBackward(BackwardArguments<T> arguments, int64_t blocks, int splits,
                      const Stream& stream) {
  using Shape = BackwardShape<kChunks>;
  const int64_t stage_bytes = Shape::kMetBytes + sizeof(typename Shape::Side);
  const int64_t fixed = Shape::kOwnBytes + sizeof(Barriers);
  arguments.stages =
      static_cast<int>(std::min<int64_t>(kMaxStages, (kShared - fixed) / stage_bytes));
  arguments.tiles = static_cast<int>(NumBlocks(arguments.met.count, Shape::kMetRows));
  return Launch(BackwardKernel<T, kChunks, kOwnsClasses>,
                dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(splits)), kThreads,
                fixed + arguments.stages * stage_bytes, stream, arguments);
}

template <typename T, bool kOwnsClasses>
Status LaunchBackward(const BackwardArguments<T>& arguments, int chunks, int64_t blocks, int splits,
                      const Stream& stream) {
  if (chunks == 1) {
    return LaunchBackward<T, 1, kOwnsClasses>(arguments, blocks, splits, stream);
  }
  if (chunks == 2) {
    return LaunchBackward<T, 2, kOwnsClasses>(arguments, blocks, splits, stream);
  }
  return LaunchBackward<T, 4, kOwnsClasses>(arguments, blocks, splits, stream);
}

}  // namespace

template <typename T>
bool SupportsForward(const LossProblem<T>& p, const Device& device) {
  const auto aligned = [](const T* data) { return reinterpret_cast<uintptr_t>(data) % 4 == 0; };
  constexpr int64_t kMost = int64_t{1} << 30;  // rows and columns are counted in int
  return device.arch == 90 && device.shared_bytes >= kShared && p.candidates == Candidates::kAll &&
         p.options.link == Link::kSoftmax && p.num_true == 1 && p.options.logit_softcap == 0 &&
         !p.options.round_bfloat16 && p.dim >= 2 && p.dim < kMost && p.dim % 2 == 0 &&
         p.classes > 1 && p.classes < kMost && p.batch < kMost && aligned(p.hidden) &&
         aligned(p.weights);
}

template <typename T>
bool SupportsBackward(const LossProblem<T>& p, const Device& device) {
  return SupportsForward(p, device) && p.dim <= 256;
}

template <typename T>
std::size_t ExactLossScratchBytes(const LossProblem<T>& problem, const Device&) {
  Scratch scratch;
  Pieces<T>(problem, Plan<T>(problem), &scratch);
  return scratch.used();
}

template <typename T>
Status ExactLossForward(const LossProblem<T>& p, const Stream& stream, void* memory, float* loss,
                        const Normalizer<float>& normalizer) {
  if (p.batch == 0) return Status();
  Scratch scratch(memory);
  const Plan<T> plan(p);
  const Pieces<T> pieces(p, plan, &scratch);
  FASTW2V_RETURN_IF_ERROR(Prepare(p, plan, pieces, stream));

  ForwardArguments<T> arguments = {};
  FASTW2V_RETURN_IF_ERROR(
      MakeSource<T>(pieces.hidden, p.batch, plan.padded_dim, &arguments.hidden));
  FASTW2V_RETURN_IF_ERROR(MakeSource(p.weights, p.classes, p.dim, &arguments.weights));
  arguments.biases = p.biases;
  arguments.labels = pieces.labels;
  arguments.batch = static_cast<int>(p.batch);
  arguments.classes = static_cast<int>(p.classes);
  arguments.chunks = plan.chunks;
  arguments.class_tiles = static_cast<int>(plan.class_tiles);
  arguments.logit_scale = static_cast<float>(p.options.logit_scale);
  arguments.sums_logits = p.options.label_smoothing != 0;
  arguments.sums = pieces.sums;
  arguments.label_logits = pieces.label_logits;
  const int row_bytes = 128 * plan.tiles_per_warpgroup * kChunkRowBytes;
  const int stage_bytes = kStageBytes + (plan.stays ? 0 : row_bytes);
  const int fixed =
      (plan.stays ? plan.chunks * row_bytes : 0) + kBiasBytes + static_cast<int>(sizeof(Barriers));
  arguments.stages = std::min(kMaxStages, (kShared - fixed) / stage_bytes);
  const dim3 grid(static_cast<unsigned>(plan.forward_blocks),
                  static_cast<unsigned>(plan.forward_splits));
  const auto launch = [&](auto kernel) {
    return Launch(kernel, grid, kThreads, fixed + arguments.stages * stage_bytes, stream,
                  arguments);
  };
  if (plan.tiles_per_warpgroup == 2) {
    FASTW2V_RETURN_IF_ERROR(plan.stays ? launch(ForwardKernel<T, 2, true>)
                                       : launch(ForwardKernel<T, 2, false>));
  } else {
    FASTW2V_RETURN_IF_ERROR(plan.stays ? launch(ForwardKernel<T, 1, true>)
                                       : launch(ForwardKernel<T, 1, false>));
  }
  return Launch(FinishKernel, NumBlocks(p.batch, 256), 256, 0, stream, pieces.sums,
                pieces.label_logits, pieces.labels, ExactTerms<float>(p.options, p.classes),
                arguments.batch, arguments.classes, arguments.class_tiles, plan.forward_splits,
                loss, normalizer.max, normalizer.log_sum);
}

template <typename T>
Status ExactLossBackward(const LossProblem<T>& p, const float* d_loss,
                         const Normalizer<const float>& normalizer, const Stream& stream,
                         void* memory, float* d_hidden, T* d_weights, T* d_biases) {
  if (p.batch == 0) {
    if (d_weights != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Zero(d_weights, p.classes * p.dim * sizeof(T), stream));
    }
    return d_biases == nullptr ? Status() : Zero(d_biases, p.classes * sizeof(T), stream);
  }
  Scratch scratch(memory);
  const Plan<T> plan(p);
  const Pieces<T> pieces(p, plan, &scratch);
  const int batch = static_cast<int>(p.batch);
  FASTW2V_RETURN_IF_ERROR(Prepare(p, plan, pieces, stream));
  FASTW2V_RETURN_IF_ERROR(Zero(pieces.rows.largest, sizeof(uint32_t), stream));
  FASTW2V_RETURN_IF_ERROR(Launch(RowGradientsKernel, NumBlocks(batch, 256), 256, 0, stream,
                                 pieces.rows, d_loss, normalizer.max, normalizer.log_sum,
                                 ExactTerms<float>(p.options, p.classes), batch));
  Source<T> hidden = {}, weights = {};
  FASTW2V_RETURN_IF_ERROR(MakeSource<T>(pieces.hidden, p.batch, plan.padded_dim, &hidden));
  FASTW2V_RETURN_IF_ERROR(MakeSource(p.weights, p.classes, p.dim, &weights));
  BackwardArguments<T> arguments = {};
  arguments.biases = p.biases;
  arguments.rows = pieces.rows;
  arguments.dim = static_cast<int>(p.dim);
  arguments.logit_scale = static_cast<float>(p.options.logit_scale);
  if (d_hidden != nullptr) {
    const bool parts = plan.row_splits > 1;
    arguments.own = hidden;
    arguments.met = weights;
    arguments.d_hidden = parts ? pieces.d_hidden_parts : d_hidden;
    FASTW2V_RETURN_IF_ERROR((LaunchBackward<T, false>(arguments, plan.chunks, plan.row_blocks,
                                                      plan.row_splits, stream)));
    const int64_t size = p.batch * p.dim;
    if (parts) {
      FASTW2V_RETURN_IF_ERROR(Launch(SumPartsKernel, NumBlocks(size, 256), 256, 0, stream,
                                     pieces.d_hidden_parts, plan.row_splits, size, d_hidden));
    }
  }
  if (d_weights == nullptr && d_biases == nullptr) return Status();
  arguments.own = weights;
  arguments.met = hidden;
  arguments.d_weights = d_weights;
  arguments.d_biases = d_biases;
  return LaunchBackward<T, true>(arguments, plan.chunks, NumBlocks(p.classes, kOwnRows), 1, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                                    \
  template bool SupportsForward(const LossProblem<T>&, const Device&);                            \
  template bool SupportsBackward(const LossProblem<T>&, const Device&);                           \
  template std::size_t ExactLossScratchBytes(const LossProblem<T>&, const Device&);               \
  template Status ExactLossForward(const LossProblem<T>&, const Stream&, void*, float*,           \
                                   const Normalizer<float>&);                                     \
  template Status ExactLossBackward(const LossProblem<T>&, const float*,                          \
                                    const Normalizer<const float>&, const Stream&, void*, float*, \
                                    T*, T*);
FASTW2V_INSTANTIATE(BFloat16)
FASTW2V_INSTANTIATE(Half)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda::hopper
