#include "csrc/core/word2vec.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "csrc/core/sampler.h"
#include "csrc/core/scratch.h"
#include "csrc/core/skipgram.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/kernels/word2vec_kernels.h"
#include "csrc/cpu/word2vec/word2vec_bags.h"
#include "csrc/cpu/word2vec/word2vec_groups.h"
#include "csrc/cpu/word2vec/word2vec_steps.h"

namespace fastw2v {
namespace {

constexpr int64_t kTokensPerTask = 2048;
constexpr int64_t kMaxTasksOfRound = 16;
constexpr int64_t kWordsPerTaskOfRound = 64;
constexpr int64_t kMaxClasses = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxWindow = SkipGramProblem::kMaxWindow;
constexpr int64_t kMaxDraws = 4096;  // of a group

// Rows that are put in: words, and documents behind them.
int64_t NumInputs(const Word2VecProblem& p) { return p.EmbeddingRows() + p.num_documents; }

float* InputRow(const Word2VecProblem& p, int64_t id) {
  const int64_t rows = p.EmbeddingRows();
  return id < rows ? p.embeddings + id * p.dim : p.documents + (id - rows) * p.dim;
}

// Calls body(id) for the ids, among those of all rows that are put in, of the documents of a center
// or word: ids [first, last) of the text.
template <typename Body>
void ForDocuments(const Word2VecProblem& p, int64_t first, int64_t last, const Body& body) {
  for (int64_t i = first; i < last; ++i) body(static_cast<int32_t>(p.classes - 2 - p.ids[i]));
}

// What groups of a round add to the tables, kept until all of them are done.
struct Updates {
  float* rows = nullptr;  // `stride` apart: those of the embeddings, then those of the weights
  std::vector<int32_t> embeddings, weights;
  std::vector<float> embedding_curvatures, weight_curvatures;
};

// Sizes of the memory that a worker needs.
struct Sizes {
  explicit Sizes(const Word2VecProblem& p)
      : lanes(cpu::ActiveKernels().word2vec->lanes),
        stride(cpu::RoundUp(p.dim, lanes)),
        noise(cpu::RoundUp(p.tree.splits != nullptr ? MaxNodes(p) : p.shared, lanes)),
        centers(cpu::RoundUp(p.CentersOfGroup(), lanes)),
        rows(MaxRows(p) + MaxDocuments(p)),
        hidden(p.cbow ? p.CentersOfGroup() : rows),
        ways(p.tree.splits != nullptr ? p.CentersOfGroup() * noise : 0) {}

  int64_t columns() const { return noise + centers; }
  // Of one group's updates.
  int64_t updates() const { return rows + columns(); }

  int64_t lanes, stride;
  int64_t noise, centers;  // columns
  int64_t rows, hidden;
  int64_t ways;  // numbers: a row of noise for each center
};

// Trains on one group after the other, in memory of its own.
class Worker {
 public:
  Worker(const Word2VecProblem& problem, Scratch* scratch)
      : p_(problem),
        sizes_(problem),
        words_(problem, sizes_.rows, sizes_.stride, scratch),
        first_rows_(sizes_.rows),
        first_classes_(sizes_.columns()) {
    const Sizes& s = sizes_;
    hidden_ = scratch->Take<float>(s.hidden * s.stride);
    d_hidden_ = scratch->Take<float>(p_.cbow ? s.hidden * s.stride : 0);
    sums_ = scratch->Take<float>(p_.cbow ? (s.rows + 1) * s.stride : 0);
    hidden_lengths_ = scratch->Take<float>(p_.cbow ? s.centers : 0);
    packed_ = scratch->Take<float>(s.columns() * s.stride);
    logits_ = scratch->Take<float>(s.hidden * s.columns());
    tails_ = scratch->Take<float>(std::max(s.columns(), s.rows) * s.lanes);
    weights_ = scratch->Take<float>(s.columns());
    targets_ = scratch->Take<float>(s.noise);
    lengths_ = scratch->Take<float>(s.columns());
    hidden_curvatures_ = scratch->Take<float>(cpu::RoundUp(s.hidden, s.lanes));
    embedding_curvatures_ = scratch->Take<float>(s.rows);
    class_curvatures_ = scratch->Take<float>(s.columns());
    embedding_factors_ = scratch->Take<float>(s.rows);
    class_factors_ = scratch->Take<float>(s.columns());
    first_factors_ = scratch->Take<float>(s.centers);
    last_factors_ = scratch->Take<float>(s.centers);
    embedding_copies_ = scratch->Take<int32_t>(s.rows);
    class_copies_ = scratch->Take<int32_t>(s.columns());
    embedding_crowds_ = scratch->Take<float>(s.rows);
    class_crowds_ = scratch->Take<float>(s.columns());
    noise_weight_ = scratch->Take<float>(s.noise);
    way_nodes_ = scratch->Take<float>(s.ways);
    way_targets_ = scratch->Take<float>(s.ways);
    forward_ = scratch->Take<float>(s.centers);
    backward_ = scratch->Take<float>(s.centers);
    zeros_ = scratch->Take<float>(s.stride);
    places_ = scratch->Take<int32_t>(3 * s.centers);
    bands_ = scratch->Take<int32_t>(2 * s.rows);
    tail_rows_ = scratch->Take<const float*>(std::max(s.columns(), s.rows));
    embeddings_ = scratch->Take<float*>(s.rows);
    hidden_rows_ = scratch->Take<float*>(s.hidden);
    d_hidden_rows_ = scratch->Take<float*>(s.hidden);
    classes_ = scratch->Take<float*>(s.columns());
    to_embeddings_ = scratch->Take<float*>(s.rows);
    to_classes_ = scratch->Take<float*>(s.columns());
  }

