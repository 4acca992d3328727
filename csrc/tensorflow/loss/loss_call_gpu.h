// A loss on a GPU as ops call it: the problem of csrc/cuda/loss/loss.h from the arguments of an op,
// and its gradients as tensors.
#ifndef FASTW2V_TENSORFLOW_LOSS_LOSS_CALL_GPU_H_
#define FASTW2V_TENSORFLOW_LOSS_LOSS_CALL_GPU_H_

#include <functional>
#include <type_traits>

#include "csrc/core/optimizer.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/rows/elementwise.h"
#include "csrc/cuda/rows/gather.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/loss/loss_outputs.h"
#include "csrc/tensorflow/support/gpu.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/tensor_float_32_utils.h"

namespace fastw2v {

template <typename T, bool kSampled>
class GpuCall : public LossArguments<T, kSampled, cuda::LossProblem<typename CoreType<T>::type>>,
                public OnDevice {
  using Base = LossArguments<T, kSampled, cuda::LossProblem<typename CoreType<T>::type>>;

 public:
  using Base::bags, Base::biases, Base::embeddings, Base::problem, Base::weights;
  using typename Base::A, typename Base::Core;

  // Reads and checks all arguments; variables stay locked for reading as long as this lives.
  absl::Status Read(OpKernelContext* context, const Attributes& attributes) {
    TF_RETURN_IF_ERROR(Start(context));
    TF_RETURN_IF_ERROR(this->LockTables(context));
    return ReadLocked(context, attributes);
  }

  // The same after Start and FindTables, for a caller that locks the variables itself.
  absl::Status ReadLocked(OpKernelContext* context, const Attributes& attributes) {
    TF_RETURN_IF_ERROR(Attributes::RefuseExcluded(attributes.num_excluded));
    TF_RETURN_IF_ERROR(this->ReadArguments(context, attributes));
    problem.classes = weights.rows();
    problem.dim = weights.dim();
    problem.allow_tf32 = tensorflow::tensor_float_32_execution_enabled();
    TF_RETURN_IF_ERROR(OneShard<T>(weights, "weights", &problem.weights));
    TF_RETURN_IF_ERROR(BiasesOrNull<T>(biases, problem.classes, &problem.biases));
    TF_RETURN_IF_ERROR(ToTensorFlow(cuda::CheckLossProblem(problem)));
    TF_RETURN_IF_ERROR(CheckIds());
    return ReadHidden(context);
  }

  // Bytes of scratch of any of the functions on the problem.
  std::size_t ScratchBytes() const {
    if constexpr (kSampled) return cuda::SampledLossScratchBytes(problem, stream.device);
    return cuda::ExactLossScratchBytes(problem, stream.device);
  }

  cuda::BagProblem<Core> bag_problem;  // where there are embeddings

 private:
  absl::Status CheckIds() const {
    const LossOptions& options = problem.options;
    TF_RETURN_IF_ERROR(CheckIdsIfAsked(
        stream, "labels", problem.labels, problem.batch * problem.num_true, problem.all_classes(),
        false, options.ignored.present ? &options.ignored.label : nullptr));
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
class GpuGradients : public GradientTensors {
 public:
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;

  // `call` must outlive this; `wanted` says of each tensor whether anybody asks for it.
  GpuGradients(const GpuCall<T, kSampled>& call, const std::function<bool(int)>& wanted)
      : GradientTensors(call, wanted), call_(call) {}

  // Of the tables that are trained, and of activations.
  GpuGradients(const GpuCall<T, kSampled>& call, const TrainedTables& trained)
      : GpuGradients(call, [](int) { return false; }) {
    const auto want = [this](int i, bool wants) {
      if (i >= 0) wanted_[i] = wants;
    };
    want(d_embeddings_, trained.embeddings);
    want(d_weights_, trained.weights);
    want(d_biases_, trained.biases);
    want(d_inputs_, true);
  }

  // What was made for a table of which some rows were used: rows and their values, or biases.
  RowSlices<Core> EmbeddingSlices() const { return Slices(embeddings_rows_, d_embeddings_); }
  RowSlices<Core> WeightSlices() const { return Slices(weights_rows_, d_weights_); }
  RowSlices<Core> BiasSlices() const { return Slices(biases_rows_, d_biases_); }
  // Where all classes compete.
  const Core* Weights() const { return Data(d_weights_); }
  const Core* Biases() const { return Data(d_biases_); }

  const Tensor& inputs() const { return tensors_[d_inputs_]; }

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
  const Core* Data(int i) const {
    return CoreData<const Core>(tensors_[i].template flat<T>().data());
  }

  RowSlices<Core> Slices(int rows, int values) const {
    RowSlices<Core> slices;
    slices.rows = tensors_[rows].template flat<int64_t>().data();
    slices.values = Data(values);
    slices.count = tensors_[rows].NumElements();
    return slices;
  }

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
  absl::Status status_;
};

// The outputs of a gradient op, from its inputs d_loss, max and log_sum.
template <typename T, bool kSampled>
absl::Status ComputeGradients(OpKernelContext* context, const GpuCall<T, kSampled>& call) {
  using A = typename GpuCall<T, kSampled>::A;
  const auto& problem = call.problem;
  const A* d_loss;
  Normalizer<const A> normalizer;
  TF_RETURN_IF_ERROR(ReadBackwardInputs(context, problem.batch, &d_loss, &normalizer));
  GpuGradients<T, kSampled> gradients(call, [&](int i) { return context->output_required(i); });
  DeviceMemory scratch;
  TF_RETURN_IF_ERROR(scratch.Allocate(context, call.ScratchBytes()));
  TF_RETURN_IF_ERROR(gradients.MakeAll(context, [&](A* d_hidden, auto... d_tables) {
    if constexpr (kSampled) {
      return cuda::SampledLossBackward(problem, d_loss, normalizer, call.stream, scratch.data(),
                                       d_hidden, d_tables...);
    } else {
      return cuda::ExactLossBackward(problem, d_loss, normalizer, call.stream, scratch.data(),
                                     d_hidden, d_tables...);
    }
  }));
  gradients.SetOutputs(context);
  return absl::OkStatus();
}

// Coefficients, [batch] or a scalar, as the d_loss [batch] of a call; `memory` holds it where it
// has to be made.
template <typename A>
absl::Status ReadCoefficients(OpKernelContext* context, const Tensor& coefficients, int64_t batch,
                              const cuda::Stream& stream, DeviceMemory* memory, const A** d_loss) {
  TF_RETURN_IF_ERROR(CheckPerExample<A>("coefficients", coefficients, batch, true));
  *d_loss = coefficients.flat<A>().data();
  if (coefficients.dims() > 0) return absl::OkStatus();
  TF_RETURN_IF_ERROR(memory->Allocate(context, sizeof(A) * batch));
  A* filled = memory->data<A>();
  TF_RETURN_IF_ERROR(ToTensorFlow(cuda::FillArray<A>(*d_loss, batch, stream, filled)));
  *d_loss = filled;
  return absl::OkStatus();
}

// Loss and gradients in one call, into the memory of `gradients`.
template <typename T, bool kSampled, typename A>
absl::Status MakeLossAndGradients(OpKernelContext* context, const GpuCall<T, kSampled>& call,
                                  const A* d_loss, void* scratch, A* loss,
                                  const Normalizer<A>& normalizer,
                                  GpuGradients<T, kSampled>* gradients) {
  return gradients->MakeAll(context, [&](A* d_hidden, auto... d_tables) {
    if constexpr (kSampled) {
      return cuda::SampledLossWithGradients(call.problem, d_loss, call.stream, scratch, loss,
                                            normalizer, d_hidden, d_tables...);
    } else {
      return cuda::ExactLossWithGradients(call.problem, d_loss, call.stream, scratch, loss,
                                          normalizer, d_hidden, d_tables...);
    }
  });
}

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_LOSS_LOSS_CALL_GPU_H_
