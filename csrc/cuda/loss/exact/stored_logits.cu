#include <limits>

#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/exact/stored_logits.h"

namespace fastw2v::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

__device__ __forceinline__ float Larger(float x, float y) { return fmaxf(x, y); }  // not NaN
__device__ __forceinline__ double Larger(double x, double y) { return fmax(x, y); }

template <typename T>
__device__ __forceinline__ Accumulator<T> BiasOf(const StoredLogits<T>& logits, int64_t column) {
  using A = Accumulator<T>;
  if (logits.biases == nullptr || column >= logits.classes) return A{0};
  return static_cast<A>(ToFloat(logits.biases[logits.class0 + column]));
}

// use(i, j) where label j of example b is column + i, i in [0, kVector).
template <typename A, typename Use>
__device__ __forceinline__ void ForLabels(const Examples<A>& examples, int64_t b, int64_t first,
                                          Use use) {
  const int64_t* const labels = examples.labels + b * examples.num_true;
  for (int64_t j = 0; j < examples.num_true; ++j) {
    // A label may be any number: unsigned ones wrap.
    const uint64_t at = static_cast<uint64_t>(labels[j]) - static_cast<uint64_t>(first);
    if (at >= kVector || examples.ignored.Is(labels[j])) continue;
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      if (at == static_cast<uint64_t>(i)) use(i, j);
    }
  }
}

// From the logits z of example b and classes [first, first + kVector).
template <typename A>
__device__ __forceinline__ void TakeMargin(const Examples<A>& examples, A margin, int64_t b,
                                           int64_t first, A (&z)[kVector]) {
  if (margin == 0) return;
  ForLabels(examples, b, first, [&](int i, int64_t j) {
    if (IsFirstOfClass(examples.labels + b * examples.num_true, j)) z[i] -= margin;
  });
}

// Block (x, y): kWarps rows, a warp for each, and run y of the classes. A thread takes pieces of
// kVector classes, two at a time.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    SumKernel(StoredLogits<T> logits, Examples<Accumulator<T>> examples, int64_t run,
              int64_t first_run, bool smoothing) {
  using A = Accumulator<T>;
  constexpr int kPieces = 2;
  constexpr A kNone = -std::numeric_limits<A>::infinity();
  const int lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (row >= logits.rows) return;
  const int64_t b = logits.row0 + row;
  const A* const products = logits.products + row * logits.pitch;
  const int64_t begin = blockIdx.y * run, end = Smaller(logits.classes, begin + run);
  const LogitNumbers<A> numbers = logits.numbers;
  const auto make = [&](A product, int64_t column) {
    return MakeLogit(product, BiasOf(logits, column), A{0}, numbers.scale, numbers.softcap).z;
  };

  A max = kNone, sum_exp = 0, sum_shifted = 0, met = 0;
  for (int64_t first = begin + lane * kVector; first < end; first += kPieces * kWarp * kVector) {
    A z[kPieces][kVector];
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const int64_t column = first + piece * kWarp * kVector;
      if (column < end) LoadVector<kVector>(products + column, z[piece]);
    }
    A largest = max, now = 0;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const int64_t column = first + piece * kWarp * kVector;
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const bool valid = column + i < end;
        z[piece][i] = valid ? make(z[piece][i], column + i) : kNone;
        now += smoothing && valid ? A{1} : A{0};
      }
      TakeMargin(examples, numbers.margin, b, logits.class0 + column, z[piece]);
#pragma unroll
      for (int i = 0; i < kVector; ++i) largest = Larger(largest, z[piece][i]);
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
        sum += Exp(z[piece][i] - base);
        const bool valid = first + piece * kWarp * kVector + i < end;
        if (smoothing && valid) shifted += z[piece][i] - base;
      }
    }
    sum_exp = before.sum_exp + sum;
    sum_shifted = before.sum_shifted + shifted;
    max = largest;
    met += now;
  }
  PartialSoftmax<A> sums = {max, sum_exp, sum_shifted, met};
  for (int bits = kWarp / 2; bits > 0; bits /= 2) {
    const PartialSoftmax<A> other = {__shfl_xor_sync(kAllLanes, sums.max, bits),
                                     __shfl_xor_sync(kAllLanes, sums.sum_exp, bits),
                                     __shfl_xor_sync(kAllLanes, sums.sum_shifted, bits),
                                     __shfl_xor_sync(kAllLanes, sums.classes, bits)};
    sums = Join(sums, other);
  }
  if (lane == 0) examples.sums[(first_run + blockIdx.y) * examples.rows + b] = sums;

  for (int64_t j = lane; j < examples.num_true; j += kWarp) {
    const int64_t at = b * examples.num_true + j, label = examples.labels[at];
    if (examples.ignored.Is(label)) continue;
    if (label < logits.class0 + begin || label >= logits.class0 + end) continue;
    const int64_t column = label - logits.class0;
    examples.label_logits[at] = make(products[column], column) - numbers.margin;
  }
}