  // Once the memory is there.
  void Start(const Crowds& crowds) {
    crowds_ = crowds;
    words_.Start(crowds.embeddings);
    // What is never written stays zero: columns past dim.
    std::memset(hidden_, 0, sizes_.hidden * sizes_.stride * sizeof(float));
    std::memset(zeros_, 0, sizes_.stride * sizeof(float));
    for (int64_t i = 0; i < sizes_.hidden; ++i) {
      hidden_rows_[i] = hidden_ + i * sizes_.stride;
      d_hidden_rows_[i] = p_.cbow ? d_hidden_ + i * sizes_.stride : nullptr;
    }
  }

  // Adds the step of a group to the tables, or to `updates` if that is not null, and asks for the
  // rows of the next one meanwhile. `steps` takes how much of the steps is made, but of updates.
  void Train(const Groups& text, const Group& group, const Group& next, Updates* updates,
             Shortening* steps, Word2VecResult* result) {
    FindRows(text, group, updates);
    ListAhead(text, group, next);
    const int64_t centers = static_cast<int64_t>(group.centers.size());
    const int64_t rows = p_.cbow ? centers : num_inputs_;
    cpu::Word2VecGroup b = {};
    b.dim = p_.dim;
    b.rows = rows;
    b.noise = static_cast<int64_t>(group.noise.size());
    b.centers = centers;
    b.hits = hits_.data();
    b.num_hits = static_cast<int64_t>(hits_.size());
    b.rate = Rate(group);
    b.noise_weight = noise_weight_;
    if (p_.tree.splits != nullptr) {
      FindWays(group);
      b.way_nodes = way_nodes_;
      b.way_targets = way_targets_;
    }
    b.hidden = hidden_rows_;
    b.classes = classes_;
    b.to_hidden = p_.cbow ? d_hidden_rows_ : to_embeddings_;
    b.to_classes = p_.frozen ? nullptr : to_classes_;
    b.hidden_curvature = hidden_curvatures_;
    b.class_curvature = class_curvatures_;
    cpu::RowsAhead ahead = {ahead_.data(), static_cast<int64_t>(ahead_.size()),
                            p_.dim * static_cast<int64_t>(sizeof(float))};
    b.ahead = &ahead;
    b.packed = packed_;
    b.tails = tails_;
    b.tail_rows = tail_rows_;
    b.logits = logits_;
    b.weights = weights_;
    b.targets = targets_;
    b.lengths = lengths_;
    b.hidden_lengths = hidden_lengths_;
    b.band_first = bands_;
    b.band_last = bands_ + sizes_.rows;
    const cpu::Word2VecKernels& kernels = *cpu::ActiveKernels().word2vec;
    if (p_.cbow) {
      cpu::Word2VecBags bags = Bags(text, group, b);
      kernels.sum_bags(bags);
      AddDocuments(group);
      std::memset(d_hidden_, 0, rows * sizes_.stride * sizeof(float));
      result->loss += kernels.find_steps_of_bags(b);
      SpreadCurvatures(group);
      Shorten(group, updates, steps, &b);
      bags.factors = b.hidden_factors;
      b.hidden_factors = nullptr;  // the bags' gradients stay as they are
      kernels.add_steps_of_bags(b);
      if (!p_.frozen) kernels.spread_bags(bags);
      if (HasBags() && updates == nullptr) AddStepsOfWords(group, steps);
      MoveDocuments(group, bags.factors);
      result->examples += centers;
      return;
    }
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(hidden_rows_[i], embeddings_[i], p_.dim * sizeof(float));
    }
    b.pairs = Pairs();
    result->loss += kernels.find_steps(b);
    std::copy_n(hidden_curvatures_, rows, embedding_curvatures_);
    Shorten(group, updates, steps, &b);
    OrderCenters(updates == nullptr, &b);
    kernels.add_steps(b);
    if (HasBags() && updates == nullptr) AddStepsOfWords(group, steps);
    for (const Center& center : group.centers) result->examples += center.inputs();
  }

 private:
  bool HasBags() const { return p_.bags.splits != nullptr; }
  float* Class(int32_t row) const { return p_.weights + int64_t{row} * p_.dim; }

  float Rate(const Group& group) const {
    const double done = static_cast<double>(group.token) / static_cast<double>(p_.size);
    return static_cast<float>(p_.start_alpha + (p_.end_alpha - p_.start_alpha) * done);
  }

  // Each context of a bag moves the bag by its own step.
  void SpreadCurvatures(const Group& group) {
    std::fill_n(embedding_curvatures_, num_inputs_, 0.0f);
    for (std::size_t c = 0; c < group.centers.size(); ++c) {
      const Center& center = group.centers[c];
      for (int64_t k = center.first; k < center.last && !p_.frozen; ++k) {
        if (k == center.position) continue;
        embedding_curvatures_[k - group.first] += hidden_curvatures_[c];
      }
      ForDocumentRows(group, c,
                      [&](int64_t i) { embedding_curvatures_[i] += hidden_curvatures_[c]; });
    }
  }

  // Calls body(i) for the rows of a center's documents.
  template <typename Body>
  void ForDocumentRows(const Group& group, std::size_t c, const Body& body) const {
    for (int64_t i = 0; i < group.centers[c].documents(); ++i) body(document_rows_[c] + i);
  }

