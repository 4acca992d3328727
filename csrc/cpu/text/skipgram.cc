#include "csrc/core/skipgram.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "csrc/core/counts.h"
#include "csrc/core/scratch.h"

namespace fastw2v {
namespace {

// Rough costs in CPU cycles, for the scheduler alone.
constexpr int64_t kTokenCost = 30;
constexpr int64_t kExampleCost = 10;

constexpr int64_t kTokensPerTask = 8192;
// Random words of so many tokens are made at a time.
constexpr int64_t kChunk = 256;
static_assert(kTokensPerTask % kChunk == 0 && kChunk % TokenDraws::kTokensPerBlock == 0,
              "tasks and chunks start with a block of random bits");

int64_t NumTasks(int64_t tokens) { return (tokens + kTokensPerTask - 1) / kTokensPerTask; }

// Calls body(task, begin, end) for tasks that cover [0, tokens).
template <typename Body>
void ForTasks(const Parallel& parallel, int64_t tokens, int64_t cost_per_token, const Body& body) {
  parallel.For(NumTasks(tokens), std::min(tokens, kTokensPerTask) * cost_per_token,
               [&](int64_t task, int) {
                 body(task, task * kTokensPerTask, std::min(tokens, (task + 1) * kTokensPerTask));
               });
}

// Words are copied where some drop out or where -1 comes between the rows.
bool CopiesWords(const SkipGramProblem& problem) {
  return problem.keep_probability != nullptr || problem.row_splits != nullptr;
}

struct PlanScratch {
  int64_t* words;
  int32_t* reach;
  int64_t* words_of_task;
  int64_t* first_pair;
  int64_t* first_bag;
};

PlanScratch TakePlanScratch(const SkipGramProblem& problem, Scratch* scratch) {
  // A row's start puts one -1 before a word at most.
  const int64_t most_words = problem.size + std::min(problem.size, problem.num_splits);
  PlanScratch plan{};
  if (CopiesWords(problem)) {
    plan.words = scratch->Take<int64_t>(most_words);
    plan.words_of_task = scratch->Take<int64_t>(NumTasks(problem.size));
  }
  if (problem.shrink_windows) plan.reach = scratch->Take<int32_t>(most_words);
  plan.first_pair = scratch->Take<int64_t>(NumTasks(most_words) + 1);
  plan.first_bag = scratch->Take<int64_t>(NumTasks(most_words) + 1);
  return plan;
}

Status CheckProblem(const SkipGramProblem& problem) {
  FASTW2V_RETURN_IF_ERROR(CheckSkipGramNumbers(problem));
  if (problem.row_splits == nullptr) return Status();
  const int64_t* splits = problem.row_splits;
  const int64_t last = problem.num_splits - 1;
  if (splits[0] != 0) return InvalidArgument("row_splits[0] = ", splits[0], " is not 0");
  for (int64_t s = 0; s < last; ++s) {
    if (splits[s + 1] < splits[s]) {
      return InvalidArgument("row_splits[", s + 1, "] = ", splits[s + 1], " is below row_splits[",
                             s, "] = ", splits[s]);
    }
  }
  if (splits[last] != problem.size) {
    return InvalidArgument("row_splits[", last, "] = ", splits[last], " is not the number of ids, ",
                           problem.size);
  }
  return Status();
}

Status BadId(const SkipGramProblem& problem, int64_t i) {
  return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is not below ", problem.num_classes,
                         ", the number of counts");
}

// The words of random bits of tokens [begin, begin + kChunk).
template <typename Bits>
void FillBits(const Bits& block_of, int64_t begin, uint32_t* bits) {
  for (int64_t i = 0; i < kChunk; i += TokenDraws::kTokensPerBlock) {
    const PhiloxBlock block = block_of((begin + i) / TokenDraws::kTokensPerBlock);
    std::memcpy(bits + i, block.word, sizeof(block.word));
  }
}

// Reaches of tokens [begin, end).
void DrawReaches(const SkipGramProblem& problem, const TokenDraws& draws, int64_t begin,
                 int64_t end, int32_t* reach) {
  const int32_t window = static_cast<int32_t>(problem.window);
  uint32_t bits[kChunk];
  for (int64_t chunk = begin; chunk < end; chunk += kChunk) {
    FillBits([&](int64_t block) { return draws.ReachBits(block); }, chunk, bits);
    const int64_t size = std::min(kChunk, end - chunk);
    for (int64_t i = 0; i < size; ++i)
      reach[chunk - begin + i] = TokenDraws::Reach(bits[i], window);
  }
}

// Where the words of a task that begins at this token are put at first: after room for all words
// before, and for a -1 at every start of a row.
int64_t RoomBefore(const SkipGramProblem& problem, const int64_t* split, int64_t begin) {
  return problem.row_splits == nullptr
             ? begin
             : begin + std::min<int64_t>(begin, split - problem.row_splits);
}

const int64_t* FirstSplit(const SkipGramProblem& problem, int64_t begin) {
  return std::lower_bound(problem.row_splits, problem.row_splits + problem.num_splits, begin);
}

// Copies the words of tokens [begin, end) that stay, and draws their reaches (null: not wanted).
// Returns the number of words, or -1 - i where the id of token i is out of range.
int64_t CopyWords(const SkipGramProblem& problem, const TokenDraws& draws, int64_t begin,
                  int64_t end, const int64_t* split, int64_t* words, int32_t* reach) {
  const float* keep_probability = problem.keep_probability;
  const int32_t window = static_cast<int32_t>(problem.window);
  uint32_t keep_bits[kChunk], reach_bits[kChunk] = {};
  int64_t count = 0;
  for (int64_t chunk = begin; chunk < end; chunk += kChunk) {
    const int64_t chunk_end = std::min(end, chunk + kChunk);
    if (keep_probability != nullptr) {
      FillBits([&](int64_t block) { return draws.KeepBits(block); }, chunk, keep_bits);
    }
    if (reach != nullptr) {
      FillBits([&](int64_t block) { return draws.ReachBits(block); }, chunk, reach_bits);
    }
    for (int64_t i = chunk; i < chunk_end;) {
      int64_t run_end = chunk_end;
      if (problem.row_splits != nullptr) {
        if (*split == i) {  // the last split is after every token
          words[count] = -1;
          if (reach != nullptr) reach[count] = 0;
          ++count;
          do ++split;
          while (*split == i);
        }
        run_end = std::min(run_end, *split);
      }
      // Every word is written and the next one overwrites those that do not stay: whether it does
      // cannot be predicted.
      for (; i < run_end; ++i) {
        const int64_t id = problem.ids[i];
        bool stays = true;
        if (keep_probability != nullptr) {
          if (id >= problem.num_classes) return -1 - i;
          stays = id < 0 || TokenDraws::Keep(keep_bits[i - chunk], keep_probability[id]);
        }
        words[count] = id;
        if (reach != nullptr) reach[count] = TokenDraws::Reach(reach_bits[i - chunk], window);
        count += stays;
      }
    }
  }
  return count;
}

// Calls body(k, first, last) for every word k of [begin, end): its contexts are those of
// [first, last) but k.
template <typename Body>
void ForCenters(const SkipGramPlan& plan, int64_t window, int64_t begin, int64_t end,
                const Body& body) {
  const int64_t* words = plan.words;
  int64_t sentence = begin;  // where it begins, or the first word in reach
  while (sentence > std::max<int64_t>(0, begin - window) && words[sentence - 1] >= 0) --sentence;
  const int64_t in_reach = std::min(plan.num_words, end + window);
  for (int64_t k = begin; k < end;) {
    if (words[k] < 0) {
      sentence = ++k;
      continue;
    }
    int64_t sentence_end = k;
    while (sentence_end < in_reach && words[sentence_end] >= 0) ++sentence_end;
    for (const int64_t stop = std::min(sentence_end, end); k < stop; ++k) {
      const int64_t reach = plan.reach != nullptr ? plan.reach[k] : window;
      body(k, std::max(sentence, k - reach), std::min(sentence_end, k + reach + 1));
    }
  }
}

// Copies [first, last) but k, and returns the end of what it wrote.
inline int64_t* CopyContexts(const int64_t* words, int64_t k, int64_t first, int64_t last,
                             int64_t* target) {
  target = std::copy(words + first, words + k, target);
  return std::copy(words + k + 1, words + last, target);
}

// The number of contexts on a side differs from word to word, and the end of a short loop cannot be
// predicted. So loops over windows up to this one always run over the whole of it, where that stays
// within the arrays, and what is too much is overwritten by the next word.
constexpr int64_t kWholeWindow = 16;

void FillPairsOfTask(const SkipGramPlan& plan, int64_t window, int64_t begin, int64_t end,
                     int64_t* centers, int64_t* contexts, int64_t num_pairs) {
  const int64_t* words = plan.words;
  const int64_t last_pair = window <= kWholeWindow ? num_pairs - 2 * window : -1;
  const int64_t last_word = plan.num_words - window;
  int64_t pair = 0;
  ForCenters(plan, window, begin, end, [&](int64_t k, int64_t first, int64_t last) {
    const int64_t center = words[k];
    const int64_t count = last - first - 1;
    int64_t* context = contexts + pair;
    if (pair <= last_pair && k < last_word) {
      for (int64_t i = 0; i < window; ++i) context[i] = words[first + i];
      context += k - first;
      for (int64_t i = 0; i < window; ++i) context[i] = words[k + 1 + i];
      for (int64_t i = 0; i < 2 * window; ++i) centers[pair + i] = center;
    } else {
      CopyContexts(words, k, first, last, context);
      std::fill_n(centers + pair, count, center);
    }
    pair += count;
  });
}

void FillBagsOfTask(const SkipGramPlan& plan, int64_t window, int64_t begin, int64_t end,
                    int64_t* bags, int64_t* labels) {
  const int64_t* words = plan.words;
  const int64_t width = 2 * window;
  ForCenters(plan, window, begin, end, [&](int64_t k, int64_t first, int64_t last) {
    if (last - first == 1) return;
    std::fill(CopyContexts(words, k, first, last, bags), bags + width, int64_t{-1});
    bags += width;
    *labels++ = words[k];
  });
}

// Fisher and Yates' shuffle: calls swap(i, j) for j uniform in [0, i], from the last i to the
// first. Before that, prefetch(j): a random row of a large array is far away.
template <typename Prefetch, typename Swap>
void Shuffle(const SkipGramProblem& problem, int64_t size, const Prefetch& prefetch,
             const Swap& swap) {
  constexpr int64_t kAhead = 64;  // even
  const RandomStream stream(problem.seed[0], problem.seed[1], -3);
  int64_t partner[kAhead];
  for (int64_t begin = (size - 1) / kAhead * kAhead; begin >= 0; begin -= kAhead) {
    const int64_t end = std::min(size, begin + kAhead);
    for (int64_t i = begin; i < end; i += 2) {
      const PhiloxBlock bits = stream[i / 2];
      partner[i - begin] = UniformInteger(bits.word[0], bits.word[1], i + 1);
      partner[i - begin + 1] = UniformInteger(bits.word[2], bits.word[3], i + 2);
      prefetch(partner[i - begin]);
      prefetch(partner[i - begin + 1]);
    }
    for (int64_t i = end - 1; i >= begin; --i) swap(i, partner[i - begin]);
  }
}

}  // namespace

