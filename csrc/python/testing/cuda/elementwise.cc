// csrc/cuda/rows/elementwise.h.
#include "csrc/cuda/rows/elementwise.h"

#include <pybind11/pybind11.h>

#include <string>

#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  using A = Accumulator<T>;
  module.def(
      ("round_array_" + dtype).c_str(),
      [](const DeviceArray<const A>& from, const DeviceArray<T>& to, std::uintptr_t stream) {
        to.Shaped("to", {from.size()});
        ThrowIfError(cuda::RoundArray<T>(from.data(), from.size(), StreamAt(stream), to.data()));
      },
      py::arg("array"), py::arg("to"), py::kw_only(), py::arg("stream") = 0);
  module.def(
      ("widen_array_" + dtype).c_str(),
      [](const DeviceArray<const T>& from, const DeviceArray<A>& to, std::uintptr_t stream) {
        to.Shaped("to", {from.size()});
        ThrowIfError(cuda::WidenArray<T>(from.data(), from.size(), StreamAt(stream), to.data()));
      },
      py::arg("array"), py::arg("to"), py::kw_only(), py::arg("stream") = 0);
  module.def(("scale_array_" + dtype).c_str(),
             [](const DeviceArray<const A>& factor, const DeviceArray<const T>& from,
                const DeviceArray<T>& to, std::uintptr_t stream) {
               factor.Shaped("factor", {1});
               to.Shaped("to", {from.size()});
               ThrowIfError(cuda::ScaleArray<T>(factor.data(), from.data(), from.size(),
                                                StreamAt(stream), to.data()));
             },
             py::arg("factor"), py::arg("array"), py::arg("to"), py::kw_only(),
             py::arg("stream") = 0);
}

template <typename A>
void BindSums(py::module_& module, const std::string& dtype) {
  module.def(
      ("fill_array_" + dtype).c_str(),
      [](const DeviceArray<const A>& number, const DeviceArray<A>& to, std::uintptr_t stream) {
        number.Shaped("number", {1});
        ThrowIfError(cuda::FillArray<A>(number.data(), to.size(), StreamAt(stream), to.data()));
      },
      py::arg("number"), py::arg("to"), py::kw_only(), py::arg("stream") = 0);
  module.def(("common_factor_" + dtype).c_str(),
             [](const DeviceArray<const A>& d_loss, const DeviceArray<const A>& coefficients,
                const DeviceArray<A>& factor, std::uintptr_t stream) {
               const int64_t batch = d_loss.size(), stride = coefficients.rank() == 0 ? 0 : 1;
               if (stride == 1) coefficients.Shaped("coefficients", {batch});
               factor.Shaped("factor", {1});
               ThrowIfError(cuda::CommonFactor<A>(d_loss.data(), coefficients.data(), stride, batch,
                                                  StreamAt(stream), factor.data()));
             },
             py::arg("d_loss"), py::arg("coefficients"), py::arg("factor"), py::kw_only(),
             py::arg("stream") = 0);
}

const CudaBindings bindings([](py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
  BindSums<float>(module, "float32");
  BindSums<double>(module, "float64");
});

}  // namespace
}  // namespace fastw2v
