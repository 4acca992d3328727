// csrc/cuda/device/gemm.h: the library of matrix products itself.
#include "csrc/cuda/device/gemm.h"

#include <pybind11/pybind11.h>

#include <string>

#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename E, typename C>
void Bind(py::module_& module, const std::string& dtypes) {
  module.def(
      ("multiply_" + dtypes).c_str(),
      [](const DeviceArray<const E>& a, const DeviceArray<const E>& b, const DeviceArray<C>& c,
         bool transpose_a, bool transpose_b, double alpha, double beta, int64_t columns,
         bool allow_tf32, std::uintptr_t address) {
        if (a.rank() != 2 || b.rank() != 2 || c.rank() != 2) {
          throw py::value_error("a, b and c must have rank 2");
        }
        // The first `columns` columns of b and c, of which there may be more.
        const int64_t m = c.shape(0), k = a.shape(transpose_a ? 0 : 1);
        a.Shaped("a", transpose_a ? std::vector<int64_t>{k, m} : std::vector<int64_t>{m, k});
        if (b.shape(transpose_b ? 1 : 0) != k || b.shape(transpose_b ? 0 : 1) < columns ||
            c.shape(1) < columns) {
          throw py::value_error("b or c is too small");
        }
        const cuda::Stream stream = StreamAt(address);
        ThrowIfError(cuda::Multiply<E, C>(
            stream.gemm, stream.stream, allow_tf32, m, columns, k, alpha, {a.data(), a.shape(1)},
            transpose_a, {b.data(), b.shape(1)}, transpose_b, beta, {c.data(), c.shape(1)}));
      },
      py::arg("a"), py::arg("b"), py::arg("c"), py::kw_only(), py::arg("transpose_a") = false,
      py::arg("transpose_b") = false, py::arg("alpha") = 1.0, py::arg("beta") = 0.0,
      py::arg("columns"), py::arg("allow_tf32") = false, py::arg("stream") = 0);
}

const CudaBindings bindings([](py::module_& module) {
  Bind<float, float>(module, "float32_float32");
  Bind<double, double>(module, "float64_float64");
  Bind<Half, float>(module, "float16_float32");
  Bind<BFloat16, float>(module, "bfloat16_float32");
  Bind<BFloat16, BFloat16>(module, "bfloat16_bfloat16");
});

}  // namespace
}  // namespace fastw2v
