// The arguments of a loss op, read and checked: the problem that they pose to the core.
#ifndef FASTW2V_TENSORFLOW_LOSS_LOSS_CALL_H_
#define FASTW2V_TENSORFLOW_LOSS_LOSS_CALL_H_

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/core/gather.h"
#include "csrc/core/loss.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/rows.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

using tensorflow::DataType;
using tensorflow::DataTypeToEnum;
using tensorflow::OpInputList;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// The attributes, read once.
struct Attributes {
  LossOptions options;
  Combiner combiner = Combiner::kMean;
  bool split_target = false;  // logistic: 1 is shared among the labels of an example
  int64_t num_excluded = 0;   // 1: there is an input `excluded`

  absl::Status Read(OpKernelConstruction* context, bool sampled) {
    std::string combiner_name;
    TF_RETURN_IF_ERROR(context->GetAttr("combiner", &combiner_name));
    combiner = combiner_name == "mean" ? Combiner::kMean : Combiner::kSum;
    TF_RETURN_IF_ERROR(ReadIgnored(context, &options.ignored));
    TF_RETURN_IF_ERROR(ReadComputeDtype(context, &options.compute_dtype));
    TF_RETURN_IF_ERROR(ReadNumbers(context, &options));
    TF_RETURN_IF_ERROR(ReadNumExcluded(context, &num_excluded));
    if (!sampled) return absl::OkStatus();
    std::string link;
    TF_RETURN_IF_ERROR(context->GetAttr("link", &link));
    options.link = link == "softmax" ? Link::kSoftmax : Link::kLogistic;
    TF_RETURN_IF_ERROR(context->GetAttr("remove_accidental_hits", &options.remove_accidental_hits));
    return context->GetAttr("split_target", &split_target);
  }

  static absl::Status ReadIgnored(OpKernelConstruction* context, IgnoredLabel* ignored) {
    TF_RETURN_IF_ERROR(context->GetAttr("use_ignore_label", &ignored->present));
    return context->GetAttr("ignore_label", &ignored->label);
  }

  static absl::Status ReadComputeDtype(OpKernelConstruction* context, ComputeDtype* value) {
    DataType accumulator, chosen;
    TF_RETURN_IF_ERROR(context->GetAttr("Accumulator", &accumulator));
    TF_RETURN_IF_ERROR(context->GetAttr("compute_dtype", &chosen));
    *value = ComputeDtype::kAccumulator;
    if (chosen == accumulator) return absl::OkStatus();
    *value = ComputeDtype::kBFloat16;
    if (chosen == tensorflow::DT_BFLOAT16 && accumulator == tensorflow::DT_FLOAT) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("compute_dtype = ", tensorflow::DataTypeString(chosen), ", expected ",
                     accumulator == tensorflow::DT_FLOAT ? "float or bfloat16" : "double"));
  }

  // At most 1; 0 where the registration of the op has none.
  static absl::Status ReadNumExcluded(OpKernelConstruction* context, int64_t* number) {
    if (!context->HasAttr("num_excluded")) return absl::OkStatus();
    TF_RETURN_IF_ERROR(context->GetAttr("num_excluded", number));
    if (*number <= 1) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("num_excluded = ", *number, ", expected 0 or 1"));
  }

  // The same where it has to be 0.
  static absl::Status RefuseExcluded(int64_t number) {
    if (number == 0) return absl::OkStatus();
    return absl::UnimplementedError(
        "excluded classes have no kernel for a GPU: place the op on the CPU");
  }

  // Those that the registration of the op has.
  static absl::Status ReadNumbers(OpKernelConstruction* context, LossOptions* options) {
    for (const NumericOption& option : kNumericOptions) {
      if (!context->HasAttr(option.name)) continue;
      float value = 0;
      TF_RETURN_IF_ERROR(context->GetAttr(option.name, &value));
      options->*option.value = value;
    }
    return absl::OkStatus();
  }
};

// The ranges of classes that do not compete, [batch, 2].
inline absl::Status ReadExcluded(OpKernelContext* context, int64_t num_excluded, int64_t batch,
                                 const int64_t** excluded) {
  if (num_excluded == 0) return absl::OkStatus();
  OpInputList list;
  TF_RETURN_IF_ERROR(context->input_list("excluded", &list));
  if (list[0].shape() != TensorShape({batch, 2})) {
    return WrongShape("excluded", list[0], absl::StrCat("[batch, 2] = [", batch, ",2]"));
  }
  *excluded = list[0].flat<int64_t>().data();
  return absl::OkStatus();
}

// Which tables an op trains.
struct TrainedTables {
  bool embeddings = false, weights = false, biases = false;
};

// A tensor of numbers of type A, one for each example or, where that is allowed, one for all.
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

// A number for each example, or one for all of them.
template <typename A>
absl::Status ReadPerExample(const char* name, const Tensor& tensor, int64_t batch,
                            std::vector<A>* values) {
  TF_RETURN_IF_ERROR(CheckPerExample<A>(name, tensor, batch, true));
  const A* data = tensor.flat<A>().data();
  if (tensor.dims() == 0) {
    values->assign(batch, *data);
  } else {
    values->assign(data, data + batch);
  }
  return absl::OkStatus();
}

