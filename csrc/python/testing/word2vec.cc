// csrc/core/word2vec.h on NumPy arrays, which are changed in place.
#include "csrc/core/word2vec.h"

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

// [classes, 2]: the columns bit by bit.
using NoiseTable = Array<int32_t>;

NoiseTable BuildTable(const Array<double>& counts, double power) {
  CheckRank(counts, "counts", 1);
  const int64_t classes = counts.size();
  NoiseTable table({classes, int64_t{2}});
  const AlignedMemory scratch(NoiseTableScratchBytes(classes));
  ThrowIfError(BuildNoiseTable(counts.data(), classes, power, scratch.data(),
                               reinterpret_cast<NoiseColumn*>(table.mutable_data())));
  return table;
}

// (splits, steps, longest).
using Tree = std::tuple<Array<int64_t>, Array<int32_t>, int64_t>;

Tree BuildTree(const Array<double>& counts) {
  CheckRank(counts, "counts", 1);
  std::vector<int64_t> splits;
  std::vector<int32_t> steps;
  int64_t longest;
  ThrowIfError(BuildWordTree(counts.data(), counts.size(), &splits, &steps, &longest));
  return {Array<int64_t>(static_cast<int64_t>(splits.size()), splits.data()),
          Array<int32_t>(static_cast<int64_t>(steps.size()), steps.data()), longest};
}

// (splits, rows).
using WordRows = std::tuple<Array<int64_t>, Array<int32_t>>;

std::tuple<double, int64_t, int64_t> Train(
    Array<float> embeddings, Array<float> weights, const Array<int32_t>& ids,
    const std::optional<Array<float>>& keep_probability, const std::optional<NoiseTable>& noise,
    const std::array<int64_t, 2>& seed, const std::optional<Tree>& tree,
    const std::optional<WordRows>& bags, int64_t window, bool shrink_windows, bool cbow, bool mean,
    int64_t negative, int64_t group, int64_t shared, double start_alpha, double end_alpha,
    bool deterministic, int num_threads, std::optional<Array<float>> documents,
    int64_t infer_epochs) {
  Word2VecProblem problem;
  if (documents.has_value()) {
    problem.documents = documents->mutable_data();
    problem.num_documents = documents->shape(0);
    problem.most_documents = MostDocuments(ids.data(), ids.size());
  }
  problem.embeddings = embeddings.mutable_data();
  problem.weights = weights.mutable_data();
  problem.classes = weights.shape(0);
  problem.dim = weights.shape(1);
  problem.ids = ids.data();
  problem.size = ids.size();
  problem.window = window;
  problem.shrink_windows = shrink_windows;
  problem.seed[0] = seed[0];
  problem.seed[1] = seed[1];
  if (keep_probability.has_value()) problem.keep_probability = keep_probability->data();
  if (noise.has_value()) problem.noise = reinterpret_cast<const NoiseColumn*>(noise->data());
  if (tree.has_value()) {
    const auto& [splits, steps, longest] = *tree;
    problem.tree = {splits.data(), steps.data(), steps.size(), longest};
  }
  if (bags.has_value()) {
    const auto& [splits, rows] = *bags;
    if (splits.size() != problem.classes + 1) throw py::value_error("bags are not those of words");
    problem.bags = {splits.data(), rows.data(), rows.size(), embeddings.shape(0)};
  }
  problem.cbow = cbow;
  problem.mean = mean;
  problem.negative = negative;
  problem.group = group;
  problem.shared = shared;
  problem.start_alpha = start_alpha;
  problem.end_alpha = end_alpha;
  problem.deterministic = deterministic;
  ThrowIfError(CheckWord2Vec(problem));
  const PlainThreads threads(num_threads);
  const bool infers = infer_epochs > 0;
  const AlignedMemory scratch(infers ? InferScratchBytes(problem, threads)
                                     : Word2VecScratchBytes(problem, threads));
  Word2VecResult result;
  Status status;
  {
    py::gil_scoped_release release;
    status = infers ? InferDocuments(problem, infer_epochs, threads, scratch.data())
                    : TrainWord2Vec(problem, threads, scratch.data(), &result);
  }
  ThrowIfError(status);
  return {result.loss, result.examples, result.words};
}

}  // namespace

void BindWord2Vec(py::module_& module) {
  module.def("noise_table", &BuildTable, py::arg("counts"), py::arg("power"),
             "The words to draw: [classes, 2].");
  module.def("huffman_tree", &BuildTree, py::arg("counts"), "(splits, steps, longest).");
  module.def("train_word2vec", &Train, py::arg("embeddings"), py::arg("weights"), py::arg("ids"),
             py::arg("keep_probability"), py::arg("noise"), py::arg("seed"), py::kw_only(),
             py::arg("tree") = py::none(), py::arg("bags") = py::none(), py::arg("window") = 5,
             py::arg("shrink_windows") = true, py::arg("cbow") = false, py::arg("mean") = true,
             py::arg("negative") = 5, py::arg("group") = 16, py::arg("shared") = 16,
             py::arg("start_alpha") = 0.025, py::arg("end_alpha") = 0.025,
             py::arg("deterministic") = false, py::arg("num_threads") = 1,
             py::arg("documents") = py::none(), py::arg("infer_epochs") = 0,
             "(loss, examples, words); with infer_epochs it infers the documents.");
}

}  // namespace fastw2v
