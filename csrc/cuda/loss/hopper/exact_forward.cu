// A block owns 128 or 256 hidden rows and passes over a range of classes; each thread keeps the
// running maximum and sum of what it sees of its rows. The two warpgroups that multiply take turns
// between the tensor cores and their exponentials, so that both are busy.
//
// In cycles of a multiprocessor a logit costs D / 2048 for its product and 1/16 for MUFU.EX2: as
// much at D = 128. An eighth of the exponentials is a polynomial on the other pipes: at D = 128, of
// 2048 cycles of tensor cores, MUFU is then busy for 1920, and 1700 of the slots in which a
// scheduler can issue are taken (a quarter: 1660 and 2020).
#include "csrc/cuda/loss/gradient_terms.h"
#include "csrc/cuda/loss/hopper/exact_forward.h"
#include "csrc/cuda/loss/hopper/exact_rows.h"
#include "csrc/cuda/loss/partial_softmax.h"

namespace fastw2v::cuda::hopper {

namespace {

// Below every logit but -inf; its multiple by kLog2E is finite.
constexpr float kLowest = -1.7e38f;

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

template <typename T>
struct ForwardArguments {
  LogitTiles<T> logits;
  const int* labels;
  int batch;
  bool sums_logits;
  PartialSums sums;
  float* label_logits;
};

template <typename T, int kTiles, bool kStays>
__global__ void __launch_bounds__(kThreads, 1)
    ForwardKernel(const __grid_constant__ ForwardArguments<T> p) {
  const LogitBlock<T, kTiles, kStays> block(p.logits);
  block.Start();
  if (threadIdx.x / kWarpgroup == 0) {
    ShrinkRegisters<kProducerRegisters>();
    block.Produce();
  } else {
    GrowRegisters<kConsumerRegisters>();
    const int lane = threadIdx.x % kWarp, row = block.ThreadRow(), classes = p.logits.classes;
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
    int classes_met = 0;
    block.ForEachTile([&](int tile, float (&z)[kTiles][64]) {
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
              const int c = tile * kTileClasses + i / 2 * 8 + 2 * (lane % 4) + i % 2;
              if (c < classes) below += at(i) - largest;
            }
            shifted[r][half] += below;
          }
          max[r][half] = largest;
          base[r][half] = new_base;

          const int column = label[r][half] - tile * kTileClasses;
          if (static_cast<unsigned>(column) < kTileClasses && column % 8 / 2 == lane % 4) {
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
          classes_met += tile * kTileClasses + i / 2 * 8 + 2 * (lane % 4) + i % 2 < classes ? 1 : 0;
        }
      }
    });

    // Four lanes share a row, each with a part of the classes.
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
        const int64_t i = int64_t{blockIdx.y} * p.batch + b;
        p.sums.max[i] = largest;
        p.sums.sum_exp[i] = total;
        if (p.sums_logits) p.sums.sum_shifted[i] = below;
      }
    }
  }
}

// The sums of all splits of the classes, and how these are cut.
struct SplitSums {
  PartialSums sums;
  bool sums_logits;
  int batch, classes, class_tiles, splits;

  // Of row b over all classes.
  __device__ __forceinline__ PartialSoftmax<float> Of(int b) const {
    float largest = kLowest;
    for (int s = 0; s < splits; ++s) largest = fmaxf(largest, sums.max[int64_t{s} * batch + b]);
    const float base = Base(largest);
    float sum_exp = 0, sum_shifted = 0;
    int first_class = 0;
    for (int s = 0; s < splits; ++s) {
      const int64_t i = int64_t{s} * batch + b;
      sum_exp += sums.sum_exp[i] * exp2f(Base(sums.max[i]) - base);
      if (!sums_logits) continue;
      const int64_t end = int64_t{class_tiles} * (s + 1) / splits * kTileClasses;
      const int last_class = end < classes ? static_cast<int>(end) : classes;
      const float count = static_cast<float>(last_class - first_class);
      sum_shifted += sums.sum_shifted[i] + count * (sums.max[i] - largest);
      first_class = last_class;
    }
    const float count = static_cast<float>(classes);
    if (largest == kLowest) {
      // Nothing but NaN or -inf, of which the polynomial has made more than 0.
      const float total = sum_exp == sum_exp ? 0 : sum_exp;
      return {-INFINITY, total, sum_shifted, count};
    }
    // From the rounded base to the maximum itself.
    const float rounding = fmaf(largest, kLog2E, -base);
    return {largest, sum_exp * exp2f(-rounding), sum_shifted, count};
  }
};