// What the backward pass takes from the forward pass and from upstream.
template <typename A>
absl::Status ReadBackwardInputs(OpKernelContext* context, int64_t batch, const A** d_loss,
                                Normalizer<const A>* normalizer) {
  const auto read = [&](const char* name, const A** data) -> absl::Status {
    const Tensor* tensor;
    TF_RETURN_IF_ERROR(context->input(name, &tensor));
    TF_RETURN_IF_ERROR(CheckPerExample<A>(name, *tensor, batch, false));
    *data = tensor->flat<A>().data();
    return absl::OkStatus();
  };
  TF_RETURN_IF_ERROR(read("d_loss", d_loss));
  TF_RETURN_IF_ERROR(read("max", &normalizer->max));
  return read("log_sum", &normalizer->log_sum);
}

// The arguments of a call on any device, for a Problem of csrc/core/loss.h or of
// csrc/cuda/loss/loss.h: reads them and checks types and shapes. Values are left alone.
template <typename T, bool kSampled, typename Problem>
class LossArguments {
 public:
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;
  static constexpr bool kIsSampled = kSampled;

  absl::Status FindTables(OpKernelContext* context, std::vector<tensorflow::Var*>* variables) {
    const auto dtype = DataTypeToEnum<T>::value;
    TF_RETURN_IF_ERROR(embeddings.Read(context, "embeddings", dtype, 2));
    TF_RETURN_IF_ERROR(weights.Read(context, "weights", dtype, 2));
    TF_RETURN_IF_ERROR(biases.Read(context, "biases", dtype, 1));
    for (const TableArgument* table : {&embeddings, &weights, &biases}) {
      table->AppendVariables(variables);
    }
    return absl::OkStatus();
  }

  bool gathers() const { return !embeddings.empty(); }

  TableArgument embeddings, weights, biases;
  Bags bags;
  Problem problem;

 protected:
  // After the variables of the tables were locked.
  absl::Status ReadArguments(OpKernelContext* context, const Attributes& attributes) {
    TF_RETURN_IF_ERROR(embeddings.Resolve());
    TF_RETURN_IF_ERROR(weights.Resolve());
    TF_RETURN_IF_ERROR(biases.Resolve());
    problem.options = attributes.options;
    TF_RETURN_IF_ERROR(ReadLabels(context));
    if (attributes.split_target && problem.num_true > 0) {
      problem.options.positive_target = 1.0 / static_cast<double>(problem.num_true);
    }
    TF_RETURN_IF_ERROR(ReadSampled(context));
    return ReadInputs(context, attributes.combiner);
  }

  const Core* activations() const {
    return CoreData<const Core>(inputs_->template flat<T>().data());
  }

  // Variables stay locked for reading as long as this lives.
  absl::Status LockTables(OpKernelContext* context) {
    std::vector<tensorflow::Var*> variables;
    TF_RETURN_IF_ERROR(FindTables(context, &variables));
    lock_ = std::make_unique<ReadLock>(std::move(variables));
    return absl::OkStatus();
  }

 private:
  absl::Status ReadLabels(OpKernelContext* context) {
    const Tensor* labels;
    TF_RETURN_IF_ERROR(context->input("labels", &labels));
    if (labels->dims() != 2) return WrongShape("labels", *labels, "[batch, num_true]");
    problem.batch = labels->dim_size(0);
    problem.num_true = labels->dim_size(1);
    problem.labels = labels->flat<int64_t>().data();
    return absl::OkStatus();
  }

  absl::Status ReadSampled(OpKernelContext* context) {
    if constexpr (!kSampled) return absl::OkStatus();
    const Tensor* sampled;
    TF_RETURN_IF_ERROR(context->input("sampled_candidates", &sampled));
    problem.candidates = sampled->dims() == 2 ? Candidates::kPerExample : Candidates::kShared;
    if (sampled->dims() != 1 && !(sampled->dims() == 2 && sampled->dim_size(0) == problem.batch)) {
      return WrongShape(
          "sampled_candidates", *sampled,
          absl::StrCat("[num_sampled] or [batch, num_sampled] with batch ", problem.batch));
    }
    problem.num_sampled = sampled->dim_size(sampled->dims() - 1);
    problem.sampled = sampled->flat<int64_t>().data();

    OpInputList true_counts, sampled_counts;
    TF_RETURN_IF_ERROR(context->input_list("true_expected_count", &true_counts));
    TF_RETURN_IF_ERROR(context->input_list("sampled_expected_count", &sampled_counts));
    if (true_counts.size() == 0) return absl::OkStatus();
    if (true_counts[0].shape() != TensorShape({problem.batch, problem.num_true})) {
      return WrongShape(
          "true_expected_count", true_counts[0],
          absl::StrCat("that of labels, [", problem.batch, ",", problem.num_true, "]"));
    }
    if (sampled_counts[0].shape() != sampled->shape()) {
      return WrongShape(
          "sampled_expected_count", sampled_counts[0],
          absl::StrCat("that of sampled_candidates, ", sampled->shape().DebugString()));
    }
    problem.true_expected_count = true_counts[0].flat<float>().data();
    problem.sampled_expected_count = sampled_counts[0].flat<float>().data();
    return absl::OkStatus();
  }

