// Which updates of a table are pending for which rows, and with what numbers they are applied: what
// the CPU and the GPU have in common.
#ifndef FASTW2V_CORE_UPDATE_HISTORY_H_
#define FASTW2V_CORE_UPDATE_HISTORY_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "csrc/core/formula.h"
#include "csrc/core/update_rule.h"

namespace fastw2v {

// What one update does beside its gradient, as the history keeps it.
struct UpdateEntry {
  double rate;       // the learning rate, or Adam's alpha
  double decay;      // factor on the weights before the update
  double log_decay;  // the logarithm of the product of all decays up to here
  double momentum;   // of the moving average
  double rates;      // the sum of all rates up to here, each times the decays after it
};

// The last update that was applied to each row of a table, and the numbers of the last updates.
//
// The entries are a ring: entry u % length belongs to update u, counted from 1. No row may have
// `length` pending updates, so with every update those of one part in `length` of the table are
// applied.
struct UpdateHistory {
  static constexpr int kColumns = 5;

  int64_t* row_updates = nullptr;  // [rows], the last update applied to each; 0: none
  double* entries = nullptr;       // [length + 1, kColumns]; the first row holds the count
  int64_t length = 0;

  FASTW2V_HOST_DEVICE bool present() const { return row_updates != nullptr; }
  FASTW2V_HOST_DEVICE int64_t updates() const { return static_cast<int64_t>(entries[0]); }

  FASTW2V_HOST_DEVICE UpdateEntry Read(int64_t update) const {
    const double* entry = Entry(update);
    return {entry[0], entry[1], entry[2], entry[3], entry[4]};
  }
  FASTW2V_HOST_DEVICE void Write(int64_t update, const UpdateEntry& numbers) const {
    double* entry = Entry(update);
    entry[0] = numbers.rate;
    entry[1] = numbers.decay;
    entry[2] = numbers.log_decay;
    entry[3] = numbers.momentum;
    entry[4] = numbers.rates;
  }
  // After this many updates in all.
  FASTW2V_HOST_DEVICE void Count(int64_t updates) const {
    entries[0] = static_cast<double>(updates);
  }

  // The rows [first, first + size), of which some may be beyond the table, whose pending updates
  // are applied when there have been so many updates.
  FASTW2V_HOST_DEVICE int64_t PartSize(int64_t rows) const { return (rows + length - 1) / length; }
  FASTW2V_HOST_DEVICE int64_t PartBegin(int64_t rows, int64_t updates) const {
    return updates % length * PartSize(rows);
  }

