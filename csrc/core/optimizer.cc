#include "csrc/core/optimizer.h"

#include <limits>
#include <string>

namespace fastw2v {

namespace {

Status CheckNumber(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return Status();
  return InvalidArgument(name, " = ", value, " is not in [", low, ", ", high, "]");
}

}  // namespace

Status ParseUpdateRule(const std::string& name, UpdateRule* rule) {
  std::string names;
  for (const KnownRule& known : kUpdateRules) {
    if (name == known.name) {
      *rule = known.rule;
      return Status();
    }
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return InvalidArgument("rule = ", name, " is not one of ", names);
}

Status CheckUpdate(UpdateRule rule, const Hyperparameters& p, const UpdateHistory& history) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (p.step < 1) return InvalidArgument("step = ", p.step, " is not at least 1");
  FASTW2V_RETURN_IF_ERROR(CheckNumber("weight_decay", p.weight_decay, 0, kInfinity));
  if (p.weight_decay * p.learning_rate >= 1) {
    return InvalidArgument("weight_decay * learning_rate = ", p.weight_decay, " * ",
                           p.learning_rate, " is not below 1");
  }
  if (IsAdam(rule) || rule == UpdateRule::kLion) {
    FASTW2V_RETURN_IF_ERROR(CheckNumber("beta_1", p.beta_1, 0, 1));
    FASTW2V_RETURN_IF_ERROR(CheckNumber("beta_2", p.beta_2, 0, 1));
  }
  if (history.present() && history.length < 1) {
    return InvalidArgument("history has no entries, expected at least 1");
  }
  return Status();
}

}  // namespace fastw2v
