#include "csrc/core/word2vec.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels.h"
#include "csrc/cpu/prefetch.h"

namespace fastw2v {
namespace {

constexpr int64_t kWordsPerTask = 1024;

// Where the contexts of a centre lie: [first, last) of the plan's words, but the centre itself.
struct Centre {
  int64_t position, first, last;
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

  std::vector<Centre> centres;
  int64_t first = 0, last = 0;  // their contexts are among these words
  std::vector<int64_t> noise;
};

class Trainer {
 public:
  Trainer(const Word2VecProblem& problem, const SkipGramPlan& plan)
      : p_(problem),
        plan_(plan),
        stride_(cpu::RoundUp(problem.dim, Panel())),
        columns_(cpu::RoundUp(problem.shared + (problem.cbow ? 1 : problem.block), Panel())),
        noise_(problem.text.seed[0], problem.text.seed[1], -4) {
    // Every centre may be in a sentence of its own.
    max_rows_ = 2 * problem.block * (std::min(problem.text.window, plan.num_words) + 1);
  }

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

  // Trains on the centres of words [begin, end). While one block is trained on, the rows of the
  // next are on their way from memory.
  void Run(int64_t begin, int64_t end, const Buffers& b, Word2VecResult* result) const {
    // What is never written stays zero: columns past dim, rows past the last class.
    std::memset(b.contexts, 0, max_rows_ * stride_ * sizeof(float));
    std::memset(b.classes, 0, std::max(columns_, p_.shared + p_.block) * stride_ * sizeof(float));
    std::memset(b.logits, 0,
                cpu::RoundUp((p_.cbow ? p_.block : max_rows_) * columns_, cpu::kRowMultiple) *
                    sizeof(float));
    Block block(p_), next(p_);
    Text text(*this, begin, end);
    text.Next(&block, result);
    while (!block.centres.empty()) {
      text.Next(&next, result);
      Prefetch(next);
      GatherContexts(block, b);
      if (p_.cbow) {
        TrainBags(block, b, result);
      } else {
        TrainPairs(block, b, result);
      }
      AddContexts(block, b);
      std::swap(block, next);
    }
  }

 private:
  static int64_t Panel() { return cpu::Kernels<float>().panel; }

  float Rate(const Block& block) const {
    const double done = static_cast<double>(block.first) / static_cast<double>(plan_.num_words);
    return static_cast<float>(p_.first_rate + (p_.last_rate - p_.first_rate) * done);
  }

  // Goes through the centres of some words.
  class Text {
   public:
    Text(const Trainer& trainer, int64_t begin, int64_t end)
        : t_(trainer), k_(begin), end_(end), sentence_(begin) {
      while (sentence_ > 0 && t_.plan_.words[sentence_ - 1] >= 0) --sentence_;
    }

    // The next block; without centres at the end.
    void Next(Block* block, Word2VecResult* result) {
      const SkipGramPlan& plan = t_.plan_;
      block->centres.clear();
      block->first = block->last = 0;
      for (; k_ < end_; ++k_) {
        if (plan.words[k_] < 0) {
          sentence_ = k_ + 1;
          continue;
        }
        if (sentence_end_ <= k_) {
          sentence_end_ = k_;
          while (sentence_end_ < plan.num_words && plan.words[sentence_end_] >= 0) ++sentence_end_;
        }
        const int64_t reach = plan.reach != nullptr ? plan.reach[k_] : t_.p_.text.window;
        const Centre centre = {k_, std::max(sentence_, k_ - reach),
                               std::min(sentence_end_, k_ + reach + 1)};
        const bool lonely = centre.last - centre.first == 1;
        if (!lonely) {
          const bool empty = block->centres.empty();
          const int64_t first = empty ? centre.first : std::min(block->first, centre.first);
          const bool full = static_cast<int64_t>(block->centres.size()) == t_.p_.block ||
                            std::max(block->last, centre.last) - first > t_.max_rows_;
          if (full) break;
          block->first = first;
          block->last = std::max(block->last, centre.last);
          block->centres.push_back(centre);
        }
        ++result->words;
      }
      if (block->centres.empty()) return;
      t_.DrawNoise(block->centres[0].position, block->noise.data());
    }

