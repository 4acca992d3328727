// CPU kernels of the losses: read and check the arguments, allocate, lock, call the core.
//
// The forward op is given the coefficients by which the losses will be multiplied, where known;
// if anybody asks for `saved`, it makes the gradients too, in one pass. The gradient op hands these
// on where d_loss is a multiple of the coefficients, and makes the gradients anew where it is not.
#include <algorithm>
#include <optional>
#include <type_traits>
#include <vector>

#include "csrc/core/loss.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/loss/loss_gradients.h"
#include "csrc/tensorflow/loss/loss_outputs.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

template <typename T, bool kSampled>
class LossOp : public Kernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit LossOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, kSampled));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    Call<T, kSampled> call;
    TF_RETURN_IF_ERROR(call.Read(context, attributes_));
    const LossProblem<Core>& problem = call.problem;
    const TensorFlowParallel parallel(context);
    Tensor hidden_memory;
    TF_RETURN_IF_ERROR(call.Gather(context, parallel, &hidden_memory));
    A* outputs[kNumForwardOutputs];
    TF_RETURN_IF_ERROR(AllocateForwardOutputs(context, problem.batch, outputs));
    const Normalizer<A> normalizer = {outputs[1], outputs[2]};

    Gradients<T, kSampled> gradients(call, [](int) { return true; });
    std::vector<A> d_loss;
    TF_RETURN_IF_ERROR(ReadCoefficients(context, problem.batch, gradients.size(), &d_loss));
    const bool saves = AnySavedRequired(context);
    const std::size_t bytes = saves ? LossWithGradientsScratchBytes(problem, parallel)
                                    : LossForwardScratchBytes(problem, parallel);
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, bytes));
    if (!saves) {
      LossForward(problem, parallel, scratch.data(), outputs[0], normalizer);
      return absl::OkStatus();
    }
    TF_RETURN_IF_ERROR(gradients.Allocate(context));
    if constexpr (kSampled) {
      const RowGradient<A> rows =
          SampledLossWithGradients(problem, d_loss.data(), parallel, scratch.data(), outputs[0],
                                   normalizer, gradients.d_hidden());
      TF_RETURN_IF_ERROR(gradients.WriteClasses(context, rows, parallel));
    } else {
      ExactLossWithGradients(problem, d_loss.data(), parallel, scratch.data(), outputs[0],
                             normalizer, gradients.d_hidden(), gradients.d_weights(),
                             gradients.d_biases());
    }
    TF_RETURN_IF_ERROR(gradients.WriteHidden(context, parallel));
    return gradients.Save(context);
  }

  // What each loss is multiplied with; empty where that is not known.
  static absl::Status ReadCoefficients(OpKernelContext* context, int64_t batch, int num_gradients,
                                       std::vector<A>* coefficients) {
    const Tensor* tensor;
    TF_RETURN_IF_ERROR(FindCoefficients(context, num_gradients, &tensor));
    if (tensor == nullptr) return absl::OkStatus();
    return ReadPerExample("coefficients", *tensor, batch, coefficients);
  }

  Attributes attributes_;
};

template <typename T, bool kSampled>
class LossGradOp : public Kernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit LossGradOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, kSampled));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    OpInputList saved;
    TF_RETURN_IF_ERROR(context->input_list("saved", &saved));
    std::optional<A> factor;
    if (saved.size() == context->num_outputs()) {
      TF_RETURN_IF_ERROR(Factor(context, &factor));
    }
    return factor.has_value() ? HandOn(context, saved, *factor) : Recompute(context);
  }

  // By what the saved gradients are to be multiplied, if anything. Malformed input gives nothing:
  // Recompute says what is wrong with it.
  absl::Status Factor(OpKernelContext* context, std::optional<A>* factor) const {
    OpInputList coefficients;
    const Tensor *d_loss, *labels;
    TF_RETURN_IF_ERROR(context->input_list("coefficients", &coefficients));
    TF_RETURN_IF_ERROR(context->input("d_loss", &d_loss));
    TF_RETURN_IF_ERROR(context->input("labels", &labels));
    if (coefficients.size() != 1 || coefficients[0].dtype() != d_loss->dtype() ||
        d_loss->dims() != 1 || labels->dims() != 2) {
      return absl::OkStatus();
    }
    const int64_t batch = d_loss->dim_size(0), num_true = labels->dim_size(1);
    const bool scalar = coefficients[0].dims() == 0;
    if (labels->dim_size(0) != batch || !(scalar || coefficients[0].shape() == d_loss->shape())) {
      return absl::OkStatus();
    }
    const LossOptions& options = attributes_.options;
    const int64_t* label = labels->flat<int64_t>().data();
    const auto counts = [&](int64_t b) {
      if (!options.ignored.present) return true;
      return std::any_of(label + b * num_true, label + (b + 1) * num_true,
                         [&](int64_t id) { return !options.ignored.Is(id); });
    };
    *factor = CommonFactor(d_loss->flat<A>().data(), coefficients[0].flat<A>().data(),
                           scalar ? 0 : 1, batch, counts);
    // What float16 has rounded to zero or infinity no factor brings back.
    if (std::is_same_v<T, Eigen::half> && *factor != A{1}) factor->reset();
    return absl::OkStatus();
  }

  static absl::Status HandOn(OpKernelContext* context, const OpInputList& saved, A factor) {
    const TensorFlowParallel parallel(context);
    for (int i = 0; i < saved.size(); ++i) {
      if (!context->output_required(i)) continue;
      const tensorflow::DataType dtype = context->expected_output_dtype(i);
      Tensor tensor;
      TF_RETURN_IF_ERROR(Reinterpret(saved[i], dtype, &tensor));
      if (factor != 1 && dtype == DataTypeToEnum<T>::value) {
        Tensor scaled;
        TF_RETURN_IF_ERROR(Scale<T>(context, tensor, factor, parallel, &scaled));
        tensor = scaled;
      }
      context->set_output(i, tensor);
    }
    return absl::OkStatus();
  }

  absl::Status Recompute(OpKernelContext* context) const {
    Call<T, kSampled> call;
    TF_RETURN_IF_ERROR(call.Read(context, attributes_));
    return ComputeGradients(context, &call);
  }

  Attributes attributes_;
};

#define FASTW2V_REGISTER(T)                                                                  \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("Fastw2v>SoftmaxLoss").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
      LossOp<T, false>);                                                                     \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("Fastw2v>SoftmaxLossGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      LossGradOp<T, false>);                                                                 \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("Fastw2v>SampledLoss").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
      LossOp<T, true>);                                                                      \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("Fastw2v>SampledLossGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      LossGradOp<T, true>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
