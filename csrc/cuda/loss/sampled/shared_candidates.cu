#include <algorithm>
#include <limits>
#include <type_traits>

#include "csrc/cuda/device/gemm.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/add_parts.h"
#include "csrc/cuda/loss/sampled/shared_candidates.h"

namespace fastw2v::cuda {

namespace {

int64_t Divide(int64_t x, int64_t y) { return (x + y - 1) / y; }
int64_t RoundUp(int64_t x, int64_t y) { return Divide(x, y) * y; }

// Classes of a list, whose biases and counts have been gathered with them.
template <typename Number, Link kLink>
struct ListedClasses {
  using A = Number;
  static constexpr bool kLogistic = kLink == Link::kLogistic;

  const A* biases;
  const A* log_counts;
  const int32_t* hits;
  int64_t num_true;
  const RowGradientTerms<A>* terms;
  const uint8_t* active;
  const uint32_t* largest;

  __device__ __forceinline__ void Load(int column, A (&of_biases)[kVector],
                                       A (&counts)[kVector]) const {
    LoadVector<kVector>(biases + column, of_biases);
    LoadVector<kVector>(log_counts + column, counts);
  }
  __device__ __forceinline__ bool SumsShifted() const { return false; }

  // Accidental hits do not compete: exp, softplus and sigmoid of -inf are 0.
  __device__ __forceinline__ void Change(const LogitNumbers<A>&, int64_t b, int column,
                                         A (&z)[kVector]) const {
    if (hits == nullptr) return;
#pragma unroll 1  // one label is what nearly all have
    for (int64_t j = 0; j < num_true; ++j) {
      const int32_t* const of_label = hits + 2 * (b * num_true + j);
      const int begin = of_label[0] - column, end = of_label[1] - column;
      if (begin >= kVector || end <= 0) continue;
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        if (i >= begin && i < end) z[i] = -std::numeric_limits<A>::infinity();
      }
    }
  }
  // Labels are apart, and the list has none of them.
  __device__ __forceinline__ void TakeTargets(int64_t, int, A, A (&)[kVector]) const {}
  __device__ __forceinline__ void FinishSums(const LogitNumbers<A>&, const A*, int64_t, int, int,
                                             int) const {}
};

}  // namespace

template <typename E>
SharedPlan<E>::SharedPlan(const SharedProblem<E>& p, const Device& device)
    : width(RoundUp(std::max<int64_t>(p.dim, 1), 16 / static_cast<int64_t>(sizeof(E)))),
      pitch(RoundUp(p.classes, kPitchColumns)) {
  using A = Accumulator<E>;
  // As many examples as fit; at least as many as the list has columns, so that their logits take
  // no more than its rows do.
  const int64_t bytes = kBiasRows * static_cast<int64_t>(sizeof(A) + (kApart ? sizeof(E) : 0)) +
                        static_cast<int64_t>(sizeof(A));
  const int64_t fits = device.logit_bytes / (pitch * bytes) * kBiasRows;
  const int64_t most = std::max(fits, RoundUp(width, kBiasRows));
  const int64_t batch = std::max<int64_t>(p.batch, 1);
  rows = std::min(RoundUp(Divide(batch, Divide(batch, most)), kBiasRows), batch);
  sum_runs = SumRuns(rows, p.classes);
}

template <typename E>
SharedBlocks<E>::SharedBlocks(const SharedProblem<E>& problem, bool backward, const Device& device,
                              Scratch* scratch)
    : p_(problem), plan_(p_, device) {
  operands_.width = plan_.width;
  operands_.hidden = scratch->Take<E>(p_.batch * plan_.width);
  operands_.weights = scratch->Take<E>(p_.classes * plan_.width);
  operands_.biases = scratch->Take<A>(plan_.pitch);
  operands_.log_counts = scratch->Take<A>(plan_.pitch);
  if (p_.finds_hits) operands_.hits = scratch->Take<int32_t>(2 * p_.batch * p_.num_true);
  logits_ = scratch->Take<A>(plan_.rows * plan_.pitch);
  sums_ = scratch->Take<PartialSoftmax<A>>(plan_.sum_runs.runs * p_.batch);
  if (!backward) return;
  operands_.terms = scratch->Take<RowGradientTerms<A>>(p_.batch);
  operands_.active = scratch->Take<uint8_t>(p_.batch);
  operands_.largest = scratch->Take<uint32_t>(1);
  if constexpr (SharedPlan<E>::kApart) {
    gradients_ = scratch->Take<E>(plan_.rows * plan_.pitch);
  } else {
    gradients_ = logits_;
  }
  d_weights_ = scratch->Take<A>(p_.classes * p_.dim);
  d_biases_ = scratch->Take<A>(p_.classes);
  bias_sums_ = scratch->Take<A>(Divide(plan_.rows, kBiasRows) * plan_.pitch);
  if constexpr (std::is_same_v<E, Half>) {
    product_ = scratch->Take<A>(std::max(p_.classes, plan_.rows) * p_.dim);
  }
}

