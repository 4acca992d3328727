// GPU kernels of Fastw2v>SoftmaxStep and Fastw2v>SampledStep: a loss and the optimizer's step on
// its tables. Gradients that are not finite cannot be refused: they end up in the tables.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/cuda/optimizer.h"
#include "csrc/tensorflow/gpu.h"
#include "csrc/tensorflow/loss_call_gpu.h"
#include "csrc/tensorflow/optimizer_call.h"
#include "csrc/tensorflow/update_registration.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernel;

template <typename T, bool kSampled>
class GpuTrainStepOp : public OpKernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit GpuTrainStepOp(OpKernelConstruction* context) : OpKernel(context) {
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
    GpuCall<T, kSampled> call;
    TF_RETURN_IF_ERROR(GetStream(context, &call.stream));
    OptimizedArgument<T> embeddings, weights, biases;
    std::vector<tensorflow::Var*> variables;
    TF_RETURN_IF_ERROR(call.FindTables(context, &variables));
    TF_RETURN_IF_ERROR(Find(context, trains_embeddings_, "embeddings", &embeddings, &variables));
    TF_RETURN_IF_ERROR(Find(context, trains_weights_, "weights", &weights, &variables));
    TF_RETURN_IF_ERROR(Find(context, trains_biases_, "biases", &biases, &variables));
    const WriteLock lock(std::move(variables));
    const auto resolve = [&](bool trained, OptimizedArgument<T>* argument) -> absl::Status {
      if (!trained) return absl::OkStatus();
      TF_RETURN_IF_ERROR(argument->Resolve(context, parameters, CopyOnDevice(call.stream)));
      return ToTensorFlow(CheckOptimizedTable(argument->table));
    };
    TF_RETURN_IF_ERROR(resolve(trains_embeddings_, &embeddings));
    TF_RETURN_IF_ERROR(resolve(trains_weights_, &weights));
    TF_RETURN_IF_ERROR(resolve(trains_biases_, &biases));
    TF_RETURN_IF_ERROR(call.ReadLocked(context, attributes_));

    const auto& problem = call.problem;
    Tensor* loss;
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({problem.batch}), &loss));
    const Tensor* coefficients;
    TF_RETURN_IF_ERROR(context->input("coefficients", &coefficients));
    DeviceMemory filled, max, log_sum, scratch;
    const A* d_loss;
    TF_RETURN_IF_ERROR(
        ReadCoefficients(context, *coefficients, problem.batch, call.stream, &filled, &d_loss));
    TF_RETURN_IF_ERROR(max.Allocate(context, sizeof(A) * problem.batch));
    TF_RETURN_IF_ERROR(log_sum.Allocate(context, sizeof(A) * problem.batch));
    TF_RETURN_IF_ERROR(scratch.Allocate(context, call.ScratchBytes()));
    GpuGradients<T, kSampled> gradients(call,
                                        {trains_embeddings_, trains_weights_, trains_biases_});
    TF_RETURN_IF_ERROR((MakeLossAndGradients<T, kSampled>(
        context, call, d_loss, scratch.data(), loss->flat<A>().data(),
        Normalizer<A>{max.data<A>(), log_sum.data<A>()}, &gradients)));
    if (!call.gathers()) context->set_output(1, gradients.inputs());
    if (trains_embeddings_) {
      TF_RETURN_IF_ERROR(ToTensorFlow(
          cuda::UpdateRows(embeddings.table, gradients.EmbeddingSlices(), call.stream)));
    }
    if constexpr (kSampled) {
      if (trains_weights_) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(cuda::UpdateRows(weights.table, gradients.WeightSlices(), call.stream)));
      }
      if (trains_biases_) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(cuda::UpdateRows(biases.table, gradients.BiasSlices(), call.stream)));
      }
    } else {
      if (trains_weights_) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(cuda::UpdateAll(weights.table, gradients.Weights(), call.stream)));
      }
      if (trains_biases_) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(cuda::UpdateAll(biases.table, gradients.Biases(), call.stream)));
      }
    }
    return absl::OkStatus();
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
  bool trains_embeddings_, trains_weights_, trains_biases_;
};

#define FASTW2V_REGISTER(T)                                                           \
  REGISTER_KERNEL_BUILDER(FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxStep")                   \
                              .FASTW2V_UPDATE_NUMBERS_ON_HOST.TypeConstraint<T>("T"), \
                          GpuTrainStepOp<T, false>);                                  \
  REGISTER_KERNEL_BUILDER(FASTW2V_GPU_KERNEL("Fastw2v>SampledStep")                   \
                              .FASTW2V_UPDATE_NUMBERS_ON_HOST.TypeConstraint<T>("T"), \
                          GpuTrainStepOp<T, true>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
