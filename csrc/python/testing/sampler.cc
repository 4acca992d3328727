// csrc/core/sampler.h on NumPy arrays.
#include "csrc/core/sampler.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "csrc/python/support.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

using AliasTable = std::tuple<Array<double>, Array<double>, Array<int64_t>, int64_t>;

std::array<uint32_t, 4> PhiloxWords(const std::array<uint32_t, 4>& counter,
                                    const std::array<uint32_t, 2>& key) {
  const PhiloxBlock block =
      Philox({{counter[0], counter[1], counter[2], counter[3]}}, {{key[0], key[1]}});
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

AliasTable BuildTable(const Array<double>& counts, double power) {
  if (counts.ndim() != 1) throw py::value_error("counts must be a vector [num_classes]");
  const int64_t num_classes = counts.size();
  Array<double> probability(num_classes), acceptance(num_classes);
  Array<int64_t> alias(num_classes);
  int64_t support = 0;
  const AlignedMemory scratch(UnigramTableScratchBytes(num_classes));
  ThrowIfError(BuildUnigramTable(counts.data(), num_classes, power, scratch.data(),
                                 probability.mutable_data(), acceptance.mutable_data(),
                                 alias.mutable_data(), &support));
  return {probability, acceptance, alias, support};
}

std::tuple<Array<int64_t>, Array<float>, Array<float>, Array<int64_t>> Sample(
    const Array<int64_t>& true_classes, const std::array<int64_t, 2>& seed,
    const std::string& sampler, int64_t range_max, int64_t num_sampled, bool unique,
    bool per_example, const std::optional<AliasTable>& table, int num_threads) {
  if (true_classes.ndim() != 2) {
    throw py::value_error("true_classes must be a matrix [batch, num_true]");
  }
  UnigramTable unigram;
  if (table.has_value()) {
    const auto& [probability, acceptance, alias, support] = *table;
    unigram = {probability.data(), acceptance.data(), alias.data(), support};
    if (probability.size() != range_max || acceptance.size() != range_max ||
        alias.size() != range_max) {
      throw py::value_error("table must have range_max rows");
    }
  } else if (sampler == "unigram") {
    throw py::value_error("the sampler \"unigram\" needs a table");
  }

  SamplerProblem problem;
  ThrowIfError(ClassDistribution::Create(sampler, range_max, unigram, &problem.distribution));
  problem.num_sampled = num_sampled;
  problem.unique = unique;
  problem.per_example = per_example;
  problem.batch = true_classes.shape(0);
  problem.num_true = true_classes.shape(1);
  ThrowIfError(ValidateSampler(problem));

  std::vector<py::ssize_t> sampled_shape{num_sampled};
  if (per_example) sampled_shape.insert(sampled_shape.begin(), problem.batch);
  Array<int64_t> sampled(sampled_shape), num_tries(problem.num_lists());
  Array<float> sampled_count(sampled_shape);
  Array<float> true_count(std::vector<py::ssize_t>{problem.batch, problem.num_true});
  const PlainThreads threads(num_threads);
  const AlignedMemory scratch(SamplerScratchBytes(problem, threads));
  // Pointers are taken before the interpreter is let go.
  const int64_t* true_data = true_classes.data();
  int64_t *sampled_data = sampled.mutable_data(), *tries_data = num_tries.mutable_data();
  float *true_count_data = true_count.mutable_data(),
        *sampled_count_data = sampled_count.mutable_data();
  Status status;
  {
    py::gil_scoped_release release;
    status = SampleCandidates(problem, seed.data(), true_data, threads, scratch.data(),
                              sampled_data, true_count_data, sampled_count_data, tries_data);
  }
  ThrowIfError(status);
  return {sampled, true_count, sampled_count, num_tries};
}

}  // namespace

void BindSamplers(py::module_& module) {
  module.def("philox", &PhiloxWords, py::arg("counter"), py::arg("key"),
             "The four 32-bit words of Philox4x32-10 for a counter and a key.");
  module.def("unigram_table", &BuildTable, py::arg("counts"), py::arg("power"),
             "The alias table (probability, acceptance, alias, support).");
  module.def("sample_candidates", &Sample, py::arg("true_classes"), py::arg("seed"),
             py::arg("sampler"), py::arg("range_max"), py::arg("num_sampled"),
             py::arg("unique") = true, py::arg("per_example") = false,
             py::arg("table") = py::none(), py::arg("num_threads") = 1,
             "(sampled, true_expected_count, sampled_expected_count, num_tries).");
}

}  // namespace fastw2v
