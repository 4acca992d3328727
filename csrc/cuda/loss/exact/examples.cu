#include <limits>

#include "csrc/cuda/loss/exact/examples.h"

namespace fastw2v::cuda {

namespace {

constexpr int kThreads = 256;

// Of a problem, what rows become operands by.
struct RowFormat {
  int64_t dim, pitch;
  bool rounds;
};

template <typename T, typename E>
__device__ __forceinline__ void CopyRow(const T* from, bool exists, const RowFormat& format,
                                        E* to) {
  using A = Accumulator<T>;
  for (int64_t d = threadIdx.x; d < format.pitch; d += kThreads) {
    A x = exists && d < format.dim ? static_cast<A>(ToFloat(from[d])) : A{0};
    if (format.rounds) x = ToFloat(Round<BFloat16>(static_cast<float>(x)));
    to[d] = Round<E>(x);
  }
}

struct Labels {
  const int64_t* all;
  int64_t all_classes, first_class;
  IgnoredLabel ignored;
};

// Block r: row r.
template <typename T, typename E>
__global__ void __launch_bounds__(kThreads)
    PrepareExamplesKernel(Examples<Accumulator<T>> examples, Labels labels, const T* rows,
                          const int64_t* ids, int64_t num_rows, RowFormat format, E* hidden) {
  const int64_t r = blockIdx.x;
  int64_t row = r;
  bool valid = r < examples.batch;
  if (valid && ids != nullptr) {
    row = ids[r];
    valid = row >= 0 && row < num_rows;
  }
  if (threadIdx.x == 0) {
    int32_t count = valid ? 0 : -1;
    for (int64_t j = 0; r < examples.batch && j < examples.num_true; ++j) {
      const int64_t i = r * examples.num_true + j, label = labels.all[i];
      const bool ignored = labels.ignored.Is(label);
      const bool exists = label >= 0 && label < labels.all_classes;
      if (examples.own_labels != nullptr) {
        examples.own_labels[i] = exists && !ignored ? label - labels.first_class : -1;
      }
      if (!ignored && count >= 0) count = exists ? count + 1 : -1;
    }
    examples.counts[r] = count;
  }
  CopyRow(rows + (valid ? row : 0) * format.dim, valid, format, hidden + r * format.pitch);
}

template <typename T, typename E>
__global__ void __launch_bounds__(kThreads)
    PrepareWeightsKernel(const T* from, RowFormat format, E* to) {
  const int64_t r = blockIdx.x;
  CopyRow(from + r * format.dim, true, format, to + r * format.pitch);
}

// The sums of row b over all runs.
template <typename A>
__device__ __forceinline__ PartialSoftmax<A> JoinRuns(const Examples<A>& examples, int64_t b) {
  PartialSoftmax<A> sums = examples.sums[b];
  for (int64_t run = 1; run < examples.runs; ++run) {
    sums = Join(sums, examples.sums[run * examples.rows + b]);
  }
  return sums;
}

template <typename A>
__global__ void __launch_bounds__(kThreads)
    FinishLossKernel(Examples<A> examples, RowRange rows, LossNumbers<A> numbers, A* loss,
                     Normalizer<A> normalizer) {
  const int64_t b = rows.begin + int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= rows.end) return;
  const int32_t count = examples.counts[b];
  normalizer.max[b] = normalizer.log_sum[b] = 0;
  loss[b] = 0;
  if (count < 0) loss[b] = std::numeric_limits<A>::quiet_NaN();
  if (count <= 0) return;
  const PartialSoftmax<A> sums = JoinRuns(examples, b);
  const A log_sum = log(sums.sum_exp);
  normalizer.max[b] = sums.max;
  normalizer.log_sum[b] = log_sum;
  A below_max = 0;
  for (int64_t i = b * examples.num_true; i < (b + 1) * examples.num_true; ++i) {
    if (!examples.ignored.Is(examples.labels[i])) below_max += sums.max - examples.label_logits[i];
  }
  below_max /= static_cast<A>(count);
  loss[b] = SoftmaxLoss(numbers, sums.max, log_sum, below_max, sums.sum_shifted);
}

template <typename A>
__global__ void __launch_bounds__(kThreads)
    FinishPartKernel(Examples<A> examples, SoftmaxPart<A> part) {
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= examples.batch) return;
  if (examples.counts[b] < 0) {
    StoreNaN(part, b);
    return;
  }
  const PartialSoftmax<A> sums = JoinRuns(examples, b);
  A below_max = 0;
  for (int64_t i = b * examples.num_true; i < (b + 1) * examples.num_true; ++i) {
    const int64_t label = examples.labels[i];
    if (label < 0 || label >= examples.classes || examples.ignored.Is(label)) continue;
    below_max += BelowMax(sums, examples.label_logits[i]);
  }
  StorePart(part, b, sums, below_max);
}

template <typename A>
__global__ void __launch_bounds__(kThreads)
    FinishEmptyPartKernel(int64_t batch, SoftmaxPart<A> part) {
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b < batch) StorePart(part, b, NoClasses<A>(), A{0});
}

