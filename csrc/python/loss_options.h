// The options of a loss from Python's keywords, on every device.
#ifndef FASTW2V_PYTHON_LOSS_OPTIONS_H_
#define FASTW2V_PYTHON_LOSS_OPTIONS_H_

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "csrc/core/loss.h"

namespace fastw2v {

inline LossOptions MakeLossOptions(const std::string& link, double logit_scale,
                                   double logit_softcap, double label_smoothing, double z_loss,
                                   double positive_target, bool remove_accidental_hits,
                                   std::optional<int64_t> ignore_label, bool round_bfloat16) {
  if (link != "softmax" && link != "logistic") {
    throw pybind11::value_error("link = \"" + link + "\" is not \"softmax\" or \"logistic\"");
  }
  LossOptions options;
  options.link = link == "softmax" ? Link::kSoftmax : Link::kLogistic;
  options.logit_scale = logit_scale;
  options.logit_softcap = logit_softcap;
  options.label_smoothing = label_smoothing;
  options.z_loss = z_loss;
  options.positive_target = positive_target;
  options.remove_accidental_hits = remove_accidental_hits;
  options.has_ignore_label = ignore_label.has_value();
  options.ignore_label = ignore_label.value_or(0);
  options.round_bfloat16 = round_bfloat16;
  return options;
}

}  // namespace fastw2v

#endif  // FASTW2V_PYTHON_LOSS_OPTIONS_H_
