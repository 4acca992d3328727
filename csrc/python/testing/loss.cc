// csrc/core/loss.h and gather.h on NumPy arrays. 16-bit tables come as uint16 bit patterns with the
// name of their type, since NumPy has no bfloat16 of its own.
#include "csrc/core/loss.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <numeric>
#include <optional>
#include <string>
#include <tuple>

#include "csrc/core/gather.h"
#include "csrc/python/support.h"
#include "csrc/python/testing/loss_options.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename T>
class Loss {
  using A = Accumulator<T>;
  using C = CarrierOf<T>;

 public:
  Loss(Array<A> hidden, Array<C> weights, std::optional<Array<C>> biases, Array<int64_t> labels,
       std::optional<Array<int64_t>> sampled,
       std::optional<std::tuple<Array<float>, Array<float>>> counts, int num_threads,
       const py::kwargs& options)
      : hidden_(hidden),
        weights_(weights),
        biases_(biases),
        labels_(labels),
        sampled_(sampled),
        counts_(counts),
        threads_(num_threads) {
    CheckRank(hidden_, "hidden", 2);
    CheckRank(weights_, "weights", 2);
    CheckRank(labels_, "labels", 2);
    problem_.batch = labels_.shape(0);
    problem_.num_true = labels_.shape(1);
    if (hidden_.shape(0) != problem_.batch || hidden_.shape(1) != weights_.shape(1)) {
      throw py::value_error("hidden must be [batch of labels, width of weights]");
    }
    problem_.hidden = hidden_.data();
    problem_.weights = Table<const T>(Data(weights_), weights_.shape(0), weights_.shape(1));
    if (biases_.has_value()) {
      problem_.biases = Table<const T>(Data(*biases_), biases_->size(), 1);
    }
    problem_.labels = labels_.data();
    if (sampled_.has_value()) {
      const bool shared = sampled_->ndim() == 1;
      if (!shared && (sampled_->ndim() != 2 || sampled_->shape(0) != problem_.batch)) {
        throw py::value_error("sampled must be [num_sampled] or [batch, num_sampled]");
      }
      problem_.candidates = shared ? Candidates::kShared : Candidates::kPerExample;
      problem_.sampled = sampled_->data();
      problem_.num_sampled = sampled_->shape(sampled_->ndim() - 1);
    }
    if (counts_.has_value()) {
      const auto& [true_count, sampled_count] = *counts_;
      if (!sampled_.has_value() || true_count.size() != labels_.size() ||
          sampled_count.size() != sampled_->size()) {
        throw py::value_error("counts must be as many as labels and sampled classes");
      }
      problem_.true_expected_count = true_count.data();
      problem_.sampled_expected_count = sampled_count.data();
    }
    problem_.options = MakeLossOptions(options);
    ThrowIfError(CheckLossProblem(problem_));
  }

  // loss, max, log_sum.
  std::tuple<Array<A>, Array<A>, Array<A>> Forward() const {
    Array<A> loss(problem_.batch), max(problem_.batch), log_sum(problem_.batch);
    const AlignedMemory scratch(LossForwardScratchBytes(problem_, threads_));
    LossForward(problem_, threads_, scratch.data(), loss.mutable_data(),
                Normalizer<A>{max.mutable_data(), log_sum.mutable_data()});
    return {loss, max, log_sum};
  }

  // d_hidden, rows of weights, d_weights, d_biases; all rows where all classes compete.
  using Gradients = std::tuple<Array<A>, Array<int64_t>, Array<C>, Array<C>>;

  Gradients Backward(const Array<A>& d_loss, const Array<A>& max, const Array<A>& log_sum) const {
    for (const Array<A>* vector : {&d_loss, &max, &log_sum}) CheckBatch(*vector);
    const Normalizer<const A> normalizer = {max.data(), log_sum.data()};
    const AlignedMemory scratch(LossBackwardScratchBytes(problem_, threads_));
    return MakeGradients(
        [&](A* d_hidden, const Table<T>& d_weights, const Table<T>& d_biases) {
          ExactLossBackward(problem_, d_loss.data(), normalizer, threads_, scratch.data(), d_hidden,
                            d_weights, d_biases);
        },
        [&](A* d_hidden) {
          return SampledLossBackward(problem_, d_loss.data(), normalizer, threads_, scratch.data(),
                                     d_hidden);
        });
  }