 private:
  FASTW2V_HOST_DEVICE double* Entry(int64_t update) const {
    return entries + (1 + update % length) * kColumns;
  }
};

FASTW2V_FORMULA bool IsAdam(UpdateRule rule) {
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

// Of the update that is about to be made, as though it were the first.
template <typename A>
UpdateEntry NextEntry(UpdateRule rule, const Hyperparameters& p) {
  const double decay = 1 - p.weight_decay * p.learning_rate;
  const double rate = IsAdam(rule) ? AdamRate<A>(p) : p.learning_rate;
  const double momentum = p.step == 1 ? 0 : p.average_momentum;  // as Keras: the first value itself
  return {rate, decay, std::log(decay), momentum, rate};
}

// The same after the updates that the history has counted.
FASTW2V_FORMULA UpdateEntry InHistory(UpdateEntry next, const UpdateHistory& history) {
  const int64_t updates = history.updates();
  if (updates == 0) return next;
  const UpdateEntry last = history.Read(updates);
  next.log_decay += last.log_decay;
  next.rates += next.decay * last.rates;
  return next;
}

// What an update without a gradient multiplies the momentum by, which is the first slot.
FASTW2V_FORMULA double MomentumFactor(UpdateRule rule, const Hyperparameters& p) {
  return IsAdam(rule) ? p.beta_1 : rule == UpdateRule::kLion ? p.beta_2 : p.momentum;
}

// How pending updates add up. Momentum falls by `ratio` at each of them, against the denominator of
// Adam, which falls too: the sum of what they do to a weight is the momentum times a number that is
// the same for the whole row (Drift).
//
// With Adam, r = sqrt(beta_2) and q = beta_1 / r, update j moves a weight by
//   alpha_j beta_1^j m / (r^j sqrt(v) + epsilon) = alpha_j q^j m / (sqrt(v) + epsilon / r^j).
// r^-j is close to 1 for as long as q^j counts, so its mean, weighted by alpha_j q^j, stands in
// for it: the error is of second order in the spread of r^-j, and of epsilon / sqrt(v).
//
// With Lion, momentum keeps its sign, so q = 1, until it is too small for its type: this is taken
// to be when a momentum of 1 would be.
struct PendingUpdates {
  double ratio = 0, root = 1;  // q, r
  bool add_up = false;         // otherwise they are applied one by one
  int64_t num_terms = 0;       // how many of the sum count, at least 1

  FASTW2V_HOST_DEVICE bool OneByOne(int64_t count) const {
    constexpr int64_t kFew = 3;  // quicker one by one, and exactly so
    return count <= kFew || !add_up;
  }
};

// What the pending updates 1, ..., n of a row come to, each times the decays after it: what the
// sums are; the CPU adds one after the other, lanes of a GPU share them out.
struct Drift {
  double step = 0;    // sum of rate_j q^j with Adam and Lion, of q^j otherwise
  double growth = 1;  // the mean of r^-j, weighted by these
};

// The sum of the rates of updates first, ..., last, each times the decays after it.
FASTW2V_FORMULA double RatesOver(const UpdateEntry& first, const UpdateEntry& last) {
  return last.rates - (first.rates - first.rate) * math::Exp(last.log_decay - first.log_decay);
}

// The factor on a weight of updates first, ..., last.
FASTW2V_FORMULA double DecayOver(const UpdateEntry& first, const UpdateEntry& last) {
  return math::Exp(last.log_decay - (first.log_decay - math::Log(first.decay)));
}

// The momentum of a moving average over `count` updates, of which this is the first, that left its
// weights as they are: 0 where it is the first of all.
FASTW2V_FORMULA double MomentumOver(const UpdateEntry& first, const Hyperparameters& p,
                                    int64_t count) {
  return first.momentum == 0 ? 0 : math::Pow(p.average_momentum, static_cast<double>(count));
}

template <typename A>
PendingUpdates PlanPendingUpdates(UpdateRule rule, const Hyperparameters& p, bool has_average) {
  constexpr double kCounts = 1e-9;        // smaller parts of a sum are below its rounding
  constexpr double kLargestRatio = 0.98;  // beyond, r^-j is far from its mean
  const double factor = MomentumFactor(rule, p);
  const auto num_terms = [](double ratio, double until) {
    return ratio >= 0 && ratio < 1 ? 1 + static_cast<int64_t>(std::log(until) / std::log(ratio))
                                   : std::numeric_limits<int64_t>::max();
  };
  PendingUpdates plan;
  plan.add_up = !has_average;
  switch (rule) {
    case UpdateRule::kSgd:
    case UpdateRule::kAdagrad:
    case UpdateRule::kRowwiseAdagrad:  // rows decay, no more
      break;
    case UpdateRule::kFtrl:
      plan.add_up &= p.l2_shrinkage == 0;
      break;
    case UpdateRule::kMomentum:
    case UpdateRule::kNesterov:
    case UpdateRule::kAmsgrad:
      plan.ratio = factor;
      break;
    case UpdateRule::kAdam:
      plan.root = std::sqrt(p.beta_2);
      plan.ratio = factor / plan.root;
      plan.add_up &= plan.ratio <= kLargestRatio;
      break;
    case UpdateRule::kLion:
      plan.ratio = 1;
      plan.num_terms = num_terms(factor, std::numeric_limits<A>::min());
      return plan;
  }
  plan.num_terms = num_terms(plan.ratio, kCounts);
  return plan;
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_UPDATE_HISTORY_H_
