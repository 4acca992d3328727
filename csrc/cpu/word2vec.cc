#include "csrc/core/word2vec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "csrc/core/sampler.h"
#include "csrc/core/scratch.h"
#include "csrc/core/skipgram.h"
#include "csrc/cpu/kernels.h"
#include "csrc/cpu/word2vec_kernels.h"

namespace fastw2v {
namespace {

constexpr int64_t kTokensPerTask = 2048;
constexpr int64_t kMaxTasksOfRound = 16;
constexpr int64_t kWordsPerTaskOfRound = 64;
constexpr int64_t kMaxClasses = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxWindow = SkipGramProblem::kMaxWindow;
constexpr int64_t kMaxDraws = 4096;  // of a block

// A block ends where its words would be more than that.
int64_t MaxRows(const Word2VecProblem& problem) {
  return 2 * (problem.CentresOfBlock() + std::min(problem.window, problem.size));
}

// Where the contexts of a centre lie: [first, last) of the words, but the centre itself.
struct Centre {
  int64_t position, first, last;
};

// One of the two kinds of bits that TokenDraws gives a token; neighbours share a block of them.
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
  // The centres are tokens [begin, end).
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

  // The next centre that has a context; false at the end.
  bool Next(Centre* centre, int64_t* words) {
    while (k_ < end_) {
      while (sentences_[sentence_ + 1] <= k_) ++sentence_;
      const int64_t reach = Reach(k_);
      *centre = {k_, std::max(sentences_[sentence_], k_ - reach),
                 std::min(sentences_[sentence_ + 1], k_ + reach + 1)};
      ++k_;
      ++*words;
      if (centre->last - centre->first > 1) return true;
    }
    return false;
  }

  int32_t word(int64_t k) const { return words_[k]; }
  int64_t token(int64_t k) const { return tokens_[k]; }

 private:
  int64_t size() const { return static_cast<int64_t>(words_.size()); }

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
  // cannot be foretold.
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
  int64_t k_ = 0, end_ = 0;
};

// Centres that are trained on together, and the other classes that they meet.
struct Block {
  int64_t rows() const { return last - first; }
  bool empty() const { return centres.empty(); }

  std::vector<Centre> centres;
  int64_t first = 0, last = 0;  // their contexts are among these words
  int64_t token = 0;            // where the first of these words stood in the text
  std::vector<int32_t> noise;   // words that were drawn, or nodes on the way to the centre
  std::vector<float> targets;   // of the noise
};

// Cuts a part of the text into blocks.
class Blocks {
 public:
  Blocks(const Word2VecProblem& problem, int64_t begin, int64_t end)
      : p_(problem),
        noise_(problem.seed[0], problem.seed[1], -4),
        text_(problem, begin, end),
        columns_(problem.shared),
        choices_(problem.shared),
        next_draws_(begin),
        more_(text_.Next(&centre_, &words_)) {
    if (p_.tree.splits == nullptr) DrawColumns();
  }

  // An empty one at the end.
  void Next(Block* block) {
    block->centres.clear();
    block->last = 0;
    for (; more_ && Fits(*block); more_ = text_.Next(&centre_, &words_)) {
      if (block->empty()) block->first = centre_.first;
      block->last = std::max(block->last, centre_.last);
      block->first = std::min(block->first, centre_.first);
      block->centres.push_back(centre_);
    }
    if (block->empty()) return;
    block->token = text_.token(block->first);
    if (p_.tree.splits != nullptr) {
      FindNodes(text_.word(block->centres[0].position), block);
    } else {
      DrawNoise(block);
    }
  }

  int32_t word(int64_t k) const { return text_.word(k); }
  int64_t words() const { return words_; }  // met so far

 private:
  bool Fits(const Block& block) const {
    if (block.empty()) return true;
    return static_cast<int64_t>(block.centres.size()) < p_.CentresOfBlock() &&
           std::max(block.last, centre_.last) - std::min(block.first, centre_.first) <= MaxRows(p_);
  }

