// What the ops that combine rows of a table have in common, on every device.
#ifndef FASTW2V_TENSORFLOW_GATHER_GATHER_CALL_H_
#define FASTW2V_TENSORFLOW_GATHER_GATHER_CALL_H_

#include <string>

#include "csrc/core/gather.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

class CombiningOp : public Kernel {
 public:
  explicit CombiningOp(tensorflow::OpKernelConstruction* context) : Kernel(context) {
    std::string name;
    OP_REQUIRES_OK(context, context->GetAttr("combiner", &name));
    combiner_ = name == "mean" ? Combiner::kMean : Combiner::kSum;
  }

 protected:
  Combiner combiner_;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_GATHER_GATHER_CALL_H_
