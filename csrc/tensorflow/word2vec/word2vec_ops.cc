// Fastw2v>NoiseTable, Fastw2v>HuffmanTree, Fastw2v>Word2VecTrain and Fastw2v>InferDocuments:
// csrc/core/word2vec.h as TensorFlow ops.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/core/word2vec.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/host_kernel.h"
#include "csrc/tensorflow/support/kernel.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace fastw2v {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::TensorShapeUtils;
using tensorflow::Var;
using tensorflow::core::RefCountPtr;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status NoiseTableShape(InferenceContext* c) {
  ShapeHandle counts, power;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &counts));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &power));
  c->set_output(0, c->Matrix(c->Dim(counts, 0), 2));
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>NoiseTable")
    .Input("counts: double")
    .Input("power: double")
    .Output("noise: int32")
    .SetShapeFn(NoiseTableShape)
    .Doc(R"doc(
The words that training draws, word k with a probability in proportion to counts[k]^power.

counts: [num_words], finite and not negative, at least one above 0.
power: Scalar; an input and not an attribute because attributes are float32.
noise: [num_words, 2], an alias table: the bits of a uint32, how likely column k gives word k in
  units of 2^-32, and the word that it gives otherwise.
)doc");

class NoiseTableOp : public Kernel {
 public:
  using Kernel::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) const override {
    const Tensor& counts = context->input(0);
    const Tensor& power = context->input(1);
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsVector(counts.shape()), "counts", counts, "[num_words]"));
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsScalar(power.shape()), "power", power, "a scalar"));
    const int64_t words = counts.NumElements();
    Tensor* noise = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({words, 2}), &noise));
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, NoiseTableScratchBytes(words)));
    TF_RETURN_IF_ERROR(ToTensorFlow(
        BuildNoiseTable(counts.flat<double>().data(), words, power.scalar<double>()(),
                        scratch.data(), CoreData<NoiseColumn>(noise->flat<int32_t>().data()))));
    return absl::OkStatus();
  }
};

absl::Status HuffmanTreeShape(InferenceContext* c) {
  ShapeHandle counts;
  tensorflow::shape_inference::DimensionHandle splits;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &counts));
  TF_RETURN_IF_ERROR(c->Add(c->Dim(counts, 0), 1, &splits));
  c->set_output(0, c->Vector(splits));
  c->set_output(1, c->Vector(c->UnknownDim()));
  c->set_output(2, c->Scalar());
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>HuffmanTree")
    .Input("counts: double")
    .Output("splits: int64")
    .Output("steps: int32")
    .Output("longest: int64")
    .SetShapeFn(HuffmanTreeShape)
    .Doc(R"doc(
A binary tree of the words, those that occur most nearest to the root.

counts: [num_words], finite and not negative.
splits: [num_words + 1]; the way from the root to word k is steps[splits[k]:splits[k + 1]].
steps: 2 * node + turn, node in [0, num_words - 1).
longest: Scalar, the number of steps of the longest way.
)doc");

class HuffmanTreeOp : public Kernel {
 public:
  using Kernel::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) const override {
    const Tensor& counts = context->input(0);
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsVector(counts.shape()), "counts", counts, "[num_words]"));
    std::vector<int64_t> splits;
    std::vector<int32_t> steps;
    int64_t longest = 0;
    TF_RETURN_IF_ERROR(ToTensorFlow(BuildWordTree(
        counts.flat<double>().data(), counts.NumElements(), &splits, &steps, &longest)));
    Tensor* output = nullptr;
    const int64_t num_splits = static_cast<int64_t>(splits.size());
    const int64_t num_steps = static_cast<int64_t>(steps.size());
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({num_splits}), &output));
    std::copy(splits.begin(), splits.end(), output->flat<int64_t>().data());
    TF_RETURN_IF_ERROR(context->allocate_output(1, TensorShape({num_steps}), &output));
    std::copy(steps.begin(), steps.end(), output->flat<int32_t>().data());
    TF_RETURN_IF_ERROR(context->allocate_output(2, TensorShape({}), &output));
    output->scalar<int64_t>()() = longest;
    return absl::OkStatus();
  }
};

// Of what both ops take.
absl::Status CheckInputs(InferenceContext* c) {
  ShapeHandle unused;
  tensorflow::shape_inference::DimensionHandle two;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 1, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(3), 1, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(4), 2, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(5), 1, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(6), 1, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(7), 0, &unused));
  for (int i = 8; i < 10; ++i) {
    TF_RETURN_IF_ERROR(c->WithRank(c->input(i), 1, &unused));
    TF_RETURN_IF_ERROR(c->WithValue(c->Dim(unused, 0), 2, &two));
  }
  return absl::OkStatus();
}

