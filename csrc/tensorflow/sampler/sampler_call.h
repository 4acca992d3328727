// The arguments of Fastw2v>CandidateSampler, read and checked, and its outputs.
#ifndef FASTW2V_TENSORFLOW_SAMPLER_SAMPLER_CALL_H_
#define FASTW2V_TENSORFLOW_SAMPLER_SAMPLER_CALL_H_

#include <functional>
#include <string>

#include "csrc/core/sampler.h"
#include "csrc/tensorflow/support/adapter.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

struct SamplerAttributes {
  std::string sampler;
  int64_t num_sampled = 1, range_max = 1;
  bool unique = true, per_example = false;

  absl::Status Read(tensorflow::OpKernelConstruction* context) {
    TF_RETURN_IF_ERROR(context->GetAttr("sampler", &sampler));
    TF_RETURN_IF_ERROR(context->GetAttr("num_sampled", &num_sampled));
    TF_RETURN_IF_ERROR(context->GetAttr("range_max", &range_max));
    TF_RETURN_IF_ERROR(context->GetAttr("unique", &unique));
    return context->GetAttr("per_example", &per_example);
  }
};

struct SamplerCall {
  SamplerProblem problem;
  const int64_t *true_classes = nullptr, *seed = nullptr;
  int64_t* sampled = nullptr;
  float *true_expected_count = nullptr, *sampled_expected_count = nullptr;

  // `support` reads the number of classes that can be drawn from the tensor that holds it.
  absl::Status Read(tensorflow::OpKernelContext* context, const SamplerAttributes& attributes,
                    const std::function<int64_t(const tensorflow::Tensor&)>& support) {
    using tensorflow::TensorShape;
    const tensorflow::Tensor& classes = context->input(0);
    const tensorflow::Tensor& seeds = context->input(1);
    TF_RETURN_IF_ERROR(
        CheckShape(classes.dims() == 2, "true_classes", classes, "[batch, num_true]"));
    TF_RETURN_IF_ERROR(CheckShape(seeds.shape() == TensorShape({2}), "seed", seeds, "[2]"));
    UnigramTable table;
    TF_RETURN_IF_ERROR(ReadTable(context, attributes, support, &table));
    TF_RETURN_IF_ERROR(ToTensorFlow(ClassDistribution::Create(
        attributes.sampler, attributes.range_max, table, &problem.distribution)));
    problem.num_sampled = attributes.num_sampled;
    problem.unique = attributes.unique;
    problem.per_example = attributes.per_example;
    problem.batch = classes.dim_size(0);
    problem.num_true = classes.dim_size(1);
    TF_RETURN_IF_ERROR(ToTensorFlow(ValidateSampler(problem)));
    true_classes = classes.flat<int64_t>().data();
    seed = seeds.flat<int64_t>().data();

    TensorShape shape;
    if (attributes.per_example) shape.AddDim(problem.batch);
    TF_RETURN_IF_ERROR(shape.AddDimWithStatus(attributes.num_sampled));
    tensorflow::Tensor *lists, *true_count, *sampled_count;
    TF_RETURN_IF_ERROR(context->allocate_output(0, shape, &lists));
    TF_RETURN_IF_ERROR(context->allocate_output(1, classes.shape(), &true_count));
    TF_RETURN_IF_ERROR(context->allocate_output(2, shape, &sampled_count));
    sampled = lists->flat<int64_t>().data();
    true_expected_count = true_count->flat<float>().data();
    sampled_expected_count = sampled_count->flat<float>().data();
    return absl::OkStatus();
  }

 private:
  // The table's tensors stay alive as inputs of the op.
  static absl::Status ReadTable(tensorflow::OpKernelContext* context,
                                const SamplerAttributes& attributes,
                                const std::function<int64_t(const tensorflow::Tensor&)>& support,
                                UnigramTable* table) {
    using tensorflow::TensorShape;
    tensorflow::OpInputList tensors;
    TF_RETURN_IF_ERROR(context->input_list("table", &tensors));
    const int expected = attributes.sampler == "unigram" ? 4 : 0;
    if (tensors.size() != expected) {
      return ToTensorFlow(InvalidArgument("table has ", tensors.size(), " tensors; the sampler \"",
                                          attributes.sampler, "\" takes ", expected));
    }
    if (expected == 0) return absl::OkStatus();
    const TensorShape rows({attributes.range_max});
    for (int i = 0; i < expected; ++i) {
      const bool matches =
          tensors[i].dtype() == (i < 2 ? tensorflow::DT_DOUBLE : tensorflow::DT_INT64) &&
          tensors[i].shape() == (i < 3 ? rows : TensorShape({}));
      if (!matches) {
        return ToTensorFlow(InvalidArgument(
            "table[", i, "] has dtype ", tensorflow::DataTypeString(tensors[i].dtype()),
            " and shape ", tensors[i].shape().DebugString(),
            "; expected the outputs of Fastw2v>UnigramTable for range_max = ", attributes.range_max,
            " classes"));
      }
    }
    table->probability = tensors[0].flat<double>().data();
    table->acceptance = tensors[1].flat<double>().data();
    table->alias = tensors[2].flat<int64_t>().data();
    table->support = support(tensors[3]);
    return absl::OkStatus();
  }
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_SAMPLER_SAMPLER_CALL_H_