   private:
    const Trainer& t_;
    int64_t k_, end_, sentence_, sentence_end_ = 0;
  };

  // Two draws share a block of random bits: each word is drawn with its probability within 2^-31.
  void DrawNoise(int64_t position, int64_t* noise) const {
    const int64_t first = position * ((p_.shared + 1) / 2);
    for (int64_t n = 0; n < p_.shared; n += 2) {
      const PhiloxBlock bits = noise_[first + n / 2];
      noise[n] = p_.noise.Draw({{0, bits.word[0], 0, bits.word[1]}});
      if (n + 1 < p_.shared) noise[n + 1] = p_.noise.Draw({{0, bits.word[2], 0, bits.word[3]}});
    }
  }

  void Prefetch(const Block& block) const {
    for (int64_t i = block.first; i < block.last; ++i) {
      if (plan_.words[i] < 0) continue;
      cpu::PrefetchRow(p_.embeddings + plan_.words[i] * p_.dim, p_.dim);
      cpu::PrefetchRow(p_.weights + plan_.words[i] * p_.dim, p_.dim);
    }
    for (const int64_t noise : block.noise) cpu::PrefetchRow(p_.weights + noise * p_.dim, p_.dim);
  }

  void Gather(const float* table, int64_t id, float* row) const {
    std::memcpy(row, table + id * p_.dim, p_.dim * sizeof(float));
  }

  void Add(const float* row, int64_t id, float* table) const {
    kernels_.axpy(1, row, table + id * p_.dim, p_.dim);
  }

  void GatherContexts(const Block& block, const Buffers& b) const {
    for (int64_t i = block.first; i < block.last; ++i) {
      if (plan_.words[i] < 0) continue;
      Gather(p_.embeddings, plan_.words[i], b.contexts + (i - block.first) * stride_);
    }
  }

  void AddContexts(const Block& block, const Buffers& b) const {
    for (int64_t i = block.first; i < block.last; ++i) {
      if (plan_.words[i] < 0) continue;
      Add(b.d_contexts + (i - block.first) * stride_, plan_.words[i], p_.embeddings);
    }
  }

  // The rows of the noise, then those of the centres.
  int64_t GatherClasses(const Block& block, const Buffers& b) const {
    float* row = b.classes;
    for (const int64_t noise : block.noise) {
      Gather(p_.weights, noise, row);
      row += stride_;
    }
    for (const Centre& centre : block.centres) {
      Gather(p_.weights, plan_.words[centre.position], row);
      row += stride_;
    }
    return p_.shared + static_cast<int64_t>(block.centres.size());
  }

  void AddClasses(const Block& block, const Buffers& b) const {
    const float* row = b.d_classes;
    for (const int64_t noise : block.noise) {
      Add(row, noise, p_.weights);
      row += stride_;
    }
    for (const Centre& centre : block.centres) {
      Add(row, plan_.words[centre.position], p_.weights);
      row += stride_;
    }
  }

  // Skip-gram: rows are contexts, columns the noise and then the centres.
  void TrainPairs(const Block& block, const Buffers& b, Word2VecResult* result) const {
    const int64_t rows = block.last - block.first;
    const int64_t classes = GatherClasses(block, b);
    WeighPairs(block, rows, b, result);
    kernels_.pack(b.classes, 1, stride_, p_.dim, columns_, b.packed);
    kernels_.multiply(rows, columns_, p_.dim, {b.contexts, stride_, true},
                      {b.packed, Panel(), Panel() * p_.dim}, b.logits, columns_, false);
    result->loss += Differentiate(block, rows, b);
    kernels_.multiply(rows, stride_, classes, {b.logits, columns_, true},
                      {b.classes, stride_, Panel()}, b.d_contexts, stride_, false);
    kernels_.multiply(classes, stride_, rows, {b.logits, columns_, false},
                      {b.contexts, stride_, Panel()}, b.d_classes, stride_, false);
    AddClasses(block, b);
  }

