#include "csrc/core/word2vec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "csrc/core/sampler.h"
#include "csrc/core/scratch.h"
#include "csrc/core/skipgram.h"
#include "csrc/cpu/kernels.h"
#include "csrc/cpu/prefetch.h"

namespace fastw2v {
namespace {

constexpr int64_t kTokensPerTask = 2048;
constexpr int64_t kMaxClasses = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxWindow = SkipGramProblem::kMaxWindow;
constexpr int64_t kMaxDraws = 4096;  // of a block

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
    const int64_t most = end - start + std::min(p_.window, p_.size - end);
    words_.reserve(most);
    tokens_.reserve(most);
    Append(start, begin);
    k_ = size();
    Append(begin, end);
    end_ = size();
    int64_t reached = 0;
    for (int64_t i = end; i < p_.size && reached < p_.window && p_.ids[i] >= 0; ++i) {
      reached += Append(i, i + 1);
    }
  }

  // The next centre that has a context; false at the end.
  bool Next(Centre* centre, int64_t* words) {
    for (; k_ < end_; ++k_) {
      if (words_[k_] < 0) {
        sentence_ = k_ + 1;
        continue;
      }
      if (sentence_end_ <= k_) {
        sentence_end_ = k_;
        while (sentence_end_ < size() && words_[sentence_end_] >= 0) ++sentence_end_;
      }
      ++*words;
      const int64_t reach = Reach(k_);
      *centre = {k_, std::max(sentence_, k_ - reach), std::min(sentence_end_, k_ + reach + 1)};
      if (centre->last - centre->first == 1) continue;
      ++k_;
      return true;
    }
    return false;
  }

  int32_t word(int64_t k) const { return words_[k]; }
  int64_t token(int64_t k) const { return tokens_[k]; }

 private:
  int64_t size() const { return static_cast<int64_t>(words_.size()); }

  bool Stays(int64_t token) {
    const int32_t id = p_.ids[token];
    return id < 0 || p_.keep_probability == nullptr ||
           TokenDraws::Keep(keep_bits_[token], p_.keep_probability[id]);
  }

  // The first token that a window of tokens from `begin` on may reach.
  int64_t ReachBack(int64_t begin) {
    int64_t start = begin;
    for (int64_t reached = 0; start > 0 && reached < p_.window && p_.ids[start - 1] >= 0;) {
      reached += Stays(--start);
    }
    return start;
  }

  // Returns the number of words that stay. Every word is written and the next one overwrites those
  // that do not stay: whether it does cannot be foretold.
  int64_t Append(int64_t begin, int64_t end) {
    const int64_t before = size();
    int64_t count = before;
    words_.resize(before + end - begin);
    tokens_.resize(before + end - begin);
    for (int64_t i = begin; i < end; ++i) {
      words_[count] = p_.ids[i];
      tokens_[count] = i;
      count += Stays(i);
    }
    words_.resize(count);
    tokens_.resize(count);
    return count - before;
  }

  int64_t Reach(int64_t k) {
    if (!p_.shrink_windows) return p_.window;
    return TokenDraws::Reach(reach_bits_[tokens_[k]], static_cast<int32_t>(p_.window));
  }

  const Word2VecProblem& p_;
  const TokenDraws draws_;
  BitsOfTokens keep_bits_{draws_, &TokenDraws::KeepBits};
  BitsOfTokens reach_bits_{draws_, &TokenDraws::ReachBits};
  std::vector<int32_t> words_;   // -1 between sentences
  std::vector<int64_t> tokens_;  // where each stood
  int64_t k_ = 0, end_ = 0, sentence_ = 0, sentence_end_ = 0;
};

// Memory of a worker. Matrices of rows are `stride` wide, of logits `columns`.
struct Buffers {
  float* contexts;                   // rows of embeddings
  float *hidden, *classes, *packed;  // operands of the logits: rows, rows, and as a right operand
  float *logits, *weight, *target;
  float *d_contexts, *d_hidden, *d_classes;
};

