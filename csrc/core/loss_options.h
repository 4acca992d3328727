// What can be chosen about a loss (csrc/core/loss.h) beside its data, and which choices there are.
#ifndef FASTW2V_CORE_LOSS_OPTIONS_H_
#define FASTW2V_CORE_LOSS_OPTIONS_H_

#include <cstdint>
#include <limits>

#include "csrc/core/formula.h"
#include "csrc/core/status.h"

namespace fastw2v {

enum class Link { kSoftmax, kLogistic };

enum class Candidates { kAll, kShared, kPerExample };

// What the operands of matrix products, which logit_scale is none of, are rounded to: nothing
// beyond the type in which products are summed, or bfloat16.
enum class ComputeDtype { kAccumulator, kBFloat16 };

// The label that stands for no class, if there is one.
struct IgnoredLabel {
  bool present = false;
  int64_t label = 0;

  FASTW2V_HOST_DEVICE bool Is(int64_t other) const { return present && other == label; }
};

struct LossOptions {
  Link link = Link::kSoftmax;
  double logit_scale = 1;
  double logit_softcap = 0;  // 0: none
  double margin = 0;
  double label_smoothing = 0;
  double z_loss = 0;
  double positive_target = 1;  // of the logistic link
  bool remove_accidental_hits = false;
  IgnoredLabel ignored;
  ComputeDtype compute_dtype = ComputeDtype::kAccumulator;
};

// A number among the options, by the name that it has in ops, tests and messages: it is finite, at
// least `low` and below `high`, or may be `high` too.
struct NumericOption {
  const char* name;
  double LossOptions::* value;
  double low, high;
  bool with_high = false;
  bool exact_only = false;  // other losses take 0
};

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr NumericOption kNumericOptions[] = {
    {"logit_scale", &LossOptions::logit_scale, -kInfinity, kInfinity},
    {"logit_softcap", &LossOptions::logit_softcap, 0, kInfinity},
    // Below what would make a logit infinite.
    {"margin", &LossOptions::margin, 0, 1000, false, /*exact_only=*/true},
    {"label_smoothing", &LossOptions::label_smoothing, 0, 1, false, /*exact_only=*/true},
    {"z_loss", &LossOptions::z_loss, 0, kInfinity},
    {"positive_target", &LossOptions::positive_target, 0, 1, /*with_high=*/true},
};

// What every device asks of a loss and of the logits of top_k: numbers and options, without a look
// at any data.
Status CheckClasses(int64_t classes);
Status CheckBiasRows(int64_t biases, int64_t classes);
Status CheckLogitOptions(double logit_scale, double logit_softcap);
Status CheckLossOptions(const LossOptions& options, Candidates candidates, int64_t classes,
                        int64_t num_true);
Status CheckNumSampled(Candidates candidates, int64_t num_sampled);
// `classes` from first_class on are a part of all.
Status CheckPart(int64_t first_class, int64_t classes, int64_t all_classes);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_LOSS_OPTIONS_H_
