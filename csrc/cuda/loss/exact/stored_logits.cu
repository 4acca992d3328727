#include <limits>
#include <type_traits>

#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/exact/stored_logits.h"

namespace fastw2v::cuda {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
// On a multiprocessor, at least: as many as 64 registers a thread allow (double: 128). Without this
// the assembler allots fewer registers to the sums, and spills.
template <typename A>
constexpr int kBlocks = sizeof(A) == 8 ? 2 : 4;

__device__ __forceinline__ float Larger(float x, float y) { return fmaxf(x, y); }  // not NaN
__device__ __forceinline__ double Larger(double x, double y) { return fmax(x, y); }

// Of columns [column, column + kVector) of the block; 0 where there is none.
template <typename T>
__device__ __forceinline__ void LoadBiases(const StoredLogits<T>& logits, int column,
                                           Accumulator<T> (&biases)[kVector]) {
  const T* const from = logits.biases + logits.class0 + column;
  if (logits.biases != nullptr && logits.vector_biases && column + kVector <= logits.classes) {
    LoadVector<kVector>(from, biases);
    return;
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const bool exists = logits.biases != nullptr && column + i < logits.classes;
    biases[i] = exists ? static_cast<Accumulator<T>>(ToFloat(from[i])) : Accumulator<T>{0};
  }
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

// Block (x, y): kWarps rows, a warp for each, and run y of the classes. A thread takes pieces of
// kVector classes, two at a time.
template <typename T, bool kPlain>
__global__ void __launch_bounds__(kThreads, kBlocks<Accumulator<T>>)
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
  const int begin = static_cast<int>(blockIdx.y * run);
  const int end = static_cast<int>(Smaller(logits.classes, blockIdx.y * run + run));
  const LogitNumbers<A> numbers = Known<kPlain>(logits.numbers);
  const auto make = [&](A product, A bias) {
    return MakeLogit(product, bias, A{0}, numbers.scale, numbers.softcap).z;
  };

  A max = kNone, sum_exp = 0, sum_shifted = 0, met = 0;
  // full: all columns of the warp are classes of the run, so that none has to be asked for.
  const auto step = [&](int first, auto full) {
    A z[kPieces][kVector], biases[kPieces][kVector];
    const auto valid = [&](int piece, int i) {
      return full || first + piece * kWarp * kVector + i < end;
    };
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      if (!valid(piece, 0)) continue;
      LoadVector<kVector>(products + first + piece * kWarp * kVector, z[piece]);
      LoadBiases(logits, first + piece * kWarp * kVector, biases[piece]);
    }
    A largest = max, now = 0;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        z[piece][i] = valid(piece, i) ? make(z[piece][i], biases[piece][i]) : kNone;
        now += smoothing && valid(piece, i) ? A{1} : A{0};
      }
      TakeMargin(examples, numbers.margin, b, logits.class0 + first + piece * kWarp * kVector,
                 z[piece]);
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
        if (smoothing && valid(piece, i)) shifted += z[piece][i] - base;
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
    const A bias = logits.biases == nullptr ? A{0} : A{ToFloat(logits.biases[label])};
    examples.label_logits[at] = make(products[column], bias) - numbers.margin;
  }
}

// Block (x, y): kBiasRows rows and columns of kVector for each thread, whose sums it keeps.
template <typename T, typename E, bool kPlain>
__global__ void __launch_bounds__(kThreads)
    DifferentiateKernel(StoredLogits<T> logits, Examples<Accumulator<T>> examples, bool round,
                        E* gradients, Accumulator<T>* bias_sums) {
  using A = Accumulator<T>;
  constexpr int kAhead = 4;  // rows that are loaded before the first is stored
  const int column = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) * kVector;
  if (column >= logits.classes) return;
  const int64_t begin = blockIdx.x * kBiasRows, end = Smaller(logits.rows, begin + kBiasRows);
  const LogitNumbers<A> numbers = Known<kPlain>(logits.numbers);
  const A unit = GradientUnit<E>(examples.largest, /*inverse=*/false);
  A biases[kVector], sums[kVector] = {};
  LoadBiases(logits, column, biases);
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
  const dim3 grid(NumBlocks(logits.rows, kWarps), static_cast<unsigned>(runs));
  const auto launch = [&](auto kernel) {
    return Launch(kernel, grid, dim3(kThreads), 0, stream, logits, examples, run, first_run,
                  smoothing);
  };
  return IsPlain(logits.numbers) ? launch(SumKernel<T, true>) : launch(SumKernel<T, false>);
}

template <typename T, typename E>
Status DifferentiateStoredLogits(const StoredLogits<T>& logits,
                                 const Examples<Accumulator<T>>& examples, bool round, E* gradients,
                                 Accumulator<T>* bias_sums, const Stream& stream) {
  const dim3 grid(NumBlocks(logits.rows, kBiasRows), NumBlocks(logits.classes, kThreads * kVector));
  const auto launch = [&](auto kernel) {
    return Launch(kernel, grid, dim3(kThreads), 0, stream, logits, examples, round, gradients,
                  bias_sums);
  };
  return IsPlain(logits.numbers) ? launch(DifferentiateKernel<T, E, true>)
                                 : launch(DifferentiateKernel<T, E, false>);
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
