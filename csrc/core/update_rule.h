// The rules by which optimizers update tables (formulas: csrc/core/optimizer.h), and their numbers.
#ifndef FASTW2V_CORE_UPDATE_RULE_H_
#define FASTW2V_CORE_UPDATE_RULE_H_

#include <cstdint>
#include <string>

#include "csrc/core/status.h"

namespace fastw2v {

enum class UpdateRule {
  kSgd,
  kMomentum,
  kNesterov,
  kAdagrad,
  kRowwiseAdagrad,
  kAdam,
  kAmsgrad,
  kFtrl,
  kLion
};

struct KnownRule {
  const char* name;
  UpdateRule rule;
  int num_slots;
};
constexpr KnownRule kUpdateRules[] = {
    {"sgd", UpdateRule::kSgd, 0},
    {"momentum", UpdateRule::kMomentum, 1},
    {"nesterov", UpdateRule::kNesterov, 1},
    {"adagrad", UpdateRule::kAdagrad, 1},
    {"rowwise_adagrad", UpdateRule::kRowwiseAdagrad, 1},
    {"adam", UpdateRule::kAdam, 2},
    {"amsgrad", UpdateRule::kAmsgrad, 3},
    {"ftrl", UpdateRule::kFtrl, 2},
    {"lion", UpdateRule::kLion, 1},
};
constexpr int kNumUpdateRules = sizeof(kUpdateRules) / sizeof(kUpdateRules[0]);

Status ParseUpdateRule(const std::string& name, UpdateRule* rule);

constexpr int kMaxSlots = 3;
constexpr int NumSlots(UpdateRule rule) {
  for (const KnownRule& known : kUpdateRules) {
    if (rule == known.rule) return known.num_slots;
  }
  return 0;
}

// The numbers of a step. What a rule does not name it does not read.
struct Hyperparameters {
  double learning_rate = 0;
  int64_t step = 1;  // t, from 1 on
  double weight_decay = 0;
  double momentum = 0;
  double beta_1 = 0, beta_2 = 0;
  double epsilon = 0;
  double learning_rate_power = -0.5;  // p, at most 0
  double l1 = 0, l2 = 0, l2_shrinkage = 0, beta = 0;
  double average_momentum = 0;  // of moving averages
};

}  // namespace fastw2v

#endif  // FASTW2V_CORE_UPDATE_RULE_H_