  void AddDocuments(const Group& group) {
    const auto axpy = cpu::Kernels<float>().axpy;
    for (std::size_t c = 0; c < group.centers.size(); ++c) {
      ForDocumentRows(
          group, c, [&](int64_t i) { axpy(forward_[c], embeddings_[i], hidden_rows_[c], p_.dim); });
    }
  }

  void MoveDocuments(const Group& group, const float* factors) {
    const auto axpy = cpu::Kernels<float>().axpy;
    for (std::size_t c = 0; c < group.centers.size(); ++c) {
      ForDocumentRows(group, c, [&](int64_t i) {
        const float factor = factors == nullptr ? 1.0f : factors[i];
        axpy(factor * backward_[c], d_hidden_rows_[c], to_embeddings_[i], p_.dim);
      });
    }
  }

  // Finds which part of its step each row makes. The updates of a round are shortened when all of
  // them are known.
  void Shorten(const Group& group, Updates* updates, Shortening* steps, cpu::Word2VecGroup* b) {
    const int64_t noise_columns = cpu::RoundUp(b->noise, sizes_.lanes);
    const int64_t centers = b->centers_are_classes() ? b->centers : 0;
    if (updates != nullptr) {
      const float *of_rows = embedding_curvatures_, *of_noise = class_curvatures_;
      const float* of_centers = class_curvatures_ + noise_columns;
      std::vector<float>* of_weights = &updates->weight_curvatures;
      updates->embedding_curvatures.assign(of_rows, of_rows + num_inputs_);
      of_weights->assign(of_noise, of_noise + b->noise);
      of_weights->insert(of_weights->end(), of_centers, of_centers + centers);
      return;
    }
    if (!HasBags()) {
      Factors(embedding_copies_, num_inputs_, embedding_crowds_, embedding_curvatures_,
              embedding_factors_, steps);
      b->hidden_factors = embedding_factors_;
    }
    if (p_.frozen) return;
    Factors(class_copies_, noise_columns + centers, class_crowds_, class_curvatures_,
            class_factors_, steps);
    b->class_factors = class_factors_;
  }

  // What the steps of words that are bags add to their rows.
  void AddStepsOfWords(const Group& group, Shortening* steps) {
    for (int64_t i = 0; i < group.rows(); ++i) {
      words_.AddCurvature(embedding_copies_[i], embedding_curvatures_[i]);
    }
    words_.AddSteps(steps);
  }

  // Which centers move before the rows do. The updates of a round move none of them.
  void OrderCenters(bool in_place, cpu::Word2VecGroup* b) {
    if (!b->centers_are_classes() || p_.frozen) return;
    const int64_t noise_columns = cpu::RoundUp(b->noise, sizes_.lanes);
    bool any_first = false, any_last = false;
    for (int64_t c = 0; c < b->centers; ++c) {
      const int64_t column = noise_columns + c, copy = class_copies_[column];
      const float factor = in_place ? class_factors_[column] : 1.0f;
      const bool first =
          in_place && class_crowds_[copy] * class_curvatures_[copy] < kFirstCurvature;
      first_factors_[c] = first ? factor : 0.0f;
      last_factors_[c] = first ? 0.0f : factor;
      any_first |= first;
      any_last |= !first;
    }
    b->first_factors = any_first ? first_factors_ : nullptr;
    b->last_factors = any_last ? last_factors_ : nullptr;
  }

  // The copies of a row in a group have one step.
  static void Factors(const int32_t* copies, int64_t n, const float* crowds, float* curvatures,
                      float* factors, Shortening* steps) {
    bool any_copies = false;
    for (int64_t i = 0; i < n; ++i) {
      if (copies[i] == i) continue;
      curvatures[copies[i]] += curvatures[i];
      curvatures[i] = 0;
      any_copies = true;
    }
    float wanted = 0, made = 0;
    for (int64_t i = 0; i < n; ++i) {
      const float curvature = crowds[i] * curvatures[i];
      factors[i] = StepFactor(curvature);
      wanted += curvature;
      made += std::min(curvature, kMostCurvature);
    }
    steps->Add(wanted, made);
    for (int64_t i = 0; any_copies && i < n; ++i) factors[i] = factors[copies[i]];
  }