  // Block i of a part that begins at token t has the draws of token t + i; two of them share a
  // block of random bits. Those of the next block are already on their way from memory.
  void DrawNoise(Block* block) {
    block->noise.resize(p_.shared);
    block->targets.assign(p_.shared, 0);
    for (int64_t n = 0; n < p_.shared; ++n) {
      const NoiseColumn& drawn = p_.noise[columns_[n]];
      // A table that BuildNoiseTable did not make must not lead outside the range. What comes out
      // cannot be foretold: no branch.
      const bool valid = static_cast<uint32_t>(drawn.alias) < static_cast<uint64_t>(p_.classes);
      const int32_t other = -static_cast<int32_t>(valid & (choices_[n] >= drawn.acceptance));
      block->noise[n] = (drawn.alias & other) | (columns_[n] & ~other);
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

  // What is no way in the tree is not followed.
  void FindNodes(int32_t word, Block* block) const {
    const WordTree& tree = p_.tree;
    block->noise.clear();
    block->targets.clear();
    const int64_t begin = std::max<int64_t>(0, tree.splits[word]);
    const int64_t end = std::min({tree.splits[word + 1], tree.num_steps, begin + tree.longest});
    for (int64_t i = begin; i < end; ++i) {
      const int32_t node = tree.steps[i] >> 1;
      if (node < 0 || node >= p_.classes) continue;
      block->noise.push_back(node);
      block->targets.push_back(tree.steps[i] % 2 == 0 ? 1.0f : 0.0f);
    }
  }

  const Word2VecProblem& p_;
  const RandomStream noise_;
  Text text_;
  std::vector<int32_t> columns_;  // of the noise table, for the next block
  std::vector<uint32_t> choices_;
  int64_t next_draws_;
  Centre centre_ = {};
  int64_t words_ = 0;
  bool more_;
};

// What blocks of a round add to the tables, kept until all of them are done.
struct Updates {
  float* rows = nullptr;  // `stride` apart: those of the embeddings, then those of the weights
  std::vector<int32_t> embeddings, weights;
};

// Sizes of the memory that a worker needs.
struct Sizes {
  explicit Sizes(const Word2VecProblem& p)
      : lanes(cpu::ActiveKernels().word2vec->lanes),
        stride(cpu::RoundUp(p.dim, lanes)),
        noise(cpu::RoundUp(p.tree.splits != nullptr ? p.tree.longest : p.shared, lanes)),
        centres(cpu::RoundUp(p.CentresOfBlock(), lanes)),
        rows(MaxRows(p)),
        hidden(p.cbow ? p.CentresOfBlock() : rows) {}

  int64_t columns() const { return noise + centres; }
  // Of one block's updates.
  int64_t updates() const { return rows + columns(); }

  int64_t lanes, stride;
  int64_t noise, centres;  // columns
  int64_t rows, hidden;
};

// Trains on one block after the other, in memory of its own.
class Worker {
 public:
  Worker(const Word2VecProblem& problem, Scratch* scratch) : p_(problem), sizes_(problem) {
    const Sizes& s = sizes_;
    hidden_ = scratch->Take<float>(s.hidden * s.stride);
    d_hidden_ = scratch->Take<float>(p_.cbow ? s.hidden * s.stride : 0);
    coefficients_ = scratch->Take<float>(p_.cbow ? s.rows * s.centres : 0);
    packed_ = scratch->Take<float>(s.columns() * s.stride);
    logits_ = scratch->Take<float>(s.hidden * s.columns());
    tails_ = scratch->Take<float>(std::max(s.columns(), s.rows) * s.lanes);
    weights_ = scratch->Take<float>(s.columns());
    noise_weight_ = scratch->Take<float>(s.noise);
    noise_target_ = scratch->Take<float>(s.noise);
    forward_ = scratch->Take<float>(s.centres);
    backward_ = scratch->Take<float>(s.centres);
    zeros_ = scratch->Take<float>(s.stride);
    places_ = scratch->Take<int32_t>(3 * s.centres);
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
  void Start() {
    // What is never written stays zero: columns past dim.
    std::memset(hidden_, 0, sizes_.hidden * sizes_.stride * sizeof(float));
    std::memset(zeros_, 0, sizes_.stride * sizeof(float));
    for (int64_t i = 0; i < sizes_.hidden; ++i) {
      hidden_rows_[i] = hidden_ + i * sizes_.stride;
      d_hidden_rows_[i] = p_.cbow ? d_hidden_ + i * sizes_.stride : nullptr;
    }
  }

  // Adds the step of a block to the tables, or to `updates` if that is not null, and asks for the
  // rows of the next one meanwhile.
  void Train(const Blocks& text, const Block& block, const Block& next, Updates* updates,
             Word2VecResult* result) {
    FindRows(text, block, updates);
    ListAhead(text, block, next);
    const int64_t centres = static_cast<int64_t>(block.centres.size());
    const int64_t rows = p_.cbow ? centres : block.rows();
    cpu::Word2VecBlock b = {};
    b.dim = p_.dim;
    b.rows = rows;
    b.noise = static_cast<int64_t>(block.noise.size());
    b.centres = centres;
    b.centres_are_classes = p_.tree.splits == nullptr;
    b.hits = hits_.data();
    b.num_hits = static_cast<int64_t>(hits_.size());
    b.rate = Rate(block);
    b.noise_weight = noise_weight_;
    b.noise_target = noise_target_;
    b.hidden = hidden_rows_;
    b.classes = classes_;
    b.to_hidden = p_.cbow ? d_hidden_rows_ : to_embeddings_;
    b.to_classes = to_classes_;
    b.ahead = {ahead_.data(), static_cast<int64_t>(ahead_.size()),
               p_.dim * static_cast<int64_t>(sizeof(float))};
    b.packed = packed_;
    b.tails = tails_;
    b.tail_rows = tail_rows_;
    b.logits = logits_;
    b.weights = weights_;
    b.band_first = bands_;
    b.band_last = bands_ + sizes_.rows;
    const cpu::Word2VecKernels& kernels = *cpu::ActiveKernels().word2vec;
    if (p_.cbow) {
      const cpu::Word2VecBags bags = Bags(block, b);
      kernels.sum_bags(bags);
      std::memset(d_hidden_, 0, rows * sizes_.stride * sizeof(float));
      PairWithBags(centres);
      b.pairs = Pairs();
      result->loss += kernels.train_block(b);
      PairWithContexts(block);
      kernels.spread_bags(bags);
      result->examples += centres;
      return;
    }
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(hidden_rows_[i], embeddings_[i], p_.dim * sizeof(float));
    }
    b.pairs = Pairs();
    result->loss += kernels.train_block(b);
    for (const Centre& centre : block.centres) result->examples += centre.last - centre.first - 1;
  }

 private:
  float* Embedding(int32_t word) const { return p_.embeddings + int64_t{word} * p_.dim; }
  float* Class(int32_t row) const { return p_.weights + int64_t{row} * p_.dim; }

  float Rate(const Block& block) const {
    const double done = static_cast<double>(block.token) / static_cast<double>(p_.size);
    return static_cast<float>(p_.first_rate + (p_.last_rate - p_.first_rate) * done);
  }

  // Where the rows of a block lie and where their updates go.
  void FindRows(const Blocks& text, const Block& block, Updates* updates) {
    const int64_t rows = block.rows(), noise = static_cast<int64_t>(block.noise.size());
    const int64_t noise_columns = cpu::RoundUp(noise, sizes_.lanes);
    const int64_t centres = static_cast<int64_t>(block.centres.size());
    const int64_t columns = noise_columns + cpu::RoundUp(centres, sizes_.lanes);
    float* row = nullptr;
    if (updates != nullptr) {
      row = updates->rows;
      std::memset(row, 0, (rows + noise + centres) * sizes_.stride * sizeof(float));
      updates->embeddings.clear();
      updates->weights.clear();
    }
    for (int64_t i = 0; i < rows; ++i) {
      const int32_t word = text.word(block.first + i);
      embeddings_[i] = to_embeddings_[i] = Embedding(word);
      if (updates == nullptr) continue;
      updates->embeddings.push_back(word);
      to_embeddings_[i] = row;
      row += sizes_.stride;
    }
    const auto find_class = [&](int64_t column, int32_t id) {
      classes_[column] = to_classes_[column] = Class(id);
      if (updates == nullptr) return;
      updates->weights.push_back(id);
      to_classes_[column] = row;
      row += sizes_.stride;
    };
    std::fill_n(classes_, columns, zeros_);
    const float share = p_.tree.splits != nullptr
                            ? 1.0f
                            : static_cast<float>(p_.negative) / static_cast<float>(p_.shared);
    std::fill_n(noise_weight_, noise_columns, 0.0f);
    std::fill_n(noise_target_, noise_columns, 0.0f);
    for (int64_t n = 0; n < noise; ++n) {
      find_class(n, block.noise[n]);
      noise_weight_[n] = share;
      noise_target_[n] = block.targets[n];
    }
    PairWithContexts(block);
    hits_.clear();
    if (p_.tree.splits != nullptr) return;
    uint64_t drawn = 0;  // a bit for each word, the same for some
    for (int64_t n = 0; n < noise; ++n) drawn |= uint64_t{1} << (block.noise[n] & 63);
    for (int64_t c = 0; c < centres; ++c) {
      const int32_t word = text.word(block.centres[c].position);
      find_class(noise_columns + c, word);
      if ((drawn >> (word & 63) & 1) == 0) continue;
      for (int64_t n = 0; n < noise; ++n) {
        if (block.noise[n] != word) continue;
        hits_.push_back({static_cast<int32_t>(n), static_cast<int32_t>(c)});
      }
    }
  }

  cpu::CentreRows Pairs() const {
    return {places_, places_ + sizes_.centres, places_ + 2 * sizes_.centres};
  }

  // Past the last centre there is none that a row is paired with.
  void Pair(int64_t c, int64_t first, int64_t last, int64_t self) {
    places_[c] = static_cast<int32_t>(first);
    places_[sizes_.centres + c] = static_cast<int32_t>(last);
    places_[2 * sizes_.centres + c] = static_cast<int32_t>(self);
  }

  void PairWithContexts(const Block& block) {
    const int64_t centres = static_cast<int64_t>(block.centres.size());
    for (int64_t c = 0; c < centres; ++c) {
      const Centre& centre = block.centres[c];
      Pair(c, centre.first - block.first, centre.last - block.first, centre.position - block.first);
    }
    for (int64_t c = centres; c % sizes_.lanes != 0; ++c) Pair(c, 0, 0, -1);
  }

  void PairWithBags(int64_t centres) {
    for (int64_t c = 0; c < centres; ++c) Pair(c, c, c + 1, -1);
  }

  cpu::Word2VecBags Bags(const Block& block, const cpu::Word2VecBlock& b) {
    for (int64_t c = 0; c < sizes_.centres; ++c) forward_[c] = backward_[c] = 1;
    for (int64_t c = 0; c < b.centres; ++c) {
      const Centre& centre = block.centres[c];
      // As word2vec has it, each context of a mean gets the whole gradient.
      (p_.mean ? forward_ : backward_)[c] =
          1.0f / static_cast<float>(centre.last - centre.first - 1);
    }
    cpu::Word2VecBags bags = {};
    bags.dim = p_.dim;
    bags.rows = block.rows();
    bags.centres = b.centres;
    bags.bags = Pairs();
    bags.forward = forward_;
    bags.backward = backward_;
    bags.embeddings = embeddings_;
    bags.to_embeddings = to_embeddings_;
    bags.hidden = hidden_rows_;
    bags.d_hidden = d_hidden_rows_;
    bags.coefficients = coefficients_;
    bags.tails = tails_;
    bags.tail_rows = tail_rows_;
    bags.band_first = b.band_first;
    bags.band_last = b.band_last;
    return bags;
  }

  // The rows of the next block, but the words that are in this one too.
  void ListAhead(const Blocks& text, const Block& block, const Block& next) {
    ahead_.clear();
    if (next.empty()) return;
    for (int64_t i = std::max(next.first, block.last); i < next.last; ++i) {
      ahead_.push_back(Embedding(text.word(i)));
    }
    for (const int32_t noise : next.noise) ahead_.push_back(Class(noise));
    if (p_.tree.splits != nullptr) return;
    for (const Centre& centre : next.centres) {
      ahead_.push_back(Class(text.word(centre.position)));
    }
  }

  const Word2VecProblem& p_;
  const Sizes sizes_;
  float *hidden_, *d_hidden_, *coefficients_, *packed_, *logits_, *tails_, *weights_;
  float *noise_weight_, *noise_target_, *forward_, *backward_, *zeros_;
  int32_t *places_, *bands_;
  const float** tail_rows_;
  float **embeddings_, **hidden_rows_, **d_hidden_rows_, **classes_;
  float **to_embeddings_, **to_classes_;
  std::vector<cpu::NoiseHit> hits_;
  std::vector<const float*> ahead_;
};

int64_t NumTasks(const Word2VecProblem& problem) {
  return (problem.size + kTokensPerTask - 1) / kTokensPerTask;
}

// The part of the text that is a task.
class Part {
 public:
  Part(const Word2VecProblem& problem, int64_t task)
      : text_(problem, task * kTokensPerTask, std::min(problem.size, (task + 1) * kTokensPerTask)) {
    text_.Next(&block_);
  }

  bool done() const { return block_.empty(); }

  void Train(Worker* worker, Updates* updates, Word2VecResult* result) {
    text_.Next(&next_);
    worker->Train(text_, block_, next_, updates, result);
    std::swap(block_, next_);
  }

  int64_t words() const { return text_.words(); }  // met so far

 private:
  Blocks text_;
  Block block_, next_;
};

// Tasks that are trained on side by side where training is deterministic. They do not see each
// other's updates: were most words in all of them, steps would be too long.
int64_t TasksOfRound(const Word2VecProblem& problem) {
  return std::clamp<int64_t>(problem.classes / kWordsPerTaskOfRound, 1, kMaxTasksOfRound);
}

// Numbers of the updates of a round.
int64_t RoundMemory(const Word2VecProblem& problem) {
  const Sizes sizes(problem);
  return TasksOfRound(problem) * sizes.updates() * sizes.stride;
}

// Of the updates, in their order, those of every `parts`-th row of the tables from `part` on.
void Apply(const Word2VecProblem& problem, const std::vector<Updates>& round, int64_t stride,
           int64_t part, int64_t parts) {
  const auto axpy = cpu::Kernels<float>().axpy;
  for (const Updates& updates : round) {
    const float* row = updates.rows;
    const auto add = [&](const std::vector<int32_t>& ids, float* table) {
      for (const int32_t id : ids) {
        if (id % parts == part) axpy(1, row, table + int64_t{id} * problem.dim, problem.dim);
        row += stride;
      }
    };
    add(updates.embeddings, problem.embeddings);
    add(updates.weights, problem.weights);
  }
}

void TrainInRounds(const Word2VecProblem& problem, const Parallel& parallel,
                   std::vector<Worker>* workers, float* rows, Word2VecResult* results) {
  const Sizes sizes(problem);
  const int64_t num_tasks = NumTasks(problem), parts = parallel.num_workers();
  const int64_t cost = problem.CentresOfBlock() * problem.dim * 100;
  const int64_t tasks_of_round = TasksOfRound(problem);
  for (int64_t first = 0; first < num_tasks; first += tasks_of_round) {
    const int64_t count = std::min(tasks_of_round, num_tasks - first);
    std::vector<std::unique_ptr<Part>> texts(count);
    std::vector<Updates> round(count);
    parallel.For(count, kTokensPerTask * 100, [&](int64_t i, int) {
      texts[i] = std::make_unique<Part>(problem, first + i);
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
        texts[i]->Train(&(*workers)[worker], &round[i], &results[first + i]);
      });
      parallel.For(parts, count * cost / (20 * parts),
                   [&](int64_t part, int) { Apply(problem, round, sizes.stride, part, parts); });
    }
    for (int64_t i = 0; i < count; ++i) results[first + i].words = texts[i]->words();
  }
}

// Huffman's tree from words in ascending order of their counts: the two nodes of the lowest counts
// are the next words or the next inner nodes, which come in ascending order too.
void MergeNodes(const double* counts, const std::vector<int32_t>& order,
                std::vector<int32_t>* parent, std::vector<bool>* turns) {
  const int64_t classes = static_cast<int64_t>(order.size());
  std::vector<double> inner(classes);
  int64_t next_word = 0, next_inner = 0;
  for (int64_t made = 0; made + 1 < classes; ++made) {
    for (const bool turn : {false, true}) {
      const bool word = next_inner == made ||
                        (next_word < classes && counts[order[next_word]] <= inner[next_inner]);
      const int64_t node = word ? order[next_word++] : classes + next_inner++;
      inner[made] += word ? counts[node] : inner[node - classes];
      (*parent)[node] = static_cast<int32_t>(made);
      (*turns)[node] = turn;
    }
  }
}

}  // namespace

std::size_t NoiseTableScratchBytes(int64_t classes) {
  Scratch scratch;
  scratch.Take<double>(2 * classes);
  scratch.Take<int64_t>(classes);
  scratch.Take<char>(static_cast<int64_t>(UnigramTableScratchBytes(classes)));
  return scratch.used();
}

Status BuildNoiseTable(const double* counts, int64_t classes, double power, void* memory,
                       NoiseColumn* columns) {
  if (classes > kMaxClasses) {
    return InvalidArgument("counts has ", classes, " numbers, expected at most ", kMaxClasses);
  }
  Scratch scratch(memory);
  double* probability = scratch.Take<double>(2 * classes);
  double* acceptance = probability + classes;
  int64_t* alias = scratch.Take<int64_t>(classes);
  void* rest = scratch.Take<char>(static_cast<int64_t>(UnigramTableScratchBytes(classes)));
  int64_t support;
  FASTW2V_RETURN_IF_ERROR(
      BuildUnigramTable(counts, classes, power, rest, probability, acceptance, alias, &support));
  for (int64_t k = 0; k < classes; ++k) {
    const double scaled = std::round(acceptance[k] * 0x1p32);
    const bool always = scaled >= 0x1p32;
    columns[k].acceptance = always ? ~uint32_t{0} : static_cast<uint32_t>(scaled);
    columns[k].alias = static_cast<int32_t>(always ? k : alias[k]);
  }
  return Status();
}

Status BuildWordTree(const double* counts, int64_t classes, std::vector<int64_t>* splits,
                     std::vector<int32_t>* steps, int64_t* longest) {
  if (classes < 1 || classes > kMaxClasses / 2) {
    return InvalidArgument("counts has ", classes, " numbers, expected 1 to ", kMaxClasses / 2);
  }
  for (int64_t k = 0; k < classes; ++k) {
    if (!(counts[k] >= 0 && counts[k] < INFINITY)) {
      return InvalidArgument("counts[", k, "] = ", counts[k], " is not in [0, inf)");
    }
  }
  std::vector<int32_t> order(classes), parent(2 * classes);
  std::vector<bool> turns(2 * classes);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t x, int32_t y) { return counts[x] < counts[y]; });
  MergeNodes(counts, order, &parent, &turns);

  const int64_t root = 2 * classes - 2;  // of one word, itself
  splits->assign(1, 0);
  steps->clear();
  *longest = 0;
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t node = k; node != root; node = classes + parent[node]) {
      steps->push_back(2 * parent[node] + turns[node]);
    }
    std::reverse(steps->begin() + splits->back(), steps->end());
    splits->push_back(static_cast<int64_t>(steps->size()));
    *longest = std::max(*longest, splits->back() - (*splits)[k]);
  }
  return Status();
}

