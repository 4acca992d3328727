// GPU kernels of the losses. Nothing looks at values on the host, so they differ from those of the
// CPU (loss_kernels.cc) in three ways: ids out of range give NaN in place of an error, gradients of
// rows are padded (csrc/cuda/loss.h), and gradients are made together with the losses only where
// the caller vouches that d_loss will be a multiple of the coefficients (`only_reduced`); their
// factor is found and applied on the device.
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/cuda/elementwise.h"
#include "csrc/cuda/gather.h"
#include "csrc/cuda/loss.h"
#include "csrc/tensorflow/gpu.h"
#include "csrc/tensorflow/loss_call.h"
#include "csrc/tensorflow/loss_gradients.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/tensor_float_32_utils.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernel;

constexpr int kNumForwardOutputs = 3;  // loss, max and log_sum, before `saved`

template <typename T, bool kSampled>
class GpuCall : public LossArguments<T, kSampled, cuda::LossProblem<typename CoreType<T>::type>> {
  using Base = LossArguments<T, kSampled, cuda::LossProblem<typename CoreType<T>::type>>;

 public:
  using Base::bags, Base::biases, Base::embeddings, Base::problem, Base::weights;
  using typename Base::A, typename Base::Core;

  absl::Status Read(OpKernelContext* context, const Attributes& attributes) {
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
    TF_RETURN_IF_ERROR(this->LockTables(context));
    TF_RETURN_IF_ERROR(this->ReadArguments(context, attributes));
    problem.classes = weights.rows();
    problem.dim = weights.dim();
    problem.allow_tf32 = tensorflow::tensor_float_32_execution_enabled();
    TF_RETURN_IF_ERROR(OneShard<T>(weights, "weights", &problem.weights));
    if (!biases.empty()) TF_RETURN_IF_ERROR(OneShard<T>(biases, "biases", &problem.biases));
    TF_RETURN_IF_ERROR(ToTensorFlow(cuda::CheckLossProblem(problem)));
    TF_RETURN_IF_ERROR(CheckIds());
    return ReadHidden(context);
  }

  // Bytes of scratch of any of the functions on the problem.
  std::size_t ScratchBytes() const {
    if constexpr (kSampled) return cuda::SampledLossScratchBytes(problem, stream.device);
    return cuda::ExactLossScratchBytes(problem, stream.device);
  }

  cuda::Stream stream;
  cuda::BagProblem<Core> bag_problem;  // where there are embeddings

 private:
  absl::Status CheckIds() const {
    const LossOptions& options = problem.options;
    TF_RETURN_IF_ERROR(CheckIdsIfAsked(stream, "labels", problem.labels,
                                       problem.batch * problem.num_true, problem.classes, false,
                                       options.has_ignore_label ? &options.ignore_label : nullptr));
    if (kSampled) {
      const bool per_example = problem.candidates == Candidates::kPerExample;
      TF_RETURN_IF_ERROR(CheckIdsIfAsked(stream, "sampled_candidates", problem.sampled,
                                         problem.num_sampled * (per_example ? problem.batch : 1),
                                         problem.classes));
    }
    if (!this->gathers()) return absl::OkStatus();
    return CheckIdsIfAsked(stream, "inputs", bags.ids, bags.num_ids, embeddings.rows(),
                           bags.padded);
  }

  // Single ids are followed by the kernels themselves, bags are gathered before.
  absl::Status ReadHidden(OpKernelContext* context) {
    if (!this->gathers()) {
      problem.hidden = this->activations();
      problem.hidden_rows = problem.batch;
      return absl::OkStatus();
    }
    TF_RETURN_IF_ERROR(OneShard<T>(embeddings, "embeddings", &bag_problem.embeddings));
    bag_problem.rows = embeddings.rows();
    bag_problem.dim = embeddings.dim();
    bag_problem.bags = bags;
    if (!bags.padded && bags.row_splits == nullptr) {
      problem.hidden = bag_problem.embeddings;
      problem.ids = bags.ids;
      problem.hidden_rows = bag_problem.rows;
      return absl::OkStatus();
    }
    const std::size_t bytes = sizeof(Core) * problem.batch * problem.dim;
    TF_RETURN_IF_ERROR(hidden_memory_.Allocate(context, bytes));
    Core* hidden = hidden_memory_.data<Core>();
    problem.hidden = hidden;
    problem.hidden_rows = problem.batch;
    return ToTensorFlow(cuda::GatherBags<Core, Core>(bag_problem, stream, hidden));
  }

