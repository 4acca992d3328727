// What the ops that change one variable have in common, on every device: they find the variable and
// its state, lock and check them.
#ifndef FASTW2V_TENSORFLOW_OPTIMIZER_TABLE_OP_H_
#define FASTW2V_TENSORFLOW_OPTIMIZER_TABLE_OP_H_

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/core/optimizer.h"
#include "csrc/tensorflow/optimizer/optimizer_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

// `Device` is OnHost or OnDevice.
template <typename T, typename Device>
class TableOp : public Kernel {
 public:
  explicit TableOp(tensorflow::OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
  }

 protected:
  using Core = typename CoreType<T>::type;
  virtual absl::Status Change(tensorflow::OpKernelContext* context, const Device& device,
                              const OptimizedTable<Core>& table) const = 0;

 private:
  absl::Status Run(tensorflow::OpKernelContext* context) const override {
    Device device;
    TF_RETURN_IF_ERROR(device.Start(context));
    Hyperparameters parameters;
    TF_RETURN_IF_ERROR(ReadHyperparameters(context, &parameters));
    const tensorflow::Tensor* table;
    TF_RETURN_IF_ERROR(context->input("table", &table));
    OptimizedArgument<T> argument;
    TF_RETURN_IF_ERROR(argument.Find(context, "table", *table, "state", attributes_));
    std::vector<tensorflow::Var*> variables;
    argument.AppendVariables(&variables);
    const WriteLock lock(std::move(variables));
    TF_RETURN_IF_ERROR(argument.Resolve(context, parameters, device.copy()));
    return Change(context, device, argument.table);
  }

  UpdateAttributes attributes_;
};

// Fastw2v>SparseUpdate.
template <typename T, typename Device>
class SparseUpdateOpBase : public TableOp<T, Device> {
 protected:
  using TableOp<T, Device>::TableOp;
  using typename TableOp<T, Device>::Core;
  virtual absl::Status Update(tensorflow::OpKernelContext* context, const Device& device,
                              const OptimizedTable<Core>& table,
                              const RowSlices<Core>& slices) const = 0;

 private:
  absl::Status Change(tensorflow::OpKernelContext* context, const Device& device,
                      const OptimizedTable<Core>& table) const final {
    const tensorflow::Tensor *rows, *values;
    TF_RETURN_IF_ERROR(context->input("rows", &rows));
    TF_RETURN_IF_ERROR(context->input("values", &values));
    RowSlices<Core> slices;
    int64_t dim;
    TF_RETURN_IF_ERROR(ReadSlices<T>(*rows, *values, &slices, &dim));
    if (slices.count > 0 && dim != table.dim) {
      return absl::InvalidArgumentError(
          absl::StrCat("values has ", dim, " numbers in a row, but the table has ", table.dim));
    }
    return Update(context, device, table, slices);
  }
};

// Fastw2v>ApplyPending.
template <typename T, typename Device>
class ApplyPendingOpBase : public TableOp<T, Device> {
 protected:
  using TableOp<T, Device>::TableOp;
  using typename TableOp<T, Device>::Core;
  // Null rows: all.
  virtual absl::Status ApplyPendingToRows(tensorflow::OpKernelContext* context,
                                          const Device& device, const OptimizedTable<Core>& table,
                                          const int64_t* rows, int64_t count) const = 0;

 private:
  absl::Status Change(tensorflow::OpKernelContext* context, const Device& device,
                      const OptimizedTable<Core>& table) const final {
    tensorflow::OpInputList rows;
    TF_RETURN_IF_ERROR(context->input_list("rows", &rows));
    if (rows.size() == 0) return ApplyPendingToRows(context, device, table, nullptr, 0);
    for (const tensorflow::Tensor& list : rows) {
      if (list.NumElements() == 0) continue;  // which has no data, as all rows have none
      TF_RETURN_IF_ERROR(ApplyPendingToRows(context, device, table, list.flat<int64_t>().data(),
                                            list.NumElements()));
    }
    return absl::OkStatus();
  }
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_OPTIMIZER_TABLE_OP_H_