  // CBOW: rows are centres; of their own class only one logit each, in the column after the noise.
  void TrainBags(const Block& block, const Buffers& b, Word2VecResult* result) const {
    const int64_t rows = static_cast<int64_t>(block.centres.size());
    GatherClasses(block, b);
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
        weight[n] = block.noise[n] == plan_.words[centre.position] ? 0 : share;
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
    std::memset(b.d_contexts, 0, (block.last - block.first) * stride_ * sizeof(float));
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
    AddClasses(block, b);
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
  void WeighPairs(const Block& block, int64_t rows, const Buffers& b,
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
        if (block.noise[n] != plan_.words[centre.position]) continue;
        ForContexts(block, centre, [&](int64_t i) { b.weight[i * columns_ + n] -= share; });
      }
    }
  }

  const Word2VecProblem& p_;
  const SkipGramPlan& plan_;
  const cpu::KernelsFor<float>& kernels_ = cpu::Kernels<float>();
  const int64_t stride_, columns_;
  const RandomStream noise_;
  int64_t max_rows_;
};

Status Check(const Word2VecProblem& problem) {
  const auto at_least_1 = [](const char* name, int64_t value) {
    return value >= 1 ? Status() : InvalidArgument(name, " = ", value, " is not at least 1");
  };
  FASTW2V_RETURN_IF_ERROR(at_least_1("negative", problem.negative));
  FASTW2V_RETURN_IF_ERROR(at_least_1("block", problem.block));
  FASTW2V_RETURN_IF_ERROR(at_least_1("shared", problem.shared));
  for (int64_t i = 0; i < problem.text.size; ++i) {
    if (problem.text.ids[i] >= problem.classes) {
      return InvalidArgument("ids[", i, "] = ", problem.text.ids[i], " is not below ",
                             problem.classes, ", the rows of the tables");
    }
  }
  return Status();
}

}  // namespace

std::size_t Word2VecScratchBytes(const Word2VecProblem& problem, const Parallel& parallel) {
  SkipGramPlan plan;
  plan.num_words = 2 * problem.text.size;  // as many at most, with those that end sentences
  const Trainer trainer(problem, plan);
  Scratch scratch;
  for (int i = 0; i < parallel.num_workers(); ++i) trainer.Take(&scratch);
  return scratch.used() + SkipGramScratchBytes(problem.text) + Scratch::kAlignment;
}

Status TrainWord2Vec(const Word2VecProblem& problem, const Parallel& parallel, void* memory,
                     Word2VecResult* result) {
  FASTW2V_RETURN_IF_ERROR(Check(problem));
  Scratch scratch(memory);
  char* plan_memory = scratch.Take<char>(static_cast<int64_t>(SkipGramScratchBytes(problem.text)));
  SkipGramPlan plan;
  FASTW2V_RETURN_IF_ERROR(PlanSkipGrams(problem.text, parallel, plan_memory, &plan));
  const Trainer trainer(problem, plan);
  std::vector<Buffers> buffers;
  for (int i = 0; i < parallel.num_workers(); ++i) buffers.push_back(trainer.Take(&scratch));
  const int64_t num_tasks = (plan.num_words + kWordsPerTask - 1) / kWordsPerTask;
  std::vector<Word2VecResult> results(num_tasks);
  parallel.For(num_tasks, kWordsPerTask * problem.dim * 100, [&](int64_t task, int worker) {
    const int64_t begin = task * kWordsPerTask;
    trainer.Run(begin, std::min(plan.num_words, begin + kWordsPerTask), buffers[worker],
                &results[task]);
  });
  *result = Word2VecResult();
  for (const Word2VecResult& part : results) {
    result->loss += part.loss;
    result->examples += part.examples;
    result->words += part.words;
  }
  return Status();
}

}  // namespace fastw2v