__global__ void __launch_bounds__(256)
    FinishKernel(SplitSums splits, const float* label_logits, const int* labels,
                 LossNumbers<float> numbers, float* loss, float* max, float* log_sum) {
  const int b = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (b >= splits.batch) return;
  const int label = labels[b];
  if (label < 0) {
    max[b] = log_sum[b] = 0;
    loss[b] = label == kIgnoredLabel ? 0.0f : __uint_as_float(0x7FC00000);
    return;
  }
  const PartialSoftmax<float> sums = splits.Of(b);
  const float total = logf(sums.sum_exp);
  max[b] = sums.max;
  log_sum[b] = total < 0 ? 0 : total;  // never below, as the largest term is in the sum
  loss[b] =
      SoftmaxLoss(numbers, sums.max, log_sum[b], sums.max - label_logits[b], sums.sum_shifted);
}

__global__ void __launch_bounds__(256)
    FinishPartKernel(SplitSums splits, const float* label_logits, const int* labels,
                     SoftmaxPart<float> part) {
  const int b = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (b >= splits.batch) return;
  const int label = labels[b];
  if (label == kInvalidLabel) {
    StoreNaN(part, b);
    return;
  }
  const PartialSoftmax<float> sums = splits.Of(b);
  const bool here = label >= 0 && label < splits.classes;
  StorePart(part, b, sums, here ? BelowMax(sums, label_logits[b]) : 0.0f);
}

// All but the last kernel, and what that reads.
template <typename T>
Status SumLogits(const ForwardPass<T>& pass, const Stream& stream, SplitSums* splits) {
  const LossProblem<T>& p = pass.problem;
  const LogitPlan& plan = pass.plan;
  ForwardArguments<T> arguments = {};
  LogitTiles<T>& logits = arguments.logits;
  FASTW2V_RETURN_IF_ERROR(
      MakeSource(pass.hidden, p.batch, plan.chunks * kChunkColumns, &logits.hidden));
  FASTW2V_RETURN_IF_ERROR(MakeSource(pass.weights, p.classes, pass.weights_pitch, &logits.weights));
  logits.biases = p.biases;
  logits.classes = static_cast<int>(p.classes);
  logits.logit_scale = static_cast<float>(p.options.logit_scale);
  arguments.labels = pass.labels;
  arguments.batch = static_cast<int>(p.batch);
  arguments.sums_logits = p.options.label_smoothing != 0;
  arguments.sums = pass.sums;
  arguments.label_logits = pass.label_logits;
  const int shared = plan.Fill(0, &logits);
  const auto launch = [&](auto kernel) {
    return Launch(kernel, plan.Grid(), kThreads, shared, stream, arguments);
  };
  if (plan.tiles_per_warpgroup == 2) {
    FASTW2V_RETURN_IF_ERROR(plan.stays ? launch(ForwardKernel<T, 2, true>)
                                       : launch(ForwardKernel<T, 2, false>));
  } else {
    FASTW2V_RETURN_IF_ERROR(plan.stays ? launch(ForwardKernel<T, 1, true>)
                                       : launch(ForwardKernel<T, 1, false>));
  }
  *splits = {pass.sums,      arguments.sums_logits, arguments.batch,
             logits.classes, logits.class_tiles,    plan.splits};
  return Status();
}

}  // namespace

template <typename T>
Status RunForward(const ForwardPass<T>& pass, const Stream& stream, float* loss,
                  const Normalizer<float>& normalizer) {
  const LossProblem<T>& p = pass.problem;
  SplitSums splits;
  FASTW2V_RETURN_IF_ERROR(SumLogits(pass, stream, &splits));
  return Launch(FinishKernel, NumBlocks(p.batch, 256), 256, 0, stream, splits, pass.label_logits,
                pass.labels, MakeLossNumbers<float>(p.options, p.all_classes()), loss,
                normalizer.max, normalizer.log_sum);
}

template <typename T>
Status RunPart(const ForwardPass<T>& pass, const Stream& stream, const SoftmaxPart<float>& part) {
  SplitSums splits;
  FASTW2V_RETURN_IF_ERROR(SumLogits(pass, stream, &splits));
  return Launch(FinishPartKernel, NumBlocks(pass.problem.batch, 256), 256, 0, stream, splits,
                pass.label_logits, pass.labels, part);
}

#define FASTW2V_INSTANTIATE(T)                                             \
  template Status RunForward(const ForwardPass<T>&, const Stream&, float*, \
                             const Normalizer<float>&);                    \
  template Status RunPart(const ForwardPass<T>&, const Stream&, const SoftmaxPart<float>&);
FASTW2V_INSTANTIATE(BFloat16)
FASTW2V_INSTANTIATE(Half)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda::hopper
