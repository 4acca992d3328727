// csrc/cuda/sampler/sampler.h.
#include "csrc/cuda/sampler/sampler.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <tuple>

#include "csrc/python/testing/cuda/device_array.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

using Ids = DeviceArray<const int64_t>;
using Numbers = DeviceArray<const double>;
using AliasTable = std::tuple<Numbers, Numbers, Ids, int64_t>;

class CudaSampler {
 public:
  CudaSampler(Ids true_classes, const std::string& sampler, int64_t range_max, int64_t num_sampled,
              bool unique, bool per_example, std::optional<AliasTable> table)
      : true_classes_(std::move(true_classes)), table_(std::move(table)) {
    if (true_classes_.rank() != 2) {
      throw py::value_error("true_classes must be a matrix [batch, num_true]");
    }
    UnigramTable unigram;
    if (table_.has_value()) {
      const auto& [probability, acceptance, alias, support] = *table_;
      unigram = {probability.Shaped("probability", {range_max}).data(),
                 acceptance.Shaped("acceptance", {range_max}).data(),
                 alias.Shaped("alias", {range_max}).data(), support};
    } else if (sampler == "unigram") {
      throw py::value_error("the sampler \"unigram\" needs a table");
    }
    ThrowIfError(ClassDistribution::Create(sampler, range_max, unigram, &problem_.distribution));
    problem_.num_sampled = num_sampled;
    problem_.unique = unique;
    problem_.per_example = per_example;
    problem_.batch = true_classes_.shape(0);
    problem_.num_true = true_classes_.shape(1);
    ThrowIfError(ValidateSampler(problem_));
  }

  std::size_t ScratchBytes() const { return cuda::SamplerScratchBytes(problem_); }

  void Sample(const std::array<int64_t, 2>& seed, const DeviceArray<int64_t>& sampled,
              const DeviceArray<float>& true_count, const DeviceArray<float>& sampled_count,
              const DeviceArray<int64_t>& num_tries, const DeviceArray<uint8_t>& scratch,
              std::uintptr_t stream) const {
    std::vector<int64_t> shape{problem_.num_sampled};
    if (problem_.per_example) shape.insert(shape.begin(), problem_.batch);
    ThrowIfError(cuda::SampleCandidates(
        problem_, seed.data(), true_classes_.data(), StreamAt(stream),
        ScratchData(scratch, ScratchBytes()), sampled.Shaped("sampled", shape).data(),
        true_count.Shaped("true_expected_count", {problem_.batch, problem_.num_true}).data(),
        sampled_count.Shaped("sampled_expected_count", shape).data(),
        num_tries.Shaped("num_tries", {problem_.num_lists()}).data()));
  }

 private:
  Ids true_classes_;
  std::optional<AliasTable> table_;
  SamplerProblem problem_;
};

const CudaBindings bindings([](py::module_& module) {
  py::class_<CudaSampler>(module, "Sampler")
      .def(py::init<Ids, const std::string&, int64_t, int64_t, bool, bool,
                    std::optional<AliasTable>>(),
           py::arg("true_classes"), py::arg("sampler"), py::arg("range_max"),
           py::arg("num_sampled"), py::kw_only(), py::arg("unique") = true,
           py::arg("per_example") = false, py::arg("table") = py::none())
      .def("scratch_bytes", &CudaSampler::ScratchBytes)
      .def("sample", &CudaSampler::Sample, py::arg("seed"), py::arg("sampled"),
           py::arg("true_expected_count"), py::arg("sampled_expected_count"), py::arg("num_tries"),
           py::arg("scratch"), py::kw_only(), py::arg("stream") = 0);
});

}  // namespace
}  // namespace fastw2v
