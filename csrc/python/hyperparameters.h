// The numbers of an optimizer's step from Python's names, on every device.
#ifndef FASTW2V_PYTHON_HYPERPARAMETERS_H_
#define FASTW2V_PYTHON_HYPERPARAMETERS_H_

#include <pybind11/pybind11.h>

#include <map>
#include <string>

#include "csrc/core/optimizer.h"

namespace fastw2v {

inline Hyperparameters ReadParameters(const std::map<std::string, double>& numbers) {
  Hyperparameters p;
  double step = 1;
  const std::map<std::string, double*> fields = {
      {"learning_rate", &p.learning_rate},
      {"step", &step},
      {"weight_decay", &p.weight_decay},
      {"momentum", &p.momentum},
      {"beta_1", &p.beta_1},
      {"beta_2", &p.beta_2},
      {"epsilon", &p.epsilon},
      {"learning_rate_power", &p.learning_rate_power},
      {"l1", &p.l1},
      {"l2", &p.l2},
      {"l2_shrinkage", &p.l2_shrinkage},
      {"beta", &p.beta},
      {"average_momentum", &p.average_momentum},
  };
  for (const auto& [name, value] : numbers) {
    const auto field = fields.find(name);
    if (field == fields.end()) throw pybind11::value_error("unknown number: " + name);
    *field->second = value;
  }
  p.step = static_cast<int64_t>(step);
  return p;
}

}  // namespace fastw2v

#endif  // FASTW2V_PYTHON_HYPERPARAMETERS_H_
