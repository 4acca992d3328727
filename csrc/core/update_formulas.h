// One update of one weight by each rule (csrc/core/optimizer.h), for every processor: csrc/cpu/isa
// loops over the weights of a row, and a lane of a GPU has some of them.
#ifndef FASTW2V_CORE_UPDATE_FORMULAS_H_
#define FASTW2V_CORE_UPDATE_FORMULAS_H_

#include <cstdint>

#include "csrc/core/formula.h"
#include "csrc/core/update_history.h"
#include "csrc/core/update_rule.h"

namespace fastw2v {

// The numbers of an update as the rules use them, in the type of the sums.
template <typename A>
struct UpdateNumbers {
  A rate, decay, momentum, share_1, share_2, epsilon;  // share_i is 1 - beta_i
  A power, l1, l2, shrinkage;                          // of Ftrl
  A average_momentum;
};

// Of an update that goes by `entry`.
template <typename A>
FASTW2V_FORMULA UpdateNumbers<A> MakeUpdateNumbers(const Hyperparameters& p,
                                                   const UpdateEntry& entry) {
  UpdateNumbers<A> numbers;
  numbers.rate = static_cast<A>(entry.rate);
  numbers.decay = static_cast<A>(entry.decay);
  numbers.momentum = static_cast<A>(p.momentum);
  numbers.share_1 = static_cast<A>(1 - p.beta_1);
  numbers.share_2 = static_cast<A>(1 - p.beta_2);
  numbers.epsilon = static_cast<A>(p.epsilon);
  numbers.power = static_cast<A>(-p.learning_rate_power);
  numbers.l1 = static_cast<A>(p.l1);
  // The learning rate is part of what Keras calls l2.
  numbers.l2 = static_cast<A>(p.l2 + p.beta / (2 * static_cast<double>(numbers.rate)));
  numbers.shrinkage = static_cast<A>(p.l2_shrinkage);
  numbers.average_momentum = static_cast<A>(entry.momentum);
  return numbers;
}

// `size` with the sign of x; 0 and NaN stay what they are.
template <typename A>
FASTW2V_FORMULA A WithSign(A size, A x) {
  return x > 0 ? size : x < 0 ? -size : x;
}

// One update, after the decay, of a weight w with gradient g and slots s.
template <typename A>
FASTW2V_FORMULA void UpdateWeight(UpdateRule rule, const UpdateNumbers<A>& k, A g, A& w,
                                  A (&s)[kMaxSlots]) {
  switch (rule) {
    case UpdateRule::kSgd:
      w -= k.rate * g;
      break;
    case UpdateRule::kMomentum:
      s[0] = s[0] * k.momentum - g * k.rate;
      w += s[0];
      break;
    case UpdateRule::kNesterov:
      s[0] = s[0] * k.momentum - g * k.rate;
      w += s[0] * k.momentum - g * k.rate;
      break;
    case UpdateRule::kAdagrad:
      s[0] += g * g;
      w -= k.rate * g / math::Sqrt(s[0] + k.epsilon);
      break;
    case UpdateRule::kRowwiseAdagrad:  // s[0] is that of the row, already updated
      w -= k.rate / math::Sqrt(s[0] + k.epsilon) * g;
      break;
    case UpdateRule::kAdam:
      s[0] += (g - s[0]) * k.share_1;
      s[1] += (g * g - s[1]) * k.share_2;
      w -= s[0] * k.rate / (math::Sqrt(s[1]) + k.epsilon);
      break;
    case UpdateRule::kAmsgrad:
      s[0] += (g - s[0]) * k.share_1;
      s[1] += (g * g - s[1]) * k.share_2;
      s[2] = s[2] >= s[1] ? s[2] : s[1];  // NaN in s[1] stays
      w -= s[0] * k.rate / (math::Sqrt(s[2]) + k.epsilon);
      break;
    case UpdateRule::kFtrl: {
      const bool root = k.power == A{0.5};
      const A next = s[0] + g * g;
      const A power = root ? math::Sqrt(next) : math::Pow(next, k.power);
      const A last = root ? math::Sqrt(s[0]) : math::Pow(s[0], k.power);
      s[1] += g + 2 * k.shrinkage * w - (power - last) / k.rate * w;
      const A clipped = s[1] < -k.l1 ? -k.l1 : s[1] > k.l1 ? k.l1 : s[1];
      w = (clipped - s[1]) / (power / k.rate + 2 * k.l2);
      s[0] = next;
      break;
    }
    case UpdateRule::kLion:
      w -= WithSign(k.rate, s[0] + (g - s[0]) * k.share_1);
      s[0] += (g - s[0]) * k.share_2;
      break;
  }
}

// The slot of a row with kRowwiseAdagrad, `square` is the sum of its gradient's squares.
template <typename A>
FASTW2V_FORMULA A UpdateRowSlot(A slot, A square, int64_t dim) {
  return slot + square / static_cast<A>(dim > 1 ? dim : 1);
}

// The moving average of a weight.
template <typename A>
FASTW2V_FORMULA A BlendAverage(A momentum, A average, A w) {
  return momentum * average + (1 - momentum) * w;
}

// The numbers of several updates without a gradient, made all at once.
template <typename A>
struct DriftNumbers {
  A decay, step, epsilon;
  A factor_1, factor_2;  // of the first slot, and of Adam's second
};

// Of `count` updates, of which the entries are of the first and of the last. Not of kFtrl: with
// that rule neither slot changes, and the weights are a function of them and of the last rate, so
// UpdateWeight with a gradient of zero gives them.
template <typename A>
FASTW2V_FORMULA DriftNumbers<A> MakeDriftNumbers(UpdateRule rule, const Hyperparameters& p,
                                                 const UpdateEntry& first, const UpdateEntry& last,
                                                 int64_t count, const Drift& drift) {
  // In this order a lane of a GPU keeps few numbers at a time.
  const bool is_adam = IsAdam(rule), is_minus = is_adam || rule == UpdateRule::kLion;
  const double ahead = is_minus ? -1 : rule == UpdateRule::kNesterov ? p.momentum : 1;
  const double n = static_cast<double>(count);
  DriftNumbers<A> numbers;
  numbers.step = static_cast<A>(-ahead * drift.step);
  numbers.epsilon = static_cast<A>(p.epsilon * drift.growth);
  numbers.decay = static_cast<A>(DecayOver(first, last));
  numbers.factor_1 = static_cast<A>(math::Pow(MomentumFactor(rule, p), n));
  numbers.factor_2 = is_adam ? static_cast<A>(math::Pow(p.beta_2, n)) : A{1};
  return numbers;
}

template <typename A>
FASTW2V_FORMULA void DriftWeight(UpdateRule rule, const DriftNumbers<A>& k, A& w,
                                 A (&s)[kMaxSlots]) {
  switch (rule) {
    case UpdateRule::kMomentum:
    case UpdateRule::kNesterov:
      w = k.decay * w - k.step * s[0];
      s[0] *= k.factor_1;
      break;
    case UpdateRule::kAdam:
    case UpdateRule::kAmsgrad: {
      const A square = rule == UpdateRule::kAdam ? s[1] : s[2];
      w = k.decay * w - k.step * s[0] / (math::Sqrt(square) + k.epsilon);
      s[0] *= k.factor_1;
      s[1] *= k.factor_2;
      break;
    }
    case UpdateRule::kLion:
      w = k.decay * w - WithSign(k.step, s[0]);
      s[0] *= k.factor_1;
      break;
    case UpdateRule::kSgd:
    case UpdateRule::kAdagrad:
    case UpdateRule::kRowwiseAdagrad:
    case UpdateRule::kFtrl:
      w *= k.decay;
      break;
  }
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_UPDATE_FORMULAS_H_
