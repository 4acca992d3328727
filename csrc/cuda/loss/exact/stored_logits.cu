#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/exact/stored_logits.h"

namespace fastw2v::cuda {

namespace {

// Classes of a table, labels among them.
template <typename T>
struct TableClasses {
  using A = Accumulator<T>;
  static constexpr bool kLogistic = false;

  int64_t class0, classes;
  const T* biases;
  bool vector_biases, smoothing;
  int64_t num_true;
  const int64_t* labels;
  IgnoredLabel ignored;
  A* label_logits;
  const RowGradientTerms<A>* terms;
  const uint8_t* active;
  const uint32_t* largest;

  TableClasses(const StoredLogits<T>& logits, const Examples<A>& examples, bool smooths)
      : class0(logits.class0),
        classes(logits.classes),
        biases(logits.biases),
        vector_biases(logits.vector_biases),
        smoothing(smooths),
        num_true(examples.num_true),
        labels(examples.labels),
        ignored(examples.ignored),
        label_logits(examples.label_logits),
        terms(examples.terms),
        active(examples.active),
        largest(examples.largest) {}

  __device__ __forceinline__ void Load(int column, A (&of_biases)[kVector],
                                       A (&counts)[kVector]) const {
#pragma unroll
    for (int i = 0; i < kVector; ++i) counts[i] = 0;
    const T* const from = biases + class0 + column;
    if (biases != nullptr && vector_biases && column + kVector <= classes) {
      LoadVector<kVector>(from, of_biases);
      return;
    }
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const bool exists = biases != nullptr && column + i < classes;
      of_biases[i] = exists ? static_cast<A>(ToFloat(from[i])) : A{0};
    }
  }

  __device__ __forceinline__ bool SumsShifted() const { return smoothing; }

  // use(i, j) where label j of example b is column + i, i in [0, kVector).
  template <typename Use>
  __device__ __forceinline__ void ForLabels(int64_t b, int column, Use use) const {
    const int64_t* const of_example = labels + b * num_true;
    for (int64_t j = 0; j < num_true; ++j) {
      // A label may be any number: unsigned ones wrap.
      const uint64_t at =
          static_cast<uint64_t>(of_example[j]) - static_cast<uint64_t>(class0 + column);
      if (at >= kVector || ignored.Is(of_example[j])) continue;
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        if (at == static_cast<uint64_t>(i)) use(i, j);
      }
    }
  }
  __device__ __forceinline__ void Change(const LogitNumbers<A>& numbers, int64_t b, int column,
                                         A (&z)[kVector]) const {
    if (numbers.margin == 0) return;
    ForLabels(b, column, [&](int i, int64_t j) {
      if (IsFirstOfClass(labels + b * num_true, j)) z[i] -= numbers.margin;
    });
  }
  __device__ __forceinline__ void TakeTargets(int64_t b, int column, A target,
                                              A (&z)[kVector]) const {
    ForLabels(b, column, [&](int i, int64_t) { z[i] -= target; });
  }

  __device__ __forceinline__ void FinishSums(const LogitNumbers<A>& numbers, const A* products,
                                             int64_t b, int begin, int end, int lane) const {
    for (int64_t j = lane; j < num_true; j += kWarp) {
      const int64_t at = b * num_true + j, label = labels[at];
      if (ignored.Is(label)) continue;
      if (label < class0 + begin || label >= class0 + end) continue;
      const A bias = biases == nullptr ? A{0} : A{ToFloat(biases[label])};
      label_logits[at] =
          MakeLogit(products[label - class0], bias, A{0}, numbers.scale, numbers.softcap).z -
          numbers.margin;
    }
  }
};

}  // namespace

template <typename T>
Status SumStoredLogits(const StoredLogits<T>& logits, const Examples<Accumulator<T>>& examples,
                       const SumRuns& runs, int64_t first_run, bool smoothing,
                       const Stream& stream) {
  return SumLogits(logits, TableClasses<T>(logits, examples, smoothing), runs,
                   examples.sums + first_run * examples.rows, examples.rows, stream);
}

template <typename T, typename E>
Status DifferentiateStoredLogits(const StoredLogits<T>& logits,
                                 const Examples<Accumulator<T>>& examples, bool round, E* gradients,
                                 Accumulator<T>* bias_sums, const Stream& stream) {
  return DifferentiateLogits(logits, TableClasses<T>(logits, examples, false), round, gradients,
                             bias_sums, stream);
}

#define FASTW2V_INSTANTIATE(T)                                                             \
  template Status SumStoredLogits(const StoredLogits<T>&, const Examples<Accumulator<T>>&, \
                                  const SumRuns&, int64_t, bool, const Stream&);
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