  absl::Status ReadInputs(OpKernelContext* context, Combiner combiner) {
    TF_RETURN_IF_ERROR(context->input("inputs", &inputs_));
    if (!gathers()) {
      if (inputs_->dtype() != DataTypeToEnum<T>::value) {
        return absl::InvalidArgumentError(absl::StrCat(
            "inputs has dtype ", tensorflow::DataTypeString(inputs_->dtype()), ", expected that ",
            "of weights, ", tensorflow::DataTypeString(DataTypeToEnum<T>::value)));
      }
      if (inputs_->dims() != 2 || inputs_->dim_size(0) != problem.batch ||
          inputs_->dim_size(1) != weights.dim()) {
        return WrongShape("inputs", *inputs_,
                          absl::StrCat("[batch, dim] = [", problem.batch, ",", weights.dim(),
                                       "], the batch of labels and the width of weights"));
      }
      return absl::OkStatus();
    }
    if (inputs_->dtype() != tensorflow::DT_INT64) {
      return absl::InvalidArgumentError(absl::StrCat("inputs has dtype ",
                                                     tensorflow::DataTypeString(inputs_->dtype()),
                                                     ", expected int64 ids of rows of embeddings"));
    }
    if (embeddings.dim() != weights.dim()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weights has width ", weights.dim(), ", but embeddings has width ", embeddings.dim()));
    }
    TF_RETURN_IF_ERROR(ReadBags(context, *inputs_, combiner, &bags));
    if (bags.batch != problem.batch) {
      return absl::InvalidArgumentError(absl::StrCat(
          "inputs has a batch of ", bags.batch, ", but labels has a batch of ", problem.batch));
    }
    return absl::OkStatus();
  }

  const Tensor* inputs_ = nullptr;
  std::unique_ptr<ReadLock> lock_;
};

// Everything that forward and backward have in common: the arguments of the call, and the problem
// that they pose to the core.
template <typename T, bool kSampled>
class Call : public LossArguments<T, kSampled, LossProblem<typename CoreType<T>::type>>,
             public OnHost {
  using Base = LossArguments<T, kSampled, LossProblem<typename CoreType<T>::type>>;

 public:
  using Base::bags, Base::biases, Base::embeddings, Base::problem, Base::weights;
  using typename Base::A, typename Base::Core;

  // Reads and checks all arguments; variables stay locked for reading as long as this lives.
  absl::Status Read(OpKernelContext* context, const Attributes& attributes) {
    TF_RETURN_IF_ERROR(this->LockTables(context));
    return ReadLocked(context, attributes);
  }

  // The same after FindTables, for a caller that locks the variables of the tables itself.
  absl::Status ReadLocked(OpKernelContext* context, const Attributes& attributes) {
    TF_RETURN_IF_ERROR(this->ReadArguments(context, attributes));
    problem.weights = weights.template View<T>();
    if (!biases.empty()) problem.biases = biases.template View<T>();
    TF_RETURN_IF_ERROR(
        ReadExcluded(context, attributes.num_excluded, problem.batch, &problem.excluded));
    if (this->gathers()) TF_RETURN_IF_ERROR(ToTensorFlow(CheckBags(bags, embeddings.rows())));
    return ToTensorFlow(CheckLossProblem(problem));
  }

  // Fills problem.hidden; `memory` keeps what it points to alive.
  absl::Status Gather(OpKernelContext* context, const Parallel& parallel, Tensor* memory) {
    if (this->gathers()) {
      A* hidden;
      TF_RETURN_IF_ERROR(AllocateHidden(context, memory, &hidden));
      GatherBags<Core>(embeddings.template View<T>(), bags, parallel, hidden);
      problem.hidden = hidden;
      return absl::OkStatus();
    }
    if constexpr (std::is_same_v<Core, A>) {
      problem.hidden = this->activations();
    } else {
      A* hidden;
      TF_RETURN_IF_ERROR(AllocateHidden(context, memory, &hidden));
      WidenRows(this->activations(), problem.batch, problem.dim(), parallel, hidden);
      problem.hidden = hidden;
    }
    return absl::OkStatus();
  }

  absl::Status AllocateHidden(OpKernelContext* context, Tensor* memory, A** hidden) const {
    TF_RETURN_IF_ERROR(AllocateTensor(context, DataTypeToEnum<A>::value,
                                      TensorShape({problem.batch, problem.dim()}), memory));
    *hidden = memory->template flat<A>().data();
    return absl::OkStatus();
  }
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_LOSS_LOSS_CALL_H_