  DeviceMemory hidden_memory_;
};

// The gradients of all float inputs, in the order of the gradient op's outputs.
template <typename T, bool kSampled>
class GpuGradients {
 public:
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

  GpuGradients(const GpuCall<T, kSampled>& call, const std::function<bool(int)>& wanted)
      : call_(call) {
    int next = 0;
    const auto take = [&next](bool there) { return there ? next++ : -1; };
    const bool gathers = call.gathers(), has_biases = !call.biases.empty();
    embeddings_rows_ = take(gathers);
    d_embeddings_ = take(gathers);
    d_inputs_ = take(!gathers);
    weights_rows_ = take(kSampled);
    d_weights_ = take(true);
    biases_rows_ = take(kSampled && has_biases);
    d_biases_ = take(has_biases);
    tensors_.resize(next);
    for (int i = 0; i < next; ++i) wanted_.push_back(wanted(i));
  }

  int size() const { return static_cast<int>(tensors_.size()); }
  bool wanted(int i) const { return i >= 0 && wanted_[i]; }
  const Tensor& tensor(int i) const { return tensors_[i]; }

  // Calls make(d_hidden, d_weights, d_biases), or make(d_hidden, row gradient), with memory for
  // what is wanted, and from d_hidden makes the gradient of what the hidden rows were made from.
  template <typename Make>
  absl::Status MakeAll(OpKernelContext* context, Make make) {
    const auto& problem = call_.problem;
    A* d_hidden = nullptr;
    DeviceMemory hidden_memory;
    const bool wants_embeddings = wanted(embeddings_rows_) || wanted(d_embeddings_);
    if (wants_embeddings || wanted(d_inputs_)) {
      if (!wants_embeddings && std::is_same_v<Core, A>) {
        d_hidden = reinterpret_cast<A*>(
            Allocate(context, d_inputs_, TensorShape({problem.batch, problem.dim})));
      } else if (Noted(hidden_memory.Allocate(context, sizeof(A) * problem.batch * problem.dim))) {
        d_hidden = hidden_memory.data<A>();
      }
    }
    if constexpr (kSampled) {
      const int64_t capacity = cuda::SampledRowCapacity(problem);
      cuda::RowGradient<Core> gradient;
      gradient.rows = AllocateRows(context, weights_rows_, capacity);
      gradient.values = Allocate(context, d_weights_, TensorShape({capacity, problem.dim}));
      if (d_biases_ >= 0) gradient.biases = Allocate(context, d_biases_, TensorShape({capacity}));
      TF_RETURN_IF_ERROR(status_);
      TF_RETURN_IF_ERROR(ToTensorFlow(make(d_hidden, gradient)));
      if (biases_rows_ >= 0) tensors_[biases_rows_] = tensors_[weights_rows_];
    } else {
      Core *d_weights = nullptr, *d_biases = nullptr;
      if (wanted(d_weights_)) {
        d_weights = Allocate(context, d_weights_, TensorShape({problem.classes, problem.dim}));
      }
      if (wanted(d_biases_)) {
        d_biases = Allocate(context, d_biases_, TensorShape({problem.classes}));
      }
      TF_RETURN_IF_ERROR(status_);
      TF_RETURN_IF_ERROR(ToTensorFlow(make(d_hidden, d_weights, d_biases)));
    }
    if (wants_embeddings) return MakeEmbeddings(context, d_hidden);
    if (wanted(d_inputs_) && !std::is_same_v<Core, A>) {
      Core* d_inputs = Allocate(context, d_inputs_, TensorShape({problem.batch, problem.dim}));
      TF_RETURN_IF_ERROR(status_);
      return ToTensorFlow(
          cuda::RoundArray<Core>(d_hidden, problem.batch * problem.dim, call_.stream, d_inputs));
    }
    return absl::OkStatus();
  }

