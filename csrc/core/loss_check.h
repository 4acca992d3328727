// What every device asks of a loss: numbers and options, without a look at any data.
#ifndef FASTW2V_CORE_LOSS_CHECK_H_
#define FASTW2V_CORE_LOSS_CHECK_H_

#include <cmath>

#include "csrc/core/loss.h"

namespace fastw2v {

inline Status CheckLossOptions(const LossOptions& options, Candidates candidates, int64_t classes,
                               int64_t num_true) {
  if (classes < 1) return InvalidArgument("weights has no rows; there must be a class");
  if (num_true < 1) return InvalidArgument("num_true = ", num_true, " is not at least 1");
  if (!(std::isfinite(options.logit_scale))) {
    return InvalidArgument("logit_scale = ", options.logit_scale, " is not finite");
  }
  if (!(options.logit_softcap >= 0) || !std::isfinite(options.logit_softcap)) {
    return InvalidArgument("logit_softcap = ", options.logit_softcap, " is not in [0, inf)");
  }
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1)) {
    return InvalidArgument("label_smoothing = ", options.label_smoothing, " is not in [0, 1)");
  }
  if (!(options.z_loss >= 0) || !std::isfinite(options.z_loss)) {
    return InvalidArgument("z_loss = ", options.z_loss, " is not in [0, inf)");
  }
  if (!(options.positive_target >= 0 && options.positive_target <= 1)) {
    return InvalidArgument("positive_target = ", options.positive_target, " is not in [0, 1]");
  }
  if (options.label_smoothing != 0 && candidates != Candidates::kAll) {
    return InvalidArgument("label_smoothing = ", options.label_smoothing,
                           " needs all classes to compete; sampled candidates take 0");
  }
  if (options.link == Link::kLogistic) {
    if (options.z_loss != 0) {
      return InvalidArgument("z_loss = ", options.z_loss,
                             " needs a softmax; logistic losses have no normaliser and take 0");
    }
    if (candidates == Candidates::kAll) {
      return InvalidArgument("the logistic link needs sampled candidates");
    }
  }
  return Status();
}

inline Status CheckNumSampled(Candidates candidates, int64_t num_sampled) {
  if (candidates == Candidates::kAll || num_sampled >= 1) return Status();
  return InvalidArgument("num_sampled = ", num_sampled, " is not at least 1");
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_LOSS_CHECK_H_
