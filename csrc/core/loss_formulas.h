// What a loss is, and its terms and those of the gradient of a logit, for every processor.
//
//   x[b,c] = logit_scale * dot(hidden[b,:], weights[c,:]) + biases[c]
//   z[b,c] = softcap(x[b,c]) - log(expected_count[c])       softcap(x) = cap * tanh(x / cap)
//            - margin, where c is a label of b (exact only; once, if it is that several times)
//
// The candidates of example b are all classes (exact), or its true classes followed by sampled ones
// (one list for the whole batch, or a list per example). With n labels that are not ignored:
//
//   softmax   loss[b] = lse - (1-e)/n * sum_true z - e/V * sum_c z + z_loss * lse^2,
//             lse = log sum_c exp(z[b,c]), e = label_smoothing (exact only)
//   logistic  loss[b] = sum_true (softplus(z) - t*z) + sum_sampled softplus(z),
//             t = positive_target
//
// All losses are in nats. An example whose labels are all ignored has loss 0 and no gradient. A
// sampled class that is one of the example's labels (accidental hit) does not compete, if so asked;
// of an exact softmax, nor do excluded classes that are none of the labels.
#ifndef FASTW2V_CORE_LOSS_FORMULAS_H_
#define FASTW2V_CORE_LOSS_FORMULAS_H_

#include <cstdint>

#include "csrc/core/formula.h"
#include "csrc/core/loss_options.h"

