#include "csrc/tensorflow/support/gpu.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "csrc/core/table.h"
#include "csrc/cuda/device/requirements.h"

#if !defined(FASTW2V_CUDA_EMULATED)
#include "xla/stream_executor/stream.h"
#endif

// For fastw2v/_core/library.py.
extern "C" __attribute__((visibility("default"))) const char* fastw2v_why_no_gpu_kernels() {
  // Asked by registrations of other files too, in whatever order.
  static const std::string* const why =
      new std::string(fastw2v::cuda::WhyNotOnAny(fastw2v::cuda::ThisMachine(), CUDART_VERSION));
  return why->c_str();
}

namespace fastw2v {

bool RegisterGpuKernel(tensorflow::KernelDefBuilder& definition, const char* name,
                       MakeKernel make) {
  if (*fastw2v_why_no_gpu_kernels() != '\0') return false;
  tensorflow::kernel_factory::OpKernelRegistrar(definition.Build(), name, make);
  return true;
}

absl::Status GetStream(tensorflow::OpKernelContext* context, cuda::Stream* stream) {
#if defined(FASTW2V_CUDA_EMULATED)
  stream->gemm = GemmOf(nullptr);
#else
  auto* device_context = context->op_device_context();
  if (device_context == nullptr || device_context->stream() == nullptr) {
    return absl::InternalError("the op runs on a device without a stream");
  }
  stream->stream =
      static_cast<cudaStream_t>(device_context->stream()->platform_specific_handle().stream);
  stream->gemm = GemmOf(device_context->stream());
#endif
  return ToTensorFlow(cuda::CurrentDevice(&stream->device));
}

CopyMemory OnDevice::copy() const {
  return [stream = stream](void* to, const void* from, std::size_t bytes) {
    return ToTensorFlow(
        cuda::ToStatus(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream.stream)));
  };
}

absl::Status CheckIdsIfAsked(const cuda::Stream& stream, const char* name, const int64_t* ids,
                             int64_t count, int64_t rows, bool padded, const int64_t* ignored) {
  static const bool asked = [] {
    const char* value = std::getenv("FASTW2V_CHECK_IDS");
    return value != nullptr && std::string(value) == "1";
  }();
  if (!asked || count == 0) return absl::OkStatus();
  std::vector<int64_t> copy(count);
  TF_RETURN_IF_ERROR(ToTensorFlow(cuda::ToStatus(cudaMemcpyAsync(
      copy.data(), ids, count * sizeof(int64_t), cudaMemcpyDeviceToHost, stream.stream))));
  TF_RETURN_IF_ERROR(ToTensorFlow(cuda::ToStatus(cudaStreamSynchronize(stream.stream))));
  for (int64_t i = 0; i < count; ++i) {
    if (padded && copy[i] < 0) continue;
    if (ignored != nullptr && copy[i] == *ignored) continue;
    TF_RETURN_IF_ERROR(ToTensorFlow(CheckId(name, i, copy[i], rows)));
  }
  return absl::OkStatus();
}

}  // namespace fastw2v
