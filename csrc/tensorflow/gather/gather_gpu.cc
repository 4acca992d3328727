// GPU kernels of Fastw2v>Gather and Fastw2v>GatherGrad: csrc/cuda/rows/gather.h as TensorFlow ops.
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/cuda/rows/gather.h"
#include "csrc/tensorflow/gather/gather_call.h"
#include "csrc/tensorflow/support/gpu.h"
#include "csrc/tensorflow/support/rows.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

using tensorflow::DataTypeToEnum;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// The arguments that both ops have.
template <typename T>
struct GpuPicked {
  using Core = typename CoreType<T>::type;

  cuda::Stream stream;
  cuda::BagProblem<Core> problem;

  absl::Status Read(OpKernelContext* context, Combiner combiner) {
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
    TF_RETURN_IF_ERROR(embeddings_.Read(context, "embeddings", DataTypeToEnum<T>::value, 2));
    std::vector<tensorflow::Var*> variables;
    embeddings_.AppendVariables(&variables);
    lock_ = std::make_unique<ReadLock>(std::move(variables));
    TF_RETURN_IF_ERROR(embeddings_.Resolve());
    TF_RETURN_IF_ERROR(OneShard<T>(embeddings_, "embeddings", &problem.embeddings));
    problem.rows = embeddings_.rows();
    problem.dim = embeddings_.dim();
    const Tensor* ids;
    TF_RETURN_IF_ERROR(context->input("inputs", &ids));
    TF_RETURN_IF_ERROR(ReadBags(context, *ids, combiner, &problem.bags));
    return CheckIdsIfAsked(stream, "inputs", problem.bags.ids, problem.bags.num_ids, problem.rows,
                           problem.bags.padded);
  }

 private:
  TableArgument embeddings_;
  std::unique_ptr<ReadLock> lock_;
};

template <typename T>
class GpuGatherOp final : public CombiningOp {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;
  using CombiningOp::CombiningOp;

  absl::Status Run(OpKernelContext* context) const override {
    GpuPicked<T> picked;
    TF_RETURN_IF_ERROR(picked.Read(context, combiner_));
    Tensor* hidden;
    TF_RETURN_IF_ERROR(context->allocate_output(
        0, TensorShape({picked.problem.bags.batch, picked.problem.dim}), &hidden));
    return ToTensorFlow(
        cuda::GatherBags<Core, A>(picked.problem, picked.stream, hidden->flat<A>().data()));
  }
};

template <typename T>
class GpuGatherGradOp final : public CombiningOp {
  using Core = typename CoreType<T>::type;
  using A = Accumulator<Core>;
  using CombiningOp::CombiningOp;

  absl::Status Run(OpKernelContext* context) const override {
    GpuPicked<T> picked;
    TF_RETURN_IF_ERROR(picked.Read(context, combiner_));
    const cuda::BagProblem<Core>& problem = picked.problem;
    const Tensor* d_hidden;
    TF_RETURN_IF_ERROR(context->input("d_hidden", &d_hidden));
    if (d_hidden->shape() != TensorShape({problem.bags.batch, problem.dim})) {
      return WrongShape(
          "d_hidden", *d_hidden,
          absl::StrCat("[batch, dim] = [", problem.bags.batch, ",", problem.dim, "]"));
    }
    const int64_t capacity = problem.bags.num_ids;
    Tensor *rows, *values;
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({capacity}), &rows));
    TF_RETURN_IF_ERROR(context->allocate_output(1, TensorShape({capacity, problem.dim}), &values));
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, cuda::BagGradientScratchBytes(problem)));
    return ToTensorFlow(cuda::BagGradient(
        problem, d_hidden->flat<A>().data(), picked.stream, scratch.data(),
        cuda::RowGradient<Core>{rows->flat<int64_t>().data(),
                                CoreData<Core>(values->flat<T>().data()), nullptr}));
  }
};

#define FASTW2V_REGISTER(T)                                                                    \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>Gather").TypeConstraint<T>("T"),     \
                              GpuGatherOp<T>);                                                 \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>GatherGrad").TypeConstraint<T>("T"), \
                              GpuGatherGradOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
