// GPU kernel of Fastw2v>CandidateSampler: csrc/cuda/sampler/sampler.h as a TensorFlow op. The table
// of a unigram distribution is made once, on the CPU (Fastw2v>UnigramTable), and read here.
#include <string>

#include "csrc/cuda/sampler/sampler.h"
#include "csrc/tensorflow/sampler/sampler_call.h"
#include "csrc/tensorflow/support/gpu.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

class GpuCandidateSamplerOp : public Kernel {
 public:
  explicit GpuCandidateSamplerOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, attributes_.Read(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    cuda::Stream stream;
    TF_RETURN_IF_ERROR(GetStream(context, &stream));
    SamplerCall call;
    // How many classes can be drawn stands on the device: where there are too few for a list
    // without repeats, it is filled with -1.
    TF_RETURN_IF_ERROR(
        call.Read(context, attributes_, [&](const Tensor&) { return attributes_.range_max; }));
    const SamplerProblem& problem = call.problem;
    TF_RETURN_IF_ERROR(CheckIdsIfAsked(stream, "true_classes", call.true_classes,
                                       problem.batch * problem.num_true, attributes_.range_max));
    DeviceMemory scratch, num_tries;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, cuda::SamplerScratchBytes(problem)));
    TF_RETURN_IF_ERROR(num_tries.Allocate(context, sizeof(int64_t) * problem.num_lists()));
    return ToTensorFlow(cuda::SampleCandidates(
        problem, call.seed, call.true_classes, stream, scratch.data(), call.sampled,
        call.true_expected_count, call.sampled_expected_count, num_tries.data<int64_t>()));
  }

  SamplerAttributes attributes_;
};

FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>CandidateSampler").HostMemory("seed"),
                            GpuCandidateSamplerOp);

}  // namespace
}  // namespace fastw2v
