// GPU kernels of Fastw2v>SoftmaxStep and Fastw2v>SampledStep: a loss and the optimizer's step on
// its tables. Gradients that are not finite cannot be refused: they end up in the tables.
#include "csrc/cuda/optimizer/optimizer.h"
#include "csrc/tensorflow/loss/loss_call_gpu.h"
#include "csrc/tensorflow/optimizer/update_registration.h"
#include "csrc/tensorflow/support/gpu.h"
#include "csrc/tensorflow/train_step/train_step_call.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

template <typename T, bool kSampled>
class GpuTrainStepOp final : public TrainStepOpBase<T, GpuCall<T, kSampled>> {
  using Base = TrainStepOpBase<T, GpuCall<T, kSampled>>;
  using Base::Base;
  using typename Base::A, typename Base::Core, typename Base::Tables;

  absl::Status Step(OpKernelContext* context, GpuCall<T, kSampled>* call, const Tables& tables,
                    const Tensor& coefficients, A* losses) const override {
    const auto& problem = call->problem;
    DeviceMemory filled, max, log_sum, scratch;
    const A* d_loss;
    TF_RETURN_IF_ERROR(
        ReadCoefficients(context, coefficients, problem.batch, call->stream, &filled, &d_loss));
    TF_RETURN_IF_ERROR(max.Allocate(context, sizeof(A) * problem.batch));
    TF_RETURN_IF_ERROR(log_sum.Allocate(context, sizeof(A) * problem.batch));
    TF_RETURN_IF_ERROR(scratch.Allocate(context, call->ScratchBytes()));
    GpuGradients<T, kSampled> gradients(*call, this->trained());
    TF_RETURN_IF_ERROR((MakeLossAndGradients<T, kSampled>(
        context, *call, d_loss, scratch.data(), losses,
        Normalizer<A>{max.data<A>(), log_sum.data<A>()}, &gradients)));
    if (!call->gathers()) context->set_output(1, gradients.inputs());
    return Update(tables, gradients, call->stream);
  }

  absl::Status Update(const Tables& tables, const GpuGradients<T, kSampled>& gradients,
                      const cuda::Stream& stream) const {
    const TrainedTables& trained = this->trained();
    if (trained.embeddings) {
      TF_RETURN_IF_ERROR(
          ToTensorFlow(cuda::UpdateRows(tables.embeddings, gradients.EmbeddingSlices(), stream)));
    }
    if constexpr (kSampled) {
      if (trained.weights) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(cuda::UpdateRows(tables.weights, gradients.WeightSlices(), stream)));
      }
      if (!trained.biases) return absl::OkStatus();
      return ToTensorFlow(cuda::UpdateRows(tables.biases, gradients.BiasSlices(), stream));
    } else {
      if (trained.weights) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(cuda::UpdateAll(tables.weights, gradients.Weights(), stream)));
      }
      if (!trained.biases) return absl::OkStatus();
      return ToTensorFlow(cuda::UpdateAll(tables.biases, gradients.Biases(), stream));
    }
  }
};

#define FASTW2V_REGISTER(T)                                                               \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxStep")                   \
                                  .FASTW2V_UPDATE_NUMBERS_ON_HOST.TypeConstraint<T>("T"), \
                              GpuTrainStepOp<T, false>);                                  \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>SampledStep")                   \
                                  .FASTW2V_UPDATE_NUMBERS_ON_HOST.TypeConstraint<T>("T"), \
                              GpuTrainStepOp<T, true>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
