// What the kernels of optimizer.cu and row_clock.cu have in common: one update of one weight, and
// the rows that are met. A warp works on a row.
#ifndef FASTW2V_CUDA_UPDATE_STEP_H_
#define FASTW2V_CUDA_UPDATE_STEP_H_

#include <cmath>
#include <cstdint>

#include "csrc/core/optimizer.h"
#include "csrc/core/row_clock.h"
#include "csrc/cuda/device.h"
#include "csrc/cuda/row_sums.h"
#include "csrc/cuda/rows.h"
#include "csrc/cuda/vectors.h"

namespace fastw2v::cuda {

constexpr int kUpdateWarps = 8;
constexpr int kUpdateThreads = kUpdateWarps * kWarp;

// The numbers of a step, as the rules use them.
template <typename A>
struct Numbers {
  A rate, decay, momentum, share_1, share_2, epsilon;
  A power, l1, l2, shrinkage;  // of Ftrl
  A average_momentum;
};

// As csrc/cpu/optimizer.cc has them, for an update that goes by `entry`.
template <typename A>
__host__ __device__ Numbers<A> MakeNumbers(const Hyperparameters& p, const UpdateEntry& entry) {
  Numbers<A> numbers;
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

// One update of one weight w with gradient g and slots s.
template <typename A>
__device__ __forceinline__ void Step(UpdateRule rule, const Numbers<A>& k, A g, A& w,
                                     A (&s)[kMaxSlots]) {
  w *= k.decay;
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
      w -= k.rate * g / std::sqrt(s[0] + k.epsilon);
      break;
    case UpdateRule::kRowwiseAdagrad:  // s[0] is that of the row, already updated
      w -= k.rate / std::sqrt(s[0] + k.epsilon) * g;
      break;
    case UpdateRule::kAdam:
      s[0] += (g - s[0]) * k.share_1;
      s[1] += (g * g - s[1]) * k.share_2;
      w -= s[0] * k.rate / (std::sqrt(s[1]) + k.epsilon);
      break;
    case UpdateRule::kAmsgrad:
      s[0] += (g - s[0]) * k.share_1;
      s[1] += (g * g - s[1]) * k.share_2;
      s[2] = s[2] >= s[1] ? s[2] : s[1];  // NaN in s[1] stays
      w -= s[0] * k.rate / (std::sqrt(s[2]) + k.epsilon);
      break;
    case UpdateRule::kFtrl: {
      const bool root = k.power == A{0.5};
      const A next = s[0] + g * g;
      const A power = root ? std::sqrt(next) : std::pow(next, k.power);
      const A last = root ? std::sqrt(s[0]) : std::pow(s[0], k.power);
      s[1] += g + 2 * k.shrinkage * w - (power - last) / k.rate * w;
      const A clipped = s[1] < -k.l1 ? -k.l1 : s[1] > k.l1 ? k.l1 : s[1];
      w = (clipped - s[1]) / (power / k.rate + 2 * k.l2);
      s[0] = next;
      break;
    }
  }
}

// Which rows a step meets: all, or those of a list that is ascending and padded, or those that have
// been sorted.
struct MetRows {
  const int64_t* list = nullptr;
  RowOrder order;

  // The row of gradient u, or -1 for none.
  __device__ int64_t Row(int64_t u) const {
    if (order.num_distinct != nullptr) {
      const RowRun run = FindRun(order, u);
      return run.end > run.begin ? run.row : -1;
    }
    if (list == nullptr) return u;
    return u > 0 && list[u - 1] == list[u] ? -1 : list[u];
  }
};

// Whether a table, its slots and its average can be read and written in pieces of kVector.
template <typename T>
bool RowsInVectors(const OptimizedTable<T>& table) {
  const bool by_row = table.rule == UpdateRule::kRowwiseAdagrad;
  return InVectors(table.dim, table.weights, by_row ? nullptr : table.slots[0], table.slots[1],
                   table.slots[2], table.average);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_UPDATE_STEP_H_
