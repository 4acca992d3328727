// The hyperparameters that stay the same from step to step, by name: every caller of an update
// reads this list, and the input `hyperparameters` of ops is in its order.
#ifndef FASTW2V_CORE_LASTING_NUMBERS_H_
#define FASTW2V_CORE_LASTING_NUMBERS_H_

#include "csrc/core/update_rule.h"

namespace fastw2v {

struct NamedNumber {
  const char* name;
  double Hyperparameters::* number;
};
constexpr NamedNumber kLastingNumbers[] = {
    {"weight_decay", &Hyperparameters::weight_decay},
    {"momentum", &Hyperparameters::momentum},
    {"beta_1", &Hyperparameters::beta_1},
    {"beta_2", &Hyperparameters::beta_2},
    {"epsilon", &Hyperparameters::epsilon},
    {"learning_rate_power", &Hyperparameters::learning_rate_power},
    {"l1", &Hyperparameters::l1},
    {"l2", &Hyperparameters::l2},
    {"l2_shrinkage", &Hyperparameters::l2_shrinkage},
    {"beta", &Hyperparameters::beta},
    {"average_momentum", &Hyperparameters::average_momentum},
};

}  // namespace fastw2v

#endif  // FASTW2V_CORE_LASTING_NUMBERS_H_
