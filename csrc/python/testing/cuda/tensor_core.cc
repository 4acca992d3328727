// csrc/cuda/emulated/tensor_core.h on lists of numbers.
#if defined(FASTW2V_CUDA_EMULATED)

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "csrc/cuda/device/device.h"
#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

cuda::emulated::TensorCore Core(const std::string& name) {
  if (name == "ampere 16") return cuda::emulated::kAmpere16;
  if (name == "hopper 16") return cuda::emulated::kHopper16;
  throw py::value_error("core = " + name + " is not \"ampere 16\" or \"hopper 16\"");
}

const CudaBindings bindings([](py::module_& module) {
  module.def(
      "add_products",
      [](const std::string& core, float sum, const std::vector<float>& a,
         const std::vector<float>& b) {
        std::vector<cuda::emulated::Factor> factors_a, factors_b;
        for (const float x : a) {
          factors_a.push_back(cuda::emulated::ToFactor(x, cuda::emulated::kFloatMinExponent));
        }
        for (const float x : b) {
          factors_b.push_back(cuda::emulated::ToFactor(x, cuda::emulated::kFloatMinExponent));
        }
        if (a.size() != b.size() || a.size() % Core(core).group != 0) {
          throw py::value_error("a and b have to be of one length, a multiple of " +
                                std::to_string(Core(core).group));
        }
        return cuda::emulated::AddProducts(Core(core), sum, factors_a.data(), factors_b.data(),
                                           static_cast<int>(a.size()));
      },
      py::arg("core"), py::arg("sum"), py::arg("a"), py::arg("b"),
      "sum + a b as a tensor core adds it.");
});

}  // namespace
}  // namespace fastw2v

#endif
