// Words that are bags of rows of the embeddings (csrc/core/word2vec.h).
#ifndef FASTW2V_CPU_WORD2VEC_WORD2VEC_BAGS_H_
#define FASTW2V_CPU_WORD2VEC_WORD2VEC_BAGS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

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
    if (!problem.deterministic) row_curvatures_ = scratch->Take<float>(problem.EmbeddingRows());
  }

  // Once the memory is there. `crowds` of the rows of the embeddings; null: 1.
  void Start(const float* crowds) {
    crowds_ = crowds;
    if (row_curvatures_ != nullptr) std::fill_n(row_curvatures_, p_.EmbeddingRows(), 0.0f);
  }

  void Clear() { words_.clear(); }

  // Makes row i that of a word.
  void Read(int64_t i, int32_t word) {
    words_.push_back({static_cast<int32_t>(i), word});
    const int64_t begin = p_.bags.splits[word], count = p_.bags.splits[word + 1] - begin;
    const float factor = p_.cbow ? 1.0f : 1.0f / static_cast<float>(count);
    cpu::ActiveKernels().word2vec->sum_rows(p_.embeddings, p_.bags.rows + begin, count, p_.dim,
                                            factor, row(i));
    std::memset(step(i), 0, stride_ * sizeof(float));
    word_curvatures_[i] = 0;
  }

  float* row(int64_t i) const { return rows_ + i * stride_; }
  float* step(int64_t i) const { return steps_ + i * stride_; }

  void AddCurvature(int64_t i, float curvature) { word_curvatures_[i] += curvature; }

  // Adds the steps of the words to the rows of their bags, by the curvatures of the rows.
  void AddSteps(Shortening* steps) {
    const auto axpy = cpu::Kernels<float>().axpy;
    for (const Word& each : words_) {
      ForRows(p_, each.word,
              [&](int32_t row) { row_curvatures_[row] += word_curvatures_[each.place]; });
    }
    for (const Word& each : words_) {
      ForRows(p_, each.word, [&](int32_t row) {
        axpy(StepFactor(Crowd(row) * row_curvatures_[row]), step(each.place),
             p_.embeddings + int64_t{row} * p_.dim, p_.dim);
      });
    }
    float wanted = 0, made = 0;
    for (const Word& each : words_) {
      ForRows(p_, each.word, [&](int32_t row) {
        const float curvature = Crowd(row) * row_curvatures_[row];
        wanted += curvature;
        made += std::min(curvature, kMostCurvature);
        row_curvatures_[row] = 0;  // counts once
      });
    }
    const float share = ShareOfRow(p_);
    steps->Add(share * wanted, share * made);
  }

 private:
  struct Word {
    int32_t place, word;
  };

  float Crowd(int32_t row) const { return crowds_ == nullptr ? 1.0f : crowds_[row]; }

  const Word2VecProblem& p_;
  int64_t stride_;
  std::vector<Word> words_;
  float *rows_ = nullptr, *steps_ = nullptr, *word_curvatures_ = nullptr;
  float* row_curvatures_ = nullptr;  // [EmbeddingRows()], zeros between two groups
  const float* crowds_ = nullptr;
};

}  // namespace fastw2v

#endif  // FASTW2V_CPU_WORD2VEC_WORD2VEC_BAGS_H_
