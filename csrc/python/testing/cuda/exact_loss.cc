// The exact loss of csrc/cuda/loss/loss.h, and of parts of the classes.
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "csrc/core/softmax_parts.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/softmax_parts.h"
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

  void ForwardPart(const DeviceArray<A>& statistics, const DeviceArray<uint8_t>& scratch,
                   std::uintptr_t stream) const {
    const int64_t batch = this->problem_.batch;
    A* const data = statistics.Shaped("statistics", {kPartStatistics, batch}).data();
    ThrowIfError(cuda::SoftmaxPartForward(
        this->problem_, StreamAt(stream), ScratchData(scratch, ScratchBytes()),
        {data, data + batch, data + 2 * batch, data + 3 * batch}));
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
      .def("forward_part", &Loss::ForwardPart, py::arg("statistics"), py::arg("scratch"),
           py::kw_only(), py::arg("stream") = 0)
      .def("backward", &Loss::Backward, py::arg("d_loss"), py::arg("max"), py::arg("log_sum"),
           py::arg("d_hidden"), py::arg("d_weights"), py::arg("d_biases"), py::arg("scratch"),
           py::kw_only(), py::arg("stream") = 0)
      .def("forward_backward", &Loss::ForwardBackward, py::arg("d_loss"), py::arg("loss"),
           py::arg("max"), py::arg("log_sum"), py::arg("d_hidden"), py::arg("d_weights"),
           py::arg("d_biases"), py::arg("scratch"), py::kw_only(), py::arg("stream") = 0);
}

template <typename A>
void BindParts(py::module_& module, const std::string& dtype) {
  using Numbers = DeviceArray<const int64_t>;
  using Batch = DeviceArray<A>;
  module.def(
      ("join_softmax_parts_" + dtype).c_str(),
      [](const DeviceArray<const A>& statistics, const Numbers& part_classes, const Numbers& labels,
         const Batch& loss, const Batch& max, const Batch& log_sum, std::uintptr_t stream,
         const py::kwargs& options) {
        if (part_classes.rank() != 1 || labels.rank() != 2) {
          throw py::value_error("part_classes must have rank 1 and labels rank 2");
        }
        SoftmaxParts<A> parts;
        parts.batch = labels.shape(0);
        parts.num_true = labels.shape(1);
        parts.labels = labels.data();
        parts.num_parts = part_classes.shape(0);
        parts.part_classes = part_classes.data();
        parts.statistics =
            statistics.Shaped("statistics", {parts.num_parts, kPartStatistics, parts.batch}).data();
        parts.options = MakeLossOptions(options);
        ThrowIfError(cuda::CheckSoftmaxParts(parts));
        ThrowIfError(cuda::JoinSoftmaxParts<A>(parts, StreamAt(stream),
                                               loss.Shaped("loss", {parts.batch}).data(),
                                               {max.Shaped("max", {parts.batch}).data(),
                                                log_sum.Shaped("log_sum", {parts.batch}).data()}));
      },
      py::arg("statistics"), py::arg("part_classes"), py::arg("labels"), py::arg("loss"),
      py::arg("max"), py::arg("log_sum"), py::kw_only(), py::arg("stream") = 0,
      "Options by their names in LossOptions.");
}

const CudaBindings bindings([](py::module_& module) {
  BindParts<float>(module, "float32");
  BindParts<double>(module, "float64");
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
});

}  // namespace
}  // namespace fastw2v
