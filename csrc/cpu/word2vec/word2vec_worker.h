// Trains on the groups of a part of a text, one after the other (csrc/core/word2vec.h).
#ifndef FASTW2V_CPU_WORD2VEC_WORD2VEC_WORKER_H_
#define FASTW2V_CPU_WORD2VEC_WORD2VEC_WORKER_H_

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "csrc/core/scratch.h"
#include "csrc/core/word2vec.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/kernels/word2vec_kernels.h"
#include "csrc/cpu/word2vec/word2vec_bags.h"
#include "csrc/cpu/word2vec/word2vec_groups.h"
#include "csrc/cpu/word2vec/word2vec_steps.h"

namespace fastw2v {

// Rows that are put in: words, and documents behind them.
inline int64_t NumInputs(const Word2VecProblem& p) { return p.EmbeddingRows() + p.num_documents; }

inline float* InputRow(const Word2VecProblem& p, int64_t id) {
  const int64_t rows = p.EmbeddingRows();
  return id < rows ? p.embeddings + id * EmbeddingStride(p) : p.documents + (id - rows) * p.dim;
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
        stride(PaddedStride(p)),
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
      Shorten(updates, steps, &b);
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
    Shorten(updates, steps, &b);
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
  void Shorten(Updates* updates, Shortening* steps, cpu::Word2VecGroup* b) {
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

// A part of the text.
class Part {
 public:
  // Tokens [begin, end).
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

}  // namespace fastw2v

#endif  // FASTW2V_CPU_WORD2VEC_WORD2VEC_WORKER_H_
