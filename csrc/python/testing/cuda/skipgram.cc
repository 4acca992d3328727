// csrc/cuda/text/skipgram.h.
#include "csrc/cuda/text/skipgram.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <utility>

#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

class CudaSkipGrams {
  using Ids = DeviceArray<const int64_t>;
  using Result = DeviceArray<int64_t>;
  using Bytes = DeviceArray<uint8_t>;

 public:
  CudaSkipGrams(Ids ids, int64_t window, bool shrink_windows, bool shuffle,
                const std::array<int64_t, 2>& seed, std::optional<Ids> row_splits,
                std::optional<DeviceArray<const float>> keep_probability)
      : ids_(std::move(ids)),
        row_splits_(std::move(row_splits)),
        keep_probability_(std::move(keep_probability)) {
    problem_.ids = ids_.data();
    problem_.size = ids_.size();
    if (row_splits_.has_value()) {
      problem_.row_splits = row_splits_->data();
      problem_.num_splits = row_splits_->size();
    }
    if (keep_probability_.has_value()) {
      problem_.keep_probability = keep_probability_->data();
      problem_.num_classes = keep_probability_->size();
    }
    problem_.window = window;
    problem_.shrink_windows = shrink_windows;
    problem_.shuffle = shuffle;
    problem_.seed[0] = seed[0];
    problem_.seed[1] = seed[1];
    ThrowIfError(cuda::CheckSkipGrams(problem_));
  }

  std::size_t ScratchBytes() const { return cuda::SkipGramScratchBytes(problem_); }

  void FillPairs(const Result& centers, const Result& contexts, const Result& count,
                 const Bytes& scratch, std::uintptr_t stream) const {
    const int64_t capacity = centers.size();
    ThrowIfError(cuda::FillPairs(
        problem_, capacity, StreamAt(stream), ScratchData(scratch, ScratchBytes()), centers.data(),
        contexts.Shaped("contexts", {capacity}).data(), count.Shaped("count", {1}).data()));
  }

  void FillBags(const Result& bags, const Result& labels, const Result& count, const Bytes& scratch,
                std::uintptr_t stream) const {
    const int64_t capacity = labels.size();
    ThrowIfError(cuda::FillBags(problem_, capacity, StreamAt(stream),
                                ScratchData(scratch, ScratchBytes()),
                                bags.Shaped("bags", {capacity, 2 * problem_.window}).data(),
                                labels.data(), count.Shaped("count", {1}).data()));
  }

 private:
  Ids ids_;
  std::optional<Ids> row_splits_;
  std::optional<DeviceArray<const float>> keep_probability_;
  SkipGramProblem problem_;
};

const CudaBindings bindings([](py::module_& module) {
  using Ids = DeviceArray<const int64_t>;
  py::class_<CudaSkipGrams>(module, "SkipGrams")
      .def(py::init<Ids, int64_t, bool, bool, const std::array<int64_t, 2>&, std::optional<Ids>,
                    std::optional<DeviceArray<const float>>>(),
           py::arg("ids"), py::arg("window"), py::kw_only(), py::arg("shrink_windows") = true,
           py::arg("shuffle") = false, py::arg("seed") = std::array<int64_t, 2>{0, 0},
           py::arg("row_splits") = py::none(), py::arg("keep_probability") = py::none())
      .def("scratch_bytes", &CudaSkipGrams::ScratchBytes)
      .def("fill_pairs", &CudaSkipGrams::FillPairs, py::arg("centers"), py::arg("contexts"),
           py::arg("count"), py::arg("scratch"), py::kw_only(), py::arg("stream") = 0)
      .def("fill_bags", &CudaSkipGrams::FillBags, py::arg("bags"), py::arg("labels"),
           py::arg("count"), py::arg("scratch"), py::kw_only(), py::arg("stream") = 0);
});

}  // namespace
}  // namespace fastw2v
