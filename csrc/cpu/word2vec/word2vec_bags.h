// Words that are bags of rows of the embeddings (csrc/core/word2vec.h).
#ifndef FASTW2V_CPU_WORD2VEC_WORD2VEC_BAGS_H_
#define FASTW2V_CPU_WORD2VEC_WORD2VEC_BAGS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "csrc/core/parallel.h"
#include "csrc/core/scratch.h"
#include "csrc/core/word2vec.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/kernels/word2vec_kernels.h"
#include "csrc/cpu/word2vec/word2vec_steps.h"

namespace fastw2v {

// Calls body(row) for the rows of the embeddings that a word is made of.
template <typename Body>
void ForRows(const Word2VecProblem& problem, int32_t word, const Body& body) {
  const WordBags& bags = problem.bags;
  if (bags.splits == nullptr) {
    body(word);
    return;
  }
  for (int64_t i = bags.splits[word]; i < bags.splits[word + 1]; ++i) body(bags.rows[i]);
}

inline int64_t NumRows(const Word2VecProblem& problem, int32_t word) {
  const WordBags& bags = problem.bags;
  return bags.splits == nullptr ? 1 : bags.splits[word + 1] - bags.splits[word];
}

// What a row counts among steps that are shortened: all of a word's together as one.
inline float ShareOfRow(const Word2VecProblem& problem) {
  if (problem.bags.splits == nullptr) return 1;
  return static_cast<float>(problem.classes) / static_cast<float>(problem.bags.num_rows);
}

// Of rows of `dim` numbers that are padded to whole vectors.
inline int64_t PaddedStride(const Word2VecProblem& problem) {
  return cpu::RoundUp(problem.dim, cpu::ActiveKernels().word2vec->lanes);
}

// Rows of words that are bags are trained on in a table of UsedRows.
inline int64_t EmbeddingStride(const Word2VecProblem& problem) {
  return problem.bags.splits == nullptr ? problem.dim : PaddedStride(problem);
}

// The rows of the embeddings that the words of a text are made of, those of frequent words first.
// Side by side in a table of their own, whole vectors each, they take fewer pages and lines of the
// caches than among the millions that a table of n-grams has.
class UsedRows {
 public:
  explicit UsedRows(const Word2VecProblem& problem) : places_(problem.bags.num_rows) {
    std::vector<bool> occurs(problem.classes);
    for (int64_t i = 0; i < problem.size; ++i) {
      if (problem.ids[i] >= 0) occurs[problem.ids[i]] = true;
    }
    const WordBags& bags = problem.bags;
    std::vector<int32_t> place_of(bags.table_rows, -1);
    for (int64_t k = 0; k < problem.classes; ++k) {
      if (!occurs[k]) continue;
      for (int64_t i = bags.splits[k]; i < bags.splits[k + 1]; ++i) {
        int32_t& place = place_of[bags.rows[i]];
        if (place < 0) {
          place = static_cast<int32_t>(rows_.size());
          rows_.push_back(bags.rows[i]);
        }
        places_[i] = place;
      }
    }
  }

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }

  // The same problem on a table [size(), EmbeddingStride] of these rows.
  Word2VecProblem Of(Word2VecProblem problem, float* table) const {
    problem.embeddings = table;
    problem.bags.rows = places_.data();
    problem.bags.table_rows = size();
    return problem;
  }

  // Copies the rows of the problem there, or back.
  void Copy(const Word2VecProblem& problem, float* table, bool back,
            const Parallel& parallel) const {
    constexpr int64_t kRowsPerTask = 1024;
    const int64_t dim = problem.dim, stride = EmbeddingStride(problem);
    const auto copy = [&](int64_t task, int) {
      const int64_t end = std::min(size(), (task + 1) * kRowsPerTask);
      for (int64_t i = task * kRowsPerTask; i < end; ++i) {
        float* const row = problem.embeddings + int64_t{rows_[i]} * dim;
        float* const here = table + i * stride;
        std::copy_n(back ? here : row, dim, back ? row : here);
        if (!back) std::fill(here + dim, here + stride, 0.0f);
      }
    };
    parallel.For((size() + kRowsPerTask - 1) / kRowsPerTask, kRowsPerTask * problem.dim, copy);
  }

 private:
  std::vector<int32_t> rows_;    // of the embeddings
  std::vector<int32_t> places_;  // of the rows of each bag that occurs, among them
};

