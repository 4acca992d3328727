// The exact loss of csrc/cuda/loss/loss.h.
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "csrc/cuda/loss/loss.h"
#include "csrc/python/testing/cuda/loss.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
class ExactLoss final : public CudaLoss<T> {
  using Base = CudaLoss<T>;
  using A = Accumulator<T>;
  using typename Base::Batch, typename Base::ConstBatch, typename Base::Rows;
  using Gradient = std::optional<DeviceArray<T>>;

 public:
  using Base::Base;

  std::size_t ScratchBytes() const {
    return cuda::ExactLossScratchBytes(this->problem_, StreamAt(0).device);
  }

  void Forward(const Batch& loss, const Batch& max, const Batch& log_sum,
               const DeviceArray<uint8_t>& scratch, std::uintptr_t stream) const {
    ThrowIfError(cuda::ExactLossForward(
        this->problem_, StreamAt(stream), ScratchData(scratch, ScratchBytes()),
        this->OneEach("loss", loss), this->MakeNormalizer(max, log_sum)));
  }

  void Backward(const ConstBatch& d_loss, const ConstBatch& max, const ConstBatch& log_sum,
                const Rows& d_hidden, const Gradient& d_weights, const Gradient& d_biases,
                const DeviceArray<uint8_t>& scratch, std::uintptr_t stream) const {
    ThrowIfError(cuda::ExactLossBackward(
        this->problem_, this->OneEach("d_loss", d_loss), this->MakeNormalizer(max, log_sum),
        StreamAt(stream), ScratchData(scratch, ScratchBytes()), this->HiddenGradient(d_hidden),
        Weights(d_weights), Biases(d_biases)));
  }

  void ForwardBackward(const ConstBatch& d_loss, const Batch& loss, const Batch& max,
                       const Batch& log_sum, const Rows& d_hidden, const Gradient& d_weights,
                       const Gradient& d_biases, const DeviceArray<uint8_t>& scratch,
                       std::uintptr_t stream) const {
    ThrowIfError(cuda::ExactLossWithGradients(
        this->problem_, this->OneEach("d_loss", d_loss), StreamAt(stream),
        ScratchData(scratch, ScratchBytes()), this->OneEach("loss", loss),
        this->MakeNormalizer(max, log_sum), this->HiddenGradient(d_hidden), Weights(d_weights),
        Biases(d_biases)));
  }

 private:
  T* Weights(const Gradient& d_weights) const {
    return this->Wanted("d_weights", d_weights, {this->problem_.classes, this->problem_.dim});
  }
  T* Biases(const Gradient& d_biases) const {
    return this->Wanted("d_biases", d_biases, {this->problem_.classes});
  }
};

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  using Loss = ExactLoss<T>;
  BindCudaLoss<Loss, T>(module, "ExactLoss_" + dtype)
      .def("scratch_bytes", &Loss::ScratchBytes)
      .def("forward", &Loss::Forward, py::arg("loss"), py::arg("max"), py::arg("log_sum"),
           py::arg("scratch"), py::kw_only(), py::arg("stream") = 0)
      .def("backward", &Loss::Backward, py::arg("d_loss"), py::arg("max"), py::arg("log_sum"),
           py::arg("d_hidden"), py::arg("d_weights"), py::arg("d_biases"), py::arg("scratch"),
           py::kw_only(), py::arg("stream") = 0)
      .def("forward_backward", &Loss::ForwardBackward, py::arg("d_loss"), py::arg("loss"),
           py::arg("max"), py::arg("log_sum"), py::arg("d_hidden"), py::arg("d_weights"),
           py::arg("d_biases"), py::arg("scratch"), py::kw_only(), py::arg("stream") = 0);
}

const CudaBindings bindings([](py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
});

}  // namespace
}  // namespace fastw2v