  // Where the rows of a group lie and where their updates go.
  void FindRows(const Groups& text, const Group& group, Updates* updates) {
    const int64_t noise = static_cast<int64_t>(group.noise.size());
    const int64_t noise_columns = cpu::RoundUp(noise, sizes_.lanes);
    const int64_t centers = static_cast<int64_t>(group.centers.size());
    const int64_t columns = noise_columns + cpu::RoundUp(centers, sizes_.lanes);
    float* row = nullptr;
    if (updates != nullptr) {
      row = updates->rows;
      const int64_t rows = group.rows() + group.documents + noise + centers;
      std::memset(row, 0, rows * sizes_.stride * sizeof(float));
      updates->embeddings.clear();
      updates->weights.clear();
    }
    words_.Clear();
    first_rows_.Clear();
    first_classes_.Clear();
    num_inputs_ = 0;
    const auto find_input = [&](int32_t id) {
      const int64_t i = num_inputs_++;
      embedding_copies_[i] = first_rows_.Add(id, static_cast<int32_t>(i));
      if (HasBags()) {
        if (embedding_copies_[i] == i) words_.Read(i, id);
        embeddings_[i] = words_.row(embedding_copies_[i]);
        to_embeddings_[i] = words_.step(embedding_copies_[i]);
      } else {
        embeddings_[i] = to_embeddings_[i] = InputRow(p_, id);
        embedding_crowds_[i] = crowds_.embeddings == nullptr ? 1 : crowds_.embeddings[id];
      }
      if (updates == nullptr) return;
      updates->embeddings.push_back(id);
      to_embeddings_[i] = row;
      row += sizes_.stride;
    };
    for (int64_t k = group.first; k < group.last; ++k) find_input(text.word(k));
    FindDocuments(group, find_input);
    const auto find_class = [&](int64_t column, int32_t id) {
      classes_[column] = to_classes_[column] = Class(id);
      class_crowds_[column] = crowds_.weights == nullptr ? 1 : crowds_.weights[id];
      class_copies_[column] = first_classes_.Add(id, static_cast<int32_t>(column));
      if (updates == nullptr) return;
      updates->weights.push_back(id);
      to_classes_[column] = row;
      row += sizes_.stride;
    };
    std::fill_n(classes_, columns, zeros_);
    std::iota(class_copies_, class_copies_ + columns, 0);
    std::fill_n(class_crowds_, columns, 1.0f);
    const float share = static_cast<float>(p_.negative) / static_cast<float>(p_.shared);
    std::fill_n(noise_weight_, noise_columns, 0.0f);
    for (int64_t n = 0; n < noise; ++n) {
      find_class(n, group.noise[n]);
      noise_weight_[n] = share;
    }
    p_.PairsDocuments() ? PairWithDocuments(group) : PairWithContexts(group);
    hits_.clear();
    if (p_.tree.splits != nullptr) return;
    for (int64_t c = 0; c < centers; ++c) {
      const int32_t word = text.word(group.centers[c].position);
      find_class(noise_columns + c, word);
      if (class_copies_[noise_columns + c] >= noise_columns) continue;  // it is not drawn
      for (int64_t n = 0; n < noise; ++n) {
        if (group.noise[n] != word) continue;
        hits_.push_back({static_cast<int32_t>(n), static_cast<int32_t>(c)});
      }
    }
  }

  // Centers of one sentence share the rows of its documents.
  template <typename FindInput>
  void FindDocuments(const Group& group, const FindInput& find_input) {
    document_rows_.assign(group.centers.size(), 0);
    if (group.documents == 0) return;
    for (std::size_t c = 0; c < group.centers.size(); ++c) {
      const Center& center = group.centers[c];
      if (c > 0 && group.centers[c - 1].first_document == center.first_document) {
        document_rows_[c] = document_rows_[c - 1];
        continue;
      }
      document_rows_[c] = num_inputs_;
      ForDocuments(p_, center.first_document, center.last_document, find_input);
    }
  }

  void FindWays(const Group& group) {
    const int64_t columns = cpu::RoundUp(static_cast<int64_t>(group.noise.size()), sizes_.lanes);
    const int64_t size = static_cast<int64_t>(group.centers.size()) * columns;
    std::fill_n(way_nodes_, size, 0.0f);
    std::fill_n(way_targets_, size, 0.0f);
    for (const WayStep& step : group.ways) {
      way_nodes_[step.center * columns + step.node] += 1;
      way_targets_[step.center * columns + step.node] += step.target;
    }
  }

  cpu::CenterRows Pairs() const {
    return {places_, places_ + sizes_.centers, places_ + 2 * sizes_.centers};
  }

  // Past the last center there is none that a row is paired with.
  void Pair(int64_t c, int64_t first, int64_t last, int64_t self) {
    places_[c] = static_cast<int32_t>(first);
    places_[sizes_.centers + c] = static_cast<int32_t>(last);
    places_[2 * sizes_.centers + c] = static_cast<int32_t>(self);
  }

  void PairWithContexts(const Group& group) {
    const int64_t centers = static_cast<int64_t>(group.centers.size());
    for (int64_t c = 0; c < centers; ++c) {
      const Center& center = group.centers[c];
      Pair(c, center.first - group.first, center.last - group.first, center.position - group.first);
    }
    PairNobodyFrom(centers);
  }

  void PairWithDocuments(const Group& group) {
    const int64_t centers = static_cast<int64_t>(group.centers.size());
    for (int64_t c = 0; c < centers; ++c) {
      Pair(c, document_rows_[c], document_rows_[c] + group.centers[c].documents(), -1);
    }
    PairNobodyFrom(centers);
  }

  void PairNobodyFrom(int64_t c) {
    for (; c % sizes_.lanes != 0; ++c) Pair(c, 0, 0, -1);
  }

  cpu::Word2VecBags Bags(const Groups& text, const Group& group, const cpu::Word2VecGroup& b) {
    for (int64_t c = 0; c < sizes_.centers; ++c) forward_[c] = backward_[c] = 1;
    for (int64_t c = 0; c < b.centers; ++c) {
      const Center& center = group.centers[c];
      int64_t terms = center.inputs();
      if (HasBags()) {
        terms = 0;
        for (int64_t k = center.first; k < center.last; ++k) {
          if (k != center.position) terms += NumRows(p_, text.word(k));
        }
      }
      // As word2vec has it, each context of a mean gets the whole gradient.
      (p_.mean ? forward_ : backward_)[c] = 1.0f / static_cast<float>(terms);
    }
    cpu::Word2VecBags bags = {};
    bags.dim = p_.dim;
    bags.rows = group.rows();
    bags.centers = b.centers;
    bags.bags = Pairs();
    bags.forward = forward_;
    bags.backward = backward_;
    bags.embeddings = embeddings_;
    bags.to_embeddings = to_embeddings_;
    bags.hidden = hidden_rows_;
    bags.d_hidden = d_hidden_rows_;
    bags.sums = sums_;
    bags.center_at = bands_;
    return bags;
  }

