// A part of a text as groups of centers, with the classes that they train on
// (csrc/core/word2vec.h).
#ifndef FASTW2V_CPU_WORD2VEC_WORD2VEC_GROUPS_H_
#define FASTW2V_CPU_WORD2VEC_WORD2VEC_GROUPS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "csrc/core/random.h"
#include "csrc/core/skipgram.h"
#include "csrc/core/word2vec.h"
#include "csrc/cpu/word2vec/word2vec_steps.h"

namespace fastw2v {

// A group ends where its words would be more than that.
inline int64_t MaxRows(const Word2VecProblem& problem) {
  return 2 * (problem.CentersOfGroup() + std::min(problem.window, problem.size));
}

// Of a group, where there is a tree.
inline int64_t MaxNodes(const Word2VecProblem& problem) {
  return problem.CentersOfGroup() * problem.tree.longest;
}

// The most rows of documents in a group.
inline int64_t MaxDocuments(const Word2VecProblem& problem) {
  if (problem.documents == nullptr) return 0;
  return std::max(problem.most_documents, 2 * problem.CentersOfGroup());
}

// Where the contexts of a center lie: [first, last) of the words, except the center itself. Where
// the documents of its sentence stand: [first_document, last_document) of the ids.
struct Center {
  int64_t documents() const { return last_document - first_document; }
  int64_t inputs() const { return last - first - 1 + documents(); }

  int64_t position, first, last;
  int64_t first_document = 0, last_document = 0;
};

// One of the two kinds of bits that TokenDraws gives a token; neighbors share a block of them.
class BitsOfTokens {
 public:
  using Blocks = PhiloxBlock (TokenDraws::*)(int64_t block) const;
  BitsOfTokens(const TokenDraws& draws, Blocks blocks) : draws_(draws), blocks_(blocks) {}

  uint32_t operator[](int64_t token) {
    const int64_t block = token / TokenDraws::kTokensPerBlock;
    if (block != block_) {
      block_ = block;
      bits_ = (draws_.*blocks_)(block);
    }
    return bits_.word[token % TokenDraws::kTokensPerBlock];
  }

 private:
  const TokenDraws& draws_;
  const Blocks blocks_;
  int64_t block_ = -1;
  PhiloxBlock bits_ = {};
};

// The words of a task that subsampling leaves, and those around them that their windows reach.
class Text {
 public:
  // The centers are tokens [begin, end).
  Text(const Word2VecProblem& problem, int64_t begin, int64_t end)
      : p_(problem), draws_(problem.seed[0], problem.seed[1]) {
    const int64_t start = ReachBack(begin);
    Append(start, begin);
    k_ = size();
    Append(begin, end);
    end_ = size();
    for (int64_t i = end; i < p_.size && size() - end_ < p_.window && p_.ids[i] >= 0; ++i) {
      Append(i, i + 1);
    }
    sentences_.push_back(size());
  }

  // The next center that has a context or a document; false at the end.
  bool Next(Center* center, int64_t* words) {
    while (k_ < end_) {
      while (sentences_[sentence_ + 1] <= k_) ++sentence_;
      const int64_t reach = p_.PairsDocuments() ? 0 : Reach(k_);
      *center = {k_, std::max(sentences_[sentence_], k_ - reach),
                 std::min(sentences_[sentence_ + 1], k_ + reach + 1)};
      if (p_.documents != nullptr) FindDocuments(center);
      ++k_;
      ++*words;
      if (center->inputs() > 0) return true;
    }
    return false;
  }

  int32_t word(int64_t k) const { return words_[k]; }
  int64_t token(int64_t k) const { return tokens_[k]; }

 private:
  int64_t size() const { return static_cast<int64_t>(words_.size()); }

  // They stand before the first word of the sentence, which may belong to an earlier task.
  void FindDocuments(Center* center) {
    if (documents_of_ != sentence_) {
      documents_of_ = sentence_;
      last_document_ = token(center->position);
      while (last_document_ > 0 && p_.ids[last_document_ - 1] >= 0) --last_document_;
      first_document_ = last_document_;
      while (first_document_ > 0 && p_.ids[first_document_ - 1] < -1) --first_document_;
    }
    center->first_document = first_document_;
    center->last_document = last_document_;
  }