// Centres that are trained on together, and the noise drawn for them.
struct Block {
  explicit Block(const Word2VecProblem& problem) : noise(problem.shared) {
    centres.reserve(problem.block);
  }

  int64_t rows() const { return last - first; }

  std::vector<Centre> centres;
  int64_t first = 0, last = 0;  // their contexts are among these words
  int64_t token = 0;            // where the first of them stood in the text
  std::vector<int32_t> noise;
};

class Trainer {
 public:
  explicit Trainer(const Word2VecProblem& problem)
      : p_(problem),
        stride_(cpu::RoundUp(problem.dim, Panel())),
        columns_(cpu::RoundUp(problem.shared + (problem.cbow ? 1 : problem.block), Panel())),
        noise_(problem.seed[0], problem.seed[1], -4),
        // Every centre may be in a sentence of its own.
        max_rows_(2 * problem.block * (std::min(problem.window, problem.size) + 1)) {}

  Buffers Take(Scratch* scratch) const {
    const int64_t hidden = p_.cbow ? p_.block : max_rows_;
    const int64_t logits = cpu::RoundUp(hidden * columns_, cpu::kRowMultiple);
    const int64_t classes = std::max(columns_, p_.shared + p_.block);
    Buffers b;
    b.contexts = scratch->Take<float>(max_rows_ * stride_);
    b.hidden = p_.cbow ? scratch->Take<float>(hidden * stride_) : b.contexts;
    b.classes = scratch->Take<float>(classes * stride_);
    b.packed = scratch->Take<float>(columns_ * stride_);
    b.logits = scratch->Take<float>(logits);
    b.weight = scratch->Take<float>(logits);
    b.target = scratch->Take<float>(logits);
    b.d_contexts = scratch->Take<float>(max_rows_ * stride_);
    b.d_hidden = p_.cbow ? scratch->Take<float>(hidden * stride_) : b.d_contexts;
    b.d_classes = scratch->Take<float>(classes * stride_);
    return b;
  }

  // Trains on the centres among tokens [begin, end). While one block is trained on, the rows of the
  // next are on their way from memory.
  void Run(int64_t begin, int64_t end, const Buffers& b, Word2VecResult* result) const {
    // What is never written stays zero: columns past dim, rows past the last class.
    std::memset(b.contexts, 0, max_rows_ * stride_ * sizeof(float));
    std::memset(b.classes, 0, std::max(columns_, p_.shared + p_.block) * stride_ * sizeof(float));
    std::memset(b.logits, 0,
                cpu::RoundUp((p_.cbow ? p_.block : max_rows_) * columns_, cpu::kRowMultiple) *
                    sizeof(float));
    Text text(p_, begin, end);
    Centre centre;
    bool more = text.Next(&centre, &result->words);
    Block block(p_), next(p_);
    const auto take = [&](Block* taken) {
      taken->centres.clear();
      for (; more && Fits(centre, taken); more = text.Next(&centre, &result->words)) {
        taken->centres.push_back(centre);
      }
      if (taken->centres.empty()) return;
      taken->token = text.token(taken->first);
      DrawNoise(text.token(taken->centres[0].position), taken->noise.data());
      Prefetch(text, *taken);
    };
    take(&block);
    while (!block.centres.empty()) {
      take(&next);
      GatherContexts(text, block, b);
      if (p_.cbow) {
        TrainBags(text, block, b, result);
      } else {
        TrainPairs(text, block, b, result);
      }
      AddContexts(text, block, b);
      std::swap(block, next);
    }
  }

 private:
  static int64_t Panel() { return cpu::Kernels<float>().panel; }

  float Rate(const Block& block) const {
    const double done = static_cast<double>(block.token) / static_cast<double>(p_.size);
    return static_cast<float>(p_.first_rate + (p_.last_rate - p_.first_rate) * done);
  }

  // Whether a centre goes into a block, whose words are then widened by its contexts.
  bool Fits(const Centre& centre, Block* block) const {
    const bool empty = block->centres.empty();
    const int64_t first = empty ? centre.first : std::min(block->first, centre.first);
    const int64_t last = empty ? centre.last : std::max(block->last, centre.last);
    if (static_cast<int64_t>(block->centres.size()) == p_.block || last - first > max_rows_) {
      return false;
    }
    block->first = first;
    block->last = last;
    return true;
  }

