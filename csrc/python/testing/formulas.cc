// The formulas of csrc/core/loss_formulas.h by themselves, which tests compare with what kernels
// compute by vectors.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <tuple>

#include "csrc/core/loss_formulas.h"
#include "csrc/python/testing/loss_options.h"

namespace fastw2v {
namespace {

namespace py = pybind11;

template <typename A>
void Bind(py::module_& module, const std::string& dtype) {
  const auto name = [&](const char* formula) { return formula + ("_" + dtype); };
  module.def(name("softplus").c_str(), py::vectorize(+[](A x) { return Softplus(x); }));
  module.def(name("sigmoid").c_str(), py::vectorize(+[](A x) { return Sigmoid(x); }));
  module.def(name("cap_logit").c_str(),
             py::vectorize(+[](A x, A cap) { return CapLogit(x, cap).z; }));
  module.def(name("cap_slope").c_str(),
             py::vectorize(+[](A x, A cap) { return CapLogit(x, cap).slope; }));
  module.def(name("label_loss").c_str(), py::vectorize(+[](A positive_target, A above, A below) {
               return LabelLoss(positive_target, above, below);
             }));
  using Sums = std::array<A, 4>;  // max, sum_exp, sum_shifted, classes
  module.def(name("join").c_str(), [](const Sums& x, const Sums& y) -> Sums {
    const PartialSoftmax<A> both =
        Join(PartialSoftmax<A>{x[0], x[1], x[2], x[3]}, PartialSoftmax<A>{y[0], y[1], y[2], y[3]},
             [](A z) { return math::Exp(z); });
    return {both.max, both.sum_exp, both.sum_shifted, both.classes};
  });
  module.def(name("one_class").c_str(), [](A z) -> Sums {
    const PartialSoftmax<A> one = OneClass(z);
    return {one.max, one.sum_exp, one.sum_shifted, one.classes};
  });
  module.def(name("softmax_loss").c_str(),
             py::vectorize(+[](double label_smoothing, double z_loss, int64_t classes, A max,
                               A log_sum, A below_max, A sum_shifted) {
               LossOptions options;
               options.label_smoothing = label_smoothing;
               options.z_loss = z_loss;
               return SoftmaxLoss(MakeLossNumbers<A>(options, classes), max, log_sum, below_max,
                                  sum_shifted);
             }));
  module.def(
      name("gradient_terms").c_str(),
      [](double label_smoothing, double z_loss, int64_t classes, A d_loss, A max, A log_sum,
         int64_t num_labels) {
        LossOptions options;
        options.label_smoothing = label_smoothing;
        options.z_loss = z_loss;
        const GradientTerms<A> terms = MakeGradientTerms(MakeLossNumbers<A>(options, classes),
                                                         d_loss, max, log_sum, num_labels);
        return std::make_tuple(terms.scale, terms.shift, terms.target);
      },
      "(scale, shift, target) of a softmax.");
}

}  // namespace

void BindFormulas(py::module_& module) {
  py::module_ formulas = module.def_submodule("formulas");
  Bind<float>(formulas, "float32");
  Bind<double>(formulas, "float64");
}

}  // namespace fastw2v
