// A loss and the optimizer's step on its tables in one op: the gradients go from the core's loss to
// the core's updates without ever being tensors.
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/core/gather.h"
#include "csrc/core/loss.h"
#include "csrc/core/optimizer.h"
#include "csrc/tensorflow/adapter.h"
#include "csrc/tensorflow/loss_call.h"
#include "csrc/tensorflow/optimizer_call.h"
#include "csrc/tensorflow/scratch_memory.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernel;

template <typename T, bool kSampled>
class TrainStepOp : public OpKernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit TrainStepOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, kSampled));
    OP_REQUIRES_OK(context, update_.Read(context));
    OP_REQUIRES_OK(context, context->GetAttr("train_embeddings", &trains_embeddings_));
    OP_REQUIRES_OK(context, context->GetAttr("train_weights", &trains_weights_));
    OP_REQUIRES_OK(context, context->GetAttr("train_biases", &trains_biases_));
  }

  void Compute(OpKernelContext* context) override { OP_REQUIRES_OK(context, Run(context)); }

 private:
  absl::Status Run(OpKernelContext* context) const {
    Hyperparameters parameters;
    TF_RETURN_IF_ERROR(ReadHyperparameters(context, &parameters));
    Call<T, kSampled> call;
    OptimizedArgument<T> embeddings, weights, biases;
    std::vector<tensorflow::Var*> variables;
    TF_RETURN_IF_ERROR(call.FindTables(context, &variables));
    TF_RETURN_IF_ERROR(Find(context, trains_embeddings_, "embeddings", &embeddings, &variables));
    TF_RETURN_IF_ERROR(Find(context, trains_weights_, "weights", &weights, &variables));
    TF_RETURN_IF_ERROR(Find(context, trains_biases_, "biases", &biases, &variables));
    const WriteLock lock(std::move(variables));
    if (trains_embeddings_) TF_RETURN_IF_ERROR(embeddings.Resolve(context, parameters));
    if (trains_weights_) TF_RETURN_IF_ERROR(weights.Resolve(context, parameters));
    if (trains_biases_) TF_RETURN_IF_ERROR(biases.Resolve(context, parameters));
    TF_RETURN_IF_ERROR(call.ReadLocked(context, attributes_));

    const LossProblem<Core>& problem = call.problem;
    const TensorFlowParallel parallel(context);
    Tensor hidden_memory, d_hidden_memory;
    TF_RETURN_IF_ERROR(call.Gather(context, parallel, &hidden_memory));
    Tensor* loss;
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({problem.batch}), &loss));
    std::vector<A> d_loss, max(problem.batch), log_sum(problem.batch);
    const Tensor* coefficients;
    TF_RETURN_IF_ERROR(context->input("coefficients", &coefficients));
    TF_RETURN_IF_ERROR(ReadPerExample("coefficients", *coefficients, problem.batch, &d_loss));
    A* d_hidden = nullptr;
    if (trains_embeddings_ || !call.gathers()) {
      TF_RETURN_IF_ERROR(call.AllocateHidden(context, &d_hidden_memory, &d_hidden));
    }
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, LossWithGradientsScratchBytes(problem, parallel)));
    A* losses = loss->flat<A>().data();
    const Normalizer<A> normalizer = {max.data(), log_sum.data()};
    // Gradients are finite where these are.
    const auto check = [&] {
      FASTW2V_RETURN_IF_ERROR(CheckFinite("loss", losses, problem.batch, 1));
      FASTW2V_RETURN_IF_ERROR(CheckFinite("weight of loss", d_loss.data(), problem.batch, 1));
      if (d_hidden == nullptr) return Status();
      return CheckFinite("gradient of inputs", d_hidden, problem.batch, problem.dim());
    };
    if constexpr (kSampled) {
      const RowGradient<A> rows = SampledLossWithGradients(
          problem, d_loss.data(), parallel, scratch.data(), losses, normalizer, d_hidden);
      TF_RETURN_IF_ERROR(ToTensorFlow(check()));
      if (trains_weights_) {
        TF_RETURN_IF_ERROR(ToTensorFlow(UpdateRows(weights.table, rows, false, parallel)));
      }
      if (trains_biases_) {
        TF_RETURN_IF_ERROR(ToTensorFlow(UpdateRows(biases.table, rows, true, parallel)));
      }
    } else {
      Tensor weights_memory, biases_memory;
      Table<Core> d_weights, d_biases;
      TF_RETURN_IF_ERROR(
          Allocate(context, trains_weights_, weights.table, &weights_memory, &d_weights));
      TF_RETURN_IF_ERROR(
          Allocate(context, trains_biases_, biases.table, &biases_memory, &d_biases));
      ExactLossWithGradients(problem, d_loss.data(), parallel, scratch.data(), losses, normalizer,
                             d_hidden, d_weights, d_biases);
      TF_RETURN_IF_ERROR(ToTensorFlow(check()));
      if (trains_weights_) {
        TF_RETURN_IF_ERROR(ToTensorFlow(UpdateAll(weights.table, d_weights.Row(0), parallel)));
      }
      if (trains_biases_) {
        TF_RETURN_IF_ERROR(ToTensorFlow(UpdateAll(biases.table, d_biases.Row(0), parallel)));
      }
    }
    if (!call.gathers()) return WriteActivations(context, problem, d_hidden, parallel);
    if (!trains_embeddings_) return absl::OkStatus();
    const RowGradient<A> rows = SortTerms(BagTerms(call.bags, d_hidden, problem.dim()));
    return ToTensorFlow(UpdateRows(embeddings.table, rows, false, parallel));
  }

  absl::Status Find(OpKernelContext* context, bool trained, const std::string& name,
                    OptimizedArgument<T>* argument,
                    std::vector<tensorflow::Var*>* variables) const {
    if (!trained) return absl::OkStatus();
    TF_RETURN_IF_ERROR(argument->FindTrained(context, name, update_));
    argument->AppendVariables(variables);
    return absl::OkStatus();
  }

  static absl::Status Allocate(OpKernelContext* context, bool trained,
                               const OptimizedTable<Core>& table, Tensor* memory,
                               Table<Core>* gradient) {
    if (!trained) return absl::OkStatus();
    TF_RETURN_IF_ERROR(AllocateTensor(context, DataTypeToEnum<T>::value,
                                      TensorShape({table.rows, table.dim}), memory));
    *gradient = Table<Core>(CoreData<Core>(memory->flat<T>().data()), table.rows, table.dim);
    return absl::OkStatus();
  }

  static absl::Status WriteActivations(OpKernelContext* context, const LossProblem<Core>& problem,
                                       const A* d_hidden, const Parallel& parallel) {
    Tensor* d_inputs;
    TF_RETURN_IF_ERROR(
        context->allocate_output(1, TensorShape({problem.batch, problem.dim()}), &d_inputs));
    RoundRows(d_hidden, problem.batch, problem.dim(), parallel,
              CoreData<Core>(d_inputs->flat<T>().data()));
    return absl::OkStatus();
  }

  Attributes attributes_;
  UpdateAttributes update_;
  bool trains_embeddings_, trains_weights_, trains_biases_;
};

#define FASTW2V_REGISTER(T)                                                              \
  REGISTER_KERNEL_BUILDER(                                                               \
      Name("Fastw2v>SoftmaxStep").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      TrainStepOp<T, false>);                                                            \
  REGISTER_KERNEL_BUILDER(                                                               \
      Name("Fastw2v>SampledStep").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      TrainStepOp<T, true>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
