// csrc/core/top_k.h on NumPy arrays.
#include "csrc/core/top_k.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>

#include "csrc/python/support.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
std::tuple<Array<Accumulator<T>>, Array<int64_t>> FindTopK(
    const Array<Accumulator<T>>& hidden, const Array<CarrierOf<T>>& weights,
    const std::optional<Array<CarrierOf<T>>>& biases, int64_t k, double logit_scale,
    double logit_softcap, int num_threads) {
  CheckRank(hidden, "hidden", 2);
  CheckRank(weights, "weights", 2);
  if (hidden.shape(1) != weights.shape(1)) {
    throw py::value_error("hidden must have the width of weights");
  }
  TopKProblem<T> problem;
  problem.batch = hidden.shape(0);
  problem.hidden = hidden.data();
  problem.weights = Table<const T>(reinterpret_cast<const T*>(weights.data()), weights.shape(0),
                                   weights.shape(1));
  if (biases.has_value()) {
    problem.biases = Table<const T>(reinterpret_cast<const T*>(biases->data()), biases->size(), 1);
  }
  problem.k = k;
  problem.logit_scale = logit_scale;
  problem.logit_softcap = logit_softcap;
  ThrowIfError(CheckTopKProblem(problem));
  const PlainThreads threads(num_threads);
  const AlignedMemory scratch(TopKScratchBytes(problem, threads));
  Array<Accumulator<T>> logits({problem.batch, k});
  Array<int64_t> classes({problem.batch, k});
  TopK(problem, threads, scratch.data(), logits.mutable_data(), classes.mutable_data());
  return {logits, classes};
}

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  module.def(("top_k_" + dtype).c_str(), &FindTopK<T>, py::arg("hidden"), py::arg("weights"),
             py::arg("biases"), py::arg("k"), py::kw_only(), py::arg("logit_scale") = 1.0,
             py::arg("logit_softcap") = 0.0, py::arg("num_threads") = 1, "(logits, classes).");
}

}  // namespace

void BindTopK(py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
}

}  // namespace fastw2v