  bool Stays(int64_t token) {
    return p_.keep_probability == nullptr ||
           TokenDraws::Keep(keep_bits_[token], p_.keep_probability[p_.ids[token]]);
  }

  // The first token that a window of tokens from `begin` on may reach.
  int64_t ReachBack(int64_t begin) {
    int64_t start = begin;
    for (int64_t reached = 0; start > 0 && reached < p_.window && p_.ids[start - 1] >= 0;) {
      reached += Stays(--start);
    }
    return start;
  }

  // Every word is written and the next one overwrites those that do not stay: whether it does
  // cannot be predicted.
  void Append(int64_t begin, int64_t end) {
    int64_t count = size();
    words_.resize(count + end - begin);
    tokens_.resize(count + end - begin);
    for (int64_t i = begin; i < end; ++i) {
      if (p_.ids[i] < 0) {
        if (sentences_.back() < count) sentences_.push_back(count);
        continue;
      }
      words_[count] = p_.ids[i];
      tokens_[count] = i;
      count += Stays(i);
    }
    words_.resize(count);
    tokens_.resize(count);
  }

  int64_t Reach(int64_t k) {
    if (!p_.shrink_windows) return p_.window;
    return TokenDraws::Reach(reach_bits_[tokens_[k]], static_cast<int32_t>(p_.window));
  }

  const Word2VecProblem& p_;
  const TokenDraws draws_;
  BitsOfTokens keep_bits_{draws_, &TokenDraws::KeepBits};
  BitsOfTokens reach_bits_{draws_, &TokenDraws::ReachBits};
  std::vector<int32_t> words_;
  std::vector<int64_t> tokens_;        // where each stood
  std::vector<int64_t> sentences_{0};  // where they begin among the words, and the end
  std::size_t sentence_ = 0;
  std::size_t documents_of_ = ~std::size_t{0};  // the sentence whose documents are known
  int64_t first_document_ = 0, last_document_ = 0;
  int64_t k_ = 0, end_ = 0;
};

// A node of the noise on the way to a center; the target is 0 where the way turns there.
struct WayStep {
  int32_t center, node;
  float target;
};

// Centers that are trained on together, and the other classes that they train on.
struct Group {
  int64_t rows() const { return last - first; }
  bool empty() const { return centers.empty(); }

  std::vector<Center> centers;
  int64_t first = 0, last = 0;  // their contexts are among these words; PV-DBOW: none
  int64_t documents = 0;        // rows of them
  int64_t token = 0;            // where the first of these words stood in the text
  std::vector<int32_t> noise;   // words that were drawn, or the nodes on the ways to the centers
  std::vector<WayStep> ways;    // to the centers
};

// Calls body(node, target) on the way to a word. What is no way in the tree is not followed.
template <typename Body>
void ForNodes(const Word2VecProblem& problem, int32_t word, const Body& body) {
  const WordTree& tree = problem.tree;
  const int64_t begin = std::max<int64_t>(0, tree.splits[word]);
  const int64_t end = std::min({tree.splits[word + 1], tree.num_steps, begin + tree.longest});
  for (int64_t i = begin; i < end; ++i) {
    const int32_t node = tree.steps[i] >> 1;
    if (node < 0 || node >= problem.classes) continue;
    body(node, tree.steps[i] % 2 == 0 ? 1.0f : 0.0f);
  }
}

// Cuts a part of the text into groups.
class Groups {
 public:
  Groups(const Word2VecProblem& problem, int64_t begin, int64_t end)
      : p_(problem),
        noise_(problem.seed[0], problem.seed[1], -4),
        text_(problem, begin, end),
        columns_(problem.shared),
        choices_(problem.shared),
        next_draws_(begin),
        nodes_(MaxNodes(problem)),
        more_(text_.Next(&center_, &words_)) {
    if (p_.tree.splits == nullptr) DrawColumns();
  }

