// csrc/cuda/loss/hopper/products.h on arrays of the device.
#include <pybind11/pybind11.h>

#include <string>

#include "csrc/cuda/loss/hopper/products.h"
#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
using Table = DeviceArray<const T>;

template <typename T>
cuda::hopper::GradientProduct<T> MakeProduct(const Table<T>& p, const Table<T>& other,
                                             const cuda::Stream& stream) {
  cuda::hopper::GradientProduct<T> product;
  product.p = p.data();
  product.p_rows = p.shape(0);
  product.pitch = p.shape(1);
  product.other = other.data();
  product.other_rows = other.shape(0);
  product.other_columns = other.shape(1);
  if (!cuda::hopper::SupportsProducts(other.data(), other.shape(1), stream.device)) {
    throw py::value_error("Hopper's products do not support this device or width");
  }
  return product;
}

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  module.def(("multiply_hidden_" + dtype).c_str(),
             [](const Table<T>& p, const Table<T>& weights, const DeviceArray<float>& sums,
                bool first, std::uintptr_t address) {
               const cuda::Stream stream = StreamAt(address);
               auto product = MakeProduct(p, weights, stream);
               product.parts = sums.shape(0);
               product.rows = sums.shape(1);
               product.columns = sums.shape(2);
               product.sums = sums.data();
               product.first = first;
               ThrowIfError(cuda::hopper::MultiplyGradient(product, stream));
             },
             py::arg("p"), py::arg("weights"), py::arg("sums"), py::arg("first"), py::kw_only(),
             py::arg("stream") = 0, "sums [parts, batch, dim] of p weights.");
  module.def(("multiply_weights_" + dtype).c_str(),
             [](const Table<T>& p, const Table<T>& hidden, const DeviceArray<T>& rounded,
                std::uintptr_t address) {
               const cuda::Stream stream = StreamAt(address);
               auto product = MakeProduct(p, hidden, stream);
               product.rows = rounded.shape(0);
               product.columns = rounded.shape(1);
               product.rounded = rounded.data();
               ThrowIfError(cuda::hopper::MultiplyGradient(product, stream));
             },
             py::arg("p"), py::arg("hidden"), py::arg("rounded"), py::kw_only(),
             py::arg("stream") = 0, "rounded [classes, dim] = the transposed p hidden.");
}

// float16 without the scale that keeps small gradients: that is the exact loss' to test.
const CudaBindings bindings([](py::module_& module) { Bind<BFloat16>(module, "bfloat16"); });

}  // namespace
}  // namespace fastw2v
