// What fastw2v/optimizers must know of csrc/core to call the ops that update tables.
#include <pybind11/pybind11.h>

#include "csrc/core/lasting_numbers.h"
#include "csrc/core/update_history.h"

namespace fastw2v {

namespace py = pybind11;

void BindUpdateNumbers(py::module_& module) {
  module.def(
      "update_numbers",
      [] {
        const Hyperparameters unset;
        py::dict numbers;
        for (const NamedNumber& each : kLastingNumbers) numbers[each.name] = unset.*each.number;
        return numbers;
      },
      "The input `hyperparameters` of ops that update tables: names, in order, and what a rule "
      "that "
      "does not read a number is given for it.");
  module.attr("HISTORY_COLUMNS") = UpdateHistory::kColumns;
}

}  // namespace fastw2v