  // The rows of the next group, except the words that are in this one too.
  void ListAhead(const Groups& text, const Group& group, const Group& next) {
    ahead_.clear();
    if (next.empty()) return;
    // The rows of bags are so many that asking for them ahead costs more than it saves.
    for (int64_t i = std::max(next.first, group.last); i < next.last && !HasBags(); ++i) {
      ahead_.push_back(InputRow(p_, text.word(i)));
    }
    if (next.documents > 0) {
      const Center& center = next.centers.back();  // most groups have the documents of one sentence
      ForDocuments(p_, center.first_document, center.last_document,
                   [&](int32_t id) { ahead_.push_back(InputRow(p_, id)); });
    }
    for (const int32_t noise : next.noise) ahead_.push_back(Class(noise));
    if (p_.tree.splits != nullptr) return;
    for (const Center& center : next.centers) {
      ahead_.push_back(Class(text.word(center.position)));
    }
  }

  const Word2VecProblem& p_;
  const Sizes sizes_;
  WordsOfGroup words_;  // where they are bags
  float *hidden_, *d_hidden_, *sums_, *hidden_lengths_, *packed_, *logits_, *tails_, *weights_,
      *targets_;
  float *lengths_, *hidden_curvatures_, *embedding_curvatures_, *class_curvatures_;
  float *embedding_factors_, *class_factors_, *first_factors_, *last_factors_;
  float *embedding_crowds_, *class_crowds_;
  int32_t *embedding_copies_, *class_copies_;
  float *noise_weight_, *way_nodes_, *way_targets_, *forward_, *backward_, *zeros_;
  int32_t *places_, *bands_;
  const float** tail_rows_;
  float **embeddings_, **hidden_rows_, **d_hidden_rows_, **classes_;
  float **to_embeddings_, **to_classes_;
  FirstPlaces first_rows_, first_classes_;
  Crowds crowds_;
  int64_t num_inputs_ = 0;              // of the group: rows of words, and those of documents
  std::vector<int64_t> document_rows_;  // of each center, the first
  std::vector<cpu::NoiseHit> hits_;
  std::vector<const float*> ahead_;
};

int64_t NumTasks(const Word2VecProblem& problem) {
  return (problem.size + kTokensPerTask - 1) / kTokensPerTask;
}

// The part of the text that is a task.
class Part {
 public:
  Part(const Word2VecProblem& problem, int64_t task, int64_t centers)
      : Part(problem, task * kTokensPerTask, std::min(problem.size, (task + 1) * kTokensPerTask),
             centers) {}

  // Tokens [begin, end) of it.
  Part(const Word2VecProblem& problem, int64_t begin, int64_t end, int64_t centers)
      : text_(problem, begin, end) {
    text_.Next(centers, &group_);
  }

  bool done() const { return group_.empty(); }

  // `centers`: at most so many in the group after this one.
  void Train(Worker* worker, int64_t centers, Updates* updates, Shortening* steps,
             Word2VecResult* result) {
    text_.Next(centers, &next_);
    worker->Train(text_, group_, next_, updates, steps, result);
    std::swap(group_, next_);
  }

  int64_t words() const { return text_.words(); }  // read so far

