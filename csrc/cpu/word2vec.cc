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

// Memory of a worker.
struct Buffers {
  float *hidden, *classes, *packed;  // rows of the tables, and classes as a right operand
  float *logits, *weight, *target;   // [rows][columns]
  float *d_hidden, *d_classes;
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
        stride_(cpu::RoundUp(problem.dim, panel())),
        columns_(cpu::RoundUp(problem.block + problem.shared, cpu::kRowMultiple)),
        rows_(problem.block + 2 * std::min(problem.text.window, plan.num_words)),
        noise_(problem.text.seed[0], problem.text.seed[1], -4) {}

  static int64_t panel() { return cpu::Kernels<float>().panel; }

  Buffers Take(Scratch* scratch) const {
    Buffers b;
    b.hidden = scratch->Take<float>(rows_ * stride_);
    b.classes = scratch->Take<float>(columns_ * stride_);
    b.packed = scratch->Take<float>(columns_ * stride_);
    b.logits = scratch->Take<float>(rows_ * columns_);
    b.weight = scratch->Take<float>(rows_ * columns_);
    b.target = scratch->Take<float>(rows_ * columns_);
    b.d_hidden = scratch->Take<float>(rows_ * stride_);
    b.d_classes = scratch->Take<float>(columns_ * stride_);
    return b;
  }

  // Trains on the centres of words [begin, end). While one block is trained on, the rows of the
  // next are on their way from memory.
  void Run(int64_t begin, int64_t end, const Buffers& b, Word2VecResult* result) const {
    // What is never written stays zero: columns past dim, rows past the last class.
    std::memset(b.hidden, 0, rows_ * stride_ * sizeof(float));
    std::memset(b.classes, 0, columns_ * stride_ * sizeof(float));
    Block block(p_), next(p_);
    Text text(*this, begin, end);
    text.Next(&block, result);
    while (!block.centres.empty()) {
      text.Next(&next, result);
      Prefetch(next);
      TrainBlock(block, b, result);
      std::swap(block, next);
    }
  }

