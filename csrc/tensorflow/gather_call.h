// What the ops that combine rows of a table have in common, on every device.
#ifndef FASTW2V_TENSORFLOW_GATHER_CALL_H_
#define FASTW2V_TENSORFLOW_GATHER_CALL_H_

#include <string>

#include "csrc/core/gather.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

class CombiningOp : public tensorflow::OpKernel {
 public:
  explicit CombiningOp(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    std::string name;
    OP_REQUIRES_OK(context, context->GetAttr("combiner", &name));
    combiner_ = name == "mean" ? Combiner::kMean : Combiner::kSum;
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 protected:
  virtual absl::Status Run(tensorflow::OpKernelContext* context) const = 0;
  Combiner combiner_;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_GATHER_CALL_H_
