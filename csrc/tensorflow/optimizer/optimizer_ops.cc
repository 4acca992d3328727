// Fastw2v>SparseUpdate, Fastw2v>ApplyPending and Fastw2v>SumRows: csrc/core/optimizer.h as
// TensorFlow ops.
#include <limits>
#include <type_traits>
#include <vector>

#include "csrc/core/optimizer.h"
#include "csrc/tensorflow/optimizer/optimizer_call.h"
#include "csrc/tensorflow/optimizer/table_op.h"
#include "csrc/tensorflow/optimizer/update_registration.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace fastw2v {
namespace {

using tensorflow::DataTypeToEnum;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

REGISTER_OP("Fastw2v>SparseUpdate")
    .Input("table: resource")
    .Input("state: num_state * resource")
    .FASTW2V_UPDATE_NUMBERS.Input("rows: int64")
    .Input("values: T")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("num_state: int >= 0")
    .FASTW2V_UPDATE_ATTRS.SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs)
    .Doc(R"doc(
A step of an optimizer on some rows of a variable, in place.

rows: [count], may repeat: their values are summed.
values: [count, ...], the gradient of each row.
)doc");

REGISTER_OP("Fastw2v>ApplyPending")
    .Input("table: resource")
    .Input("state: num_state * resource")
    .FASTW2V_UPDATE_NUMBERS.Input("rows: num_rows * int64")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("num_state: int >= 0")
    .Attr("num_rows: int >= 0")
    .FASTW2V_UPDATE_ATTRS.SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs)
    .Doc(R"doc(
Applies the pending updates of rows of a variable.

rows: Of any shape; numbers that are no rows are left out. None: all rows.
)doc");

absl::Status SumRowsShape(InferenceContext* c) {
  ShapeHandle rows, values, rest, summed;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &rows));
  TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(1), 1, &values));
  TF_RETURN_IF_ERROR(c->Subshape(values, 1, &rest));
  const ShapeHandle unique = c->Vector(c->UnknownDim());
  TF_RETURN_IF_ERROR(c->Concatenate(unique, rest, &summed));
  c->set_output(0, unique);
  c->set_output(1, summed);
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>SumRows")
    .Input("rows: int64")
    .Input("values: T")
    .Output("unique_rows: int64")
    .Output("sums: T")
    .Attr("T: {float, double, half, bfloat16}")
    .SetShapeFn(SumRowsShape)
    .Doc(R"doc(
The distinct rows in ascending order, and the sum of the values of each.

rows: [count], not negative.
values: [count, ...].
)doc");

template <typename T>
class SparseUpdateOp final : public SparseUpdateOpBase<T, OnHost> {
  using SparseUpdateOpBase<T, OnHost>::SparseUpdateOpBase;
  using typename TableOp<T, OnHost>::Core;

  absl::Status Update(OpKernelContext* context, const OnHost&, const OptimizedTable<Core>& table,
                      const RowSlices<Core>& slices) const override {
    const TensorFlowParallel parallel(context);
    PlannedUpdate update;
    TF_RETURN_IF_ERROR(ToTensorFlow(PlanSlices(table, slices, parallel, &update)));
    update.Make();
    return absl::OkStatus();
  }
};

template <typename T>
class ApplyPendingOp final : public ApplyPendingOpBase<T, OnHost> {
  using ApplyPendingOpBase<T, OnHost>::ApplyPendingOpBase;
  using typename TableOp<T, OnHost>::Core;

  absl::Status ApplyPendingToRows(OpKernelContext* context, const OnHost&,
                                  const OptimizedTable<Core>& table, const int64_t* rows,
                                  int64_t count) const override {
    return ToTensorFlow(ApplyPending(table, rows, count, TensorFlowParallel(context)));
  }
};

template <typename T>
class SumRowsOp : public Kernel {
 public:
  using Kernel::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) const override {
    using Core = typename CoreType<T>::type;
    using A = Accumulator<Core>;
    const Tensor &rows = context->input(0), &values = context->input(1);
    RowSlices<Core> slices;
    int64_t dim;
    TF_RETURN_IF_ERROR(ReadSlices<T>(rows, values, &slices, &dim));
    TF_RETURN_IF_ERROR(ToTensorFlow(
        CheckIds("rows", slices.rows, slices.count, std::numeric_limits<int64_t>::max())));
    const TensorFlowParallel parallel(context);
    std::vector<A> wide(std::is_same_v<Core, A> ? 0 : slices.count * dim);
    const auto gradient = SumSlices(slices, dim, parallel, wide.data());

    const int64_t count = gradient.num_rows();
    TensorShape shape = values.shape();
    shape.set_dim(0, count);
    Tensor *unique, *sums;
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({count}), &unique));
    TF_RETURN_IF_ERROR(context->allocate_output(1, shape, &sums));
    for (int64_t u = 0; u < count; ++u) unique->flat<int64_t>()(u) = gradient.Row(u);
    if (count > 0) {
      SumTerms<Core>(gradient, 0, count, dim, parallel, CoreData<Core>(sums->flat<T>().data()));
    }
    return absl::OkStatus();
  }
};

#define FASTW2V_REGISTER(T)                                                               \
  REGISTER_KERNEL_BUILDER(                                                                \
      Name("Fastw2v>SparseUpdate").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      SparseUpdateOp<T>);                                                                 \
  REGISTER_KERNEL_BUILDER(                                                                \
      Name("Fastw2v>ApplyPending").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      ApplyPendingOp<T>);                                                                 \
  REGISTER_KERNEL_BUILDER(                                                                \
      Name("Fastw2v>SumRows").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),      \
      SumRowsOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
