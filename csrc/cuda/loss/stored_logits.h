// A block of logits that lies in memory: what a library has multiplied becomes sums over classes,
// or the gradients of the logits, in one pass over the block each. Both are bound by memory: a
// logit takes 4 bytes in and at most as many out, and less arithmetic than a GPU does meanwhile.
//
// What differs between losses is a type, Competitors, passed to the kernels by value:
//   A                                 of logits and sums
//   kLogistic                         the link: sums are of softplus(z), else of exp(z - max)
//   Load(column, &biases, &counts)    of kVector classes, those beyond the last one anything;
//                                     counts: logarithms, subtracted after the soft cap
//   SumsShifted()                     whether z - max is summed, too
//   Change(numbers, b, column, &z)    example b's logits of kVector classes, once they are made
//   FinishSums(numbers, products, b, begin, end, lane)
//                                     whatever else row b's warp does for columns [begin, end)
//   terms, active, largest            [examples]; see RowGradientTerms, GradientUnit
//   TakeTargets(b, column, target, &z)  from the gradients of logits before the soft cap
#ifndef FASTW2V_CUDA_LOSS_STORED_LOGITS_H_
#define FASTW2V_CUDA_LOSS_STORED_LOGITS_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "csrc/core/loss_formulas.h"
#include "csrc/cuda/device/device.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/gradient_terms.h"
#include "csrc/cuda/loss/partial_softmax.h"

namespace fastw2v::cuda {

constexpr int64_t kPitchColumns = 128;

// Rows whose gradients of biases are one sum.
constexpr int64_t kBiasRows = 32;

template <typename A>
struct LogitBlock {
  A* products = nullptr;  // [rows, pitch], hidden rows times weights and nothing else
  int64_t pitch = 0;      // whole kPitchColumns; columns without a class are not defined
  int64_t row0 = 0, rows = 0;
  int64_t classes = 0;  // fewer than 2^31
  LogitNumbers<A> numbers;
};

// How the classes of a block are cut into runs, whose sums are apart, so that few rows keep a
// device busy. It depends on the problem alone: the runs decide the order of sums.
struct SumRuns {
  int64_t run = 0, runs = 0;  // classes of a run, and how many runs