 private:
  // Keeps the first failure.
  bool Noted(const absl::Status& status) {
    status_.Update(status);
    return status.ok();
  }

  Core* Allocate(OpKernelContext* context, int i, const TensorShape& shape) {
    if (!Noted(context->allocate_temp(DataTypeToEnum<T>::value, shape, &tensors_[i]))) {
      return nullptr;
    }
    return CoreData<Core>(tensors_[i].flat<T>().data());
  }

  int64_t* AllocateRows(OpKernelContext* context, int i, int64_t capacity) {
    if (!Noted(
            context->allocate_temp(tensorflow::DT_INT64, TensorShape({capacity}), &tensors_[i]))) {
      return nullptr;
    }
    return tensors_[i].flat<int64_t>().data();
  }

  absl::Status MakeEmbeddings(OpKernelContext* context, const A* d_hidden) {
    const cuda::BagProblem<Core>& bags = call_.bag_problem;
    cuda::RowGradient<Core> gradient;
    const int64_t capacity = bags.bags.num_ids;
    gradient.rows = AllocateRows(context, embeddings_rows_, capacity);
    gradient.values = Allocate(context, d_embeddings_, TensorShape({capacity, bags.dim}));
    DeviceMemory scratch;
    Noted(scratch.Allocate(context, cuda::BagGradientScratchBytes(bags)));
    TF_RETURN_IF_ERROR(status_);
    return ToTensorFlow(cuda::BagGradient(bags, d_hidden, call_.stream, scratch.data(), gradient));
  }

  const GpuCall<T, kSampled>& call_;
  int embeddings_rows_, d_embeddings_, d_inputs_, weights_rows_, d_weights_, biases_rows_,
      d_biases_;
  std::vector<Tensor> tensors_;
  std::vector<bool> wanted_;
  absl::Status status_;
};

template <typename A>
absl::Status CheckPerExample(const char* name, const Tensor& tensor, int64_t batch, bool scalar) {
  if (tensor.dtype() != DataTypeToEnum<A>::value) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has dtype ", tensorflow::DataTypeString(tensor.dtype()), ", expected ",
                     tensorflow::DataTypeString(DataTypeToEnum<A>::value)));
  }
  if (tensor.shape() == TensorShape({batch}) || (scalar && tensor.dims() == 0)) {
    return absl::OkStatus();
  }
  return WrongShape(name, tensor, absl::StrCat(scalar ? "[] or " : "", "[batch] = [", batch, "]"));
}

template <typename T, bool kSampled>
class GpuLossOp : public OpKernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit GpuLossOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, kSampled));
    OP_REQUIRES_OK(context, context->GetAttr("only_reduced", &only_reduced_));
  }

  void Compute(OpKernelContext* context) override { OP_REQUIRES_OK(context, Run(context)); }

 private:
  absl::Status Run(OpKernelContext* context) const {
    GpuCall<T, kSampled> call;
    TF_RETURN_IF_ERROR(call.Read(context, attributes_));
    const auto& problem = call.problem;
    A* outputs[kNumForwardOutputs];
    for (int i = 0; i < kNumForwardOutputs; ++i) {
      Tensor* output;
      TF_RETURN_IF_ERROR(context->allocate_output(i, TensorShape({problem.batch}), &output));
      outputs[i] = output->flat<A>().data();
    }
    const Normalizer<A> normalizer = {outputs[1], outputs[2]};
    OpInputList coefficients;
    TF_RETURN_IF_ERROR(context->input_list("coefficients", &coefficients));
    GpuGradients<T, kSampled> gradients(call, [](int) { return true; });
    const int num_saved = context->num_outputs() - kNumForwardOutputs;
    if (num_saved != (coefficients.size() == 0 ? 0 : gradients.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("num_saved = ", num_saved, ", expected ", gradients.size(),
                       ", one for each gradient, with coefficients, and 0 without"));
    }
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, call.ScratchBytes()));
    if (!Saves(context)) {
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
    TF_RETURN_IF_ERROR(CheckPerExample<A>("coefficients", coefficients[0], problem.batch, true));
    const A* d_loss = coefficients[0].flat<A>().data();
    DeviceMemory filled;
    if (coefficients[0].dims() == 0) {
      TF_RETURN_IF_ERROR(filled.Allocate(context, sizeof(A) * problem.batch));
      A* data = filled.data<A>();
      TF_RETURN_IF_ERROR(
          ToTensorFlow(cuda::FillArray<A>(d_loss, problem.batch, call.stream, data)));
      d_loss = data;
    }
    TF_RETURN_IF_ERROR(gradients.MakeAll(context, [&](A* d_hidden, auto... d_tables) {
      if constexpr (kSampled) {
        return cuda::SampledLossWithGradients(problem, d_loss, call.stream, scratch.data(),
                                              outputs[0], normalizer, d_hidden, d_tables...);
      } else {
        return cuda::ExactLossWithGradients(problem, d_loss, call.stream, scratch.data(),
                                            outputs[0], normalizer, d_hidden, d_tables...);
      }
    }));
    for (int i = 0; i < gradients.size(); ++i) {
      Tensor bytes;
      TF_RETURN_IF_ERROR(Reinterpret(gradients.tensor(i), tensorflow::DT_UINT8, &bytes));
      context->set_output(kNumForwardOutputs + i, bytes);
    }
    return absl::OkStatus();
  }

  bool Saves(OpKernelContext* context) const {
    if (!only_reduced_) return false;
    for (int i = kNumForwardOutputs; i < context->num_outputs(); ++i) {
      if (context->output_required(i)) return true;
    }
    return false;
  }

  Attributes attributes_;
  bool only_reduced_;
};

