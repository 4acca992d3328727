// csrc/cuda/loss/top_k.h.
#include "csrc/cuda/loss/top_k.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
using Tensor = DeviceArray<const T>;

template <typename T>
cuda::TopKProblem<T> MakeProblem(const Tensor<Accumulator<T>>& hidden, const Tensor<T>& weights,
                                 const std::optional<Tensor<T>>& biases, int64_t k,
                                 double logit_scale, double logit_softcap) {
  if (hidden.rank() != 2 || weights.rank() != 2) {
    throw py::value_error("hidden and weights must have rank 2");
  }
  cuda::TopKProblem<T> problem;
  problem.batch = hidden.shape(0);
  problem.classes = weights.shape(0);
  problem.dim = weights.shape(1);
  problem.hidden = hidden.Shaped("hidden", {problem.batch, problem.dim}).data();
  problem.weights = weights.data();
  if (biases.has_value()) problem.biases = biases->Shaped("biases", {problem.classes}).data();
  problem.k = k;
  problem.logit_scale = logit_scale;
  problem.logit_softcap = logit_softcap;
  ThrowIfError(cuda::CheckTopKProblem(problem));
  return problem;
}

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  using A = Accumulator<T>;
  module.def(
      ("top_k_scratch_bytes_" + dtype).c_str(),
      [](const Tensor<A>& hidden, const Tensor<T>& weights, int64_t k) {
        return cuda::TopKScratchBytes(MakeProblem<T>(hidden, weights, std::nullopt, k, 1, 0));
      },
      py::arg("hidden"), py::arg("weights"), py::arg("k"));
  module.def(("top_k_" + dtype).c_str(),
             [](const Tensor<A>& hidden, const Tensor<T>& weights,
                const std::optional<Tensor<T>>& biases, int64_t k, const DeviceArray<A>& logits,
                const DeviceArray<int64_t>& classes, const DeviceArray<uint8_t>& scratch,
                double logit_scale, double logit_softcap, std::uintptr_t stream) {
               const auto problem =
                   MakeProblem(hidden, weights, biases, k, logit_scale, logit_softcap);
               ThrowIfError(cuda::TopK(problem, StreamAt(stream),
                                       ScratchData(scratch, cuda::TopKScratchBytes(problem)),
                                       logits.Shaped("logits", {problem.batch, k}).data(),
                                       classes.Shaped("classes", {problem.batch, k}).data()));
             },
             py::arg("hidden"), py::arg("weights"), py::arg("biases"), py::arg("k"),
             py::arg("logits"), py::arg("classes"), py::arg("scratch"), py::kw_only(),
             py::arg("logit_scale") = 1.0, py::arg("logit_softcap") = 0.0, py::arg("stream") = 0);
}

const CudaBindings bindings([](py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
});

}  // namespace
}  // namespace fastw2v