 private:
  Groups text_;
  Group group_, next_;
};

// Tasks that are trained on side by side where training is deterministic. They do not see each
// other's updates: if most words were in all of them, steps would be too long.
int64_t TasksOfRound(const Word2VecProblem& problem) {
  return std::clamp<int64_t>(problem.classes / kWordsPerTaskOfRound, 1, kMaxTasksOfRound);
}

// A number for each row of the tables.
int64_t CurvatureMemory(const Word2VecProblem& problem) {
  return NumInputs(problem) + problem.classes;
}

// Numbers of the updates of a round, and of the curvatures of the tables' rows.
int64_t RoundMemory(const Word2VecProblem& problem) {
  const Sizes sizes(problem);
  return TasksOfRound(problem) * sizes.updates() * sizes.stride + CurvatureMemory(problem);
}

// Of the updates, in their order, those of every `parts`-th row of the tables from `part` on. The
// curvatures, as CurvatureMemory counts them, are zeros between two calls.
Shortening Apply(const Word2VecProblem& problem, const std::vector<Updates>& round, int64_t stride,
                 int64_t part, int64_t parts, float* curvatures) {
  const auto axpy = cpu::Kernels<float>().axpy;
  float *const of_embeddings = curvatures, *const of_weights = curvatures + NumInputs(problem);
  // Calls body(i, row) for the rows of this part that update i adds to.
  const auto for_embeddings = [&](const Updates& u, const auto& body) {
    for (std::size_t i = 0; i < u.embeddings.size(); ++i) {
      ForRows(problem, u.embeddings[i], [&](int32_t row) {
        if (row % parts == part) body(i, row);
      });
    }
  };
  const auto for_weights = [&](const Updates& u, const auto& body) {
    for (std::size_t i = 0; i < u.weights.size(); ++i) {
      if (u.weights[i] % parts == part) body(i, u.weights[i]);
    }
  };
  for (const Updates& u : round) {
    for_embeddings(
        u, [&](std::size_t i, int32_t id) { of_embeddings[id] += u.embedding_curvatures[i]; });
    for_weights(u, [&](std::size_t i, int32_t id) { of_weights[id] += u.weight_curvatures[i]; });
  }
  for (const Updates& u : round) {
    const auto add_to = [&](const auto& row_of, const float* curvature, const float* rows) {
      return [=, &problem](std::size_t i, int32_t id) {
        axpy(StepFactor(curvature[id]), rows + static_cast<int64_t>(i) * stride, row_of(id),
             problem.dim);
      };
    };
    const auto input = [&](int64_t id) { return InputRow(problem, id); };
    const auto weight = [&](int64_t id) { return problem.weights + id * problem.dim; };
    for_embeddings(u, add_to(input, of_embeddings, u.rows));
    const float* of_classes = u.rows + static_cast<int64_t>(u.embeddings.size()) * stride;
    for_weights(u, add_to(weight, of_weights, of_classes));
  }
  Shortening steps;
  const auto count = [&](float* curvature, float share) {
    steps.Add(share * *curvature, share * std::min(*curvature, kMostCurvature));
    *curvature = 0;
  };
  const float share = ShareOfRow(problem);
  for (const Updates& u : round) {
    for_embeddings(u, [&](std::size_t, int32_t id) { count(of_embeddings + id, share); });
    for_weights(u, [&](std::size_t, int32_t id) { count(of_weights + id, 1); });
  }
  return steps;
}

void TrainInRounds(const Word2VecProblem& problem, const Parallel& parallel,
                   std::vector<Worker>* workers, float* rows, Word2VecResult* results) {
  const Sizes sizes(problem);
  const int64_t num_tasks = NumTasks(problem), parts = parallel.num_workers();
  const int64_t cost = problem.CentersOfGroup() * problem.dim * 100;
  const int64_t tasks_of_round = TasksOfRound(problem);
  float* const curvatures = rows + tasks_of_round * sizes.updates() * sizes.stride;
  std::fill_n(curvatures, CurvatureMemory(problem), 0.0f);
  GroupLength length(problem);
  std::vector<Shortening> steps(parts);
  for (int64_t first = 0; first < num_tasks; first += tasks_of_round) {
    const int64_t count = std::min(tasks_of_round, num_tasks - first);
    std::vector<std::unique_ptr<Part>> texts(count);
    std::vector<Updates> round(count);
    parallel.For(count, kTokensPerTask * 100, [&](int64_t i, int) {
      texts[i] = std::make_unique<Part>(problem, first + i, length.value());
      round[i].rows = rows + i * sizes.updates() * sizes.stride;
    });
    for (;;) {
      bool done = true;
      for (const std::unique_ptr<Part>& text : texts) done &= text->done();
      if (done) break;
      parallel.For(count, cost, [&](int64_t i, int worker) {
        round[i].embeddings.clear();
        round[i].weights.clear();
        if (texts[i]->done()) return;
        texts[i]->Train(&(*workers)[worker], length.value(), &round[i], nullptr,
                        &results[first + i]);
      });
      parallel.For(parts, count * cost / (20 * parts), [&](int64_t part, int) {
        steps[part] = Apply(problem, round, sizes.stride, part, parts, curvatures);
      });
      Shortening all;
      for (const Shortening& of_part : steps) all.Add(of_part);
      length.Adapt(all);
    }
    for (int64_t i = 0; i < count; ++i) results[first + i].words = texts[i]->words();
  }
}

// How many of `workers` groups hold a row that one of them holds, on average, by how often the
// words of the text stay.
void FindCrowds(const Word2VecProblem& p, int workers, float* of_embeddings, float* of_weights) {
  std::fill_n(of_embeddings, NumInputs(p), 0.0f);
  std::fill_n(of_weights, p.classes, 0.0f);
  std::vector<float> times(p.classes);  // that a word stays
  double words = 0;
  int64_t first_document = 0, last_document = 0;
  for (int64_t i = 0; i < p.size; ++i) {
    const int32_t word = p.ids[i];
    if (word < 0) {
      if (p.documents == nullptr) continue;
      if (word == -1 || i == 0 || p.ids[i - 1] >= -1) first_document = i;
      last_document = word == -1 ? i : i + 1;
      continue;
    }
    const float stays = p.keep_probability == nullptr ? 1.0f : p.keep_probability[word];
    times[word] += stays;
    words += stays;
    ForDocuments(p, first_document, last_document, [&](int32_t id) { of_embeddings[id] += stays; });
  }
  for (int64_t k = 0; k < p.classes; ++k) {
    if (times[k] == 0) continue;
    const int32_t word = static_cast<int32_t>(k);
    ForRows(p, word, [&](int32_t row) { of_embeddings[row] += times[k]; });
    if (p.tree.splits == nullptr) {
      of_weights[k] = times[k];
    } else {
      ForNodes(p, word, [&](int32_t node, float) { of_weights[node] += times[k]; });
    }
  }
  const int64_t centers = p.CentersOfGroup();
  const auto finish = [&](float* of_rows, int64_t num_rows, int64_t rows_of_group) {
    const float share =
        static_cast<float>(static_cast<double>(rows_of_group) / std::max(words, 1.));
    for (int64_t k = 0; k < num_rows; ++k) {
      of_rows[k] = 1 + static_cast<float>(workers - 1) * std::min(1.0f, of_rows[k] * share);
    }
  };
  finish(of_embeddings, NumInputs(p), centers + p.window);
  finish(of_weights, p.classes, p.tree.splits == nullptr ? centers + p.shared : centers);
}

// Threads that train at the same time.
int Workers(const Word2VecProblem& problem, const Parallel& parallel) {
  const int64_t all = parallel.num_workers();
  const bool limited = problem.workers > 0 && !problem.deterministic;
  return static_cast<int>(limited ? std::min(problem.workers, all) : all);
}

// Each worker takes the next task when it is done with one.
void TrainAtOnce(const Word2VecProblem& problem, const Parallel& parallel,
                 std::vector<Worker>* workers, Word2VecResult* results) {
  const int64_t num_tasks = NumTasks(problem);
  std::atomic<int64_t> next{0};
  const int64_t cost = kTokensPerTask * problem.dim * 100;
  const int64_t parts = static_cast<int64_t>(workers->size());
  parallel.For(parts, cost * (num_tasks / parts + 1), [&](int64_t i, int) {
    GroupLength length(problem);
    for (int64_t task = next++; task < num_tasks; task = next++) {
      Part part(problem, task, length.value());
      while (!part.done()) {
        Shortening steps;
        part.Train(&(*workers)[i], length.value(), nullptr, &steps, &results[task]);
        length.Adapt(steps);
      }
      results[task].words = part.words();
    }
  });
}

Status CheckBags(const Word2VecProblem& problem) {
  const WordBags& bags = problem.bags;
  if (bags.splits == nullptr) return Status();
  if (problem.documents != nullptr) {
    return InvalidArgument("words that are bags of rows are not trained with documents");
  }
  if (bags.table_rows > kMaxClasses) {
    return InvalidArgument("embeddings has ", bags.table_rows, " rows, expected at most ",
                           kMaxClasses);
  }
  if (bags.splits[0] != 0 || bags.splits[problem.classes] != bags.num_rows) {
    return InvalidArgument("bag_splits goes from ", bags.splits[0], " to ",
                           bags.splits[problem.classes], ", expected 0 to ", bags.num_rows,
                           ", the number of bag_rows");
  }
  for (int64_t k = 0; k < problem.classes; ++k) {
    if (bags.splits[k] < bags.splits[k + 1]) continue;
    return InvalidArgument("bag_splits[", k + 1, "] = ", bags.splits[k + 1],
                           " is not above the one before, ", bags.splits[k]);
  }
  for (int64_t i = 0; i < bags.num_rows; ++i) {
    if (bags.rows[i] >= 0 && bags.rows[i] < bags.table_rows) continue;
    return InvalidArgument("bag_rows[", i, "] = ", bags.rows[i], " is not in [0, ", bags.table_rows,
                           "), the rows of the embeddings");
  }
  return Status();
}

Status CheckDocuments(const Word2VecProblem& problem) {
  if (problem.num_documents > kMaxClasses - problem.classes) {
    return InvalidArgument("the number of documents = ", problem.num_documents,
                           " and of words = ", problem.classes, " are together above ",
                           kMaxClasses);
  }
  if (MostDocuments(problem.ids, problem.size) > problem.most_documents ||
      problem.most_documents > kMaxDraws) {
    return InvalidArgument("a sentence is of more than ",
                           std::min(problem.most_documents, kMaxDraws), " documents");
  }
  for (int64_t i = 0; i < problem.size; ++i) {
    if (-2 - int64_t{problem.ids[i]} >= problem.num_documents) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is document ",
                             -2 - int64_t{problem.ids[i]}, ", which is not below ",
                             problem.num_documents, ", the rows of the documents");
    }
  }
  return Status();
}

