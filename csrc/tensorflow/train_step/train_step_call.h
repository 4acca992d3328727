// What Fastw2v>SoftmaxStep and Fastw2v>SampledStep have in common, on every device: they find, lock
// and check the tables that a loss reads and those that it trains.
#ifndef FASTW2V_TENSORFLOW_TRAIN_STEP_TRAIN_STEP_CALL_H_
#define FASTW2V_TENSORFLOW_TRAIN_STEP_TRAIN_STEP_CALL_H_

#include <string>
#include <utility>
#include <vector>

#include "csrc/core/optimizer.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/optimizer/optimizer_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

// `Call` is that of the loss on the device: Call or GpuCall.
template <typename T, typename Call>
class TrainStepOpBase : public Kernel {
 public:
  explicit TrainStepOpBase(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, Call::kIsSampled));
    OP_REQUIRES_OK(context, update_.Read(context));
    OP_REQUIRES_OK(context, context->GetAttr("train_embeddings", &trained_.embeddings));
    OP_REQUIRES_OK(context, context->GetAttr("train_weights", &trained_.weights));
    OP_REQUIRES_OK(context, context->GetAttr("train_biases", &trained_.biases));
  }

 protected:
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

  // Of what is not trained nothing is to be read.
  struct Tables {
    OptimizedTable<Core> embeddings, weights, biases;
  };

  // Writes `losses`, [batch], and the second output if the loss does not gather; the variables are
  // locked. `coefficients` are those of the losses in their sum.
  virtual absl::Status Step(OpKernelContext* context, Call* call, const Tables& tables,
                            const Tensor& coefficients, A* losses) const = 0;

  const TrainedTables& trained() const { return trained_; }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    Hyperparameters parameters;
    TF_RETURN_IF_ERROR(ReadHyperparameters(context, &parameters));
    Call call;
    TF_RETURN_IF_ERROR(call.Start(context));
    OptimizedArgument<T> embeddings, weights, biases;
    std::vector<tensorflow::Var*> variables;
    TF_RETURN_IF_ERROR(call.FindTables(context, &variables));
    TF_RETURN_IF_ERROR(Find(context, trained_.embeddings, "embeddings", &embeddings, &variables));
    TF_RETURN_IF_ERROR(Find(context, trained_.weights, "weights", &weights, &variables));
    TF_RETURN_IF_ERROR(Find(context, trained_.biases, "biases", &biases, &variables));
    const WriteLock lock(std::move(variables));
    const auto resolve = [&](bool trained, OptimizedArgument<T>* argument) -> absl::Status {
      if (!trained) return absl::OkStatus();
      return argument->Resolve(context, parameters, call.copy());
    };
    TF_RETURN_IF_ERROR(resolve(trained_.embeddings, &embeddings));
    TF_RETURN_IF_ERROR(resolve(trained_.weights, &weights));
    TF_RETURN_IF_ERROR(resolve(trained_.biases, &biases));
    TF_RETURN_IF_ERROR(call.ReadLocked(context, attributes_));

    Tensor* losses;
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({call.problem.batch}), &losses));
    const Tensor* coefficients;
    TF_RETURN_IF_ERROR(context->input("coefficients", &coefficients));
    return Step(context, &call, Tables{embeddings.table, weights.table, biases.table},
                *coefficients, losses->template flat<A>().data());
  }

  absl::Status Find(OpKernelContext* context, bool trained, const std::string& name,
                    OptimizedArgument<T>* argument,
                    std::vector<tensorflow::Var*>* variables) const {
    if (!trained) return absl::OkStatus();
    TF_RETURN_IF_ERROR(argument->FindTrained(context, name, update_));
    argument->AppendVariables(variables);
    return absl::OkStatus();
  }

  Attributes attributes_;
  UpdateAttributes update_;
  TrainedTables trained_;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_TRAIN_STEP_TRAIN_STEP_CALL_H_
