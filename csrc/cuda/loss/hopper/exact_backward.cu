// A block owns 128 rows of one operand, passes over the rows of the other and computes their logits
// again. The gradients of the logits go from the accumulators straight into the left operand of the
// second product, whose right operand is the tile that is there already, read across. Once with
// blocks that own hidden rows (d_hidden, in partial sums per range of classes that are added in
// their order), once with blocks that own classes (d_weights, d_biases).
#include <algorithm>

#include "csrc/cuda/loss/gradient_terms.h"
#include "csrc/cuda/loss/hopper/exact_backward.h"
#include "csrc/cuda/loss/hopper/exact_rows.h"

namespace fastw2v::cuda::hopper {

namespace {

constexpr int kOwnRows = 128;  // of a block

// Shared memory ends with them.
struct Barriers {
  Barrier full[kMaxStages], empty[kMaxStages];
  Barrier resident;
};

__global__ void __launch_bounds__(256)
    RowGradientsKernel(RowGradients rows, const float* d_loss, const float* max,
                       const float* log_sum, LossNumbers<float> numbers, int batch) {
  const int b = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (b >= batch) return;
  rows.base[b] = INFINITY;
  rows.factor[b] = rows.shift[b] = rows.target[b] = 0;
  if (rows.labels[b] < 0) return;
  const auto gradient = MakeGradientTerms(numbers, d_loss[b], max[b], log_sum[b], 1);
  rows.base[b] = Base(max[b]);
  // 2^(z * kLog2E - base) is exp(z - max) but for the rounding of the base.
  const float rounding = fmaf(max[b], kLog2E, -rows.base[b]);
  rows.factor[b] = gradient.scale * expf(-log_sum[b]) * exp2f(-rounding);
  rows.shift[b] = gradient.shift;
  rows.target[b] = gradient.target;
  WidenUnit(fabsf(gradient.scale) + fabsf(gradient.shift) + fabsf(gradient.target), rows.largest);
}

template <typename T>
struct BackwardArguments {
  Source own;  // a block's rows
  Source met;  // go by, tile after tile
  const T* biases;
  RowGradients rows;
  int dim;
  int tiles, stages;  // of the other rows
  float logit_scale;
  float* d_hidden;  // own: hidden; [splits, own.rows, dim]
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

// By a warp.
template <bool kOwnsClasses, int kChunks, typename T>
__device__ __forceinline__ void FillSide(const BackwardArguments<T>& p,
                                         typename BackwardShape<kChunks>::Side* side, int first_row,
                                         int own_row) {
  const int lane = threadIdx.x % kWarp;
  const float unit = GradientUnit<T>(p.rows.largest, /*inverse=*/false);
  bool has_label = false;
  for (int i = lane; i < BackwardShape<kChunks>::kMetRows; i += kWarp) {
    const int row = first_row + i;
    const bool valid = row < p.met.rows;
    if constexpr (kOwnsClasses) {
      side->base[i] = valid ? p.rows.base[row] : INFINITY;
      side->factor[i] = valid ? unit * p.rows.factor[row] : 0;
      side->shift[i] = valid ? unit * p.rows.shift[row] : 0;
      side->target[i] = valid ? unit * p.rows.target[row] : 0;
      side->label[i] = valid ? p.rows.labels[row] - own_row : -1;
      has_label |= static_cast<unsigned>(side->label[i]) < kOwnRows;
    } else {
      const bool has_bias = valid && p.biases != nullptr;
      side->base[i] = has_bias ? ToFloat(p.biases[row]) : (valid ? 0 : -INFINITY);
    }
  }
  has_label = __any_sync(kAllLanes, has_label);
  if (lane == 0) side->has_label = has_label ? 1 : 0;
}

template <bool kOwnsClasses, int kChunks, typename T>
__device__ __forceinline__ void ProduceBackward(const BackwardArguments<T>& p, unsigned char* own,
                                                unsigned char* stages,
                                                typename BackwardShape<kChunks>::Side* sides,
                                                Barriers* barriers, int own_row, int first,
                                                int last) {
  using Shape = BackwardShape<kChunks>;
  const int thread = threadIdx.x % kWarpgroup;
  Turn turn;
  if (thread == 0) {
    ArriveExpecting(&barriers->resident, Shape::kOwnBytes);
    for (int c = 0; c < kChunks; ++c) {
      LoadChunk(own + c * Shape::kOwnChunkBytes, p.own, own_row, kOwnRows, c * kChunkColumns,
                &barriers->resident);
    }
    for (int tile = first; tile < last; ++tile, turn.Next(p.stages)) {
      Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
      ArriveExpecting(&barriers->full[turn.stage], Shape::kMetBytes);
      for (int c = 0; c < kChunks; ++c) {
        LoadChunk(stages + turn.stage * Shape::kMetBytes + c * Shape::kMetChunkBytes, p.met,
                  tile * Shape::kMetRows, Shape::kMetRows, c * kChunkColumns,
                  &barriers->full[turn.stage]);
      }
    }
  } else if (thread / kWarp == 1) {
    for (int tile = first; tile < last; ++tile, turn.Next(p.stages)) {
      Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
      FillSide<kOwnsClasses, kChunks>(p, &sides[turn.stage], tile * Shape::kMetRows, own_row);
      Arrive(&barriers->full[turn.stage]);
    }
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
  const int warpgroup = WarpgroupNumber();
  const int own_row = static_cast<int>(blockIdx.x) * kOwnRows;
  const int split = static_cast<int>(blockIdx.y), splits = static_cast<int>(gridDim.y);
  const int first = static_cast<int>(int64_t{p.tiles} * split / splits);
  const int last = static_cast<int>(int64_t{p.tiles} * (split + 1) / splits);

  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      Init(&barriers->full[i], 1 + kWarp);
      Init(&barriers->empty[i], kConsumerWarps);
    }
    Init(&barriers->resident, 1);
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
      const bool valid = row < p.own.rows;
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
        if (p.d_biases != nullptr && lane % 4 == 0 && row < p.own.rows) {
          p.d_biases[row] = Round<T>(sum * bias_scale);
        }
        if (p.d_weights == nullptr) continue;
      }
      if (row >= p.own.rows) continue;
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
            float* const to = p.d_hidden + (int64_t{split} * p.own.rows + row) * p.dim + c;
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

template <typename T, int kChunks, bool kOwnsClasses>
Status LaunchBackward(BackwardArguments<T> arguments, int64_t blocks, int splits,
                      const Stream& stream) {
  using Shape = BackwardShape<kChunks>;
  const int64_t stage_bytes = Shape::kMetBytes + sizeof(typename Shape::Side);
  const int64_t fixed = Shape::kOwnBytes + sizeof(Barriers);
  arguments.stages =
      static_cast<int>(std::min<int64_t>(kMaxStages, (kShared - fixed) / stage_bytes));
  arguments.tiles = static_cast<int>(NumBlocks(arguments.met.rows, Shape::kMetRows));
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

BackwardPlan::BackwardPlan(int64_t batch, int64_t classes, int64_t dim)
    : chunks(Chunks(dim)), row_blocks(NumBlocks(batch, kOwnRows)) {
  row_splits = Splits(row_blocks, NumBlocks(classes, chunks <= 2 ? 128 : 64));
}

template <typename T>
Status RunBackward(const BackwardPass<T>& pass, const float* d_loss,
                   const Normalizer<const float>& normalizer, const Stream& stream, float* d_hidden,
                   T* d_weights, T* d_biases) {
  const LossProblem<T>& p = pass.problem;
  const BackwardPlan& plan = pass.plan;
  const int batch = static_cast<int>(p.batch);
  FASTW2V_RETURN_IF_ERROR(Zero(pass.rows.largest, sizeof(uint32_t), stream));
  FASTW2V_RETURN_IF_ERROR(Launch(RowGradientsKernel, NumBlocks(batch, 256), 256, 0, stream,
                                 pass.rows, d_loss, normalizer.max, normalizer.log_sum,
                                 MakeLossNumbers<float>(p.options, p.all_classes()), batch));
  Source hidden, weights;
  FASTW2V_RETURN_IF_ERROR(MakeSource(pass.hidden, p.batch, plan.chunks * kChunkColumns, &hidden));
  FASTW2V_RETURN_IF_ERROR(MakeSource(pass.weights, p.classes, pass.weights_pitch, &weights));
  BackwardArguments<T> arguments = {};
  arguments.biases = p.biases;
  arguments.rows = pass.rows;
  arguments.dim = static_cast<int>(p.dim);
  arguments.logit_scale = static_cast<float>(p.options.logit_scale);
  if (d_hidden != nullptr) {
    const bool parts = plan.row_splits > 1;
    arguments.own = hidden;
    arguments.met = weights;
    arguments.d_hidden = parts ? pass.d_hidden_parts : d_hidden;
    FASTW2V_RETURN_IF_ERROR((LaunchBackward<T, false>(arguments, plan.chunks, plan.row_blocks,
                                                      plan.row_splits, stream)));
    const int64_t size = p.batch * p.dim;
    if (parts) {
      FASTW2V_RETURN_IF_ERROR(Launch(SumPartsKernel, NumBlocks(size, 256), 256, 0, stream,
                                     pass.d_hidden_parts, plan.row_splits, size, d_hidden));
    }
  }
  if (d_weights == nullptr && d_biases == nullptr) return Status();
  arguments.own = weights;
  arguments.met = hidden;
  arguments.d_weights = d_weights;
  arguments.d_biases = d_biases;
  return LaunchBackward<T, true>(arguments, plan.chunks, NumBlocks(p.classes, kOwnRows), 1, stream);
}

#define FASTW2V_INSTANTIATE(T)                                      \
  template Status RunBackward(const BackwardPass<T>&, const float*, \
                              const Normalizer<const float>&, const Stream&, float*, T*, T*);
FASTW2V_INSTANTIATE(BFloat16)
FASTW2V_INSTANTIATE(Half)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda::hopper
