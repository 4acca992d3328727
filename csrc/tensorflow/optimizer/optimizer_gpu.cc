// GPU kernels of Fastw2v>SparseUpdate, Fastw2v>ApplyPending and Fastw2v>SumRows:
// csrc/cuda/optimizer/optimizer.h as TensorFlow ops.
#include <limits>

#include "csrc/cuda/optimizer/optimizer.h"
#include "csrc/cuda/rows/elementwise.h"
#include "csrc/cuda/rows/gather.h"
#include "csrc/tensorflow/optimizer/optimizer_call.h"
#include "csrc/tensorflow/optimizer/table_op.h"
#include "csrc/tensorflow/optimizer/update_registration.h"
#include "csrc/tensorflow/support/gpu.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T>
class GpuSparseUpdateOp final : public SparseUpdateOpBase<T, OnDevice> {
  using SparseUpdateOpBase<T, OnDevice>::SparseUpdateOpBase;
  using typename TableOp<T, OnDevice>::Core;

  absl::Status Update(OpKernelContext* context, const OnDevice& device,
                      const OptimizedTable<Core>& table,
                      const RowSlices<Core>& slices) const override {
    TF_RETURN_IF_ERROR(
        CheckIdsIfAsked(device.stream, "rows", slices.rows, slices.count, table.rows));
    DeviceMemory scratch;
    TF_RETURN_IF_ERROR(
        scratch.Allocate(context, cuda::UpdateSlicesScratchBytes(table, slices.count)));
    return ToTensorFlow(cuda::UpdateSlices(table, slices, device.stream, scratch.data()));
  }
};

template <typename T>
class GpuApplyPendingOp final : public ApplyPendingOpBase<T, OnDevice> {
  using ApplyPendingOpBase<T, OnDevice>::ApplyPendingOpBase;
  using typename TableOp<T, OnDevice>::Core;

  absl::Status ApplyPendingToRows(OpKernelContext*, const OnDevice& device,
                                  const OptimizedTable<Core>& table, const int64_t* rows,
                                  int64_t count) const override {
    return ToTensorFlow(cuda::ApplyPending(table, rows, count, device.stream));
  }
};

// The sums are as many as the rows given, padded as gradients of rows are.
template <typename T>
class GpuSumRowsOp : public Kernel {
 public:
  using Kernel::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) const override {
    using Core = typename CoreType<T>::type;
    using A = Accumulator<Core>;
    cuda::Stream stream;
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
    const Tensor &rows = context->input(0), &values = context->input(1);
    RowSlices<Core> slices;
    int64_t dim;
    TF_RETURN_IF_ERROR(ReadSlices<T>(rows, values, &slices, &dim));
    constexpr int64_t kAnyRow = std::numeric_limits<int64_t>::max();
    TF_RETURN_IF_ERROR(CheckIdsIfAsked(stream, "rows", slices.rows, slices.count, kAnyRow));
    Tensor *unique, *sums;
    TF_RETURN_IF_ERROR(context->allocate_output(0, rows.shape(), &unique));
    TF_RETURN_IF_ERROR(context->allocate_output(1, values.shape(), &sums));

    // The gradient of a gather of these rows.
    cuda::BagProblem<Core> problem;
    problem.rows = kAnyRow;
    problem.dim = dim;
    problem.bags.ids = slices.rows;
    problem.bags.num_ids = problem.bags.batch = slices.count;
    DeviceMemory wide, scratch;
    TF_RETURN_IF_ERROR(wide.Allocate(context, sizeof(A) * slices.count * dim));
    TF_RETURN_IF_ERROR(scratch.Allocate(context, cuda::BagGradientScratchBytes(problem)));
    TF_RETURN_IF_ERROR(ToTensorFlow(
        cuda::WidenArray<Core>(slices.values, slices.count * dim, stream, wide.data<A>())));
    return ToTensorFlow(cuda::BagGradient(
        problem, static_cast<const A*>(wide.data<A>()), stream, scratch.data(),
        cuda::RowGradient<Core>{unique->flat<int64_t>().data(),
                                CoreData<Core>(sums->flat<T>().data()), nullptr}));
  }
};

#define FASTW2V_REGISTER(T)                                                                 \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>SparseUpdate")                    \
                                  .FASTW2V_UPDATE_NUMBERS_ON_HOST.TypeConstraint<T>("T"),   \
                              GpuSparseUpdateOp<T>);                                        \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>ApplyPending")                    \
                                  .FASTW2V_UPDATE_NUMBERS_ON_HOST.TypeConstraint<T>("T"),   \
                              GpuApplyPendingOp<T>);                                        \
  FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>SumRows").TypeConstraint<T>("T"), \
                              GpuSumRowsOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