 private:
  float Rate(int64_t position) const {
    const double done = static_cast<double>(position) / static_cast<double>(plan_.num_words);
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
      block->last = 0;
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
        if (static_cast<int64_t>(block->centres.size()) == t_.p_.block) break;
        // A sentence far away would leave a gap among the rows.
        ++result->words;
        if (centre.last - centre.first == 1) continue;
        block->centres.push_back(centre);
        block->last = std::max(block->last, centre.last);
      }
      if (block->centres.empty()) return;
      block->first = block->centres[0].first;
      const int64_t stream = block->centres[0].position * t_.p_.shared;
      for (int64_t n = 0; n < t_.p_.shared; ++n) {
        block->noise[n] = t_.p_.noise.Draw(t_.noise_[stream + n]);
      }
    }

   private:
    const Trainer& t_;
    int64_t k_, end_, sentence_, sentence_end_ = 0;
  };

  void Prefetch(const Block& block) const {
    for (int64_t i = block.first; i < block.last; ++i) {
      if (plan_.words[i] >= 0) {
        cpu::PrefetchRow(p_.embeddings + plan_.words[i] * p_.dim, p_.dim);
        cpu::PrefetchRow(p_.weights + plan_.words[i] * p_.dim, p_.dim);
      }
    }
    for (const int64_t noise : block.noise) cpu::PrefetchRow(p_.weights + noise * p_.dim, p_.dim);
  }

  void Gather(const float* table, int64_t id, float* row) const {
    std::memcpy(row, table + id * p_.dim, p_.dim * sizeof(float));
  }

  void Add(const float* row, int64_t id, float* table) const {
    cpu::Kernels<float>().axpy(1, row, table + id * p_.dim, p_.dim);
  }

  void TrainBlock(const Block& block, const Buffers& b, Word2VecResult* result) const {
    const cpu::KernelsFor<float>& kernels = cpu::Kernels<float>();
    const int64_t* words = plan_.words;
    const int64_t centres = static_cast<int64_t>(block.centres.size());
    const int64_t first = block.first, last = block.last;
    // Rows: the words between the first context and the last.
    const int64_t rows = last - first;
    for (int64_t i = 0; i < rows; ++i) {
      if (words[first + i] >= 0) Gather(p_.embeddings, words[first + i], b.hidden + i * stride_);
    }
    // Columns: the centres, then the noise.
    for (int64_t c = 0; c < centres; ++c) {
      Gather(p_.weights, words[block.centres[c].position], b.classes + c * stride_);
    }
    for (int64_t n = 0; n < p_.shared; ++n) {
      Gather(p_.weights, block.noise[n], b.classes + (centres + n) * stride_);
    }
    const int64_t classes = centres + p_.shared;
    SetWeights(block, rows, b, result);

    kernels.pack(b.classes, 1, stride_, p_.dim, columns_, b.packed);
    kernels.multiply(rows, columns_, p_.dim, {b.hidden, stride_, true},
                     {b.packed, panel(), panel() * p_.dim}, b.logits, columns_, false);
    const float rate = Rate(block.centres[0].position);
    result->loss += cpu::ActiveKernels().word2vec->logistic_gradient(b.logits, b.weight, b.target,
                                                                     rate, rows * columns_);
    kernels.multiply(rows, stride_, classes, {b.logits, columns_, true},
                     {b.classes, stride_, panel()}, b.d_hidden, stride_, false);
    kernels.multiply(classes, stride_, rows, {b.logits, columns_, false},
                     {b.hidden, stride_, panel()}, b.d_classes, stride_, false);

    for (int64_t i = 0; i < rows; ++i) {
      if (words[first + i] >= 0) Add(b.d_hidden + i * stride_, words[first + i], p_.embeddings);
    }
    for (int64_t c = 0; c < centres; ++c) {
      Add(b.d_classes + c * stride_, words[block.centres[c].position], p_.weights);
    }
    for (int64_t n = 0; n < p_.shared; ++n) {
      Add(b.d_classes + (centres + n) * stride_, block.noise[n], p_.weights);
    }
  }

  void SetWeights(const Block& block, int64_t rows, const Buffers& b,
                  Word2VecResult* result) const {
    const int64_t centres = static_cast<int64_t>(block.centres.size());
    const float share = static_cast<float>(p_.negative) / static_cast<float>(p_.shared);
    std::memset(b.weight, 0, rows * columns_ * sizeof(float));
    std::memset(b.target, 0, rows * columns_ * sizeof(float));
    // A row's share of each noise word is first counted in the first of them.
    for (int64_t c = 0; c < centres; ++c) {
      const Centre& centre = block.centres[c];
      for (int64_t i = centre.first; i < centre.last; ++i) {
        if (i == centre.position) continue;
        float* weight = b.weight + (i - block.first) * columns_;
        weight[c] = 1;
        weight[centres] += share;
        b.target[(i - block.first) * columns_ + c] = 1;
      }
      result->examples += centre.last - centre.first - 1;
    }
    for (int64_t i = 0; i < rows; ++i) {
      float* noise = b.weight + i * columns_ + centres;
      const float weight = *noise;
      for (int64_t n = 0; n < p_.shared; ++n) noise[n] = weight;
    }
    for (int64_t n = 0; n < p_.shared; ++n) {
      for (const Centre& centre : block.centres) {
        if (block.noise[n] != plan_.words[centre.position]) continue;
        for (int64_t i = centre.first; i < centre.last; ++i) {
          if (i != centre.position) b.weight[(i - block.first) * columns_ + centres + n] -= share;
        }
      }
    }
  }

  const Word2VecProblem& p_;
  const SkipGramPlan& plan_;
  const int64_t stride_, columns_, rows_;
  const RandomStream noise_;
};

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
