// GPU kernels of the losses. Nothing looks at values on the host, so they differ from those of the
// CPU (loss_kernels.cc) in three ways: ids out of range give NaN in place of an error, gradients of
// rows are padded (csrc/cuda/loss/loss.h), and gradients are made together with the losses only
// where the caller states that d_loss will be a multiple of the coefficients (`only_reduced`);
// their factor is found and applied on the device.
#include <memory>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/rows/elementwise.h"
#include "csrc/tensorflow/loss/loss_call_gpu.h"
#include "csrc/tensorflow/loss/loss_outputs.h"
#include "csrc/tensorflow/support/gpu.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

template <typename T, bool kSampled>
class GpuLossOp : public Kernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit GpuLossOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, kSampled));
    OP_REQUIRES_OK(context, context->GetAttr("only_reduced", &only_reduced_));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    GpuCall<T, kSampled> call;
    TF_RETURN_IF_ERROR(call.Read(context, attributes_));
    const auto& problem = call.problem;
    A* outputs[kNumForwardOutputs];
    TF_RETURN_IF_ERROR(AllocateForwardOutputs(context, problem.batch, outputs));
    const Normalizer<A> normalizer = {outputs[1], outputs[2]};
    GpuGradients<T, kSampled> gradients(call, [](int) { return true; });
    const Tensor* coefficients;
    TF_RETURN_IF_ERROR(FindCoefficients(context, gradients.size(), &coefficients));
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, call.ScratchBytes()));
    if (!kSaves || !only_reduced_ || !AnySavedRequired(context)) {
      // Nothing saved: the gradient op makes the gradients.
      for (int i = kNumForwardOutputs; i < context->num_outputs(); ++i) {
        Tensor* nothing;
        TF_RETURN_IF_ERROR(context->allocate_output(i, TensorShape({0}), &nothing));
      }
      if constexpr (kSampled) {
        return ToTensorFlow(
            cuda::SampledLossForward(problem, call.stream, scratch.data(), outputs[0], normalizer));
      } else {
        return ToTensorFlow(
            cuda::ExactLossForward(problem, call.stream, scratch.data(), outputs[0], normalizer));
      }
    }
    DeviceMemory filled;
    const A* d_loss;
    TF_RETURN_IF_ERROR(
        ReadCoefficients(context, *coefficients, problem.batch, call.stream, &filled, &d_loss));
    TF_RETURN_IF_ERROR((MakeLossAndGradients<T, kSampled>(context, call, d_loss, scratch.data(),
                                                          outputs[0], normalizer, &gradients)));
    return gradients.Save(context);
  }

  // What float16 has rounded to zero or infinity no factor (of a scaled loss, say) brings back.
  static constexpr bool kSaves = !std::is_same_v<T, Eigen::half>;

  Attributes attributes_;
  bool only_reduced_;
};

template <typename T, bool kSampled>
class GpuLossGradOp : public Kernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit GpuLossGradOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, kSampled));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    OpInputList saved;
    TF_RETURN_IF_ERROR(context->input_list("saved", &saved));
    bool any = false;
    for (const Tensor& bytes : saved) any = any || bytes.NumElements() > 0;
    return any ? HandOn(context, saved) : Recompute(context);
  }

  static absl::Status HandOn(OpKernelContext* context, const OpInputList& saved) {
    cuda::Stream stream;
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
    OpInputList coefficients;
    const Tensor* d_loss;
    TF_RETURN_IF_ERROR(context->input_list("coefficients", &coefficients));
    TF_RETURN_IF_ERROR(context->input("d_loss", &d_loss));
    if (coefficients.size() != 1 || saved.size() != context->num_outputs()) {
      return absl::InvalidArgumentError(
          absl::StrCat("there are ", coefficients.size(), " coefficients and ", saved.size(),
                       " saved gradients, expected 1 and ", context->num_outputs()));
    }
    const int64_t batch = d_loss->NumElements();
    TF_RETURN_IF_ERROR(CheckPerExample<A>("d_loss", *d_loss, batch, false));
    TF_RETURN_IF_ERROR(CheckPerExample<A>("coefficients", coefficients[0], batch, true));
    DeviceMemory factor;
    TF_RETURN_IF_ERROR(factor.Allocate(context, sizeof(A)));
    TF_RETURN_IF_ERROR(ToTensorFlow(cuda::CommonFactor<A>(
        d_loss->flat<A>().data(), coefficients[0].flat<A>().data(),
        coefficients[0].dims() == 0 ? 0 : 1, batch, stream, factor.data<A>())));
    int first;
    TF_RETURN_IF_ERROR(InputRange(context, &first));
    for (int i = 0; i < saved.size(); ++i) {
      if (!context->output_required(i)) continue;
      const tensorflow::DataType dtype = context->expected_output_dtype(i);
      Tensor tensor;
      if (dtype != DataTypeToEnum<T>::value) {  // rows
        TF_RETURN_IF_ERROR(Reinterpret(saved[i], dtype, &tensor));
        context->set_output(i, tensor);
        continue;
      }
      // In place where nobody else holds them.
      std::unique_ptr<Tensor> bytes = context->forward_input(
          first + i, OpKernelContext::Params::kNoReservation, tensorflow::DT_UINT8,
          saved[i].shape(), tensorflow::DEVICE_MEMORY, tensorflow::AllocatorAttributes());
      Tensor memory;
      if (bytes != nullptr) {
        memory = *bytes;
      } else {
        TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_UINT8, saved[i].shape(), &memory));
      }
      TF_RETURN_IF_ERROR(ToTensorFlow(
          cuda::ScaleArray<Core>(factor.data<A>(), static_cast<const Core*>(saved[i].data()),
                                 saved[i].NumElements() / static_cast<int64_t>(sizeof(Core)),
                                 stream, static_cast<Core*>(memory.data()))));
      TF_RETURN_IF_ERROR(Reinterpret(memory, dtype, &tensor));
      context->set_output(i, tensor);
    }
    return absl::OkStatus();
  }

  static absl::Status InputRange(OpKernelContext* context, int* first) {
    int end;
    return context->op_kernel().InputRange("saved", first, &end);
  }

  absl::Status Recompute(OpKernelContext* context) const {
    GpuCall<T, kSampled> call;
    TF_RETURN_IF_ERROR(call.Read(context, attributes_));
    return ComputeGradients(context, call);
  }

  Attributes attributes_;
};

#define FASTW2V_REGISTER(T)                                                                     \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxLoss").TypeConstraint<T>("T"), \
                              GpuLossOp<T, false>);                                             \
  FASTW2V_REGISTER_GPU_KERNEL(                                                                  \
      FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxLossGrad").TypeConstraint<T>("T"),                     \
      GpuLossGradOp<T, false>);                                                                 \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>SampledLoss").TypeConstraint<T>("T"), \
                              GpuLossOp<T, true>);                                              \
  FASTW2V_REGISTER_GPU_KERNEL(                                                                  \
      FASTW2V_GPU_KERNEL("Fastw2v>SampledLossGrad").TypeConstraint<T>("T"),                     \
      GpuLossGradOp<T, true>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