template <typename E>
LogitBlock<Accumulator<E>> SharedBlocks<E>::Block(int64_t row0) const {
  return {logits_,    plan_.pitch, row0, std::min(plan_.rows, p_.batch - row0),
          p_.classes, p_.numbers};
}

template <typename E>
template <typename Use>
Status SharedBlocks<E>::WithCompetitors(Use use) const {
  const SharedOperands<E>& o = operands_;
  if (p_.link == Link::kLogistic) {
    return use(ListedClasses<A, Link::kLogistic>{o.biases, o.log_counts, o.hits, p_.num_true,
                                                 o.terms, o.active, o.largest});
  }
  return use(ListedClasses<A, Link::kSoftmax>{o.biases, o.log_counts, o.hits, p_.num_true, o.terms,
                                              o.active, o.largest});
}

template <typename E>
Status SharedBlocks<E>::ClearGradients(const Stream& stream) const {
  FASTW2V_RETURN_IF_ERROR(Zero(d_weights_, p_.classes * p_.dim * sizeof(A), stream));
  return Zero(d_biases_, p_.classes * sizeof(A), stream);
}

template <typename E>
Status SharedBlocks<E>::Multiply(int64_t row0, const Stream& stream) const {
  const LogitBlock<A> block = Block(row0);
  const RowMajor<const E> hidden = {operands_.hidden + row0 * plan_.width, plan_.width};
  const RowMajor<const E> weights = {operands_.weights, plan_.width};
  // Over columns of padding, too, which are zeros on both sides.
  return cuda::Multiply<E, A>(stream.gemm, stream.stream, p_.allow_tf32, block.rows, block.classes,
                              plan_.width, 1, hidden, false, weights, true, 0,
                              {logits_, block.pitch});
}

template <typename E>
Status SharedBlocks<E>::Sum(int64_t row0, const Stream& stream) const {
  return WithCompetitors([&](const auto& competitors) {
    return SumLogits(Block(row0), competitors, plan_.sum_runs, sums_, p_.batch, stream);
  });
}

// sum [m, dim] += scale * op(a) table, where op(a) [m, k] is a or, transposed, a is [k, m].
template <typename E>
Status SharedBlocks<E>::AddProduct(const RowMajor<const E>& a, bool transpose, int64_t m, int64_t k,
                                   const E* table, A* sum, const Stream& stream) const {
  const auto multiply = [&](double beta, A* to) {
    return cuda::Multiply<E, A>(stream.gemm, stream.stream, p_.allow_tf32, m, p_.dim, k,
                                p_.numbers.scale, a, transpose, {table, plan_.width}, false, beta,
                                {to, p_.dim});
  };
  if constexpr (std::is_same_v<E, Half>) {
    FASTW2V_RETURN_IF_ERROR(multiply(0, product_));
    return AddParts(product_, 1, 0, m * p_.dim, false, operands_.largest, stream, sum);
  } else {
    return multiply(1, sum);
  }
}

template <typename E>
Status SharedBlocks<E>::Differentiate(int64_t row0, A* d_hidden, bool wants_biases,
                                      const Stream& stream) const {
  const LogitBlock<A> block = Block(row0);
  A* const bias_sums = wants_biases ? bias_sums_ : nullptr;
  FASTW2V_RETURN_IF_ERROR(WithCompetitors([&](const auto& competitors) {
    return DifferentiateLogits(block, competitors, p_.rounds, gradients_, bias_sums, stream);
  }));
  if (wants_biases) {
    const uint32_t* unit = std::is_same_v<E, Half> ? operands_.largest : nullptr;
    FASTW2V_RETURN_IF_ERROR(AddParts(bias_sums, Divide(block.rows, kBiasRows), block.pitch,
                                     block.classes, false, unit, stream, d_biases_));
  }
  const RowMajor<const E> gradients = {gradients_, block.pitch};
  if (d_hidden != nullptr) {
    FASTW2V_RETURN_IF_ERROR(AddProduct(gradients, false, block.rows, block.classes,
                                       operands_.weights, d_hidden + row0 * p_.dim, stream));
  }
  return AddProduct(gradients, true, block.classes, block.rows,
                    operands_.hidden + row0 * plan_.width, d_weights_, stream);
}

template class SharedBlocks<float>;
template class SharedBlocks<double>;
template class SharedBlocks<Half>;
template class SharedBlocks<BFloat16>;

}  // namespace fastw2v::cuda
