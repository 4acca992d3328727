#include <algorithm>
#include <cmath>
#include <type_traits>

#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/sampled/own_candidates.h"
#include "csrc/cuda/loss/sampled/shared_list.h"
#include "csrc/cuda/loss/sampled/weight_terms.h"
#include "csrc/cuda/rows/sort.h"

namespace fastw2v::cuda {

namespace {

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    ListKernel(LossProblem<T> p, int64_t* rows, int32_t* places, int* bad) {
  const int64_t s = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (s >= p.num_sampled) return;
  const bool in_range = InRange(p.sampled[s], p.classes);
  rows[s] = in_range ? p.sampled[s] : p.classes;
  places[s] = static_cast<int32_t>(s);
  if (!in_range) atomicOr(bad, 1);
}

// Gradients of an example's labels: their terms and what they give to d_hidden. By a warp.
template <typename T, int N>
__device__ __forceinline__ void LabelGradients(const LossProblem<T>& p, int64_t b,
                                               const Example<T>& example,
                                               const Coefficients<T>& coefficients,
                                               const LabelLogits<Accumulator<T>>& logits,
                                               const OwnGradients<Accumulator<T>>& own) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  const auto gradient = [&](int64_t j) -> A {
    const int64_t i = b * p.num_true + j;
    if (!coefficients.active || p.options.ignored.Is(p.labels[i])) return 0;
    return coefficients.LogitGradientOf({logits.z[i], logits.slope[i]}, true);
  };
  for (int64_t j = lane; j < p.num_true; j += kWarp) {
    WriteTerm(p, FindOwnCandidate(p, b, j), example.valid, gradient(j), b * p.num_true + j, own);
  }
  if (own.d_hidden == nullptr) return;
  for (int64_t first = 0; first < p.dim; first += kSpanColumns<N>) {
    A sum[kSpan][N];
    ClearSpan(sum);
    for (int64_t j = 0; j < p.num_true; ++j) {
      const A d_logit = gradient(j);
      if (d_logit == 0) continue;  // its row may be none
      AddRow<T, N>(p, d_logit, p.labels[b * p.num_true + j], first, sum);
    }
    StoreSpan<T, N>(p, own.d_hidden + b * p.dim, first, sum);
  }
}

// What the gradients of an example's logits are made of, for the kernels of the blocks. By a lane.
template <typename T, typename E>
__device__ __forceinline__ void WriteGradientTerms(const Coefficients<T>& of, int64_t b,
                                                   const SharedOperands<E>& operands) {
  using A = Accumulator<T>;
  const A factor = of.softmax ? of.scale * math::Exp(-of.log_sum) : of.scale;
  operands.terms[b] =
      of.active ? RowGradientTerms<A>{of.max, factor, 0, 0} : RowGradientTerms<A>{0, 0, 0, 0};
  operands.active[b] = of.active;
  WidenUnit(of.scale, operands.largest);
}

// What backward gives to PrepareKernel; d_loss is null in a forward pass.
template <typename A>
struct BackwardInputs {
  const A* d_loss = nullptr;
  Normalizer<const A> normalizer;
};

template <typename T, typename E>
__device__ __forceinline__ void PackRow(const LossProblem<T>& p, const T* row, int64_t width,
                                        E* packed) {
  using A = Accumulator<T>;
  for (int64_t i = threadIdx.x % kWarp; i < width; i += kWarp) {
    A x = row != nullptr && i < p.dim ? A{ToFloat(row[i])} : A{0};
    if (p.options.compute_dtype == ComputeDtype::kBFloat16)
      x = ToFloat(Round<BFloat16>(static_cast<float>(x)));
    packed[i] = Round<E>(x);
  }
}

// FirstNotBelow by a warp: its lanes look at 32 places at a time, so that a list of 8192 takes
// three loads one after the other and not thirteen.
__device__ __forceinline__ int64_t WarpFirstNotBelow(const int64_t* rows, int64_t count,
                                                     int64_t row) {
  const int lane = threadIdx.x % kWarp;
  int64_t begin = 0, end = count;
  while (begin < end) {
    const int64_t step = (end - begin + kWarp - 1) / kWarp;
    const int64_t place = begin + (lane + 1) * step - 1;
    const bool is_below = place < end && rows[place] < row;
    const int64_t below = __popc(__ballot_sync(kAllLanes, is_below));
    end = Smaller(end, begin + (below + 1) * step - 1);
    begin += below * step;
  }
  return begin;
}

// FindHits by a warp.
__device__ __forceinline__ HitRange WarpFindHits(const int64_t* rows, int64_t count,
                                                 int64_t label) {
  const int64_t begin = WarpFirstNotBelow(rows, count, label);
  const bool hits = begin < count && rows[begin] == label;
  return {begin, hits ? WarpFirstNotBelow(rows, count, label + 1) : begin};
}

// A warp for each example, then one for each class of the list: packs the rows, computes the logits
// of labels and finds accidental hits. Backward it also makes the labels' gradients and all terms.
template <typename T, typename E, int N>
__global__ void __launch_bounds__(kThreads, 2)
    PrepareKernel(LossProblem<T> p, SharedList list, SharedOperands<E> operands,
                  LabelLogits<Accumulator<T>> logits, BackwardInputs<Accumulator<T>> inputs,
                  OwnGradients<Accumulator<T>> own) {
  using A = Accumulator<T>;
  const int lane = threadIdx.x % kWarp;
  const int64_t b = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (b >= p.batch) {
    const int64_t s = b - p.batch;
    if (s >= p.num_sampled) return;
    const int64_t row = list.rows[s];
    const bool is_row = row < p.classes;
    PackRow(p, is_row ? p.weights + row * p.dim : nullptr, operands.width,
            operands.weights + s * operands.width);
    if (lane != 0) return;
    operands.biases[s] = is_row && p.biases != nullptr ? A{ToFloat(p.biases[row])} : A{0};
    operands.log_counts[s] = p.sampled_expected_count != nullptr
                                 ? LogCount<A>(p.sampled_expected_count[list.places[s]])
                                 : A{0};
    if (own.term_rows == nullptr) return;
    const int64_t term = p.batch * p.num_true + s;
    own.term_rows[term] = row;
    own.places[term] = static_cast<int32_t>(term);
    return;
  }
  const Example<T> example = FindExample(p, b);
  PackRow(p, example.hidden, operands.width, operands.hidden + b * operands.width);
  for (int64_t j = 0; j < p.num_true; ++j) {
    const OwnCandidate label = FindOwnCandidate(p, b, j);
    Logit<A> logit = {-INFINITY, 0};
    HitRange hits;
    if (example.valid && label.competes) {
      logit = FinishOwn(p, Dot<T, N>(p, example.hidden, p.weights + label.row * p.dim), label);
      if (operands.hits != nullptr) {
        hits = WarpFindHits(list.rows, p.num_sampled, label.row);
      }
    }
    if (lane != 0) continue;
    const int64_t i = b * p.num_true + j;
    logits.z[i] = logit.z;
    logits.slope[i] = logit.slope;
    if (operands.hits == nullptr) continue;
    operands.hits[2 * i] = static_cast<int32_t>(hits.begin);
    operands.hits[2 * i + 1] = static_cast<int32_t>(hits.end);
  }
  if (inputs.d_loss == nullptr) return;
  __syncwarp();
  const bool active = example.valid && example.num_labels > 0 && *list.bad == 0;
  const Coefficients<T> coefficients(p, example, active, inputs.d_loss[b], inputs.normalizer.max[b],
                                     inputs.normalizer.log_sum[b]);
  if (lane == 0) WriteGradientTerms(coefficients, b, operands);
  LabelGradients<T, N>(p, b, example, coefficients, logits, own);
}

// A warp for each example of [begin, end): losses from sums over its parts; with d_loss also the
// gradients of labels.
template <typename T, typename E, int N>
__global__ void __launch_bounds__(kThreads, 2)
    FinishKernel(LossProblem<T> p, int64_t begin, int64_t end, SharedList list, int64_t parts,
                 const PartialSoftmax<Accumulator<T>>* sums, LabelLogits<Accumulator<T>> logits,
                 const Accumulator<T>* d_loss, Accumulator<T>* loss,
                 Normalizer<Accumulator<T>> normalizer, SharedOperands<E> operands,
                 OwnGradients<Accumulator<T>> own) {
  using A = Accumulator<T>;
  const int64_t b = begin + int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (b >= end) return;
  const int lane = threadIdx.x % kWarp;
  const Example<T> example = FindExample(p, b);
  const bool softmax = p.options.link == Link::kSoftmax, valid = example.valid && *list.bad == 0;
  const bool active = valid && example.num_labels > 0;
  A max = 0, log_sum = 0, value = valid ? A{0} : A{NAN};
  if (active && softmax) {
    const auto exp = [](A x) { return std::exp(x); };
    PartialSoftmax<A> total = NoClasses<A>();
    for (int64_t part = 0; part < parts; ++part) {
      total = Join(total, sums[part * p.batch + b], exp);
    }
    for (int64_t j = 0; j < p.num_true; ++j) {  // the logit of an ignored label is -inf
      total = Join(total, OneClass(logits.z[b * p.num_true + j]), exp);
    }
    max = total.max;
    log_sum = std::log(total.sum_exp);
    A below_max = 0;
    for (int64_t j = 0; j < p.num_true; ++j) {
      const int64_t i = b * p.num_true + j;
      if (!p.options.ignored.Is(p.labels[i])) below_max += max - logits.z[i];
    }
    below_max /= static_cast<A>(example.num_labels);
    value = SoftmaxLoss(Numbers(p), max, log_sum, below_max, A{0});
  } else if (active) {
    for (int64_t part = 0; part < parts; ++part) value += sums[part * p.batch + b].sum_exp;
    for (int64_t j = 0; j < p.num_true; ++j) {
      const int64_t i = b * p.num_true + j;
      if (p.options.ignored.Is(p.labels[i])) continue;
      const A z = logits.z[i];
      value += LabelLoss(Numbers(p).positive_target, Softplus(z), Softplus(-z));
    }
  }
  if (lane == 0) {
    loss[b] = value;
    normalizer.max[b] = max;
    normalizer.log_sum[b] = log_sum;
  }
  if (d_loss == nullptr) return;
  const Coefficients<T> coefficients(p, example, active, d_loss[b], max, log_sum);
  if (lane == 0) WriteGradientTerms(coefficients, b, operands);
  LabelGradients<T, N>(p, b, example, coefficients, logits, own);
}

template <typename T, typename E>
SharedProblem<E> MakeSharedProblem(const LossProblem<T>& p) {
  SharedProblem<E> shared;
  shared.batch = p.batch;
  shared.classes = p.num_sampled;
  shared.dim = p.dim;
  shared.num_true = p.num_true;
  shared.link = p.options.link;
  shared.numbers = MakeLogitNumbers<Accumulator<T>>(p.options);
  shared.allow_tf32 = p.allow_tf32;
  shared.rounds =
      p.options.compute_dtype == ComputeDtype::kBFloat16 && !std::is_same_v<E, BFloat16>;
  shared.finds_hits = p.options.remove_accidental_hits;
  return shared;
}

}  // namespace