  // loss, max and log_sum, followed by what Backward() returns.
  std::tuple<std::tuple<Array<A>, Array<A>, Array<A>>, Gradients> ForwardBackward(
      const Array<A>& d_loss) const {
    CheckBatch(d_loss);
    Array<A> loss(problem_.batch), max(problem_.batch), log_sum(problem_.batch);
    const Normalizer<A> normalizer = {max.mutable_data(), log_sum.mutable_data()};
    const AlignedMemory scratch(LossWithGradientsScratchBytes(problem_, threads_));
    Gradients gradients = MakeGradients(
        [&](A* d_hidden, const Table<T>& d_weights, const Table<T>& d_biases) {
          ExactLossWithGradients(problem_, d_loss.data(), threads_, scratch.data(),
                                 loss.mutable_data(), normalizer, d_hidden, d_weights, d_biases);
        },
        [&](A* d_hidden) {
          return SampledLossWithGradients(problem_, d_loss.data(), threads_, scratch.data(),
                                          loss.mutable_data(), normalizer, d_hidden);
        });
    return {{loss, max, log_sum}, gradients};
  }

 private:
  void CheckBatch(const Array<A>& vector) const {
    if (vector.size() != problem_.batch) throw py::value_error("expected [batch]");
  }

  // Allocates the results of one of two calls into the core and makes it.
  template <typename Exact, typename Sampled>
  Gradients MakeGradients(Exact exact, Sampled sampled) const {
    const int64_t classes = problem_.classes(), dim = problem_.dim();
    Array<A> d_hidden({problem_.batch, dim});
    if (problem_.candidates == Candidates::kAll) {
      Array<int64_t> rows(classes);
      std::iota(rows.mutable_data(), rows.mutable_data() + classes, 0);
      Array<C> d_weights({classes, dim}), d_biases(classes);
      exact(d_hidden.mutable_data(), Table<T>(MutableData(d_weights), classes, dim),
            Table<T>(MutableData(d_biases), classes, 1));
      return {d_hidden, rows, d_weights, d_biases};
    }
    const RowGradient<A> gradient = sampled(d_hidden.mutable_data());
    const int64_t count = gradient.num_rows();
    Array<int64_t> rows(count);
    for (int64_t u = 0; u < count; ++u) rows.mutable_data()[u] = gradient.Row(u);
    Array<C> d_weights({count, dim}), d_biases(count);
    SumTerms<T>(gradient, 0, count, dim, threads_, MutableData(d_weights));
    SumBiasTerms<T>(gradient, 0, count, MutableData(d_biases));
    return {d_hidden, rows, d_weights, d_biases};
  }

  static const T* Data(const Array<C>& array) { return reinterpret_cast<const T*>(array.data()); }
  static T* MutableData(Array<C>& array) { return reinterpret_cast<T*>(array.mutable_data()); }

  Array<A> hidden_;
  Array<C> weights_;
  std::optional<Array<C>> biases_;
  Array<int64_t> labels_;
  std::optional<Array<int64_t>> sampled_;
  std::optional<std::tuple<Array<float>, Array<float>>> counts_;
  PlainThreads threads_;
  LossProblem<T> problem_;
};

template <typename T>
class Gather {
  using A = Accumulator<T>;
  using C = CarrierOf<T>;

