// csrc/cuda/optimizer/optimizer.h: tables are changed in place.
#include "csrc/cuda/optimizer/optimizer.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/python/testing/cuda/device_array.h"
#include "csrc/python/testing/hyperparameters.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
class CudaOptimizer {
  using Tensor = DeviceArray<T>;
  using Rows = DeviceArray<const int64_t>;
  using Values = DeviceArray<const T>;
  using Numbers = std::map<std::string, double>;

 public:
  CudaOptimizer(const std::string& rule, Tensor weights, std::vector<Tensor> slots,
                std::optional<Tensor> average, std::optional<DeviceArray<int64_t>> row_updates,
                std::optional<DeviceArray<double>> history, bool lazy)
      : weights_(std::move(weights)),
        slots_(std::move(slots)),
        average_(std::move(average)),
        row_updates_(std::move(row_updates)),
        history_(std::move(history)) {
    ThrowIfError(ParseUpdateRule(rule, &table_.rule));
    if (static_cast<int>(slots_.size()) != NumSlots(table_.rule)) {
      throw py::value_error("wrong number of slots");
    }
    if (weights_.rank() != 2) throw py::value_error("weights must have rank 2");
    table_.lazy = lazy;
    table_.rows = weights_.shape(0);
    table_.dim = weights_.shape(1);
    table_.weights = weights_.data();
    const bool by_row = table_.rule == UpdateRule::kRowwiseAdagrad;
    const std::vector<int64_t> whole = {table_.rows, table_.dim}, one_each = {table_.rows};
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      table_.slots[i] = slots_[i].Shaped("slots", by_row ? one_each : whole).data();
    }
    if (average_.has_value()) table_.average = average_->Shaped("average", whole).data();
    if (row_updates_.has_value()) {
      const int64_t entries = history_->rank() == 2 ? history_->shape(0) : 0;
      table_.history.row_updates = row_updates_->Shaped("row_updates", one_each).data();
      table_.history.entries =
          history_->Shaped("history", {entries, UpdateHistory::kColumns}).data();
      table_.history.length = entries - 1;
    }
  }

  std::size_t ScratchBytes(int64_t count) const {
    return cuda::UpdateSlicesScratchBytes(table_, count);
  }

  void UpdateRows(const Rows& rows, const Values& values, const Numbers& numbers,
                  std::uintptr_t stream) {
    table_.parameters = ReadParameters(numbers);
    ThrowIfError(cuda::UpdateRows(table_, Slices(rows, values), StreamAt(stream)));
  }

  void Update(const Rows& rows, const Values& values, const Numbers& numbers,
              const DeviceArray<uint8_t>& scratch, std::uintptr_t stream) {
    table_.parameters = ReadParameters(numbers);
    void* memory = ScratchData(scratch, ScratchBytes(rows.size()));
    ThrowIfError(cuda::UpdateSlices(table_, Slices(rows, values), StreamAt(stream), memory));
  }

  void UpdateAll(const Values& values, const Numbers& numbers, std::uintptr_t stream) {
    table_.parameters = ReadParameters(numbers);
    const T* data = values.Shaped("values", {table_.rows, table_.dim}).data();
    ThrowIfError(cuda::UpdateAll(table_, data, StreamAt(stream)));
  }

  void ApplyPending(const std::optional<Rows>& rows, const Numbers& numbers,
                    std::uintptr_t stream) {
    table_.parameters = ReadParameters(numbers);
    const int64_t* data = rows.has_value() ? rows->data() : nullptr;
    ThrowIfError(
        cuda::ApplyPending(table_, data, rows.has_value() ? rows->size() : 0, StreamAt(stream)));
  }

 private:
  RowSlices<T> Slices(const Rows& rows, const Values& values) const {
    return {rows.data(), values.Shaped("values", {rows.size(), table_.dim}).data(), rows.size()};
  }

  Tensor weights_;
  std::vector<Tensor> slots_;
  std::optional<Tensor> average_;
  std::optional<DeviceArray<int64_t>> row_updates_;
  std::optional<DeviceArray<double>> history_;
  OptimizedTable<T> table_;
};

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  using Optimizer = CudaOptimizer<T>;
  using Tensor = DeviceArray<T>;
  py::class_<Optimizer>(module, ("Optimizer_" + dtype).c_str())
      .def(
          py::init<const std::string&, Tensor, std::vector<Tensor>, std::optional<Tensor>,
                   std::optional<DeviceArray<int64_t>>, std::optional<DeviceArray<double>>, bool>(),
          py::arg("rule"), py::arg("weights"), py::arg("slots"), py::kw_only(),
          py::arg("average") = py::none(), py::arg("row_updates") = py::none(),
          py::arg("history") = py::none(), py::arg("lazy") = true)
      .def("scratch_bytes", &Optimizer::ScratchBytes, py::arg("count"), "Of update.")
      .def("update_rows", &Optimizer::UpdateRows, py::arg("rows"), py::arg("values"),
           py::arg("numbers"), py::kw_only(), py::arg("stream") = 0,
           "One step with ascending, padded rows.")
      .def("update", &Optimizer::Update, py::arg("rows"), py::arg("values"), py::arg("numbers"),
           py::arg("scratch"), py::kw_only(), py::arg("stream") = 0,
           "One step with rows in any order.")
      .def("update_all", &Optimizer::UpdateAll, py::arg("values"), py::arg("numbers"),
           py::kw_only(), py::arg("stream") = 0)
      .def("apply_pending", &Optimizer::ApplyPending, py::arg("rows"), py::arg("numbers"),
           py::kw_only(), py::arg("stream") = 0, "Applies the pending updates of rows, or of all.");
}

const CudaBindings bindings([](py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
});

}  // namespace
}  // namespace fastw2v
