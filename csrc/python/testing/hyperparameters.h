// The numbers of an optimizer's step from Python's names, on every device.
#ifndef FASTW2V_PYTHON_TESTING_HYPERPARAMETERS_H_
#define FASTW2V_PYTHON_TESTING_HYPERPARAMETERS_H_

#include <pybind11/pybind11.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include "csrc/core/lasting_numbers.h"

namespace fastw2v {

inline Hyperparameters ReadParameters(const std::map<std::string, double>& numbers) {
  Hyperparameters p;
  for (const auto& [name, value] : numbers) {
    if (name == "learning_rate") {
      p.learning_rate = value;
      continue;
    }
    if (name == "step") {
      p.step = static_cast<int64_t>(value);
      continue;
    }
    const auto* const known =
        std::find_if(std::begin(kLastingNumbers), std::end(kLastingNumbers),
                     [&name = name](const NamedNumber& number) { return name == number.name; });
    if (known == std::end(kLastingNumbers)) {
      throw pybind11::value_error("unknown number: " + name);
    }
    p.*known->number = value;
  }
  return p;
}

}  // namespace fastw2v

#endif  // FASTW2V_PYTHON_TESTING_HYPERPARAMETERS_H_
