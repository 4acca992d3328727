// csrc/core/id_table.h on NumPy arrays.
#include "csrc/core/id_table.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <vector>

#include "csrc/python/support.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

// A table of ids with memory of its own, which grows.
class GrowingIds {
 public:
  GrowingIds(int64_t min_count, int64_t max_rows, int64_t expire_after, bool zero_is_padding)
      : counters_{/*rows=*/1, 0, 0, 0, 0} {
    if (min_count < 1 || max_rows < 1 || max_rows >= IdTable::kMaxCapacity || expire_after < 0) {
      throw py::value_error("min_count, max_rows or expire_after is out of range");
    }
    rules_ = {min_count, max_rows, expire_after, zero_is_padding};
    candidates_.resize(min_count > 1 ? IdTable::kCandidates : 0);
    Resize(1);
  }

  Array<int64_t> Find(const Array<int64_t>& ids, int num_threads) {
    Array<int64_t> rows(ids.size());
    const PlainThreads threads(num_threads);
    const IdTable table = View();
    ThrowIfError(CheckIdTable(table));
    FindRows(table, ids.data(), ids.size(), threads, rows.mutable_data());
    return rows;
  }

  // Rows of the ids, and the rows that were given.
  py::tuple Give(const Array<int64_t>& ids, int num_threads) {
    Array<int64_t> rows(ids.size());
    const PlainThreads threads(num_threads);
    ThrowIfError(CheckIdTable(View()));
    FindRows(View(), ids.data(), ids.size(), threads, rows.mutable_data());
    const int64_t missing = NumNewIds(ids.data(), rows.data(), ids.size(), rules_);
    const int64_t needed = std::min(rules_.max_rows + 1, counters_.rows + missing);
    if (needed > static_cast<int64_t>(records_.size())) Resize(needed);
    std::vector<int64_t> born;
    born.reserve(missing);
    GiveRows(View(), ids.data(), ids.size(), rules_, threads, rows.mutable_data(), &born);
    return py::make_tuple(rows, Array<int64_t>(born.size(), born.data()));
  }

  int64_t rows() const { return counters_.rows; }
  int64_t births() const { return counters_.births; }

 private:
  IdTable View() {
    return {static_cast<int64_t>(records_.size()),
            records_.data(),
            static_cast<int64_t>(slots_.size()),
            slots_.data(),
            &counters_,
            candidates_.empty() ? nullptr : candidates_.data()};
  }

  void Resize(int64_t capacity) {
    std::vector<IdRecord> records(capacity);
    std::vector<IdSlot> slots(IdTable::NumSlots(capacity));
    const IdTable old = View();
    records_.swap(records);
    slots_.swap(slots);
    CopyIdTable(old, View());
  }

  IdRules rules_;
  IdCounters counters_;
  std::vector<IdRecord> records_;
  std::vector<IdSlot> slots_;
  std::vector<IdCandidate> candidates_;
};

template <typename T>
void BindDrawRow(py::module_& module, const char* name) {
  module.def(
      name,
      [](int64_t seed, int64_t id, double low, double high, int64_t dim) {
        Array<CarrierOf<T>> row(dim);
        DrawRow<T>(seed, id, low, high, dim, reinterpret_cast<T*>(row.mutable_data()));
        return row;
      },
      py::arg("seed"), py::arg("id"), py::arg("low"), py::arg("high"), py::arg("dim"),
      "The first values of the row of an id.");
}

}  // namespace

void BindIdTables(py::module_& module) {
  py::class_<GrowingIds>(module, "IdTable")
      .def(py::init<int64_t, int64_t, int64_t, bool>(), py::kw_only(), py::arg("min_count") = 1,
           py::arg("max_rows") = IdTable::kMaxCapacity - 1, py::arg("expire_after") = 0,
           py::arg("zero_is_padding") = false)
      .def("find", &GrowingIds::Find, py::arg("ids"), py::arg("num_threads") = 1)
      .def("give", &GrowingIds::Give, py::arg("ids"), py::arg("num_threads") = 1)
      .def_property_readonly("rows", &GrowingIds::rows)
      .def_property_readonly("births", &GrowingIds::births);
  BindDrawRow<float>(module, "draw_row_float32");
  BindDrawRow<double>(module, "draw_row_float64");
  BindDrawRow<Half>(module, "draw_row_float16");
  BindDrawRow<BFloat16>(module, "draw_row_bfloat16");
}

}  // namespace fastw2v