  // Draws belong to the token that the block begins with. Two of them share a block of random bits.
  void DrawNoise(int64_t token, int32_t* noise) const {
    const int64_t first = token * ((p_.shared + 1) / 2);
    for (int64_t n = 0; n < p_.shared; n += 2) {
      const PhiloxBlock bits = noise_[first + n / 2];
      noise[n] = Draw(bits.word[0], bits.word[1]);
      if (n + 1 < p_.shared) noise[n + 1] = Draw(bits.word[2], bits.word[3]);
    }
  }

  int32_t Draw(uint32_t place, uint32_t choice) const {
    const int32_t column = static_cast<int32_t>(place * static_cast<uint64_t>(p_.classes) >> 32);
    const NoiseColumn& drawn = p_.noise[column];
    return choice < drawn.acceptance ? column : drawn.alias;
  }

  void Prefetch(const Text& text, const Block& block) const {
    for (int64_t i = block.first; i < block.last; ++i) {
      if (text.word(i) < 0) continue;
      cpu::PrefetchRow(p_.embeddings + int64_t{text.word(i)} * p_.dim, p_.dim);
      cpu::PrefetchRow(p_.weights + int64_t{text.word(i)} * p_.dim, p_.dim);
    }
    for (const int64_t noise : block.noise) cpu::PrefetchRow(p_.weights + noise * p_.dim, p_.dim);
  }

  void Gather(const float* table, int64_t id, float* row) const {
    std::memcpy(row, table + id * p_.dim, p_.dim * sizeof(float));
  }

  void Add(const float* row, int64_t id, float* table) const {
    kernels_.axpy(1, row, table + id * p_.dim, p_.dim);
  }

  void GatherContexts(const Text& text, const Block& block, const Buffers& b) const {
    for (int64_t i = block.first; i < block.last; ++i) {
      if (text.word(i) < 0) continue;
      Gather(p_.embeddings, text.word(i), b.contexts + (i - block.first) * stride_);
    }
  }

  void AddContexts(const Text& text, const Block& block, const Buffers& b) const {
    for (int64_t i = block.first; i < block.last; ++i) {
      if (text.word(i) < 0) continue;
      Add(b.d_contexts + (i - block.first) * stride_, text.word(i), p_.embeddings);
    }
  }

  // The rows of the noise, then those of the centres.
  int64_t GatherClasses(const Text& text, const Block& block, const Buffers& b) const {
    float* row = b.classes;
    for (const int64_t noise : block.noise) {
      Gather(p_.weights, noise, row);
      row += stride_;
    }
    for (const Centre& centre : block.centres) {
      Gather(p_.weights, text.word(centre.position), row);
      row += stride_;
    }
    return p_.shared + static_cast<int64_t>(block.centres.size());
  }

  void AddClasses(const Text& text, const Block& block, const Buffers& b) const {
    const float* row = b.d_classes;
    for (const int64_t noise : block.noise) {
      Add(row, noise, p_.weights);
      row += stride_;
    }
    for (const Centre& centre : block.centres) {
      Add(row, text.word(centre.position), p_.weights);
      row += stride_;
    }
  }

  // Skip-gram: rows are contexts, columns the noise and then the centres.
  void TrainPairs(const Text& text, const Block& block, const Buffers& b,
                  Word2VecResult* result) const {
    const int64_t rows = block.rows();
    const int64_t classes = GatherClasses(text, block, b);
    WeighPairs(text, block, rows, b, result);
    kernels_.pack(b.classes, 1, stride_, p_.dim, columns_, b.packed);
    kernels_.multiply(rows, columns_, p_.dim, {b.contexts, stride_, true},
                      {b.packed, Panel(), Panel() * p_.dim}, b.logits, columns_, false);
    result->loss += Differentiate(block, rows, b);
    kernels_.multiply(rows, stride_, classes, {b.logits, columns_, true},
                      {b.classes, stride_, Panel()}, b.d_contexts, stride_, false);
    kernels_.multiply(classes, stride_, rows, {b.logits, columns_, false},
                      {b.contexts, stride_, Panel()}, b.d_classes, stride_, false);
    AddClasses(text, block, b);
  }