Status CheckWord2Vec(const Word2VecProblem& problem) {
  const auto in_range = [](const char* name, int64_t value, int64_t most) {
    return value >= 1 && value <= most
               ? Status()
               : InvalidArgument(name, " = ", value, " is not in [1, ", most, "]");
  };
  FASTW2V_RETURN_IF_ERROR(in_range("window", problem.window, kMaxWindow));
  FASTW2V_RETURN_IF_ERROR(in_range("negative", problem.negative, kMaxDraws));
  FASTW2V_RETURN_IF_ERROR(in_range("block", problem.block, kMaxDraws));
  FASTW2V_RETURN_IF_ERROR(in_range("shared", problem.shared, kMaxDraws));
  if (problem.size > 0) {
    FASTW2V_RETURN_IF_ERROR(in_range("the number of words", problem.classes, kMaxClasses));
  }
  if (problem.tree.splits != nullptr) {
    FASTW2V_RETURN_IF_ERROR(in_range("the longest way in the tree", problem.tree.longest + 1,
                                     std::max<int64_t>(1, problem.classes)));
  }
  for (const double rate : {problem.first_rate, problem.last_rate}) {
    if (!std::isfinite(rate)) return InvalidArgument("rate = ", rate, " is not finite");
  }
  for (int64_t i = 0; i < problem.size; ++i) {
    if (problem.ids[i] >= problem.classes) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is not below ", problem.classes,
                             ", the rows of the tables");
    }
  }
  return Status();
}

