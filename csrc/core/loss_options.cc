#include "csrc/core/loss_options.h"

#include <cmath>

namespace fastw2v {

Status CheckClasses(int64_t classes) {
  if (classes >= 1) return Status();
  return InvalidArgument("weights has no rows; there must be a class");
}

Status CheckBiasRows(int64_t biases, int64_t classes) {
  if (biases == classes) return Status();
  return InvalidArgument("biases has ", biases, " entries, but weights has ", classes, " rows");
}

namespace {

Status CheckRanges(const LossOptions& options) {
  for (const NumericOption& option : kNumericOptions) {
    const double value = options.*option.value;
    const bool below = option.with_high ? value <= option.high : value < option.high;
    if (std::isfinite(value) && value >= option.low && below) continue;
    return InvalidArgument(option.name, " = ", value, " is not in ",
                           std::isfinite(option.low) ? "[" : "(", option.low, ", ", option.high,
                           option.with_high ? "]" : ")");
  }
  return Status();
}

}  // namespace

Status CheckLogitOptions(double logit_scale, double logit_softcap) {
  LossOptions options;
  options.logit_scale = logit_scale;
  options.logit_softcap = logit_softcap;
  return CheckRanges(options);
}

Status CheckLossOptions(const LossOptions& options, Candidates candidates, int64_t classes,
                        int64_t num_true) {
  FASTW2V_RETURN_IF_ERROR(CheckClasses(classes));
  if (num_true < 1) return InvalidArgument("num_true = ", num_true, " is not at least 1");
  FASTW2V_RETURN_IF_ERROR(CheckRanges(options));
  for (const NumericOption& option : kNumericOptions) {
    const double value = options.*option.value;
    if (!option.exact_only || value == 0 || candidates == Candidates::kAll) continue;
    return InvalidArgument(option.name, " = ", value,
                           " needs all classes to compete; sampled candidates take 0");
  }
  if (options.link == Link::kLogistic) {
    if (options.z_loss != 0) {
      return InvalidArgument("z_loss = ", options.z_loss,
                             " needs a softmax; logistic losses have no normalizer and take 0");
    }
    if (candidates == Candidates::kAll) {
      return InvalidArgument("the logistic link needs sampled candidates");
    }
  }
  return Status();
}

Status CheckNumSampled(Candidates candidates, int64_t num_sampled) {
  if (candidates == Candidates::kAll || num_sampled >= 1) return Status();
  return InvalidArgument("num_sampled = ", num_sampled, " is not at least 1");
}

Status CheckPart(int64_t first_class, int64_t classes, int64_t all_classes) {
  if (first_class >= 0 && first_class <= all_classes - classes) return Status();
  return InvalidArgument("first_class = ", first_class, " is not in [0, ", all_classes - classes,
                         "], for ", classes, " of ", all_classes, " classes");
}

}  // namespace fastw2v