absl::Status TrainShape(InferenceContext* c) {
  ShapeHandle unused;
  TF_RETURN_IF_ERROR(CheckInputs(c));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(10), 1, &unused));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(11), 1, &unused));
  for (int i = 0; i < 3; ++i) c->set_output(i, c->Scalar());
  return absl::OkStatus();
}

absl::Status InferShape(InferenceContext* c) {
  ShapeHandle first;
  TF_RETURN_IF_ERROR(CheckInputs(c));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(10), 2, &first));
  c->set_output(0, first);
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>Word2VecTrain")
    .Input("embeddings: resource")
    .Input("weights: resource")
    .Input("ids: int32")
    .Input("keep_probability: float")
    .Input("noise: int32")
    .Input("tree_splits: int64")
    .Input("tree_steps: int32")
    .Input("tree_longest: int64")
    .Input("seed: int64")
    .Input("alphas: double")
    .Input("bag_splits: int64")
    .Input("bag_rows: int32")
    .Input("documents: num_tables * resource")
    .Output("loss: double")
    .Output("examples: int64")
    .Output("words: int64")
    .Attr("window: int >= 1")
    .Attr("shrink_windows: bool")
    .Attr("cbow: bool")
    .Attr("mean: bool")
    .Attr("negative: int >= 1")
    .Attr("group: int >= 1")
    .Attr("shared: int >= 1")
    .Attr("deterministic: bool")
    .Attr("workers: int >= 0")
    .Attr("num_tables: int >= 0 = 0")
    .SetIsStateful()
    .SetShapeFn(TrainShape)
    .Doc(R"doc(
Trains word vectors on a text, once, in place.

embeddings: Variable, float32 [num_words, dim]; where there are bags, [num_rows, dim].
weights: Variable, float32 [num_words, dim], another one.
ids: [size], the words in order; a negative id is no word and ends a sentence.
keep_probability: [num_words], the probability that subsampling keeps a word; or empty, where all
  words stay.
noise: [num_words, 2], of Fastw2v>NoiseTable; or [0, 2], where there is a tree.
tree_splits: [num_words + 1], of Fastw2v>HuffmanTree, for hierarchical softmax; or empty.
tree_steps: [num_steps].
tree_longest: Scalar.
seed: [2], decides all draws.
alphas: [2], the learning rate at the first token and after the last.
bag_splits: [num_words + 1], where a word is several rows of the embeddings: those of word k are
  bag_rows[bag_splits[k]:bag_splits[k + 1]], at least one; or empty.
bag_rows: In [0, num_rows).
documents: None or one variable, float32 [num_documents, dim], a third one. Then the id -2 - d before
  a sentence says that it is of document d, and documents predict its words: alone or, with cbow,
  together with the contexts.
loss: The sum over all examples, in nats.
examples: How many: pairs, or bags of CBOW.
words: How many words subsampling has left.
window: How far a word looks to the left and to the right, among the words that stay.
shrink_windows: Whether the window of each word is drawn from 1, ..., window.
cbow: Whether the contexts of a word are taken together, or as pairs with the word (skip-gram).
mean: Whether CBOW takes the mean of the contexts, or their sum.
negative: How many drawn words the loss of an example counts.
group: How many words are trained on with the same drawn words, at most.
shared: How many words are drawn for a group.
deterministic: Whether the result is the same for any number of threads.
workers: How many threads train at most, where it is not deterministic; 0: all.
)doc");

REGISTER_OP("Fastw2v>InferDocuments")
    .Input("embeddings: resource")
    .Input("weights: resource")
    .Input("ids: int32")
    .Input("keep_probability: float")
    .Input("noise: int32")
    .Input("tree_splits: int64")
    .Input("tree_steps: int32")
    .Input("tree_longest: int64")
    .Input("seed: int64")
    .Input("alphas: double")
    .Input("first_vectors: float")
    .Output("vectors: float")
    .Attr("window: int >= 1")
    .Attr("shrink_windows: bool")
    .Attr("cbow: bool")
    .Attr("mean: bool")
    .Attr("negative: int >= 1")
    .Attr("group: int >= 1")
    .Attr("shared: int >= 1")
    .Attr("epochs: int >= 1")
    .SetIsStateful()
    .SetShapeFn(InferShape)
    .Doc(R"doc(
The vectors of new documents, each trained on its own text alone; words and weights stay.

ids: [size], the texts of the documents one after another, each ended by -1.
first_vectors: [num_documents, dim], what training begins with.
vectors: [num_documents, dim].
epochs: How often each text is trained on.

All else is that of Fastw2v>Word2VecTrain; alphas are the learning rates at the beginning of the
first epoch and at the end of the last.
)doc");

