// csrc/core/skipgram.h on NumPy arrays.
#include "csrc/core/skipgram.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "csrc/python/support.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

using Examples = std::tuple<Array<int64_t>, Array<int64_t>>;

Array<float> Keep(const Array<double>& counts, double sample) {
  Array<float> keep_probability(counts.size());
  ThrowIfError(
      KeepProbabilities(counts.data(), counts.size(), sample, keep_probability.mutable_data()));
  return keep_probability;
}

using Fill = void (*)(const SkipGramProblem&, const SkipGramPlan&, const Parallel&, int64_t*,
                      int64_t*);

// Plans, allocates arrays of the shapes that shapes(problem, plan) gives, and fills them.
template <typename Shapes>
Examples MakeExamples(const Array<int64_t>& ids, int64_t window, bool shrink_windows, bool shuffle,
                      const std::array<int64_t, 2>& seed,
                      const std::optional<Array<int64_t>>& row_splits,
                      const std::optional<Array<float>>& keep_probability, int num_threads,
                      Fill fill, const Shapes& shapes) {
  SkipGramProblem problem;
  problem.ids = ids.data();
  problem.size = ids.size();
  if (row_splits.has_value()) {
    problem.row_splits = row_splits->data();
    problem.num_splits = row_splits->size();
  }
  if (keep_probability.has_value()) {
    problem.keep_probability = keep_probability->data();
    problem.num_classes = keep_probability->size();
  }
  problem.window = window;
  problem.shrink_windows = shrink_windows;
  problem.shuffle = shuffle;
  problem.seed[0] = seed[0];
  problem.seed[1] = seed[1];
  const PlainThreads threads(num_threads);
  const AlignedMemory scratch(SkipGramScratchBytes(problem));
  SkipGramPlan plan;
  Status status;
  {
    py::gil_scoped_release release;
    status = PlanSkipGrams(problem, threads, scratch.data(), &plan);
  }
  ThrowIfError(status);
  const auto [first_shape, second_size] = shapes(problem, plan);
  Array<int64_t> first(first_shape), second(second_size);
  int64_t *first_data = first.mutable_data(), *second_data = second.mutable_data();
  {
    py::gil_scoped_release release;
    fill(problem, plan, threads, first_data, second_data);
  }
  return {first, second};
}

using Shape = std::vector<py::ssize_t>;

Examples SkipGrams(const Array<int64_t>& ids, int64_t window, bool shrink_windows, bool shuffle,
                   const std::array<int64_t, 2>& seed,
                   const std::optional<Array<int64_t>>& row_splits,
                   const std::optional<Array<float>>& keep_probability, int num_threads) {
  return MakeExamples(ids, window, shrink_windows, shuffle, seed, row_splits, keep_probability,
                      num_threads, &FillPairs,
                      [](const SkipGramProblem&, const SkipGramPlan& plan) {
                        return std::make_tuple(Shape{plan.num_pairs}, plan.num_pairs);
                      });
}

Examples CbowBags(const Array<int64_t>& ids, int64_t window, bool shrink_windows, bool shuffle,
                  const std::array<int64_t, 2>& seed,
                  const std::optional<Array<int64_t>>& row_splits,
                  const std::optional<Array<float>>& keep_probability, int num_threads) {
  return MakeExamples(
      ids, window, shrink_windows, shuffle, seed, row_splits, keep_probability, num_threads,
      &FillBags, [](const SkipGramProblem& problem, const SkipGramPlan& plan) {
        return std::make_tuple(Shape{plan.num_bags, 2 * problem.window}, plan.num_bags);
      });
}

template <typename Function>
void Define(py::module_& module, const char* name, Function function, const char* doc) {
  module.def(name, function, py::arg("ids"), py::arg("window"), py::arg("shrink_windows") = true,
             py::arg("shuffle") = false, py::arg("seed") = std::array<int64_t, 2>{0, 0},
             py::arg("row_splits") = py::none(), py::arg("keep_probability") = py::none(),
             py::arg("num_threads") = 1, doc);
}

}  // namespace

void BindSkipGrams(py::module_& module) {
  module.def("keep_probabilities", &Keep, py::arg("counts"), py::arg("sample"),
             "The probability with which subsampling keeps each word.");
  Define(module, "skip_grams", &SkipGrams, "(centers, contexts).");
  Define(module, "cbow_bags", &CbowBags, "(bags, labels).");
}

}  // namespace fastw2v