  // Of at most so many centers; an empty one at the end.
  void Next(int64_t most, Group* group) {
    group->centers.clear();
    group->first = group->last = group->documents = 0;
    for (; more_ && Fits(*group, most); more_ = text_.Next(&center_, &words_)) {
      if (!p_.PairsDocuments()) {
        if (group->empty()) group->first = center_.first;
        group->last = std::max(group->last, center_.last);
        group->first = std::min(group->first, center_.first);
      }
      group->documents += AddedDocuments(*group);
      group->centers.push_back(center_);
      if (p_.tree.splits != nullptr) {
        __builtin_prefetch(p_.tree.steps + p_.tree.splits[text_.word(center_.position)]);
      }
    }
    if (group->empty()) return;
    group->token =
        text_.token(p_.PairsDocuments() ? group->centers.front().position : group->first);
    if (p_.tree.splits != nullptr) {
      FindNodes(group);
    } else {
      DrawNoise(group);
    }
  }

  int32_t word(int64_t k) const { return text_.word(k); }
  int64_t words() const { return words_; }  // read so far

 private:
  bool Fits(const Group& group, int64_t most) const {
    if (group.empty()) return true;
    if (static_cast<int64_t>(group.centers.size()) >= most) return false;
    if (p_.documents != nullptr && group.documents + AddedDocuments(group) > MaxDocuments(p_)) {
      return false;
    }
    return p_.PairsDocuments() ||
           std::max(group.last, center_.last) - std::min(group.first, center_.first) <= MaxRows(p_);
  }

  // Rows of documents that the next center brings: none where the one before is of its sentence.
  int64_t AddedDocuments(const Group& group) const {
    const bool brings =
        group.empty() || group.centers.back().first_document != center_.first_document;
    return brings ? center_.documents() : 0;
  }

  // Group i of a part that begins at token t has the draws of token t + i; two of them share a
  // block of random bits. Those of the next group are already on their way from memory.
  void DrawNoise(Group* group) {
    group->noise.resize(p_.shared);
    for (int64_t n = 0; n < p_.shared; ++n) {
      const NoiseColumn& drawn = p_.noise[columns_[n]];
      // A table that BuildNoiseTable did not make must not lead outside the range. What comes out
      // cannot be predicted: no branch.
      const bool valid = static_cast<uint32_t>(drawn.alias) < static_cast<uint64_t>(p_.classes);
      const int32_t other = -static_cast<int32_t>(valid & (choices_[n] >= drawn.acceptance));
      group->noise[n] = (drawn.alias & other) | (columns_[n] & ~other);
    }
    DrawColumns();
  }

  void DrawColumns() {
    const int64_t first = next_draws_++ * ((p_.shared + 1) / 2);
    for (int64_t n = 0; n < p_.shared; n += 2) {
      const PhiloxBlock bits = noise_[first + n / 2];
      const int64_t pair = std::min<int64_t>(2, p_.shared - n);
      for (int64_t i = 0; i < pair; ++i) {
        columns_[n + i] =
            static_cast<int32_t>(bits.word[2 * i] * static_cast<uint64_t>(p_.classes) >> 32);
        choices_[n + i] = bits.word[2 * i + 1];
        __builtin_prefetch(p_.noise + columns_[n + i]);
      }
    }
  }

  void FindNodes(Group* group) {
    group->noise.clear();
    group->ways.clear();
    nodes_.Clear();
    for (std::size_t c = 0; c < group->centers.size(); ++c) {
      ForNodes(p_, text_.word(group->centers[c].position), [&](int32_t node, float target) {
        const int32_t next = static_cast<int32_t>(group->noise.size());
        const int32_t found = nodes_.Add(node, next);
        group->noise.push_back(node);
        group->noise.resize(next + (found == next));
        group->ways.push_back({static_cast<int32_t>(c), found, target});
      });
    }
  }

  const Word2VecProblem& p_;
  const RandomStream noise_;
  Text text_;
  std::vector<int32_t> columns_;  // of the noise table, for the next group
  std::vector<uint32_t> choices_;
  int64_t next_draws_;
  FirstPlaces nodes_;  // of a group
  Center center_ = {};
  int64_t words_ = 0;
  bool more_;
};

}  // namespace fastw2v

#endif  // FASTW2V_CPU_WORD2VEC_WORD2VEC_GROUPS_H_