// What training and inference have in common.
class Word2VecKernel : public Kernel {
 public:
  explicit Word2VecKernel(OpKernelConstruction* context) : Kernel(context) {
    Word2VecProblem& p = options_;
    OP_REQUIRES_OK(context, context->GetAttr("window", &p.window));
    OP_REQUIRES_OK(context, context->GetAttr("shrink_windows", &p.shrink_windows));
    OP_REQUIRES_OK(context, context->GetAttr("cbow", &p.cbow));
    OP_REQUIRES_OK(context, context->GetAttr("mean", &p.mean));
    OP_REQUIRES_OK(context, context->GetAttr("negative", &p.negative));
    OP_REQUIRES_OK(context, context->GetAttr("group", &p.group));
    OP_REQUIRES_OK(context, context->GetAttr("shared", &p.shared));
  }

 protected:
  static absl::Status Find(OpKernelContext* context, int input, const char* name,
                           RefCountPtr<Var>* variable) {
    return FindVariable(context, context->input(input), name, variable);
  }

  static absl::Status CheckTable(const char* name, Var* variable, const char* rows) {
    if (!variable->is_initialized) {
      return absl::FailedPreconditionError(absl::StrCat(name, ": the variable is not initialized"));
    }
    const Tensor& table = *variable->tensor();
    if (table.dtype() != tensorflow::DT_FLOAT) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " has dtype ", tensorflow::DataTypeString(table.dtype()), ", expected float"));
    }
    return CheckShape(TensorShapeUtils::IsMatrix(table.shape()), name, table, rows);
  }

  // Of locked variables, the tables of words.
  absl::Status ResolveWords(OpKernelContext* context, Var* embeddings, Var* weights,
                            Word2VecProblem* problem) const {
    TF_RETURN_IF_ERROR(CheckTable("embeddings", embeddings, "[num_words, dim]"));
    TF_RETURN_IF_ERROR(CheckTable("weights", weights, "[num_words, dim]"));
    const TensorShape& shape = weights->tensor()->shape();
    TensorShape expected = shape;
    if (problem->bags.splits != nullptr) {
      problem->bags.table_rows = embeddings->tensor()->dim_size(0);
      expected.set_dim(0, problem->bags.table_rows);
    }
    if (embeddings->tensor()->shape() != expected) {
      return absl::InvalidArgumentError(absl::StrCat("weights has shape ", shape.DebugString(),
                                                     ", but embeddings has ",
                                                     embeddings->tensor()->shape().DebugString()));
    }
    problem->classes = shape.dim_size(0);
    problem->dim = shape.dim_size(1);
    return CheckWords(context, *problem);
  }

  static absl::Status ReadInputs(OpKernelContext* context, Word2VecProblem* problem) {
    const Tensor &ids = context->input(2), &keep_probability = context->input(3);
    const Tensor& noise = context->input(4);
    const Tensor &splits = context->input(5), &steps = context->input(6);
    const Tensor& longest = context->input(7);
    const Tensor &seed = context->input(8), &alphas = context->input(9);
    const auto is_vector = [](const Tensor& t) { return TensorShapeUtils::IsVector(t.shape()); };
    TF_RETURN_IF_ERROR(CheckShape(is_vector(ids), "ids", ids, "[size]"));
    TF_RETURN_IF_ERROR(CheckShape(is_vector(keep_probability), "keep_probability", keep_probability,
                                  "[num_words] or [0]"));
    TF_RETURN_IF_ERROR(CheckShape(TensorShapeUtils::IsMatrix(noise.shape()), "noise", noise,
                                  "[num_words, 2] or [0, 2]"));
    TF_RETURN_IF_ERROR(
        CheckShape(is_vector(splits), "tree_splits", splits, "[num_words + 1] or [0]"));
    TF_RETURN_IF_ERROR(CheckShape(is_vector(steps), "tree_steps", steps, "[num_steps]"));
    TF_RETURN_IF_ERROR(CheckShape(TensorShapeUtils::IsScalar(longest.shape()), "tree_longest",
                                  longest, "a scalar"));
    TF_RETURN_IF_ERROR(CheckShape(seed.shape() == TensorShape({2}), "seed", seed, "[2]"));
    TF_RETURN_IF_ERROR(CheckShape(alphas.shape() == TensorShape({2}), "alphas", alphas, "[2]"));
    if (splits.NumElements() > 0) {
      problem->tree = {splits.flat<int64_t>().data(), steps.flat<int32_t>().data(),
                       steps.NumElements(), longest.scalar<int64_t>()()};
    }
    problem->ids = ids.flat<int32_t>().data();
    problem->size = ids.NumElements();
    if (keep_probability.NumElements() > 0) {
      problem->keep_probability = keep_probability.flat<float>().data();
    }
    problem->noise = CoreData<const NoiseColumn>(noise.flat<int32_t>().data());
    problem->seed[0] = seed.flat<int64_t>()(0);
    problem->seed[1] = seed.flat<int64_t>()(1);
    problem->start_alpha = alphas.flat<double>()(0);
    problem->end_alpha = alphas.flat<double>()(1);
    return absl::OkStatus();
  }

  // What there is for each word.
  static absl::Status CheckWords(OpKernelContext* context, const Word2VecProblem& problem) {
    const Tensor &keep_probability = context->input(3), &noise = context->input(4);
    TF_RETURN_IF_ERROR(CheckShape(
        problem.keep_probability == nullptr || keep_probability.dim_size(0) == problem.classes,
        "keep_probability", keep_probability, absl::StrCat("[", problem.classes, "]").c_str()));
    if (problem.tree.splits != nullptr) {
      const Tensor& splits = context->input(5);
      return CheckShape(splits.dim_size(0) == problem.classes + 1, "tree_splits", splits,
                        absl::StrCat("[", problem.classes + 1, "]").c_str());
    }
    return CheckShape(noise.shape() == TensorShape({problem.classes, 2}), "noise", noise,
                      absl::StrCat("[", problem.classes, ", 2]").c_str());
  }

  static float* Data(Var* variable) { return variable->tensor()->flat<float>().data(); }

  Word2VecProblem options_;
};