// A document with its text, as a problem of its own, for the worker that takes it next.
struct Inferred {
  Word2VecProblem problem;
  std::vector<int32_t> ids;

  // No text has more than `longest` ids.
  Inferred(const Word2VecProblem& all, int64_t longest) : problem(all) {
    problem.size = longest + 1;
    problem.num_documents = problem.most_documents = 1;
    problem.frozen = true;
    problem.deterministic = false;
  }

  void Take(const Word2VecProblem& all, int64_t document, int64_t begin, int64_t end) {
    ids.assign(1, -2);
    ids.insert(ids.end(), all.ids + begin, all.ids + end);
    problem.ids = ids.data();
    problem.size = static_cast<int64_t>(ids.size());
    problem.documents = all.documents + document * all.dim;
  }

  void TakeEpoch(const Word2VecProblem& all, int64_t epoch, int64_t epochs) {
    const auto rate = [&](int64_t e) {
      const double done = static_cast<double>(e) / static_cast<double>(epochs);
      return all.start_alpha + (all.end_alpha - all.start_alpha) * done;
    };
    problem.start_alpha = rate(epoch);
    problem.end_alpha = rate(epoch + 1);
    problem.seed[1] =
        static_cast<int64_t>(static_cast<uint64_t>(all.seed[1]) + static_cast<uint64_t>(epoch));
  }
};

}  // namespace

Status CheckWord2Vec(const Word2VecProblem& problem) {
  const auto in_range = [](const char* name, int64_t value, int64_t most) {
    return value >= 1 && value <= most
               ? Status()
               : InvalidArgument(name, " = ", value, " is not in [1, ", most, "]");
  };
  FASTW2V_RETURN_IF_ERROR(in_range("window", problem.window, kMaxWindow));
  FASTW2V_RETURN_IF_ERROR(in_range("negative", problem.negative, kMaxDraws));
  FASTW2V_RETURN_IF_ERROR(in_range("group", problem.group, kMaxDraws));
  FASTW2V_RETURN_IF_ERROR(in_range("shared", problem.shared, kMaxDraws));
  if (problem.size > 0) {
    FASTW2V_RETURN_IF_ERROR(in_range("the number of words", problem.classes, kMaxClasses));
  }
  if (problem.tree.splits != nullptr) {
    FASTW2V_RETURN_IF_ERROR(in_range("the longest way in the tree", problem.tree.longest + 1,
                                     std::max<int64_t>(1, problem.classes)));
  }
  FASTW2V_RETURN_IF_ERROR(CheckBags(problem));
  const auto finite = [](const char* name, double value) {
    return std::isfinite(value) ? Status() : InvalidArgument(name, " = ", value, " is not finite");
  };
  FASTW2V_RETURN_IF_ERROR(finite("start_alpha", problem.start_alpha));
  FASTW2V_RETURN_IF_ERROR(finite("end_alpha", problem.end_alpha));
  for (int64_t i = 0; i < problem.size; ++i) {
    if (problem.ids[i] >= problem.classes) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is not below ", problem.classes,
                             ", the rows of the tables");
    }
  }
  return problem.documents == nullptr ? Status() : CheckDocuments(problem);
}

