// csrc/core/optimizer.h on NumPy arrays, which are changed in place.
#include "csrc/core/optimizer.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "csrc/python/support.h"
#include "csrc/python/testing/hyperparameters.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

// A table and its state, kept from step to step.
template <typename T>
class Optimizer {
  using A = Accumulator<T>;
  using C = CarrierOf<T>;

 public:
  Optimizer(const std::string& rule, Array<C> weights, std::vector<Array<C>> slots,
            std::optional<Array<C>> average, std::optional<Array<int64_t>> row_updates,
            std::optional<Array<double>> history, bool lazy, int num_threads)
      : weights_(weights),
        slots_(slots),
        average_(average),
        row_updates_(row_updates),
        history_(history),
        threads_(num_threads) {
    ThrowIfError(ParseUpdateRule(rule, &table_.rule));
    if (static_cast<int>(slots_.size()) != NumSlots(table_.rule)) {
      throw py::value_error("wrong number of slots");
    }
    table_.lazy = lazy;
    table_.rows = weights_.shape(0);
    table_.dim = weights_.shape(1);
    table_.weights = Data(weights_);
    for (std::size_t i = 0; i < slots_.size(); ++i) table_.slots[i] = Data(slots_[i]);
    if (average_.has_value()) table_.average = Data(*average_);
    if (row_updates_.has_value()) {
      table_.history.row_updates = row_updates_->mutable_data();
      table_.history.entries = history_->mutable_data();
      table_.history.length = history_->shape(0) - 1;
    }
  }

  void Update(const Array<int64_t>& rows, const Array<C>& values,
              const std::map<std::string, double>& numbers) {
    table_.parameters = ReadParameters(numbers);
    const RowSlices<T> slices = {rows.data(), reinterpret_cast<const T*>(values.data()),
                                 rows.size()};
    PlannedUpdate update;
    ThrowIfError(PlanSlices(table_, slices, threads_, &update));
    update.Make();
  }

  void UpdateEveryRow(const Array<C>& values, const std::map<std::string, double>& numbers) {
    table_.parameters = ReadParameters(numbers);
    PlannedUpdate update;
    ThrowIfError(PlanAll(table_, reinterpret_cast<const T*>(values.data()), threads_, &update));
    update.Make();
  }

  void ApplyPending(const std::optional<Array<int64_t>>& rows,
                    const std::map<std::string, double>& numbers) {
    table_.parameters = ReadParameters(numbers);
    const int64_t* data = rows.has_value() ? rows->data() : nullptr;
    ThrowIfError(
        fastw2v::ApplyPending(table_, data, rows.has_value() ? rows->size() : 0, threads_));
  }

 private:
  static T* Data(Array<C>& array) { return reinterpret_cast<T*>(array.mutable_data()); }

  Array<C> weights_;
  std::vector<Array<C>> slots_;
  std::optional<Array<C>> average_;
  std::optional<Array<int64_t>> row_updates_;
  std::optional<Array<double>> history_;
  PlainThreads threads_;
  OptimizedTable<T> table_;
};

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  using C = CarrierOf<T>;
  py::class_<Optimizer<T>>(module, ("Optimizer_" + dtype).c_str())
      .def(py::init<const std::string&, Array<C>, std::vector<Array<C>>, std::optional<Array<C>>,
                    std::optional<Array<int64_t>>, std::optional<Array<double>>, bool, int>(),
           py::arg("rule"), py::arg("weights"), py::arg("slots"), py::kw_only(),
           py::arg("average") = py::none(), py::arg("row_updates") = py::none(),
           py::arg("history") = py::none(), py::arg("lazy") = true, py::arg("num_threads") = 1)
      .def("update", &Optimizer<T>::Update, py::arg("rows"), py::arg("values"), py::arg("numbers"))
      .def("update_all", &Optimizer<T>::UpdateEveryRow, py::arg("values"), py::arg("numbers"))
      .def("apply_pending", &Optimizer<T>::ApplyPending, py::arg("rows"), py::arg("numbers"));
}

}  // namespace

void BindOptimizers(py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
}

}  // namespace fastw2v