  SumRuns() = default;
  SumRuns(int64_t rows, int64_t classes) {
    constexpr int64_t kManyWarps = 16384;   // that run at the same time, more than on any device
    constexpr int64_t kShortestRun = 1024;  // classes, where that leaves some warps without one
    const auto divide = [](int64_t x, int64_t y) { return (x + y - 1) / y; };
    const int64_t busy = std::clamp<int64_t>(kManyWarps / rows, 1, divide(classes, kShortestRun));
    run = divide(divide(classes, busy), kPitchColumns) * kPitchColumns;
    runs = divide(classes, run);
  }
};

constexpr int kLogitWarps = 8;
constexpr int kLogitThreads = kLogitWarps * kWarp;
// On a multiprocessor, at least: as many as 64 registers a thread allow (double: 128). Without this
// the assembler allots fewer registers to the sums, and spills.
template <typename A>
constexpr int kSumBlocks = sizeof(A) == 8 ? 2 : 4;

__device__ __forceinline__ float Larger(float x, float y) { return fmaxf(x, y); }  // not NaN
__device__ __forceinline__ double Larger(double x, double y) { return fmax(x, y); }

// Without what kernels are compiled apart for, if there is none of it: a division and a hyperbolic
// tangent for each logit take more registers and instructions than all else.
template <typename A>
bool IsPlain(const LogitNumbers<A>& numbers) {
  return numbers.softcap == 0 && numbers.margin == 0;
}
template <bool kPlain, typename A>
__device__ __forceinline__ LogitNumbers<A> Known(const LogitNumbers<A>& numbers) {
  return kPlain ? LogitNumbers<A>{numbers.scale, 0, 0} : numbers;
}

// Block (x, y): kLogitWarps rows, a warp for each, and run y of the classes. A thread takes pieces
// of kVector classes, two at a time.
template <typename Competitors, bool kPlain>
__global__ void __launch_bounds__(kLogitThreads, kSumBlocks<typename Competitors::A>)
    SumLogitsKernel(LogitBlock<typename Competitors::A> logits, Competitors competitors,
                    int64_t run, PartialSoftmax<typename Competitors::A>* sums, int64_t stride) {
  using A = typename Competitors::A;
  constexpr int kPieces = 2;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  const int lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kLogitWarps + threadIdx.x / kWarp;
  if (row >= logits.rows) return;
  const int64_t b = logits.row0 + row;
  const A* const products = logits.products + row * logits.pitch;
  const int begin = static_cast<int>(blockIdx.y * run);
  const int end = static_cast<int>(Smaller(logits.classes, blockIdx.y * run + run));
  const LogitNumbers<A> numbers = Known<kPlain>(logits.numbers);
  const bool sums_shifted = competitors.SumsShifted();

  // Sums of softplus are relative to nothing, as those of a softmax whose maximum is always 0.
  A max = Competitors::kLogistic ? A{0} : kNone, sum_exp = 0, sum_shifted = 0, met = 0;
  // full: all columns of the warp are classes of the run, so that none has to be asked for.
  const auto step = [&](int first, auto full) {
    A z[kPieces][kVector], biases[kPieces][kVector], counts[kPieces][kVector];
    const auto valid = [&](int piece, int i) {
      return full || first + piece * kWarp * kVector + i < end;
    };
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      if (!valid(piece, 0)) continue;
      LoadVector<kVector>(products + first + piece * kWarp * kVector, z[piece]);
      competitors.Load(first + piece * kWarp * kVector, biases[piece], counts[piece]);
    }
    A largest = max, now = 0;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        z[piece][i] = valid(piece, i) ? MakeLogit(z[piece][i], biases[piece][i], counts[piece][i],
                                                  numbers.scale, numbers.softcap)
                                            .z
                                      : kNone;
        now += sums_shifted && valid(piece, i) ? A{1} : A{0};
      }
      competitors.Change(numbers, b, first + piece * kWarp * kVector, z[piece]);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        if (!Competitors::kLogistic) largest = Larger(largest, z[piece][i]);
      }
    }
    // Where every logit is -inf the differences would be NaN: any finite reference will do.
    const A base = largest == kNone ? A{0} : largest;
    const PartialSoftmax<A> before =
        RelativeTo(base, PartialSoftmax<A>{max, sum_exp, sum_shifted, met});
    A sum = 0, shifted = 0;  // of these classes: short sums round less
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        sum += Competitors::kLogistic ? Softplus(z[piece][i]) : Exp(z[piece][i] - base);
        if (sums_shifted && valid(piece, i)) shifted += z[piece][i] - base;
      }
    }
    sum_exp = before.sum_exp + sum;
    sum_shifted = before.sum_shifted + shifted;
    max = largest;
    met += now;
  };
  constexpr int kStep = kPieces * kWarp * kVector;
  for (int first = begin; first < end; first += kStep) {
    if (first + kStep <= end) {
      step(first + lane * kVector, std::true_type());
    } else {
      step(first + lane * kVector, std::false_type());
    }
  }
  PartialSoftmax<A> total = {max, sum_exp, sum_shifted, met};
  for (int bits = kWarp / 2; bits > 0; bits /= 2) {
    const PartialSoftmax<A> other = {__shfl_xor_sync(kAllLanes, total.max, bits),
                                     __shfl_xor_sync(kAllLanes, total.sum_exp, bits),
                                     __shfl_xor_sync(kAllLanes, total.sum_shifted, bits),
                                     __shfl_xor_sync(kAllLanes, total.classes, bits)};
    total = Join(total, other);
  }
  if (lane == 0) sums[blockIdx.y * stride + b] = total;
  competitors.FinishSums(numbers, products, b, begin, end, lane);
}