int64_t MostDocuments(const int32_t* ids, int64_t size) {
  int64_t most = 0, here = 0;
  for (int64_t i = 0; i < size; ++i) {
    here = ids[i] < -1 ? here + 1 : 0;
    most = std::max(most, here);
  }
  return most;
}

namespace {

// What TrainOn takes.
void TakeScratch(const Word2VecProblem& problem, const Parallel& parallel, Scratch* scratch) {
  for (int i = 0; i < Workers(problem, parallel); ++i) Worker(problem, scratch);
  scratch->Take<float>(problem.deterministic ? RoundMemory(problem) : CurvatureMemory(problem));
}

void TrainOn(const Word2VecProblem& problem, const Parallel& parallel, Scratch* scratch,
             Word2VecResult* result) {
  const int num_workers = Workers(problem, parallel);
  std::vector<Worker> workers;
  for (int i = 0; i < num_workers; ++i) workers.emplace_back(problem, scratch);
  std::vector<Word2VecResult> results(NumTasks(problem));
  if (problem.deterministic) {
    float* rows = scratch->Take<float>(RoundMemory(problem));
    for (Worker& worker : workers) worker.Start(Crowds());
    TrainInRounds(problem, parallel, &workers, rows, results.data());
  } else {
    float* const of_inputs = scratch->Take<float>(CurvatureMemory(problem));
    float* const of_weights = of_inputs + NumInputs(problem);
    if (num_workers > 1) FindCrowds(problem, num_workers, of_inputs, of_weights);
    for (Worker& worker : workers) {
      worker.Start(num_workers > 1 ? Crowds{of_inputs, of_weights} : Crowds());
    }
    TrainAtOnce(problem, parallel, &workers, results.data());
  }
  *result = Word2VecResult();
  for (const Word2VecResult& part : results) {
    result->loss += part.loss;
    result->examples += part.examples;
    result->words += part.words;
  }
}

}  // namespace

std::size_t Word2VecScratchBytes(const Word2VecProblem& problem, const Parallel& parallel) {
  Scratch scratch;
  if (problem.bags.splits == nullptr) {
    TakeScratch(problem, parallel, &scratch);
  } else {
    const UsedRows used(problem);
    scratch.Take<float>(used.size() * problem.dim);
    TakeScratch(used.Of(problem, nullptr), parallel, &scratch);
  }
  return scratch.used();
}

Status TrainWord2Vec(const Word2VecProblem& problem, const Parallel& parallel, void* memory,
                     Word2VecResult* result) {
  FASTW2V_RETURN_IF_ERROR(CheckWord2Vec(problem));
  Scratch scratch(memory);
  if (problem.bags.splits == nullptr) {
    TrainOn(problem, parallel, &scratch, result);
  } else {
    const UsedRows used(problem);
    float* const table = scratch.Take<float>(used.size() * problem.dim);
    used.Copy(problem, table, false, parallel);
    TrainOn(used.Of(problem, table), parallel, &scratch, result);
    used.Copy(problem, table, true, parallel);
  }
  return Status();
}

std::size_t InferScratchBytes(const Word2VecProblem& problem, const Parallel& parallel) {
  const Inferred inferred(problem, problem.size);
  Scratch scratch;
  for (int i = 0; i < parallel.num_workers(); ++i) Worker(inferred.problem, &scratch);
  return scratch.used();
}

Status InferDocuments(const Word2VecProblem& problem, int64_t epochs, const Parallel& parallel,
                      void* memory) {
  FASTW2V_RETURN_IF_ERROR(CheckWord2Vec(problem));
  std::vector<int64_t> begins(1, 0);
  for (int64_t i = 0; i < problem.size; ++i) {
    if (problem.ids[i] < -1) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is below -1, the end of a text");
    }
    if (problem.ids[i] == -1) begins.push_back(i + 1);
  }
  const int64_t texts = static_cast<int64_t>(begins.size()) - 1;
  if (texts != problem.num_documents || begins.back() != problem.size) {
    return InvalidArgument("ids has ", texts, " texts, each ended by -1, expected ",
                           problem.num_documents, ", the number of documents");
  }
  Scratch scratch(memory);
  const int num_workers = parallel.num_workers();
  std::vector<Inferred> inferred(num_workers, Inferred(problem, problem.size));
  std::vector<Worker> workers;
  for (const Inferred& each : inferred) {
    workers.emplace_back(each.problem, &scratch);
    workers.back().Start(Crowds());
  }
  const int64_t cost =
      epochs * problem.dim * 100 * (problem.size / std::max<int64_t>(1, texts) + 1);
  parallel.For(texts, cost, [&](int64_t d, int worker) {
    Inferred& mine = inferred[worker];
    mine.Take(problem, d, begins[d], begins[d + 1]);
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      mine.TakeEpoch(problem, epoch, epochs);
      GroupLength length(mine.problem);
      Part part(mine.problem, 0, mine.problem.size, length.value());
      while (!part.done()) {
        Shortening steps;
        Word2VecResult result;
        part.Train(&workers[worker], length.value(), nullptr, &steps, &result);
        length.Adapt(steps);
      }
    }
  });
  return Status();
}

}  // namespace fastw2v