template <typename A>
__global__ void __launch_bounds__(kThreads)
    PrepareGradientKernel(Examples<A> examples, RowRange rows, LossNumbers<A> numbers,
                          const A* d_loss, Normalizer<const A> normalizer) {
  const int64_t b = rows.begin + int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= rows.end) return;
  RowGradientTerms<A> row = {0, 0, 0, 0};
  const int32_t count = examples.counts[b];
  examples.active[b] = count > 0;
  if (count > 0) {
    const A max = normalizer.max[b], log_sum = normalizer.log_sum[b];
    const auto gradient = MakeGradientTerms(numbers, d_loss[b], max, log_sum, count);
    row.max = max;
    row.factor = gradient.scale * static_cast<A>(exp(-log_sum));
    row.shift = gradient.shift;
    row.target = gradient.target;
    WidenUnit(fabs(gradient.scale) + fabs(row.shift) +
                  fabs(row.target) * static_cast<A>(examples.num_true),
              examples.largest);
  }
  examples.terms[b] = row;
}

dim3 BlocksFor(int64_t count) { return dim3(NumBlocks(count, kThreads)); }

}  // namespace

template <typename T, typename E>
Status PrepareExamples(const LossProblem<T>& p, const Examples<Accumulator<T>>& examples,
                       const Stream& stream, E* hidden, int64_t pitch) {
  const Labels labels = {p.labels, p.all_classes(), p.first_class, p.options.ignored};
  return Launch(PrepareExamplesKernel<T, E>, dim3(static_cast<unsigned>(examples.rows)),
                dim3(kThreads), 0, stream, examples, labels, p.hidden, p.ids, p.hidden_rows,
                RowFormat{p.dim, pitch, RoundsOperands(p)}, hidden);
}

template <typename T, typename E>
Status PrepareWeights(const LossProblem<T>& p, int64_t first, int64_t count, const Stream& stream,
                      E* weights, int64_t pitch) {
  return Launch(PrepareWeightsKernel<T, E>, dim3(static_cast<unsigned>(count)), dim3(kThreads), 0,
                stream, p.weights + first * p.dim, RowFormat{p.dim, pitch, RoundsOperands(p)},
                weights);
}

template <typename T>
Status FinishLoss(const LossProblem<T>& p, const Examples<Accumulator<T>>& examples,
                  const RowRange& rows, const Stream& stream, Accumulator<T>* loss,
                  const Normalizer<Accumulator<T>>& normalizer) {
  return Launch(FinishLossKernel<Accumulator<T>>, BlocksFor(rows.end - rows.begin), dim3(kThreads),
                0, stream, examples, rows,
                MakeLossNumbers<Accumulator<T>>(p.options, p.all_classes()), loss, normalizer);
}

template <typename T>
Status FinishPart(const LossProblem<T>& p, const Examples<Accumulator<T>>& examples,
                  const Stream& stream, const SoftmaxPart<Accumulator<T>>& part) {
  return Launch(FinishPartKernel<Accumulator<T>>, BlocksFor(p.batch), dim3(kThreads), 0, stream,
                examples, part);
}

template <typename A>
Status FinishEmptyPart(int64_t batch, const Stream& stream, const SoftmaxPart<A>& part) {
  return Launch(FinishEmptyPartKernel<A>, BlocksFor(batch), dim3(kThreads), 0, stream, batch, part);
}

template <typename T>
Status PrepareGradient(const LossProblem<T>& p, const Examples<Accumulator<T>>& examples,
                       const RowRange& rows, const Accumulator<T>* d_loss,
                       const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream) {
  if (rows.begin == 0) {
    FASTW2V_RETURN_IF_ERROR(Zero(examples.largest, sizeof(uint32_t), stream));
  }
  return Launch(PrepareGradientKernel<Accumulator<T>>, BlocksFor(rows.end - rows.begin),
                dim3(kThreads), 0, stream, examples, rows,
                MakeLossNumbers<Accumulator<T>>(p.options, p.all_classes()), d_loss, normalizer);
}

#define FASTW2V_INSTANTIATE(T)                                                            \
  template Status FinishLoss(const LossProblem<T>&, const Examples<Accumulator<T>>&,      \
                             const RowRange&, const Stream&, Accumulator<T>*,             \
                             const Normalizer<Accumulator<T>>&);                          \
  template Status FinishPart(const LossProblem<T>&, const Examples<Accumulator<T>>&,      \
                             const Stream&, const SoftmaxPart<Accumulator<T>>&);          \
  template Status PrepareGradient(const LossProblem<T>&, const Examples<Accumulator<T>>&, \
                                  const RowRange&, const Accumulator<T>*,                 \
                                  const Normalizer<const Accumulator<T>>&, const Stream&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

#define FASTW2V_INSTANTIATE(T, E)                                                            \
  template Status PrepareExamples(const LossProblem<T>&, const Examples<Accumulator<T>>&,    \
                                  const Stream&, E*, int64_t);                               \
  template Status PrepareWeights(const LossProblem<T>&, int64_t, int64_t, const Stream&, E*, \
                                 int64_t);
FASTW2V_INSTANTIATE(float, float)
FASTW2V_INSTANTIATE(float, BFloat16)
FASTW2V_INSTANTIATE(double, double)
FASTW2V_INSTANTIATE(Half, Half)
FASTW2V_INSTANTIATE(Half, BFloat16)
FASTW2V_INSTANTIATE(BFloat16, BFloat16)
#undef FASTW2V_INSTANTIATE

template Status FinishEmptyPart(int64_t, const Stream&, const SoftmaxPart<float>&);
template Status FinishEmptyPart(int64_t, const Stream&, const SoftmaxPart<double>&);

}  // namespace fastw2v::cuda
