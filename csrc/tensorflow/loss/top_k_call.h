// What the kernels of Fastw2v>TopK have in common, on every device.
#ifndef FASTW2V_TENSORFLOW_LOSS_TOP_K_CALL_H_
#define FASTW2V_TENSORFLOW_LOSS_TOP_K_CALL_H_

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

// Reads the arguments of a TopKProblem of csrc/core or csrc/cuda and locks the tables; a device
// adds how it reads them and finds the classes.
template <typename T, typename Problem>
class TopKOpBase : public Kernel {
 public:
  explicit TopKOpBase(tensorflow::OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("k", &k_));
    OP_REQUIRES_OK(context, Attributes::ReadNumExcluded(context, &num_excluded_));
    OP_REQUIRES_OK(context, context->GetAttr("logit_scale", &logit_scale_));
    OP_REQUIRES_OK(context, context->GetAttr("logit_softcap", &logit_softcap_));
  }

 protected:
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

  int64_t num_excluded() const { return num_excluded_; }

  virtual absl::Status Find(tensorflow::OpKernelContext* context, const TableArgument& weights,
                            const TableArgument& biases, Problem* problem) const = 0;

  static absl::Status AllocateOutputs(tensorflow::OpKernelContext* context, const Problem& problem,
                                      A** values, int64_t** indices) {
    const tensorflow::TensorShape shape({problem.batch, problem.k});
    tensorflow::Tensor *best, *classes;
    TF_RETURN_IF_ERROR(context->allocate_output(0, shape, &best));
    TF_RETURN_IF_ERROR(context->allocate_output(1, shape, &classes));
    *values = best->template flat<A>().data();
    *indices = classes->template flat<int64_t>().data();
    return absl::OkStatus();
  }

 private:
  absl::Status Run(tensorflow::OpKernelContext* context) const override {
    const auto dtype = tensorflow::DataTypeToEnum<T>::value;
    TableArgument weights, biases;
    TF_RETURN_IF_ERROR(weights.Read(context, "weights", dtype, 2));
    TF_RETURN_IF_ERROR(biases.Read(context, "biases", dtype, 1));
    std::vector<tensorflow::Var*> variables;
    weights.AppendVariables(&variables);
    biases.AppendVariables(&variables);
    const ReadLock lock(std::move(variables));
    TF_RETURN_IF_ERROR(weights.Resolve());
    TF_RETURN_IF_ERROR(biases.Resolve());

    const tensorflow::Tensor* inputs;
    TF_RETURN_IF_ERROR(context->input("inputs", &inputs));
    const auto expected = tensorflow::DataTypeToEnum<A>::value;
    if (inputs->dtype() != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat("inputs has dtype ", tensorflow::DataTypeString(inputs->dtype()),
                       ", expected ", tensorflow::DataTypeString(expected)));
    }
    if (inputs->dims() != 2 || inputs->dim_size(1) != weights.dim()) {
      return absl::InvalidArgumentError(
          absl::StrCat("inputs has shape ", inputs->shape().DebugString(),
                       ", expected [batch, dim] with the width of weights, ", weights.dim()));
    }
    Problem problem;
    problem.batch = inputs->dim_size(0);
    problem.hidden = inputs->flat<A>().data();
    problem.k = k_;
    problem.logit_scale = logit_scale_;
    problem.logit_softcap = logit_softcap_;
    return Find(context, weights, biases, &problem);
  }

  int64_t k_;
  int64_t num_excluded_ = 0;
  float logit_scale_;
  float logit_softcap_;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_LOSS_TOP_K_CALL_H_
