// csrc/cuda/rows/gather.h.
#include "csrc/cuda/rows/gather.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <utility>

#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
class CudaGather {
  using A = Accumulator<T>;
  using Ids = DeviceArray<const int64_t>;

 public:
  CudaGather(DeviceArray<const T> embeddings, Ids ids, std::optional<Ids> row_splits,
             const std::string& combiner)
      : embeddings_(std::move(embeddings)),
        ids_(std::move(ids)),
        row_splits_(std::move(row_splits)) {
    if (embeddings_.rank() != 2) throw py::value_error("embeddings must have rank 2");
    if (combiner != "mean" && combiner != "sum") {
      throw py::value_error("combiner = \"" + combiner + "\" is not \"mean\" or \"sum\"");
    }
    problem_.embeddings = embeddings_.data();
    problem_.rows = embeddings_.shape(0);
    problem_.dim = embeddings_.shape(1);
    Bags& bags = problem_.bags;
    bags.ids = ids_.data();
    bags.num_ids = ids_.size();
    bags.padded = !row_splits_.has_value() && ids_.rank() == 2;
    bags.width = bags.padded ? ids_.shape(1) : 1;
    bags.batch = ids_.rank() == 0 ? 0 : ids_.shape(0);
    if (row_splits_.has_value()) {
      if (row_splits_->size() == 0) {
        throw py::value_error("row_splits is empty; it must have batch + 1 entries");
      }
      bags.batch = row_splits_->size() - 1;
      bags.row_splits = row_splits_->data();
    }
    bags.combiner = combiner == "mean" ? Combiner::kMean : Combiner::kSum;
  }

  int64_t RowCapacity() const { return problem_.bags.num_ids; }
  std::size_t ScratchBytes() const { return cuda::BagGradientScratchBytes(problem_); }

  template <typename Out>
  void Forward(const DeviceArray<Out>& hidden, std::uintptr_t stream) const {
    Out* data = hidden.Shaped("hidden", {problem_.bags.batch, problem_.dim}).data();
    ThrowIfError(cuda::GatherBags(problem_, StreamAt(stream), data));
  }

  void Backward(const DeviceArray<const A>& d_hidden, const DeviceArray<int64_t>& rows,
                const DeviceArray<T>& values, const DeviceArray<uint8_t>& scratch,
                std::uintptr_t stream) const {
    const int64_t dim = problem_.dim;
    const cuda::RowGradient<T> gradient = {rows.Shaped("rows", {RowCapacity()}).data(),
                                           values.Shaped("values", {RowCapacity(), dim}).data(),
                                           nullptr};
    ThrowIfError(
        cuda::BagGradient(problem_, d_hidden.Shaped("d_hidden", {problem_.bags.batch, dim}).data(),
                          StreamAt(stream), ScratchData(scratch, ScratchBytes()), gradient));
  }

 private:
  DeviceArray<const T> embeddings_;
  Ids ids_;
  std::optional<Ids> row_splits_;
  cuda::BagProblem<T> problem_;
};

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  using Gather = CudaGather<T>;
  using Ids = DeviceArray<const int64_t>;
  auto type =
      py::class_<Gather>(module, ("Gather_" + dtype).c_str())
          .def(py::init<DeviceArray<const T>, Ids, std::optional<Ids>, const std::string&>(),
               py::arg("embeddings"), py::arg("ids"), py::arg("row_splits") = py::none(),
               py::kw_only(), py::arg("combiner") = "mean")
          .def("row_capacity", &Gather::RowCapacity, "Rows in the padded gradient.")
          .def("scratch_bytes", &Gather::ScratchBytes, "Of backward.")
          .def("forward", &Gather::template Forward<Accumulator<T>>, py::arg("hidden"),
               py::kw_only(), py::arg("stream") = 0)
          .def("backward", &Gather::Backward, py::arg("d_hidden"), py::arg("rows"),
               py::arg("values"), py::arg("scratch"), py::kw_only(), py::arg("stream") = 0);
  type.def("forward_rounded", &Gather::template Forward<T>, py::arg("hidden"), py::kw_only(),
           py::arg("stream") = 0, "Forward with a result in the type of the table.");
}

const CudaBindings bindings([](py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
});

}  // namespace
}  // namespace fastw2v
