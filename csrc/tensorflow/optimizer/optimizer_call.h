// What the ops that update variables have in common: the attributes and numbers of a step, and a
// variable with the state of its optimizer.
#ifndef FASTW2V_TENSORFLOW_OPTIMIZER_OPTIMIZER_CALL_H_
#define FASTW2V_TENSORFLOW_OPTIMIZER_OPTIMIZER_CALL_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/core/lasting_numbers.h"
#include "csrc/core/optimizer.h"
#include "csrc/tensorflow/support/adapter.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_handle.h"

namespace fastw2v {

struct UpdateAttributes {
  UpdateRule rule = UpdateRule::kSgd;
  bool lazy = true, average = false, history = false;

  absl::Status Read(tensorflow::OpKernelConstruction* context) {
    std::string name;
    TF_RETURN_IF_ERROR(context->GetAttr("rule", &name));
    TF_RETURN_IF_ERROR(ToTensorFlow(ParseUpdateRule(name, &rule)));
    TF_RETURN_IF_ERROR(context->GetAttr("lazy", &lazy));
    TF_RETURN_IF_ERROR(context->GetAttr("average", &average));
    return context->GetAttr("history", &history);
  }

  int NumState() const { return NumSlots(rule) + (average ? 1 : 0) + (history ? 2 : 0); }
};

// The inputs of FASTW2V_UPDATE_NUMBERS.
inline absl::Status ReadHyperparameters(tensorflow::OpKernelContext* context,
                                        Hyperparameters* parameters) {
  constexpr int64_t kCount = sizeof(kLastingNumbers) / sizeof(kLastingNumbers[0]);
  const tensorflow::Tensor *rate, *step, *values;
  TF_RETURN_IF_ERROR(context->input("learning_rate", &rate));
  TF_RETURN_IF_ERROR(context->input("step", &step));
  TF_RETURN_IF_ERROR(context->input("hyperparameters", &values));
  if (rate->NumElements() != 1 || step->NumElements() != 1 || values->NumElements() != kCount) {
    return absl::InvalidArgumentError(absl::StrCat("learning_rate, step and hyperparameters have ",
                                                   rate->NumElements(), ", ", step->NumElements(),
                                                   " and ", values->NumElements(),
                                                   " numbers, expected 1, 1 and ", kCount));
  }
  parameters->learning_rate = rate->flat<double>()(0);
  parameters->step = step->flat<int64_t>()(0);
  for (int64_t i = 0; i < kCount; ++i) {
    parameters->*kLastingNumbers[i].number = values->flat<double>()(i);
  }
  return absl::OkStatus();
}

// Rows and values of a gradient, checked against each other.
template <typename T>
absl::Status ReadSlices(const tensorflow::Tensor& rows, const tensorflow::Tensor& values,
                        RowSlices<typename CoreType<T>::type>* slices, int64_t* dim) {
  if (rows.dims() != 1 || values.dims() < 1 || values.dim_size(0) != rows.dim_size(0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows has shape ", rows.shape().DebugString(), " and values has shape ",
                     values.shape().DebugString(), ", expected [count] and [count, ...]"));
  }
  slices->rows = rows.flat<int64_t>().data();
  slices->values = CoreData<const typename CoreType<T>::type>(values.flat<T>().data());
  slices->count = rows.dim_size(0);
  *dim = 1;
  for (int i = 1; i < values.dims(); ++i) *dim *= values.dim_size(i);
  return absl::OkStatus();
}

// A variable and its state. Find, lock the variables, then Resolve.
template <typename T>
class OptimizedArgument {
 public:
  using Core = typename CoreType<T>::type;

  absl::Status Find(tensorflow::OpKernelContext* context, const std::string& name,
                    const tensorflow::Tensor& table, const std::string& state_name,
                    const UpdateAttributes& attributes) {
    name_ = name;
    attributes_ = attributes;
    tensorflow::OpInputList state;
    TF_RETURN_IF_ERROR(context->input_list(state_name, &state));
    if (state.size() != attributes.NumState()) {
      return absl::InvalidArgumentError(absl::StrCat(
          state_name, " holds ", state.size(), " variables, expected ", attributes.NumState()));
    }
    TF_RETURN_IF_ERROR(FindOne(context, name, table));
    for (int i = 0; i < state.size(); ++i) {
      TF_RETURN_IF_ERROR(FindOne(context, absl::StrCat(state_name, "[", i, "]"), state[i]));
    }
    return absl::OkStatus();
  }