// The different words of a group, each in a row of its own: what its bag comes to, and its step.
class WordsOfGroup {
 public:
  // Of at most so many words.
  WordsOfGroup(const Word2VecProblem& problem, int64_t most, int64_t stride, Scratch* scratch)
      : p_(problem), stride_(stride) {
    if (problem.bags.splits == nullptr) return;
    rows_ = scratch->Take<float>(most * stride);
    steps_ = scratch->Take<float>(most * stride);
    word_curvatures_ = scratch->Take<float>(most);
    // Updates of a round are added up elsewhere.
    if (problem.deterministic) return;
    row_curvatures_ = scratch->Take<RowCurvature>(problem.EmbeddingRows());
  }

  // Once the memory is there. `crowds` of the rows of the embeddings; null: 1.
  void Start(const float* crowds) {
    crowds_ = crowds;
    if (row_curvatures_ == nullptr) return;
    std::fill_n(row_curvatures_, p_.EmbeddingRows(), RowCurvature());
  }

  void Clear() { words_.clear(); }

  // Makes row i that of a word.
  void Read(int64_t i, int32_t word) {
    words_.push_back({static_cast<int32_t>(i), word});
    const int64_t begin = p_.bags.splits[word], count = p_.bags.splits[word + 1] - begin;
    const float factor = p_.cbow ? 1.0f : 1.0f / static_cast<float>(count);
    cpu::ActiveKernels().word2vec->sum_rows(p_.embeddings, p_.bags.rows + begin, count, stride_,
                                            factor, row(i));
    std::memset(step(i), 0, stride_ * sizeof(float));
    word_curvatures_[i] = 0;
  }

  float* row(int64_t i) const { return rows_ + i * stride_; }
  float* step(int64_t i) const { return steps_ + i * stride_; }

  void AddCurvature(int64_t i, float curvature) { word_curvatures_[i] += curvature; }

  // Adds the steps of the words to the rows of their bags, by the curvatures of the rows.
  void AddSteps(Shortening* steps) {
    ++group_;
    float wanted = 0, made = 0;
    bool shortened = false;
    for (const Word& each : words_) {
      const float of_word = word_curvatures_[each.place];
      ForRows(p_, each.word, [&](int32_t row) {
        RowCurvature& of_row = row_curvatures_[row];
        const float before = of_row.group == group_ ? of_row.curvature : 0;
        of_row = {group_, before + of_word};
        const float crowd = Crowd(row), curvature = crowd * of_row.curvature;
        wanted += crowd * of_word;
        made += std::min(curvature, kMostCurvature) - std::min(crowd * before, kMostCurvature);
        shortened |= curvature > kMostCurvature;
      });
    }
    for (const Word& each : words_) {
      const int32_t* const rows = p_.bags.rows + p_.bags.splits[each.word];
      const int64_t count = NumRows(p_, each.word);
      if (shortened) {
        factors_.resize(std::max<std::size_t>(factors_.size(), count));
        for (int64_t i = 0; i < count; ++i) {
          factors_[i] = StepFactor(Crowd(rows[i]) * row_curvatures_[rows[i]].curvature);
        }
      }
      cpu::ActiveKernels().word2vec->add_to_rows(step(each.place), rows,
                                                 shortened ? factors_.data() : nullptr, count,
                                                 stride_, p_.embeddings);
    }
    const float share = ShareOfRow(p_);
    steps->Add(share * wanted, share * made);
  }

 private:
  struct Word {
    int32_t place, word;
  };
  // Of what a group adds to a row: counts in that group alone.
  struct RowCurvature {
    uint32_t group;
    float curvature;
  };

  float Crowd(int32_t row) const { return crowds_ == nullptr ? 1.0f : crowds_[row]; }

  const Word2VecProblem& p_;
  int64_t stride_;
  std::vector<Word> words_;
  float *rows_ = nullptr, *steps_ = nullptr, *word_curvatures_ = nullptr;
  RowCurvature* row_curvatures_ = nullptr;  // [EmbeddingRows()]
  uint32_t group_ = 0;                      // the groups are counted from 1
  std::vector<float> factors_;
  const float* crowds_ = nullptr;
};

}  // namespace fastw2v

#endif  // FASTW2V_CPU_WORD2VEC_WORD2VEC_BAGS_H_