  // CBOW: rows are centres; of their own class only one logit each, in the column after the noise.
  void TrainBags(const Text& text, const Block& block, const Buffers& b,
                 Word2VecResult* result) const {
    const int64_t rows = static_cast<int64_t>(block.centres.size());
    GatherClasses(text, block, b);
    const float* own = b.classes + p_.shared * stride_;
    std::memset(b.weight, 0, RoundedLogits(rows) * sizeof(float));
    std::memset(b.target, 0, RoundedLogits(rows) * sizeof(float));
    const float share = static_cast<float>(p_.negative) / static_cast<float>(p_.shared);
    for (int64_t c = 0; c < rows; ++c) {
      const Centre& centre = block.centres[c];
      float* hidden = b.hidden + c * stride_;
      std::memset(hidden, 0, stride_ * sizeof(float));
      ForContexts(block, centre, [&](int64_t i) {
        kernels_.axpy(BagWeight(centre, p_.mean), b.contexts + i * stride_, hidden, stride_);
      });
      float* weight = b.weight + c * columns_;
      for (int64_t n = 0; n < p_.shared; ++n) {
        weight[n] = block.noise[n] == text.word(centre.position) ? 0 : share;
      }
      weight[p_.shared] = b.target[c * columns_ + p_.shared] = 1;
      ++result->examples;
    }
    kernels_.pack(b.classes, 1, stride_, p_.dim, columns_, b.packed);
    kernels_.multiply(rows, columns_, p_.dim, {b.hidden, stride_, true},
                      {b.packed, Panel(), Panel() * p_.dim}, b.logits, columns_, false);
    for (int64_t c = 0; c < rows; ++c) {
      b.logits[c * columns_ + p_.shared] =
          kernels_.dot(b.hidden + c * stride_, own + c * stride_, p_.dim);
    }
    result->loss += Differentiate(block, rows, b);
    kernels_.multiply(rows, stride_, p_.shared, {b.logits, columns_, true},
                      {b.classes, stride_, Panel()}, b.d_hidden, stride_, false);
    kernels_.multiply(p_.shared, stride_, rows, {b.logits, columns_, false},
                      {b.hidden, stride_, Panel()}, b.d_classes, stride_, false);
    float* d_own = b.d_classes + p_.shared * stride_;
    std::memset(d_own, 0, rows * stride_ * sizeof(float));
    std::memset(b.d_contexts, 0, (block.rows()) * stride_ * sizeof(float));
    for (int64_t c = 0; c < rows; ++c) {
      const float gradient = b.logits[c * columns_ + p_.shared];
      float* d_hidden = b.d_hidden + c * stride_;
      kernels_.axpy(gradient, own + c * stride_, d_hidden, stride_);
      kernels_.axpy(gradient, b.hidden + c * stride_, d_own + c * stride_, stride_);
      // As word2vec has it, each context of a mean gets the whole gradient.
      ForContexts(block, block.centres[c], [&](int64_t i) {
        kernels_.axpy(BagWeight(block.centres[c], !p_.mean), d_hidden, b.d_contexts + i * stride_,
                      stride_);
      });
    }
    AddClasses(text, block, b);
  }

  // Calls body(i) for the contexts of a centre, counted from the first word of the block.
  template <typename Body>
  void ForContexts(const Block& block, const Centre& centre, const Body& body) const {
    for (int64_t i = centre.first; i < centre.last; ++i) {
      if (i != centre.position) body(i - block.first);
    }
  }

  static float BagWeight(const Centre& centre, bool mean) {
    return mean ? 1.0f / static_cast<float>(centre.last - centre.first - 1) : 1.0f;
  }

  int64_t RoundedLogits(int64_t rows) const {
    return cpu::RoundUp(rows * columns_, cpu::kRowMultiple);
  }