  // The table that the list input `name` of a training step names.
  absl::Status FindTrained(tensorflow::OpKernelContext* context, const std::string& name,
                           const UpdateAttributes& attributes) {
    tensorflow::OpInputList tables;
    TF_RETURN_IF_ERROR(context->input_list(name, &tables));
    if (tables.size() != 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " has ", tables.size(), " shards, expected one variable that is trained"));
    }
    return Find(context, name, tables[0], absl::StrCat(name, "_state"), attributes);
  }

  void AppendVariables(std::vector<tensorflow::Var*>* variables) const {
    for (const auto& variable : variables_) variables->push_back(variable.get());
  }

  // After the variables were locked: makes them writable, checks that they fit each other, and the
  // numbers of the update.
  absl::Status Resolve(tensorflow::OpKernelContext* context, const Hyperparameters& parameters,
                       const CopyMemory& copy) {
    for (std::size_t i = 0; i < variables_.size(); ++i) {
      if (!variables_[i]->is_initialized) {
        return absl::FailedPreconditionError(
            absl::StrCat(name_, ": variable ", i, " of the optimizer is not initialized"));
      }
      TF_RETURN_IF_ERROR(MakeWritable(context, variables_[i].get(), copy));
    }
    const tensorflow::Tensor& weights = *variables_[0]->tensor();
    table.rows = weights.dims() == 0 ? 1 : weights.dim_size(0);
    table.dim = table.rows == 0 ? 0 : weights.NumElements() / table.rows;
    table.lazy = attributes_.lazy;
    table.rule = attributes_.rule;
    table.parameters = parameters;
    int next = 1;
    TF_RETURN_IF_ERROR(Data(0, weights.NumElements(), &table.weights));
    const int64_t slot_size = table.rows * table.SlotDim();
    for (int i = 0; i < NumSlots(attributes_.rule); ++i) {
      TF_RETURN_IF_ERROR(Data(next++, slot_size, &table.slots[i]));
    }
    if (attributes_.average) {
      TF_RETURN_IF_ERROR(Data(next++, weights.NumElements(), &table.average));
    }
    if (attributes_.history) TF_RETURN_IF_ERROR(ResolveHistory(next));
    return ToTensorFlow(CheckOptimizedTable(table));
  }

  OptimizedTable<Core> table;

 private:
  absl::Status FindOne(tensorflow::OpKernelContext* context, const std::string& name,
                       const tensorflow::Tensor& handle) {
    if (handle.dtype() != tensorflow::DT_RESOURCE) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is a tensor, expected the handle of a variable"));
    }
    variables_.emplace_back();
    return FindVariable(context, handle, name, &variables_.back());
  }

  absl::Status Data(int i, int64_t size, Core** data) {
    tensorflow::Tensor* tensor = variables_[i]->tensor();
    TF_RETURN_IF_ERROR(Check(i, tensorflow::DataTypeToEnum<T>::value, size));
    *data = CoreData<Core>(tensor->flat<T>().data());
    return absl::OkStatus();
  }

  absl::Status Check(int i, tensorflow::DataType dtype, int64_t size) const {
    const tensorflow::Tensor& tensor = *variables_[i]->tensor();
    if (tensor.dtype() == dtype && tensor.NumElements() == size) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": variable ", i, " of the optimizer has dtype ",
                     tensorflow::DataTypeString(tensor.dtype()), " and ", tensor.NumElements(),
                     " elements, expected ", tensorflow::DataTypeString(dtype), " and ", size));
  }

  absl::Status ResolveHistory(int next) {
    TF_RETURN_IF_ERROR(Check(next, tensorflow::DT_INT64, table.rows));
    table.history.row_updates = variables_[next]->tensor()->flat<int64_t>().data();
    tensorflow::Tensor* entries = variables_[next + 1]->tensor();
    const int64_t length = entries->NumElements() / UpdateHistory::kColumns - 1;
    TF_RETURN_IF_ERROR(
        Check(next + 1, tensorflow::DT_DOUBLE, (length + 1) * UpdateHistory::kColumns));
    table.history.entries = entries->flat<double>().data();
    table.history.length = length;
    return absl::OkStatus();
  }

  std::string name_;
  UpdateAttributes attributes_;
  std::vector<tensorflow::core::RefCountPtr<tensorflow::Var>> variables_;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_OPTIMIZER_OPTIMIZER_CALL_H_
