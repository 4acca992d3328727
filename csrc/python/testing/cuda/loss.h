// What the bindings of both losses share: the problem from its arrays.
#ifndef FASTW2V_PYTHON_TESTING_CUDA_LOSS_H_
#define FASTW2V_PYTHON_TESTING_CUDA_LOSS_H_

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "csrc/cuda/loss/loss.h"
#include "csrc/python/testing/cuda/device_array.h"
#include "csrc/python/testing/loss_options.h"

namespace fastw2v {

// Holds the arrays as long as the problem that points to them.
template <typename T>
class CudaLoss {
 public:
  using A = Accumulator<T>;
  using Tensor = DeviceArray<const T>;
  using Ids = DeviceArray<const int64_t>;
  using Counts = DeviceArray<const float>;

  CudaLoss(Tensor hidden, Tensor weights, std::optional<Tensor> biases, Ids labels,
           std::optional<Ids> ids, std::optional<Ids> sampled,
           std::optional<std::tuple<Counts, Counts>> counts, bool allow_tf32, int64_t first_class,
           int64_t part_of, const pybind11::kwargs& options)
      : hidden_(std::move(hidden)),
        weights_(std::move(weights)),
        biases_(std::move(biases)),
        labels_(std::move(labels)),
        ids_(std::move(ids)),
        sampled_(std::move(sampled)),
        counts_(std::move(counts)) {
    if (hidden_.rank() != 2 || weights_.rank() != 2 || labels_.rank() != 2) {
      throw pybind11::value_error("hidden, weights and labels must have rank 2");
    }
    problem_.batch = labels_.shape(0);
    problem_.num_true = labels_.shape(1);
    problem_.labels = labels_.data();
    problem_.classes = weights_.shape(0);
    problem_.dim = weights_.shape(1);
    problem_.weights = weights_.data();
    problem_.hidden_rows = ids_.has_value() ? hidden_.shape(0) : problem_.batch;
    problem_.hidden = hidden_.Shaped("hidden", {problem_.hidden_rows, problem_.dim}).data();
    if (ids_.has_value()) problem_.ids = ids_->Shaped("ids", {problem_.batch}).data();
    if (biases_.has_value()) problem_.biases = biases_->Shaped("biases", {problem_.classes}).data();
    if (sampled_.has_value()) {
      const bool shared = sampled_->rank() == 1;
      problem_.candidates = shared ? Candidates::kShared : Candidates::kPerExample;
      problem_.num_sampled = sampled_->shape(sampled_->rank() - 1);
      if (!shared) sampled_->Shaped("sampled", {problem_.batch, problem_.num_sampled});
      problem_.sampled = sampled_->data();
    }
    if (counts_.has_value()) {
      const auto& [true_count, sampled_count] = *counts_;
      if (!sampled_.has_value() || true_count.size() != labels_.size() ||
          sampled_count.size() != sampled_->size()) {
        throw pybind11::value_error("counts must be as many as labels and sampled classes");
      }
      problem_.true_expected_count = true_count.data();
      problem_.sampled_expected_count = sampled_count.data();
    }
    problem_.options = MakeLossOptions(options);
    problem_.allow_tf32 = allow_tf32;
    problem_.first_class = first_class;
    problem_.part_of = part_of;
    ThrowIfError(cuda::CheckLossProblem(problem_));
  }

 protected:
  // What a call takes besides the problem: arrays [batch], and gradients that may not be wanted.
  using Batch = DeviceArray<A>;
  using ConstBatch = DeviceArray<const A>;
  using Rows = std::optional<DeviceArray<A>>;

  template <typename E>
  E* OneEach(const char* name, const DeviceArray<E>& array) const {
    return array.Shaped(name, {problem_.batch}).data();
  }
  template <typename E>
  Normalizer<E> MakeNormalizer(const DeviceArray<E>& max, const DeviceArray<E>& log_sum) const {
    return {OneEach("max", max), OneEach("log_sum", log_sum)};
  }
  template <typename E>
  static E* Wanted(const char* name, const std::optional<DeviceArray<E>>& array,
                   const std::vector<int64_t>& shape) {
    return array.has_value() ? array->Shaped(name, shape).data() : nullptr;
  }
  A* HiddenGradient(const Rows& d_hidden) const {
    return Wanted("d_hidden", d_hidden, {problem_.batch, problem_.dim});
  }

  cuda::LossProblem<T> problem_;

 private:
  Tensor hidden_, weights_;
  std::optional<Tensor> biases_;
  Ids labels_;
  std::optional<Ids> ids_, sampled_;
  std::optional<std::tuple<Counts, Counts>> counts_;
};

// The class of Python with the constructor that both losses have.
template <typename Loss, typename T>
pybind11::class_<Loss> BindCudaLoss(pybind11::module_& module, const std::string& name) {
  namespace py = pybind11;
  using Base = CudaLoss<T>;
  using Tensor = typename Base::Tensor;
  using Ids = typename Base::Ids;
  using Counts = typename Base::Counts;
  return py::class_<Loss>(module, name.c_str())
      .def(py::init<Tensor, Tensor, std::optional<Tensor>, Ids, std::optional<Ids>,
                    std::optional<Ids>, std::optional<std::tuple<Counts, Counts>>, bool, int64_t,
                    int64_t, const py::kwargs&>(),
           py::arg("hidden"), py::arg("weights"), py::arg("biases"), py::arg("labels"),
           py::kw_only(), py::arg("ids") = py::none(), py::arg("sampled") = py::none(),
           py::arg("counts") = py::none(), py::arg("allow_tf32") = false,
           py::arg("first_class") = 0, py::arg("part_of") = 0,
           "Options by their names in LossOptions.");
}

}  // namespace fastw2v

#endif  // FASTW2V_PYTHON_TESTING_CUDA_LOSS_H_