// Block (x, y): kBiasRows rows and columns of kVector for each thread, whose sums it keeps.
template <typename T, typename E>
__global__ void __launch_bounds__(kThreads)
    DifferentiateKernel(StoredLogits<T> logits, Examples<Accumulator<T>> examples, bool round,
                        E* gradients, Accumulator<T>* bias_sums) {
  using A = Accumulator<T>;
  constexpr int kAhead = 4;  // rows that are loaded before the first is stored
  const int64_t column = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kVector;
  if (column >= logits.classes) return;
  const int64_t begin = blockIdx.x * kBiasRows, end = Smaller(logits.rows, begin + kBiasRows);
  const LogitNumbers<A> numbers = logits.numbers;
  const A unit = GradientUnit<E>(examples.largest, /*inverse=*/false);
  A biases[kVector], sums[kVector];
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    biases[i] = BiasOf(logits, column + i);
    sums[i] = 0;
  }
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
      const int64_t b = logits.row0 + row0 + r, first = logits.class0 + column;
      const RowGradientTerms<A> row = examples.terms[b];
      const bool active = examples.active[b] != 0;
      A slopes[kVector];
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const Logit<A> logit = MakeLogit(z[r][i], biases[i], A{0}, numbers.scale, numbers.softcap);
        z[r][i] = logit.z;
        slopes[i] = logit.slope;
      }
      if (active) TakeMargin(examples, numbers.margin, b, first, z[r]);
      const A factor = unit * row.factor, shift = unit * row.shift, target = unit * row.target;
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        z[r][i] = factor * Exp(z[r][i] - row.max) - shift;
      }
      if (active) ForLabels(examples, b, first, [&](int i, int64_t) { z[r][i] -= target; });
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

}  // namespace

template <typename T>
Status SumStoredLogits(const StoredLogits<T>& logits, const Examples<Accumulator<T>>& examples,
                       int64_t run, int64_t first_run, int64_t runs, bool smoothing,
                       const Stream& stream) {
  return Launch(SumKernel<T>, dim3(NumBlocks(logits.rows, kWarps), static_cast<unsigned>(runs)),
                dim3(kThreads), 0, stream, logits, examples, run, first_run, smoothing);
}

template <typename T, typename E>
Status DifferentiateStoredLogits(const StoredLogits<T>& logits,
                                 const Examples<Accumulator<T>>& examples, bool round, E* gradients,
                                 Accumulator<T>* bias_sums, const Stream& stream) {
  return Launch(
      DifferentiateKernel<T, E>,
      dim3(NumBlocks(logits.rows, kBiasRows), NumBlocks(logits.classes, kThreads * kVector)),
      dim3(kThreads), 0, stream, logits, examples, round, gradients, bias_sums);
}

#define FASTW2V_INSTANTIATE(T)                                                             \
  template Status SumStoredLogits(const StoredLogits<T>&, const Examples<Accumulator<T>>&, \
                                  int64_t, int64_t, int64_t, bool, const Stream&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

#define FASTW2V_INSTANTIATE(T, E)                                                      \
  template Status DifferentiateStoredLogits(const StoredLogits<T>&,                    \
                                            const Examples<Accumulator<T>>&, bool, E*, \
                                            Accumulator<T>*, const Stream&);
FASTW2V_INSTANTIATE(float, float)
FASTW2V_INSTANTIATE(float, BFloat16)
FASTW2V_INSTANTIATE(double, double)
FASTW2V_INSTANTIATE(Half, Half)
FASTW2V_INSTANTIATE(Half, BFloat16)
FASTW2V_INSTANTIATE(BFloat16, BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