namespace fastw2v {

// ---- a logit

// What makes logits of products, in the type of the sums.
template <typename A>
struct LogitNumbers {
  A scale, softcap, margin;
};

template <typename A>
FASTW2V_FORMULA LogitNumbers<A> MakeLogitNumbers(const LossOptions& options) {
  return {static_cast<A>(options.logit_scale), static_cast<A>(options.logit_softcap),
          static_cast<A>(options.margin)};
}

template <typename A>
struct Logit {
  A z, slope;  // slope: the derivative of the soft cap
};

template <typename A>
FASTW2V_FORMULA Logit<A> CapLogit(A x, A cap) {
  const A tangent = math::Tanh(x / cap);
  return {cap * tangent, 1 - tangent * tangent};
}

// The slope at a logit that has been capped.
template <typename A>
FASTW2V_FORMULA A CapSlope(A z, A cap) {
  const A tangent = z / cap;
  return 1 - tangent * tangent;
}

// What is subtracted from a logit.
template <typename A>
FASTW2V_FORMULA A LogCount(float expected_count) {
  return expected_count == 1 ? A{0} : math::Log(static_cast<A>(expected_count));
}

// cap 0: none.
template <typename A>
FASTW2V_FORMULA Logit<A> MakeLogit(A product, A bias, A log_count, A scale, A cap) {
  const A x = scale * product + bias;
  if (cap == 0) return {x - log_count, 1};
  const Logit<A> capped = CapLogit(x, cap);
  return {capped.z - log_count, capped.slope};
}

// Whether label j of an example [num_true] is the first of its class: a class that is a label twice
// loses the margin once.
FASTW2V_FORMULA bool IsFirstOfClass(const int64_t* labels, int64_t j) {
  for (int64_t i = 0; i < j; ++i) {
    if (labels[i] == labels[j]) return false;
  }
  return true;
}

// ---- the logistic link

// log(1 + exp(x)); NaN stays NaN.
template <typename A>
FASTW2V_FORMULA A Softplus(A x) {
  return (x > 0 || x != x ? x : A{0}) + math::Log1p(math::Exp(-math::Abs(x)));
}

// The derivative of softplus.
template <typename A>
FASTW2V_FORMULA A Sigmoid(A x) {
  return 1 / (1 + math::Exp(-x));
}

// The loss of a label, softplus(z) - t * z without the difference of two large numbers; `below` is
// softplus(-z), `above` softplus(z).
template <typename A>
FASTW2V_FORMULA A LabelLoss(A positive_target, A above, A below) {
  return (1 - positive_target) * above + positive_target * below;
}

// ---- the sums of a softmax over parts of its classes

// The sums of an example over some of its classes; A may be a vector of several examples.
template <typename A>
struct PartialSoftmax {
  A max;          // the largest logit; -inf where there is none
  A sum_exp;      // of exp(z - max)
  A sum_shifted;  // of z - max, for label smoothing
  A classes;      // how many
};

template <typename A>
FASTW2V_FORMULA PartialSoftmax<A> NoClasses() {
  return {-static_cast<A>(__builtin_inff()), 0, 0, 0};
}

template <typename A>
FASTW2V_FORMULA PartialSoftmax<A> OneClass(A z) {
  return {z, z == -static_cast<A>(__builtin_inff()) ? A{0} : A{1}, 0, 1};
}

// The same sums, relative to another `max`, which has to be finite unless they are NaN or have no
// weight (no class, or all logits -inf): such a part has no maximum to start from.
template <typename A, typename Exp>
FASTW2V_FORMULA_OF PartialSoftmax<A> RelativeTo(A max, const PartialSoftmax<A>& part, Exp exp) {
  const A drop = part.sum_exp == A{} ? A{} : part.max - max;
  return {max, part.sum_exp * exp(drop), part.sum_shifted + part.classes * drop, part.classes};
}

// The sums over the classes of both.
template <typename A, typename Exp>
FASTW2V_FORMULA_OF PartialSoftmax<A> Join(const PartialSoftmax<A>& x, const PartialSoftmax<A>& y,
                                          Exp exp) {
  const A max = x.max > y.max ? x.max : y.max;
  const PartialSoftmax<A> a = RelativeTo(max, x, exp), b = RelativeTo(max, y, exp);
  return {max, a.sum_exp + b.sum_exp, a.sum_shifted + b.sum_shifted, a.classes + b.classes};
}

// max - z of a label among the classes. Where all logits are -inf their differences are NaN, and
// the label is infinitely far.
template <typename A>
FASTW2V_FORMULA A BelowMax(const PartialSoftmax<A>& sums, A z) {
  return sums.sum_exp == 0 ? -NoClasses<A>().max : sums.max - z;
}

// ---- losses and what the gradients of logits are made of

// The numbers of a loss in the type of its sums.
template <typename A>
struct LossNumbers {
  bool softmax;
  A label_smoothing, z_loss, positive_target, classes;
};

template <typename A>
FASTW2V_FORMULA LossNumbers<A> MakeLossNumbers(const LossOptions& options, int64_t classes) {
  return {options.link == Link::kSoftmax, static_cast<A>(options.label_smoothing),
          static_cast<A>(options.z_loss), static_cast<A>(options.positive_target),
          static_cast<A>(classes)};
}

// max + log_sum is the logarithm of the normalizer, below_max the mean of max - z over the labels,
// sum_shifted the sum of z - max over the classes, which is looked at with label smoothing only.
// Logits are compared with the maximum before anything is added to it, so that a large common
// offset cancels exactly.
template <typename A>
FASTW2V_FORMULA A SoftmaxLoss(const LossNumbers<A>& k, A max, A log_sum, A below_max,
                              A sum_shifted) {
  A loss = log_sum + (1 - k.label_smoothing) * below_max;
  if (k.label_smoothing != 0) loss -= k.label_smoothing * sum_shifted / k.classes;
  if (k.z_loss != 0) {
    const A log_normalizer = max + log_sum;
    loss += k.z_loss * log_normalizer * log_normalizer;
  }
  return loss;
}

// The gradient of a logit before the soft cap:
//   (scale * share - shift, and target less where the class is a label) * slope,
// share = exp((z - max) - log_sum) with softmax, sigmoid(z) with the logistic link.
template <typename A>
struct GradientTerms {
  A scale, shift, target;
};

// Of an example with this many labels that are not ignored.
template <typename A>
FASTW2V_FORMULA GradientTerms<A> MakeGradientTerms(const LossNumbers<A>& k, A d_loss, A max,
                                                   A log_sum, int64_t num_labels) {
  GradientTerms<A> terms;
  terms.scale = d_loss;
  if (k.z_loss != 0) terms.scale *= 1 + 2 * k.z_loss * (max + log_sum);
  terms.shift = d_loss * k.label_smoothing / k.classes;
  const A labels = static_cast<A>(num_labels > 1 ? num_labels : 1);
  terms.target = d_loss * (k.softmax ? (1 - k.label_smoothing) / labels : k.positive_target);
  return terms;
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_LOSS_FORMULAS_H_
