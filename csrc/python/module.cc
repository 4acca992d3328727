// The core on NumPy arrays, for tests and benchmarks without TensorFlow.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "csrc/cpu/kernels/kernels.h"
#include "csrc/python/support.h"

namespace fastw2v {
#if defined(FASTW2V_CUDA)
void BindCuda(pybind11::module_& module);
#endif
void BindFormulas(pybind11::module_& module);
void BindIdTables(pybind11::module_& module);
void BindLosses(pybind11::module_& module);
void BindOptimizers(pybind11::module_& module);
void BindSamplers(pybind11::module_& module);
void BindWord2Vec(pybind11::module_& module);
void BindSkipGrams(pybind11::module_& module);
void BindSubwords(pybind11::module_& module);
void BindText(pybind11::module_& module);
void BindTopK(pybind11::module_& module);
void BindUpdateNumbers(pybind11::module_& module);
}  // namespace fastw2v

PYBIND11_MODULE(_kernels, module) {
  namespace py = pybind11;
  using namespace fastw2v;
  module.doc() = "fastw2v's kernels on NumPy arrays; the public interface is fastw2v itself.";
  module.def(
      "instruction_set", [] { return std::string(cpu::ActiveKernels().name); },
      "The instruction set in use.");
  module.def("instruction_sets", &cpu::AvailableKernels,
             "The instruction sets that this processor and build have, each with those before it.");
  module.def(
      "select_instruction_set",
      [](const std::string& name) { ThrowIfError(cpu::SelectKernels(name)); }, py::arg("name"),
      "Uses another instruction set from here on.");
#if defined(FASTW2V_CUDA)
  BindCuda(module);
#endif
  BindFormulas(module);
  BindIdTables(module);
  BindLosses(module);
  BindOptimizers(module);
  BindSamplers(module);
  BindWord2Vec(module);
  BindSkipGrams(module);
  BindSubwords(module);
  BindText(module);
  BindTopK(module);
  BindUpdateNumbers(module);
}
