// Numbers with which updates are made that rows have missed (RowClock): what the CPU and the GPU
// have in common.
#ifndef FASTW2V_CORE_ROW_CLOCK_H_
#define FASTW2V_CORE_ROW_CLOCK_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "csrc/core/optimizer.h"
#include "csrc/core/types.h"

namespace fastw2v {

// What one update does beside its gradient, as the history keeps it.
struct UpdateEntry {
  double rate;       // the learning rate, or Adam's alpha
  double decay;      // factor on the weights before the update
  double log_decay;  // the logarithm of the product of all decays up to here
  double momentum;   // of the moving average
};

inline bool IsAdam(UpdateRule rule) {
  return rule == UpdateRule::kAdam || rule == UpdateRule::kAmsgrad;
}

// alpha. Keras rounds the betas to the type of the variable before it takes their powers.
template <typename A>
double AdamRate(const Hyperparameters& p) {
  const double t = static_cast<double>(p.step);
  const double power_1 = std::pow(static_cast<double>(static_cast<A>(p.beta_1)), t);
  const double power_2 = std::pow(static_cast<double>(static_cast<A>(p.beta_2)), t);
  return p.learning_rate * std::sqrt(1 - power_2) / (1 - power_1);
}

// Of the update that is about to be made; its own decay alone is in log_decay.
template <typename A>
UpdateEntry NextEntry(UpdateRule rule, const Hyperparameters& p) {
  const double decay = 1 - p.weight_decay * p.learning_rate;
  return {IsAdam(rule) ? AdamRate<A>(p) : p.learning_rate, decay, std::log(decay),
          p.step == 1 ? 0 : p.average_momentum};  // as Keras: the first value itself
}

// How missed updates add up. Momentum falls by `ratio` at each of them, against the denominator of
// Adam, which falls too: the sum of what they do to a weight is the momentum times a number that is
// the same for the whole row.
//
// With Adam, r = sqrt(beta_2) and q = beta_1 / r, update j moves a weight by
//   alpha_j beta_1^j m / (r^j sqrt(v) + epsilon) = alpha_j q^j m / (sqrt(v) + epsilon / r^j).
// r^-j is close to 1 for as long as q^j counts, so its mean, weighted by alpha_j q^j, stands in
// for it: the error is of second order in the spread of r^-j, and of epsilon / sqrt(v).
struct MissedUpdates {
  static constexpr int64_t kFew = 3;  // quicker one by one, and exactly so

  double ratio = 0, root = 1;  // q, r
  bool add_up = false;         // otherwise they are made one by one
  int64_t num_terms = 0;       // how many of the sum count
};

template <typename T>
MissedUpdates PlanMissedUpdates(const OptimizedTable<T>& table) {
  constexpr double kCounts = 1e-9;        // smaller parts of a sum are below its rounding
  constexpr double kLargestRatio = 0.98;  // beyond, r^-j is far from its mean
  const Hyperparameters& p = table.parameters;
  MissedUpdates plan;
  switch (table.rule) {
    case UpdateRule::kMomentum:
    case UpdateRule::kNesterov:
      plan.ratio = p.momentum;
      break;
    case UpdateRule::kAdam:
      plan.ratio = p.beta_1 / std::sqrt(p.beta_2);
      plan.root = std::sqrt(p.beta_2);
      break;
    case UpdateRule::kAmsgrad:
      plan.ratio = p.beta_1;
      break;
    default:
      break;
  }
  plan.add_up = table.average == nullptr &&
                !(table.rule == UpdateRule::kAdam && !(plan.ratio <= kLargestRatio)) &&
                !(table.rule == UpdateRule::kFtrl && p.l2_shrinkage != 0);
  plan.num_terms = plan.ratio > 0 && plan.ratio < 1
                       ? static_cast<int64_t>(std::ceil(std::log(kCounts) / std::log(plan.ratio)))
                       : std::numeric_limits<int64_t>::max();
  return plan;
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_ROW_CLOCK_H_