std::size_t SkipGramScratchBytes(const SkipGramProblem& problem) {
  Scratch scratch;
  TakePlanScratch(problem, &scratch);
  return scratch.used();
}

Status PlanSkipGrams(const SkipGramProblem& problem, const Parallel& parallel, void* scratch_memory,
                     SkipGramPlan* plan) {
  FASTW2V_RETURN_IF_ERROR(CheckProblem(problem));
  Scratch scratch(scratch_memory);
  const PlanScratch memory = TakePlanScratch(problem, &scratch);
  const TokenDraws draws(problem.seed[0], problem.seed[1]);

  plan->reach = memory.reach;
  if (CopiesWords(problem)) {
    const auto room_before = [&](int64_t begin) {
      return RoomBefore(problem, FirstSplit(problem, begin), begin);
    };
    ForTasks(parallel, problem.size, kTokenCost, [&](int64_t task, int64_t begin, int64_t end) {
      const int64_t room = room_before(begin);
      memory.words_of_task[task] =
          CopyWords(problem, draws, begin, end, FirstSplit(problem, begin), memory.words + room,
                    memory.reach == nullptr ? nullptr : memory.reach + room);
    });
    int64_t num_words = 0;
    for (int64_t task = 0; task < NumTasks(problem.size); ++task) {
      const int64_t count = memory.words_of_task[task];
      if (count < 0) return BadId(problem, -1 - count);
      const int64_t room = room_before(task * kTokensPerTask);
      std::memmove(memory.words + num_words, memory.words + room, count * sizeof(int64_t));
      if (memory.reach != nullptr) {
        std::memmove(memory.reach + num_words, memory.reach + room, count * sizeof(int32_t));
      }
      num_words += count;
    }
    plan->words = memory.words;
    plan->num_words = num_words;
  } else {
    if (memory.reach != nullptr) {
      ForTasks(parallel, problem.size, kTokenCost, [&](int64_t, int64_t begin, int64_t end) {
        DrawReaches(problem, draws, begin, end, memory.reach + begin);
      });
    }
    plan->words = problem.ids;
    plan->num_words = problem.size;
  }

  const int64_t num_tasks = NumTasks(plan->num_words);
  ForTasks(parallel, plan->num_words, kTokenCost, [&](int64_t task, int64_t begin, int64_t end) {
    int64_t pairs = 0, bags = 0;
    ForCenters(*plan, problem.window, begin, end, [&](int64_t, int64_t first, int64_t last) {
      pairs += last - first - 1;
      bags += last - first > 1;
    });
    memory.first_pair[task] = pairs;
    memory.first_bag[task] = bags;
  });
  const auto starts = [num_tasks](int64_t* counts) {
    int64_t before = 0;
    for (int64_t task = 0; task < num_tasks; ++task) {
      const int64_t count = counts[task];
      counts[task] = before;
      before += count;
    }
    counts[num_tasks] = before;
    return before;
  };
  plan->num_pairs = starts(memory.first_pair);
  plan->num_bags = starts(memory.first_bag);
  plan->first_pair = memory.first_pair;
  plan->first_bag = memory.first_bag;
  return Status();
}

