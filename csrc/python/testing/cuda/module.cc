// `_kernels.cuda`: csrc/cuda on arrays of the device. Callers bring all memory, scratch too, and
// may bring a stream; nothing waits for the device.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "csrc/cuda/device/requirements.h"
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
  module.def(
      "read_machine",
      [](const std::string& driver, const std::string& management) {
        const cuda::Machine machine = cuda::ReadMachine(driver.c_str(), management.c_str());
        return py::make_tuple(machine.driver, machine.archs);
      },
      py::arg("driver"), py::arg("management"),
      "The CUDA of the driver and the GPUs, by libraries with these file names.");
  module.def(
      "why_not",
      [](int driver, std::vector<int> archs, int runtime) {
        return cuda::WhyNotOnAny({driver, std::move(archs)}, runtime);
      },
      py::arg("driver"), py::arg("archs"), py::arg("runtime"),
      "Why kernels built with a runtime cannot run on a machine, or an empty string.");
  for (const CudaBindings::Bind bind : CudaBindings::All()) bind(module);
}

}  // namespace fastw2v
