// Fastw2v>Gather and Fastw2v>GatherGrad: csrc/core/gather.h as TensorFlow ops. Tables are lists of
// shards, as in ops.cc.
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/core/gather.h"
#include "csrc/tensorflow/gather/gather_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/rows.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/types.h"

namespace fastw2v {
namespace {

using tensorflow::DataTypeToEnum;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status GatherShape(InferenceContext* c) {
  std::vector<ShapeHandle> ids, splits;
  TF_RETURN_IF_ERROR(c->input("inputs", &ids));
  TF_RETURN_IF_ERROR(c->input("row_splits", &splits));
  DimensionHandle batch = c->UnknownDim();
  if (splits.empty()) {
    if (c->RankKnown(ids[0])) batch = c->Dim(ids[0], 0);
  } else {
    ShapeHandle vector;
    TF_RETURN_IF_ERROR(c->WithRank(splits[0], 1, &vector));
    TF_RETURN_IF_ERROR(c->Subtract(c->Dim(vector, 0), 1, &batch));
  }
  c->set_output(0, c->Matrix(batch, c->UnknownDim()));
  return absl::OkStatus();
}

absl::Status GatherGradShape(InferenceContext* c) {
  std::vector<ShapeHandle> shards;
  TF_RETURN_IF_ERROR(c->input("embeddings", &shards));
  std::vector<ShapeHandle> rows, values;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const DimensionHandle unique = c->UnknownDim();
    rows.push_back(c->Vector(unique));
    values.push_back(c->Matrix(unique, c->UnknownDim()));
  }
  TF_RETURN_IF_ERROR(c->set_output("rows", rows));
  return c->set_output("d_embeddings", values);
}

REGISTER_OP("Fastw2v>Gather")
    .Input("embeddings: Embeddings")
    .Input("inputs: int64")
    .Input("row_splits: num_row_splits * int64")
    .Output("hidden: Accumulator")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("Accumulator: {float, double}")
    .Attr("Embeddings: list({resource, float, double, half, bfloat16}) >= 1")
    .Attr("num_row_splits: int >= 0")
    .Attr("combiner: {'mean', 'sum'} = 'mean'")
    .SetShapeFn(GatherShape);

REGISTER_OP("Fastw2v>GatherGrad")
    .Input("d_hidden: Accumulator")
    .Input("embeddings: Embeddings")
    .Input("inputs: int64")
    .Input("row_splits: num_row_splits * int64")
    .Output("rows: num_embeddings * int64")
    .Output("d_embeddings: num_embeddings * T")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("Accumulator: {float, double}")
    .Attr("Embeddings: list({resource, float, double, half, bfloat16}) >= 1")
    .Attr("num_embeddings: int >= 1")
    .Attr("num_row_splits: int >= 0")
    .Attr("combiner: {'mean', 'sum'} = 'mean'")
    .SetShapeFn(GatherGradShape);

// The arguments that both ops have.
template <typename T>
struct Picked {
  TableArgument embeddings;
  Bags bags;
  std::unique_ptr<ReadLock> lock;

  absl::Status Read(OpKernelContext* context, Combiner combiner) {
    TF_RETURN_IF_ERROR(embeddings.Read(context, "embeddings", DataTypeToEnum<T>::value, 2));
    std::vector<tensorflow::Var*> variables;
    embeddings.AppendVariables(&variables);
    lock = std::make_unique<ReadLock>(std::move(variables));
    TF_RETURN_IF_ERROR(embeddings.Resolve());
    const Tensor* ids;
    TF_RETURN_IF_ERROR(context->input("inputs", &ids));
    TF_RETURN_IF_ERROR(ReadBags(context, *ids, combiner, &bags));
    return ToTensorFlow(CheckBags(bags, embeddings.rows()));
  }
};

template <typename T>
class GatherOp final : public CombiningOp {
  using Core = typename CoreType<T>::type;
  using CombiningOp::CombiningOp;

  absl::Status Run(OpKernelContext* context) const override {
    Picked<T> picked;
    TF_RETURN_IF_ERROR(picked.Read(context, combiner_));
    Tensor* hidden;
    TF_RETURN_IF_ERROR(context->allocate_output(
        0, TensorShape({picked.bags.batch, picked.embeddings.dim()}), &hidden));
    GatherBags<Core>(picked.embeddings.template View<T>(), picked.bags, TensorFlowParallel(context),
                     hidden->flat<Accumulator<Core>>().data());
    return absl::OkStatus();
  }
};

template <typename T>
class GatherGradOp final : public CombiningOp {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;
  using CombiningOp::CombiningOp;

  absl::Status Run(OpKernelContext* context) const override {
    Picked<T> picked;
    TF_RETURN_IF_ERROR(picked.Read(context, combiner_));
    const int64_t dim = picked.embeddings.dim();
    const Tensor* d_hidden;
    TF_RETURN_IF_ERROR(context->input("d_hidden", &d_hidden));
    if (d_hidden->shape() != TensorShape({picked.bags.batch, dim})) {
      return WrongShape("d_hidden", *d_hidden,
                        absl::StrCat("[batch, dim] = [", picked.bags.batch, ",", dim, "]"));
    }
    const RowGradient<A> gradient =
        SortTerms(BagTerms(picked.bags, d_hidden->flat<A>().data(), dim));
    const int num_shards = picked.embeddings.num_shards();
    std::vector<Tensor> rows(num_shards), values(num_shards);
    TF_RETURN_IF_ERROR(WriteRows<T>(context, gradient, picked.embeddings, /*rank=*/2,
                                    TensorFlowParallel(context), rows.data(), values.data()));
    for (int i = 0; i < num_shards; ++i) {
      context->set_output(i, rows[i]);
      context->set_output(num_shards + i, values[i]);
    }
    return absl::OkStatus();
  }
};

#define FASTW2V_REGISTER(T)                                                                       \
  REGISTER_KERNEL_BUILDER(                                                                        \
      Name("Fastw2v>Gather").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), GatherOp<T>); \
  REGISTER_KERNEL_BUILDER(                                                                        \
      Name("Fastw2v>GatherGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),           \
      GatherGradOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