std::size_t Word2VecScratchBytes(const Word2VecProblem& problem, const Parallel& parallel) {
  Scratch scratch;
  for (int i = 0; i < parallel.num_workers(); ++i) Worker(problem, &scratch);
  if (problem.deterministic) scratch.Take<float>(RoundMemory(problem));
  return scratch.used();
}

Status TrainWord2Vec(const Word2VecProblem& problem, const Parallel& parallel, void* memory,
                     Word2VecResult* result) {
  FASTW2V_RETURN_IF_ERROR(CheckWord2Vec(problem));
  Scratch scratch(memory);
  std::vector<Worker> workers;
  for (int i = 0; i < parallel.num_workers(); ++i) {
    workers.emplace_back(problem, &scratch);
    workers.back().Start();
  }
  std::vector<Word2VecResult> results(NumTasks(problem));
  if (problem.deterministic) {
    float* rows = scratch.Take<float>(RoundMemory(problem));
    TrainInRounds(problem, parallel, &workers, rows, results.data());
  } else {
    const int64_t cost = kTokensPerTask * problem.dim * 100;
    parallel.For(NumTasks(problem), cost, [&](int64_t task, int worker) {
      Part part(problem, task);
      while (!part.done()) part.Train(&workers[worker], nullptr, &results[task]);
      results[task].words = part.words();
    });
  }
  *result = Word2VecResult();
  for (const Word2VecResult& part : results) {
    result->loss += part.loss;
    result->examples += part.examples;
    result->words += part.words;
  }
  return Status();
}

}  // namespace fastw2v
