// Training examples of word2vec from running text: skip-gram pairs and CBOW bags.
//
//   subsampling  word i of the text stays with probability keep_probability[ids[i]]; what is left
//                of a sentence closes up
//   reach        r[i] = window, or uniform over 1, ..., window
//   contexts     of the word at place k of what is left of its sentence: the words at k - r, ...,
//                k - 1, k + 1, ..., k + r, as far as the sentence goes
//   pair         a center with one of its contexts
//   bag          a center's contexts in order, filled up by -1; its label is the center
//
// Examples come in the order of their centers, then contexts, or shuffled. A center without
// contexts gives neither pair nor bag.
//
// Stateless: a pair of seeds decides the draws. The words of random bits of token i are functions
// of the seeds and i alone (see TokenDraws), whatever comes before it and whoever asks: a step that
// trains on the text itself uses the same examples. Results do not depend on the number of
// threads.
#ifndef FASTW2V_CORE_SKIPGRAM_H_
#define FASTW2V_CORE_SKIPGRAM_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/parallel.h"
#include "csrc/core/random.h"
#include "csrc/core/status.h"

namespace fastw2v {

// The random numbers of the tokens of a text. Four neighbors share a block: token i has word i % 4
// of block i / 4, in one stream for subsampling and in another for reaches.
class TokenDraws {
 public:
  static constexpr int kTokensPerBlock = 4;

  // Candidate samplers take the streams from 0 on, so that they can have the same seeds.
  FASTW2V_HOST_DEVICE TokenDraws(int64_t seed0, int64_t seed1)
      : keep_(seed0, seed1, -1), reach_(seed0, seed1, -2) {}

  FASTW2V_HOST_DEVICE PhiloxBlock KeepBits(int64_t block) const { return keep_[block]; }
  FASTW2V_HOST_DEVICE PhiloxBlock ReachBits(int64_t block) const { return reach_[block]; }

  // Whether a word stays, from its word of KeepBits: with the given probability within 2^-32, and
  // always where that is 1.
  FASTW2V_HOST_DEVICE static bool Keep(uint32_t bits, float probability) {
    return static_cast<double>(bits) < static_cast<double>(probability) * 0x1p32;
  }

  // A number in [1, window] from a word of ReachBits: each with a probability within 2^-32 of
  // 1 / window.
  FASTW2V_HOST_DEVICE static int32_t Reach(uint32_t bits, int32_t window) {
    return static_cast<int32_t>(static_cast<uint64_t>(bits) * static_cast<uint32_t>(window) >> 32) +
           1;
  }

 private:
  RandomStream keep_, reach_;
};

struct SkipGramProblem {
  static constexpr int64_t kMaxWindow = (int64_t{1} << 31) - 1;

  const int64_t* ids = nullptr;  // [size]; a negative one is no word and ends a sentence
  int64_t size = 0;
  // [num_splits], or null: sentence s is [row_splits[s], row_splits[s + 1]). 0 first, never
  // decreasing, size last.
  const int64_t* row_splits = nullptr;
  int64_t num_splits = 0;

  int64_t window = 1;          // [1, kMaxWindow]
  bool shrink_windows = true;  // draws reaches
  bool shuffle = false;        // every order of the examples is equally likely
  int64_t seed[2] = {0, 0};
  // [num_classes], or null: every word stays. Ids are then in [0, num_classes), or negative.
  const float* keep_probability = nullptr;
  int64_t num_classes = 0;
};

// What every device asks, without a look at any data.
inline Status CheckSkipGramNumbers(const SkipGramProblem& p) {
  if (p.window < 1 || p.window > SkipGramProblem::kMaxWindow) {
    return InvalidArgument("window = ", p.window, " is not in [1, ", SkipGramProblem::kMaxWindow,
                           "]");
  }
  if (p.row_splits != nullptr && p.num_splits < 1) {
    return InvalidArgument("row_splits is empty: it must hold 0 at least");
  }
  return Status();
}

// What is left of the text, and where each task's examples go. Points into the problem and the
// scratch memory.
struct SkipGramPlan {
  const int64_t* words = nullptr;  // [num_words]; -1 between sentences
  const int32_t* reach = nullptr;  // [num_words], or null: the window
  int64_t num_words = 0;
  const int64_t* first_pair = nullptr;  // by task
  const int64_t* first_bag = nullptr;
  int64_t num_pairs = 0;
  int64_t num_bags = 0;
};

// Bytes of scratch, aligned to Scratch::kAlignment, for PlanSkipGrams: about 12 for each token
// where words are left out or rows are given, 4 where only reaches are drawn.
std::size_t SkipGramScratchBytes(const SkipGramProblem& problem);

// Subsamples, draws reaches and counts examples. kInvalidArgument for a window, row_splits or ids
// outside the ranges above. Work O(size + num_pairs).
Status PlanSkipGrams(const SkipGramProblem& problem, const Parallel& parallel, void* scratch,
                     SkipGramPlan* plan);

// centers, contexts  [num_pairs], overwritten
void FillPairs(const SkipGramProblem& problem, const SkipGramPlan& plan, const Parallel& parallel,
               int64_t* centers, int64_t* contexts);

// bags [num_bags, 2 * window], labels [num_bags], overwritten
void FillBags(const SkipGramProblem& problem, const SkipGramPlan& plan, const Parallel& parallel,
              int64_t* bags, int64_t* labels);

// keep_probability[k] = min(1, sqrt(x) + x), x = sample * sum_j counts[j] / counts[k], as
// word2vec.c and gensim have it; 1 where the count is 0 or sample is 0.
//
// counts  [num_classes]  finite, not negative; otherwise kInvalidArgument
// sample                 in [0, 1); otherwise kInvalidArgument
Status KeepProbabilities(const double* counts, int64_t num_classes, double sample,
                         float* keep_probability);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_SKIPGRAM_H_