  // Logits become what a step adds for a gradient by them; returns the loss.
  double Differentiate(const Block& block, int64_t rows, const Buffers& b) const {
    return cpu::ActiveKernels().word2vec->logistic_gradient(b.logits, b.weight, b.target,
                                                            Rate(block), RoundedLogits(rows));
  }

  // How much each pair of a row and a column counts, and whether it is one of the text.
  void WeighPairs(const Text& text, const Block& block, int64_t rows, const Buffers& b,
                  Word2VecResult* result) const {
    const float share = static_cast<float>(p_.negative) / static_cast<float>(p_.shared);
    std::memset(b.weight, 0, RoundedLogits(rows) * sizeof(float));
    std::memset(b.target, 0, RoundedLogits(rows) * sizeof(float));
    // A row counts each noise word alike: first this is counted in the column of the first.
    for (std::size_t c = 0; c < block.centres.size(); ++c) {
      const Centre& centre = block.centres[c];
      ForContexts(block, centre, [&](int64_t i) {
        b.weight[i * columns_] += share;
        b.weight[i * columns_ + p_.shared + c] = 1;
        b.target[i * columns_ + p_.shared + c] = 1;
      });
      result->examples += centre.last - centre.first - 1;
    }
    for (int64_t i = 0; i < rows; ++i) {
      float* noise = b.weight + i * columns_;
      for (int64_t n = 1; n < p_.shared; ++n) noise[n] = noise[0];
    }
    for (int64_t n = 0; n < p_.shared; ++n) {
      for (const Centre& centre : block.centres) {
        if (block.noise[n] != text.word(centre.position)) continue;
        ForContexts(block, centre, [&](int64_t i) { b.weight[i * columns_ + n] -= share; });
      }
    }
  }

  const Word2VecProblem& p_;
  const cpu::KernelsFor<float>& kernels_ = cpu::Kernels<float>();
  const int64_t stride_, columns_;
  const RandomStream noise_;
  const int64_t max_rows_;
};

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
  for (const double rate : {problem.first_rate, problem.last_rate}) {
    if (!std::isfinite(rate)) return InvalidArgument("rate = ", rate, " is not finite");
  }
  for (int64_t i = 0; i < problem.size; ++i) {
    if (problem.ids[i] >= problem.classes) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is not below ", problem.classes,
                             ", the rows of the tables");
    }
  }
  for (int64_t k = 0; k < problem.classes; ++k) {
    const int32_t alias = problem.noise[k].alias;
    if (alias < 0 || alias >= problem.classes) {
      return InvalidArgument("noise: the alias of word ", k, ", ", alias, ", is not in [0, ",
                             problem.classes, ")");
    }
  }
  return Status();
}

std::size_t Word2VecScratchBytes(const Word2VecProblem& problem, const Parallel& parallel) {
  const Trainer trainer(problem);
  Scratch scratch;
  for (int i = 0; i < parallel.num_workers(); ++i) trainer.Take(&scratch);
  return scratch.used();
}

Status TrainWord2Vec(const Word2VecProblem& problem, const Parallel& parallel, void* memory,
                     Word2VecResult* result) {
  FASTW2V_RETURN_IF_ERROR(CheckWord2Vec(problem));
  Scratch scratch(memory);
  const Trainer trainer(problem);
  std::vector<Buffers> buffers;
  for (int i = 0; i < parallel.num_workers(); ++i) buffers.push_back(trainer.Take(&scratch));
  const int64_t num_tasks = (problem.size + kTokensPerTask - 1) / kTokensPerTask;
  std::vector<Word2VecResult> results(num_tasks);
  const auto train = [&](int64_t task, int worker) {
    const int64_t begin = task * kTokensPerTask;
    trainer.Run(begin, std::min(problem.size, begin + kTokensPerTask), buffers[worker],
                &results[task]);
  };
  const int64_t cost = kTokensPerTask * problem.dim * 100;
  if (problem.deterministic) {
    Serial().For(num_tasks, cost, train);
  } else {
    parallel.For(num_tasks, cost, train);
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