template <typename T, bool kSampled>
class GpuLossGradOp : public OpKernel {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

 public:
  explicit GpuLossGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context, kSampled));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList saved;
    OP_REQUIRES_OK(context, context->input_list("saved", &saved));
    bool any = false;
    for (const Tensor& bytes : saved) any = any || bytes.NumElements() > 0;
    OP_REQUIRES_OK(context, any ? HandOn(context, saved) : Recompute(context));
  }

 private:
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
    const auto& problem = call.problem;
    const Tensor* vectors[3];
    const char* const names[] = {"d_loss", "max", "log_sum"};
    const A* data[3];
    for (int i = 0; i < 3; ++i) {
      TF_RETURN_IF_ERROR(context->input(names[i], &vectors[i]));
      TF_RETURN_IF_ERROR(CheckPerExample<A>(names[i], *vectors[i], problem.batch, false));
      data[i] = vectors[i]->flat<A>().data();
    }
    const Normalizer<const A> normalizer = {data[1], data[2]};
    GpuGradients<T, kSampled> gradients(call, [&](int i) { return context->output_required(i); });
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, call.ScratchBytes()));
    TF_RETURN_IF_ERROR(gradients.MakeAll(context, [&](A* d_hidden, auto... d_tables) {
      if constexpr (kSampled) {
        return cuda::SampledLossBackward(problem, data[0], normalizer, call.stream, scratch.data(),
                                         d_hidden, d_tables...);
      } else {
        return cuda::ExactLossBackward(problem, data[0], normalizer, call.stream, scratch.data(),
                                       d_hidden, d_tables...);
      }
    }));
    for (int i = 0; i < gradients.size(); ++i) {
      if (gradients.wanted(i)) context->set_output(i, gradients.tensor(i));
    }
    return absl::OkStatus();
  }

  Attributes attributes_;
};

#define FASTW2V_REGISTER(T)                                                                     \
  REGISTER_KERNEL_BUILDER(FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxLoss").TypeConstraint<T>("T"),     \
                          GpuLossOp<T, false>);                                                 \
  REGISTER_KERNEL_BUILDER(FASTW2V_GPU_KERNEL("Fastw2v>SoftmaxLossGrad").TypeConstraint<T>("T"), \
                          GpuLossGradOp<T, false>);                                             \
  REGISTER_KERNEL_BUILDER(FASTW2V_GPU_KERNEL("Fastw2v>SampledLoss").TypeConstraint<T>("T"),     \
                          GpuLossOp<T, true>);                                                  \
  REGISTER_KERNEL_BUILDER(FASTW2V_GPU_KERNEL("Fastw2v>SampledLossGrad").TypeConstraint<T>("T"), \
                          GpuLossGradOp<T, true>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