// Block (x, y): kBiasRows rows and columns of kVector for each thread, whose sums it keeps.
template <typename Competitors, typename E, bool kPlain>
__global__ void __launch_bounds__(kLogitThreads)
    DifferentiateLogitsKernel(LogitBlock<typename Competitors::A> logits, Competitors competitors,
                              bool round, E* gradients, typename Competitors::A* bias_sums) {
  using A = typename Competitors::A;
  constexpr int kAhead = 4;  // rows that are loaded before the first is stored
  const int column = static_cast<int>(blockIdx.y * kLogitThreads + threadIdx.x) * kVector;
  if (column >= logits.classes) return;
  const int64_t begin = blockIdx.x * kBiasRows, end = Smaller(logits.rows, begin + kBiasRows);
  const LogitNumbers<A> numbers = Known<kPlain>(logits.numbers);
  const A unit = GradientUnit<E>(competitors.largest, /*inverse=*/false);
  A biases[kVector], counts[kVector], sums[kVector] = {};
  competitors.Load(column, biases, counts);
  for (int64_t row0 = begin; row0 < end; row0 += kAhead) {
    A z[kAhead][kVector];
#pragma unroll
    for (int r = 0; r < kAhead; ++r) {
      if (row0 + r >= end) continue;
      LoadVector<kVector>(logits.products + (row0 + r) * logits.pitch + column, z[r]);
    }
#pragma unroll
    for (int r = 0; r < kAhead; ++r) {
      if (row0 + r >= end) continue;
      const int64_t b = logits.row0 + row0 + r;
      const RowGradientTerms<A> row = competitors.terms[b];
      const bool active = competitors.active[b] != 0;
      A slopes[kVector];
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const Logit<A> logit =
            MakeLogit(z[r][i], biases[i], counts[i], numbers.scale, numbers.softcap);
        z[r][i] = logit.z;
        slopes[i] = logit.slope;
      }
      if (active) competitors.Change(numbers, b, column, z[r]);
      const A factor = unit * row.factor, shift = unit * row.shift, target = unit * row.target;
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        z[r][i] =
            factor * (Competitors::kLogistic ? Sigmoid(z[r][i]) : Exp(z[r][i] - row.max)) - shift;
      }
      if (active) competitors.TakeTargets(b, column, target, z[r]);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        z[r][i] = active ? z[r][i] * slopes[i] : A{0};
        sums[i] += z[r][i];
        if (round) z[r][i] = ToFloat(Round<BFloat16>(static_cast<float>(z[r][i])));
      }
      if (gradients != nullptr) {
        StoreVector<kVector>(gradients + (row0 + r) * logits.pitch + column, z[r]);
      }
    }
  }
  if (bias_sums != nullptr) {
    StoreVector<kVector>(bias_sums + blockIdx.x * logits.pitch + column, sums);
  }
}

// sums [runs, stride] of example b at column b, the last runs maybe without a class.
template <typename Competitors>
Status SumLogits(const LogitBlock<typename Competitors::A>& logits, const Competitors& competitors,
                 const SumRuns& runs, PartialSoftmax<typename Competitors::A>* sums, int64_t stride,
                 const Stream& stream) {
  const dim3 grid(NumBlocks(logits.rows, kLogitWarps), static_cast<unsigned>(runs.runs));
  const auto launch = [&](auto kernel) {
    return Launch(kernel, grid, dim3(kLogitThreads), 0, stream, logits, competitors, runs.run, sums,
                  stride);
  };
  return IsPlain(logits.numbers) ? launch(SumLogitsKernel<Competitors, true>)
                                 : launch(SumLogitsKernel<Competitors, false>);
}

// gradients [rows, pitch] of the logits, in the unit of E (GradientUnit) and, where so asked,
// rounded to bfloat16: may be the memory of the products. bias_sums [Divide(rows, kBiasRows),
// pitch]: of gradients that are not rounded, in the same unit, or null.
template <typename Competitors, typename E>
Status DifferentiateLogits(const LogitBlock<typename Competitors::A>& logits,
                           const Competitors& competitors, bool round, E* gradients,
                           typename Competitors::A* bias_sums, const Stream& stream) {
  const dim3 grid(NumBlocks(logits.rows, kBiasRows),
                  NumBlocks(logits.classes, kLogitThreads * kVector));
  const auto launch = [&](auto kernel) {
    return Launch(kernel, grid, dim3(kLogitThreads), 0, stream, logits, competitors, round,
                  gradients, bias_sums);
  };
  return IsPlain(logits.numbers) ? launch(DifferentiateLogitsKernel<Competitors, E, true>)
                                 : launch(DifferentiateLogitsKernel<Competitors, E, false>);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_STORED_LOGITS_H_