template <typename T, typename E>
SharedListCall<T, E>::SharedListCall(const LossProblem<T>& p, Passes passes, const Device& device,
                                     Scratch* scratch)
    : p_(p), blocks_(MakeSharedProblem<T, E>(p), passes != Passes::kForward, device, scratch) {
  const int64_t labels = p.batch * p.num_true, sampled = p.num_sampled;
  list_.rows = scratch->Take<int64_t>(sampled);
  list_.places = scratch->Take<int32_t>(sampled);
  list_.bad = scratch->Take<int>(1);
  logits_.z = scratch->Take<A>(labels);
  logits_.slope = scratch->Take<A>(labels);
  if (p.options.remove_accidental_hits) {
    unsorted_rows_ = scratch->Take<int64_t>(sampled);
    unsorted_places_ = scratch->Take<int32_t>(sampled);
    sort_memory_ = SortMemory(SortScratchBytes(sampled), scratch);
  }
  if (passes == Passes::kForward) return;
  sorter_ = RowSorter(labels + sampled, p.classes, scratch);
  d_logits_ = scratch->Take<A>(labels);
}

template <typename T, typename E>
Status SharedListCall<T, E>::Run(Passes passes, const SampledResults<T>& results,
                                 const Stream& stream) {
  const bool forward = passes != Passes::kBackward, backward = passes != Passes::kForward;
  FASTW2V_RETURN_IF_ERROR(MakeList(stream));
  const SharedOperands<E>& operands = blocks_.operands();
  OwnGradients<A> own;
  BackwardInputs<A> inputs;
  if (backward) {
    own = {d_logits_, sorter_.rows(), sorter_.places(), results.d_hidden};
    FASTW2V_RETURN_IF_ERROR(Zero(operands.largest, sizeof *operands.largest, stream));
    FASTW2V_RETURN_IF_ERROR(blocks_.ClearGradients(stream));
  }
  if (!forward) inputs = {results.d_loss, results.input};
  const bool vectors = RowsInVectors(p_) && InVectors(p_.dim, results.d_hidden);
  const auto prepare = [&](auto kernel) {
    return Launch(kernel, NumBlocks(p_.batch + p_.num_sampled, kWarps), kThreads, 0, stream, p_,
                  list_, operands, logits_, inputs, own);
  };
  FASTW2V_RETURN_IF_ERROR(vectors ? prepare(PrepareKernel<T, E, kVector>)
                                  : prepare(PrepareKernel<T, E, 1>));
  for (int64_t begin = 0; begin < p_.batch; begin += blocks_.rows()) {
    FASTW2V_RETURN_IF_ERROR(blocks_.Multiply(begin, stream));
    if (forward) {
      FASTW2V_RETURN_IF_ERROR(blocks_.Sum(begin, stream));
      const int64_t end = std::min(begin + blocks_.rows(), p_.batch);
      const auto finish = [&](auto kernel) {
        return Launch(kernel, NumBlocks(end - begin, kWarps), kThreads, 0, stream, p_, begin, end,
                      list_, blocks_.num_sums(), blocks_.sums(), logits_,
                      backward ? results.d_loss : nullptr, results.loss, results.output, operands,
                      own);
      };
      FASTW2V_RETURN_IF_ERROR(vectors ? finish(FinishKernel<T, E, kVector>)
                                      : finish(FinishKernel<T, E, 1>));
    }
    if (!backward) continue;
    FASTW2V_RETURN_IF_ERROR(blocks_.Differentiate(begin, results.d_hidden,
                                                  results.d_weights.biases != nullptr, stream));
  }
  if (!backward) return Status();
  RowOrder order;
  FASTW2V_RETURN_IF_ERROR(sorter_.Sort(stream, &order));
  const WeightTerms<T> terms = {p_, p_.num_true, d_logits_, blocks_.d_weights(),
                                blocks_.d_biases()};
  const bool in_vectors = InVectors(p_.dim, p_.hidden) && InVectors(p_.dim, blocks_.d_weights());
  return SumWeightTerms(order, terms, in_vectors, results.d_weights, stream);
}

template <typename T, typename E>
Status SharedListCall<T, E>::MakeList(const Stream& stream) const {
  FASTW2V_RETURN_IF_ERROR(Zero(list_.bad, sizeof *list_.bad, stream));
  const bool sorts = p_.options.remove_accidental_hits;
  FASTW2V_RETURN_IF_ERROR(Launch(ListKernel<T>, NumBlocks(p_.num_sampled, kThreads), kThreads, 0,
                                 stream, p_, sorts ? unsorted_rows_ : list_.rows,
                                 sorts ? unsorted_places_ : list_.places, list_.bad));
  if (!sorts) return Status();
  return SortRows(unsorted_rows_, unsorted_places_, p_.num_sampled, p_.classes, stream,
                  sort_memory_, list_.rows, list_.places);
}

template class SharedListCall<float, float>;
template class SharedListCall<float, BFloat16>;
template class SharedListCall<double, double>;
template class SharedListCall<Half, Half>;
template class SharedListCall<Half, BFloat16>;
template class SharedListCall<BFloat16, BFloat16>;

}  // namespace fastw2v::cuda