class Word2VecTrainOp : public Word2VecKernel {
 public:
  explicit Word2VecTrainOp(OpKernelConstruction* context) : Word2VecKernel(context) {
    int num_tables = 0;
    OP_REQUIRES_OK(context, context->GetAttr("num_tables", &num_tables));
    OP_REQUIRES(context, num_tables <= 1,
                absl::InvalidArgumentError(absl::StrCat("documents has ", num_tables,
                                                        " variables, expected one at most")));
    has_documents_ = num_tables == 1;
    OP_REQUIRES_OK(context, context->GetAttr("deterministic", &options_.deterministic));
    OP_REQUIRES_OK(context, context->GetAttr("workers", &options_.workers));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    RefCountPtr<Var> embeddings, weights, documents;
    TF_RETURN_IF_ERROR(Find(context, 0, "embeddings", &embeddings));
    TF_RETURN_IF_ERROR(Find(context, 1, "weights", &weights));
    if (embeddings.get() == weights.get()) {
      return absl::InvalidArgumentError("embeddings and weights are the same variable");
    }
    std::vector<Var*> variables = {embeddings.get(), weights.get()};
    if (has_documents_) {
      TF_RETURN_IF_ERROR(Find(context, 12, "documents", &documents));
      if (documents.get() == embeddings.get() || documents.get() == weights.get()) {
        return absl::InvalidArgumentError("documents is the variable of another table");
      }
      variables.push_back(documents.get());
    }
    Word2VecProblem problem = options_;
    TF_RETURN_IF_ERROR(ReadInputs(context, &problem));
    TF_RETURN_IF_ERROR(ReadBags(context, &problem));
    const WriteLock lock(variables);
    TF_RETURN_IF_ERROR(ResolveWords(context, embeddings.get(), weights.get(), &problem));
    TF_RETURN_IF_ERROR(CheckBags(context, problem));
    if (has_documents_) {
      TF_RETURN_IF_ERROR(CheckTable("documents", documents.get(), "[num_documents, dim]"));
      const Tensor& table = *documents->tensor();
      TF_RETURN_IF_ERROR(CheckShape(table.dim_size(1) == problem.dim, "documents", table,
                                    absl::StrCat("[num_documents, ", problem.dim, "]").c_str()));
      TF_RETURN_IF_ERROR(CheckShape(table.NumElements() > 0, "documents", table,
                                    "at least one row and one column"));
      problem.num_documents = table.dim_size(0);
      problem.most_documents = MostDocuments(problem.ids, problem.size);
    }
    for (Var* variable : variables) TF_RETURN_IF_ERROR(MakeWritable(context, variable));
    problem.embeddings = Data(embeddings.get());
    problem.weights = Data(weights.get());
    if (has_documents_) problem.documents = Data(documents.get());
    TF_RETURN_IF_ERROR(ToTensorFlow(CheckWord2Vec(problem)));

    const TensorFlowParallel parallel(context);
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, Word2VecScratchBytes(problem, parallel)));
    Word2VecResult result;
    TF_RETURN_IF_ERROR(ToTensorFlow(TrainWord2Vec(problem, parallel, scratch.data(), &result)));
    Tensor* output = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({}), &output));
    output->scalar<double>()() = result.loss;
    TF_RETURN_IF_ERROR(context->allocate_output(1, TensorShape({}), &output));
    output->scalar<int64_t>()() = result.examples;
    TF_RETURN_IF_ERROR(context->allocate_output(2, TensorShape({}), &output));
    output->scalar<int64_t>()() = result.words;
    return absl::OkStatus();
  }

  static absl::Status ReadBags(OpKernelContext* context, Word2VecProblem* problem) {
    const Tensor &splits = context->input(10), &rows = context->input(11);
    TF_RETURN_IF_ERROR(CheckShape(TensorShapeUtils::IsVector(splits.shape()), "bag_splits", splits,
                                  "[num_words + 1] or [0]"));
    TF_RETURN_IF_ERROR(
        CheckShape(TensorShapeUtils::IsVector(rows.shape()), "bag_rows", rows, "[num_bag_rows]"));
    if (splits.NumElements() > 0) {
      problem->bags = {splits.flat<int64_t>().data(), rows.flat<int32_t>().data(),
                       rows.NumElements(), 0};
    }
    return absl::OkStatus();
  }

  static absl::Status CheckBags(OpKernelContext* context, const Word2VecProblem& problem) {
    const Tensor& splits = context->input(10);
    return CheckShape(problem.bags.splits == nullptr || splits.dim_size(0) == problem.classes + 1,
                      "bag_splits", splits, absl::StrCat("[", problem.classes + 1, "]").c_str());
  }

  bool has_documents_ = false;
};