 public:
  Gather(Array<C> embeddings, Array<int64_t> ids, std::optional<Array<int64_t>> row_splits,
         const std::string& combiner, int num_threads)
      : embeddings_(embeddings), ids_(ids), row_splits_(row_splits), threads_(num_threads) {
    CheckRank(embeddings_, "embeddings", 2);
    if (combiner != "mean" && combiner != "sum") {
      throw py::value_error("combiner = \"" + combiner + "\" is not \"mean\" or \"sum\"");
    }
    if (row_splits_.has_value() && row_splits_->size() == 0) {
      throw py::value_error("row_splits is empty; it must have batch + 1 entries");
    }
    bags_.ids = ids_.data();
    bags_.num_ids = ids_.size();
    bags_.batch = row_splits_.has_value() ? row_splits_->size() - 1 : ids_.shape(0);
    bags_.padded = !row_splits_.has_value() && ids_.ndim() == 2;
    bags_.width = bags_.padded ? ids_.shape(1) : 1;
    bags_.row_splits = row_splits_.has_value() ? row_splits_->data() : nullptr;
    bags_.combiner = combiner == "mean" ? Combiner::kMean : Combiner::kSum;
    ThrowIfError(CheckBags(bags_, embeddings_.shape(0)));
  }

  Array<A> Forward() const {
    Array<A> hidden({bags_.batch, dim()});
    const Table<const T> table(reinterpret_cast<const T*>(embeddings_.data()), embeddings_.shape(0),
                               dim());
    GatherBags<T>(table, bags_, threads_, hidden.mutable_data());
    return hidden;
  }

  std::tuple<Array<int64_t>, Array<C>> Backward(const Array<A>& d_hidden) const {
    const RowGradient<A> gradient = SortTerms(BagTerms(bags_, d_hidden.data(), dim()));
    const int64_t count = gradient.num_rows();
    Array<int64_t> rows(count);
    for (int64_t u = 0; u < count; ++u) rows.mutable_data()[u] = gradient.Row(u);
    Array<C> values({count, dim()});
    SumTerms<T>(gradient, 0, count, dim(), threads_, reinterpret_cast<T*>(values.mutable_data()));
    return {rows, values};
  }

 private:
  int64_t dim() const { return embeddings_.shape(1); }

  Array<C> embeddings_;
  Array<int64_t> ids_;
  std::optional<Array<int64_t>> row_splits_;
  PlainThreads threads_;
  Bags bags_;
};

template <typename T>
void Bind(py::module_& module, const std::string& dtype) {
  using A = Accumulator<T>;
  using C = CarrierOf<T>;
  py::class_<Loss<T>>(module, ("Loss_" + dtype).c_str())
      .def(
          py::init<Array<A>, Array<C>, std::optional<Array<C>>, Array<int64_t>,
                   std::optional<Array<int64_t>>,
                   std::optional<std::tuple<Array<float>, Array<float>>>, int, const py::kwargs&>(),
          py::arg("hidden"), py::arg("weights"), py::arg("biases"), py::arg("labels"),
          py::arg("sampled") = py::none(), py::arg("counts") = py::none(), py::kw_only(),
          py::arg("num_threads") = 1, "Options by their names in LossOptions.")
      .def("forward", &Loss<T>::Forward)
      .def("backward", &Loss<T>::Backward, py::arg("d_loss"), py::arg("max"), py::arg("log_sum"))
      .def("forward_backward", &Loss<T>::ForwardBackward, py::arg("d_loss"));
  py::class_<Gather<T>>(module, ("Gather_" + dtype).c_str())
      .def(py::init<Array<C>, Array<int64_t>, std::optional<Array<int64_t>>, const std::string&,
                    int>(),
           py::arg("embeddings"), py::arg("ids"), py::arg("row_splits") = py::none(), py::kw_only(),
           py::arg("combiner") = "mean", py::arg("num_threads") = 1)
      .def("forward", &Gather<T>::Forward)
      .def("backward", &Gather<T>::Backward, py::arg("d_hidden"));
}

}  // namespace

void BindLosses(py::module_& module) {
  Bind<float>(module, "float32");
  Bind<double>(module, "float64");
  Bind<Half>(module, "float16");
  Bind<BFloat16>(module, "bfloat16");
}

}  // namespace fastw2v
