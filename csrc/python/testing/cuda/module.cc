// `_kernels.cuda`: csrc/cuda on arrays of the device. Callers bring all memory, scratch too, and
// may bring a stream; nothing waits for the device.
#include <pybind11/pybind11.h>

#include "csrc/cuda/device/runtime.h"
#include "csrc/python/testing/cuda/cublas.h"
#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

#if defined(FASTW2V_CUDA_EMULATED)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

// What tests set in place of Device::logit_bytes; 0: nothing.
int64_t chosen_logit_bytes = 0;

py::dict CurrentDevice() {
  cuda::Device device;
  ThrowIfError(cuda::CurrentDevice(&device));
  py::dict numbers;
  numbers["arch"] = device.arch;
  numbers["num_multiprocessors"] = device.num_multiprocessors;
  numbers["shared_bytes"] = device.shared_bytes;
  return numbers;
}

}  // namespace

cuda::Stream StreamAt(std::uintptr_t address) {
  cuda::Stream stream;
  stream.stream = reinterpret_cast<cudaStream_t>(address);
  ThrowIfError(cuda::CurrentDevice(&stream.device));
  if (chosen_logit_bytes != 0) stream.device.logit_bytes = chosen_logit_bytes;
#if defined(FASTW2V_CUDA_EMULATED)
  stream.gemm = cuda::EmulatedGemm();
#else
  stream.gemm = cuda::CublasGemm();
#endif
  return stream;
}

void BindCuda(py::module_& parent) {
  py::module_ module =
      parent.def_submodule("cuda", "The kernels of a GPU, on arrays of its memory.");
  module.attr("emulated") = kEmulated;
  module.def("device", &CurrentDevice, "What kernels ask of the current device.");
  module.def(
      "set_logit_bytes", [](int64_t bytes) { chosen_logit_bytes = bytes; }, py::arg("bytes"),
      "How many bytes of logits calls store at a time; 0: as many as in use.");
  module.def(
      "zero",
      [](const DeviceArray<uint8_t>& bytes, std::uintptr_t stream) {
        ThrowIfError(cuda::Zero(bytes.data(), bytes.size(), StreamAt(stream)));
      },
      py::arg("bytes"), py::kw_only(), py::arg("stream") = 0, "Sets all bytes to 0.");
  for (const CudaBindings::Bind bind : CudaBindings::All()) bind(module);
}

}  // namespace fastw2v