class InferDocumentsOp : public Word2VecKernel {
 public:
  explicit InferDocumentsOp(OpKernelConstruction* context) : Word2VecKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("epochs", &epochs_));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    RefCountPtr<Var> embeddings, weights;
    TF_RETURN_IF_ERROR(Find(context, 0, "embeddings", &embeddings));
    TF_RETURN_IF_ERROR(Find(context, 1, "weights", &weights));
    Word2VecProblem problem = options_;
    TF_RETURN_IF_ERROR(ReadInputs(context, &problem));
    const ReadLock lock({embeddings.get(), weights.get()});
    TF_RETURN_IF_ERROR(ResolveWords(context, embeddings.get(), weights.get(), &problem));
    problem.embeddings = Data(embeddings.get());
    problem.weights = Data(weights.get());
    const Tensor& first = context->input(10);
    TF_RETURN_IF_ERROR(CheckShape(
        TensorShapeUtils::IsMatrix(first.shape()) && first.dim_size(1) == problem.dim,
        "first_vectors", first, absl::StrCat("[num_documents, ", problem.dim, "]").c_str()));
    Tensor* vectors = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(0, first.shape(), &vectors));
    vectors->flat<float>() = first.flat<float>();
    problem.documents = vectors->flat<float>().data();
    problem.num_documents = first.dim_size(0);
    problem.most_documents = MostDocuments(problem.ids, problem.size);  // InferDocuments wants none

    const TensorFlowParallel parallel(context);
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(ToTensorFlow(CheckWord2Vec(problem)));
    TF_RETURN_IF_ERROR(scratch.Allocate(context, InferScratchBytes(problem, parallel)));
    return ToTensorFlow(InferDocuments(problem, epochs_, parallel, scratch.data()));
  }

  int64_t epochs_ = 1;
};

FASTW2V_REGISTER_HOST_KERNEL("Fastw2v>NoiseTable", NoiseTableOp,
                             HostMemory("counts").HostMemory("power").HostMemory("noise"));
FASTW2V_REGISTER_HOST_KERNEL(
    "Fastw2v>HuffmanTree", HuffmanTreeOp,
    HostMemory("counts").HostMemory("splits").HostMemory("steps").HostMemory("longest"));
// Its variables are the CPU's.
REGISTER_KERNEL_BUILDER(Name("Fastw2v>Word2VecTrain").Device(tensorflow::DEVICE_CPU),
                        Word2VecTrainOp);
REGISTER_KERNEL_BUILDER(Name("Fastw2v>InferDocuments").Device(tensorflow::DEVICE_CPU),
                        InferDocumentsOp);

}  // namespace
}  // namespace fastw2v
