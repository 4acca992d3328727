// The options of a loss from Python's keywords, on every device.
#ifndef FASTW2V_PYTHON_TESTING_LOSS_OPTIONS_H_
#define FASTW2V_PYTHON_TESTING_LOSS_OPTIONS_H_

#include <pybind11/pybind11.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "csrc/core/loss.h"

namespace fastw2v {

inline LossOptions MakeLossOptions(const pybind11::kwargs& keywords) {
  LossOptions options;
  for (const auto& [key, value] : keywords) {
    const auto name = key.cast<std::string>();
    const auto* const number =
        std::find_if(std::begin(kNumericOptions), std::end(kNumericOptions),
                     [&](const NumericOption& option) { return option.name == name; });
    if (number != std::end(kNumericOptions)) {
      options.*number->value = value.cast<double>();
    } else if (name == "link") {
      const auto link = value.cast<std::string>();
      if (link != "softmax" && link != "logistic") {
        throw pybind11::value_error("link = \"" + link + "\" is not \"softmax\" or \"logistic\"");
      }
      options.link = link == "softmax" ? Link::kSoftmax : Link::kLogistic;
    } else if (name == "remove_accidental_hits") {
      options.remove_accidental_hits = value.cast<bool>();
    } else if (name == "ignore_label") {
      if (!value.is_none()) options.ignored = {true, value.cast<int64_t>()};
    } else if (name == "compute_dtype") {
      if (value.is_none()) continue;
      const auto dtype = value.cast<std::string>();
      if (dtype != "bfloat16") {
        throw pybind11::value_error("compute_dtype = \"" + dtype + "\" is not \"bfloat16\"");
      }
      options.compute_dtype = ComputeDtype::kBFloat16;
    } else {
      throw pybind11::type_error("unexpected keyword " + name);
    }
  }
  return options;
}

}  // namespace fastw2v

#endif  // FASTW2V_PYTHON_TESTING_LOSS_OPTIONS_H_
