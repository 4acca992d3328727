// csrc/core/subwords.h on the bytes of words, and the vectors that their bags come to.
#include "csrc/core/subwords.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "csrc/core/gather.h"
#include "csrc/core/table.h"
#include "csrc/python/support.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
Array<T> AsArray(const std::vector<T>& values) {
  return Array<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

Array<int32_t> Subwords(const py::bytes& word, int64_t min_n, int64_t max_n, int64_t bucket) {
  const SubwordRules rules = {min_n, max_n, bucket};
  ThrowIfError(CheckSubwordRules(rules));
  std::vector<int32_t> buckets;
  AppendSubwords(std::string_view(word), rules, &buckets);
  return AsArray(buckets);
}

std::tuple<Array<int64_t>, Array<int32_t>> BagsOfWords(const py::list& words, int64_t min_n,
                                                       int64_t max_n, int64_t bucket) {
  std::vector<std::string_view> views;
  views.reserve(words.size());
  for (const py::handle word : words) {
    if (!PyBytes_Check(word.ptr())) throw py::type_error("words must be bytes");
    views.emplace_back(PyBytes_AS_STRING(word.ptr()),
                       static_cast<std::size_t>(PyBytes_GET_SIZE(word.ptr())));
  }
  std::vector<int64_t> splits;
  std::vector<int32_t> rows;
  ThrowIfError(BuildWordBags(views.data(), static_cast<int64_t>(views.size()),
                             {min_n, max_n, bucket}, &splits, &rows));
  return {AsArray(splits), AsArray(rows)};
}

Array<float> MeanRows(const Array<float>& table, const Array<int64_t>& splits,
                      const Array<int64_t>& rows, int num_threads) {
  CheckRank(table, "table", 2);
  CheckRank(splits, "splits", 1);
  CheckRank(rows, "rows", 1);
  if (splits.size() < 1) throw py::value_error("splits must have at least one number");
  Bags bags;
  bags.ids = rows.data();
  bags.num_ids = rows.size();
  bags.batch = splits.size() - 1;
  bags.row_splits = splits.data();
  ThrowIfError(CheckBags(bags, table.shape(0)));
  const PlainThreads threads(num_threads);
  Array<float> means({static_cast<py::ssize_t>(bags.batch), table.shape(1)});
  float* const data = means.mutable_data();
  const Table<const float> view(table.data(), table.shape(0), table.shape(1));
  {
    py::gil_scoped_release release;
    GatherBags<float>(view, bags, threads, data);
  }
  return means;
}

}  // namespace

void BindSubwords(py::module_& module) {
  module.def("subwords", &Subwords, py::arg("word"), py::arg("min_n"), py::arg("max_n"),
             py::arg("bucket"), "The buckets of the n-grams of a word.");
  module.def("word_bags", &BagsOfWords, py::arg("words"), py::arg("min_n"), py::arg("max_n"),
             py::arg("bucket"), "(splits, rows): the rows of each word, its own and its n-grams'.");
  module.def("mean_rows", &MeanRows, py::arg("table"), py::arg("splits"), py::arg("rows"),
             py::arg("num_threads") = 1, "The mean of the rows of each bag: [bags, dim].");
}

}  // namespace fastw2v