void FillPairs(const SkipGramProblem& problem, const SkipGramPlan& plan, const Parallel& parallel,
               int64_t* centers, int64_t* contexts) {
  const int64_t cost = plan.num_pairs / std::max<int64_t>(1, plan.num_words) * kExampleCost;
  ForTasks(parallel, plan.num_words, kTokenCost + cost,
           [&](int64_t task, int64_t begin, int64_t end) {
             const int64_t pair = plan.first_pair[task];
             FillPairsOfTask(plan, problem.window, begin, end, centers + pair, contexts + pair,
                             plan.first_pair[task + 1] - pair);
           });
  if (!problem.shuffle) return;
  Shuffle(
      problem, plan.num_pairs,
      [&](int64_t j) {
        __builtin_prefetch(centers + j, 1);
        __builtin_prefetch(contexts + j, 1);
      },
      [&](int64_t i, int64_t j) {
        std::swap(centers[i], centers[j]);
        std::swap(contexts[i], contexts[j]);
      });
}

void FillBags(const SkipGramProblem& problem, const SkipGramPlan& plan, const Parallel& parallel,
              int64_t* bags, int64_t* labels) {
  const int64_t width = 2 * problem.window;
  ForTasks(parallel, plan.num_words, kTokenCost + width * kExampleCost,
           [&](int64_t task, int64_t begin, int64_t end) {
             const int64_t bag = plan.first_bag[task];
             FillBagsOfTask(plan, problem.window, begin, end, bags + bag * width, labels + bag);
           });
  if (!problem.shuffle) return;
  Shuffle(
      problem, plan.num_bags,
      [&](int64_t j) {
        __builtin_prefetch(bags + j * width, 1);
        __builtin_prefetch(labels + j, 1);
      },
      [&](int64_t i, int64_t j) {
        if (i != j) std::swap_ranges(bags + i * width, bags + (i + 1) * width, bags + j * width);
        std::swap(labels[i], labels[j]);
      });
}

Status KeepProbabilities(const double* counts, int64_t num_classes, double sample,
                         float* keep_probability) {
  if (!(sample >= 0 && sample < 1))
    return InvalidArgument("sample = ", sample, " is not in [0, 1)");
  FASTW2V_RETURN_IF_ERROR(CheckCounts(counts, num_classes));
  double total = 0;
  for (int64_t k = 0; k < num_classes; ++k) total += counts[k];
  for (int64_t k = 0; k < num_classes; ++k) {
    const bool all = counts[k] == 0 || sample == 0;
    const double ratio = all ? 1 : sample * (total / counts[k]);
    keep_probability[k] = static_cast<float>(std::min(1.0, std::sqrt(ratio) + ratio));
  }
  return Status();
}

}  // namespace fastw2v
