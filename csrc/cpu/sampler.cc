#include "csrc/core/sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "csrc/core/scratch.h"

namespace fastw2v {
namespace {

// Rough costs in CPU cycles, for the scheduler alone.
constexpr int64_t kDrawCost = 40;
constexpr int64_t kExpectedCountCost = 150;

constexpr int64_t kDrawsPerTask = 4096;
constexpr int64_t kMinBuffer = 1024;
constexpr int64_t kMaxBuffer = 65536;

// Calls body(begin, end, worker) for blocks that cover [0, count).
template <typename Body>
void ForBlocks(const Parallel& parallel, int64_t count, int64_t block, int64_t cost_per_item,
               const Body& body) {
  const int64_t num_tasks = (count + block - 1) / block;
  parallel.For(num_tasks, block * cost_per_item, [&](int64_t task, int worker) {
    body(task * block, std::min(count, (task + 1) * block), worker);
  });
}

// Draws [first, first + count) of a stream.
void Draw(const ClassDistribution& distribution, const RandomStream& stream, int64_t first,
          int64_t count, int64_t* classes, const Parallel& parallel) {
  ForBlocks(parallel, count, kDrawsPerTask, kDrawCost, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) classes[i] = distribution.Draw(stream[first + i]);
  });
}

// The classes met so far: one bit per class, or a hash table with linear probing at most half
// full, whichever is smaller.
class DistinctSet {
 public:
  // Number of 64-bit words for up to `capacity` of the classes [0, range_max).
  static int64_t NumWords(int64_t range_max, int64_t capacity) {
    return std::min(BitmapWords(range_max), int64_t{1} << HashBits(capacity));
  }

  DistinctSet(int64_t range_max, int64_t capacity, uint64_t* words)
      : words_(words), hash_bits_(HashBits(capacity)) {
    const int64_t num_words = NumWords(range_max, capacity);
    is_bitmap_ = num_words == BitmapWords(range_max);
    std::fill_n(words_, num_words, uint64_t{0});
  }

  // Whether the class is new.
  bool Insert(int64_t k) {
    if (is_bitmap_) {
      const uint64_t bit = uint64_t{1} << (k & 63);
      uint64_t& word = words_[k >> 6];
      const bool is_new = (word & bit) == 0;
      word |= bit;
      return is_new;
    }
    const uint64_t key = static_cast<uint64_t>(k) + 1;  // 0 marks a free slot
    const uint64_t mask = (uint64_t{1} << hash_bits_) - 1;
    // Fibonacci hashing: the high bits of the product with 2^64 / golden ratio.
    uint64_t slot = key * 0x9E3779B97F4A7C15 >> (64 - hash_bits_);
    while (words_[slot] != 0) {
      if (words_[slot] == key) return false;
      slot = (slot + 1) & mask;
    }
    words_[slot] = key;
    return true;
  }

 private:
  static int64_t BitmapWords(int64_t range_max) { return (range_max + 63) / 64; }
  static int HashBits(int64_t capacity) {
    int bits = 1;
    while ((int64_t{1} << bits) < 2 * capacity) ++bits;
    return bits;
  }

  uint64_t* words_;
  int hash_bits_;
  bool is_bitmap_;
};

// Scratch memory of one list at a time.
struct ListScratch {
  uint64_t* set_words;
  int64_t* buffer;
  int64_t buffer_size;
};

ListScratch TakeListScratch(const SamplerProblem& problem, Scratch* scratch) {
  ListScratch list{};
  if (!problem.unique) return list;
  list.set_words = scratch->Take<uint64_t>(
      DistinctSet::NumWords(problem.distribution.range_max(), problem.num_sampled));
  list.buffer_size = std::clamp(problem.num_sampled, kMinBuffer, kMaxBuffer);
  list.buffer = scratch->Take<int64_t>(list.buffer_size);
  return list;
}

// All V classes without repeats take about V log V uniform draws and V log^2 V log-uniform ones:
// about 450 a class for V = 2^31.
int64_t MaxTries(int64_t num_sampled) { return (int64_t{1} << 20) + 1024 * num_sampled; }

Status FillList(const SamplerProblem& problem, const RandomStream& stream,
                const ListScratch& scratch, const Parallel& parallel, int64_t* sampled,
                int64_t* num_tries) {
  const ClassDistribution& distribution = problem.distribution;
  const int64_t num_sampled = problem.num_sampled;
  if (!problem.unique) {
    Draw(distribution, stream, 0, num_sampled, sampled, parallel);
    *num_tries = num_sampled;
    return Status();
  }
  DistinctSet met(distribution.range_max(), num_sampled, scratch.set_words);
  int64_t found = 0, tries = 0;
  while (found < num_sampled) {
    if (tries >= MaxTries(num_sampled)) {
      return ResourceExhausted(
          "num_sampled = ", num_sampled, " distinct classes were not met in ",
          MaxTries(num_sampled),
          " draws, because a few classes have nearly all the probability: ask for fewer, sample "
          "with replacement (unique=False), or flatten the distribution (a smaller power)");
    }
    // Few draws are made in vain, and a long search goes in large rounds.
    const int64_t round = std::min(scratch.buffer_size, std::max(num_sampled - found, tries / 4));
    Draw(distribution, stream, tries, round, scratch.buffer, parallel);
    for (int64_t i = 0; i < round && found < num_sampled; ++i, ++tries) {
      if (met.Insert(scratch.buffer[i])) sampled[found++] = scratch.buffer[i];
    }
  }
  *num_tries = tries;
  return Status();
}

Status FillLists(const SamplerProblem& problem, const int64_t* seed, const Parallel& parallel,
                 void* scratch_memory, int64_t* sampled, int64_t* num_tries) {
  Scratch scratch(scratch_memory);
  if (!problem.per_example) {
    const ListScratch list = TakeListScratch(problem, &scratch);
    return FillList(problem, RandomStream(seed[0], seed[1], 0), list, parallel, sampled, num_tries);
  }
  // Every worker's piece has the same size, so the pieces are found by number.
  Scratch measure;
  TakeListScratch(problem, &measure);
  const std::size_t piece = measure.used();
  std::atomic<bool> failed{false};
  Status failure;
  const int64_t lists_per_task = std::max<int64_t>(1, kDrawsPerTask / problem.num_sampled);
  ForBlocks(parallel, problem.batch, lists_per_task, problem.num_sampled * kDrawCost,
            [&](int64_t begin, int64_t end, int worker) {
              Scratch own(static_cast<char*>(scratch_memory) + worker * piece);
              const ListScratch list = TakeListScratch(problem, &own);
              for (int64_t b = begin; b < end && !failed.load(std::memory_order_relaxed); ++b) {
                const Status status =
                    FillList(problem, RandomStream(seed[0], seed[1], b), list, Serial(),
                             sampled + b * problem.num_sampled, num_tries + b);
                // Every list that fails fails with the same sentence: the first to come is kept.
                if (!status.ok() && !failed.exchange(true)) failure = status;
              }
            });
  return failure;
}

Status CheckTrueClasses(const SamplerProblem& problem, const int64_t* true_classes) {
  const int64_t range_max = problem.distribution.range_max();
  for (int64_t i = 0; i < problem.batch * problem.num_true; ++i) {
    if (true_classes[i] < 0 || true_classes[i] >= range_max) {
      return InvalidArgument("true_classes[", i / problem.num_true, ", ", i % problem.num_true,
                             "] = ", true_classes[i], " is not in [0, ", range_max, ")");
    }
  }
  return Status();
}

// classes [num_rows, row_length]; a row belongs to an example, or all rows to the shared list.
void ExpectedCounts(const SamplerProblem& problem, const int64_t* classes, int64_t num_rows,
                    int64_t row_length, const int64_t* num_tries, float* expected_count,
                    const Parallel& parallel) {
  ForBlocks(parallel, num_rows * row_length, kDrawsPerTask, kExpectedCountCost,
            [&](int64_t begin, int64_t end, int) {
              for (int64_t i = begin; i < end; ++i) {
                const int64_t list = problem.per_example ? i / row_length : 0;
                expected_count[i] = ExpectedCount(problem.distribution.Probability(classes[i]),
                                                  problem.num_sampled, num_tries[list]);
              }
            });
}

}  // namespace

std::size_t SamplerScratchBytes(const SamplerProblem& problem, const Parallel& parallel) {
  // Lists are filled at the same time where each example has its own.
  const int num_lists = problem.per_example ? parallel.num_workers() : 1;
  Scratch scratch;
  for (int i = 0; i < num_lists; ++i) {
    TakeListScratch(problem, &scratch);
  }
  return scratch.used();
}

Status SampleCandidates(const SamplerProblem& problem, const int64_t* seed,
                        const int64_t* true_classes, const Parallel& parallel, void* scratch,
                        int64_t* sampled, float* true_expected_count, float* sampled_expected_count,
                        int64_t* num_tries) {
  FASTW2V_RETURN_IF_ERROR(CheckTrueClasses(problem, true_classes));
  FASTW2V_RETURN_IF_ERROR(FillLists(problem, seed, parallel, scratch, sampled, num_tries));
  ExpectedCounts(problem, true_classes, problem.batch, problem.num_true, num_tries,
                 true_expected_count, parallel);
  ExpectedCounts(problem, sampled, problem.num_lists(), problem.num_sampled, num_tries,
                 sampled_expected_count, parallel);
  return Status();
}

std::size_t UnigramTableScratchBytes(int64_t num_classes) {
  Scratch scratch;
  scratch.Take<double>(num_classes);
  scratch.Take<int64_t>(num_classes);
  return scratch.used();
}

Status BuildUnigramTable(const double* counts, int64_t num_classes, double power,
                         void* scratch_memory, double* probability, double* acceptance,
                         int64_t* alias, int64_t* support) {
  if (num_classes < 1) return InvalidArgument("counts is empty: at least one class is needed");
  if (!std::isfinite(power)) return InvalidArgument("power = ", power, " is not finite");
  double largest = 0, smallest = INFINITY;
  for (int64_t k = 0; k < num_classes; ++k) {
    if (!(counts[k] >= 0 && counts[k] < INFINITY)) {
      return InvalidArgument("counts[", k, "] = ", counts[k], " is not in [0, inf)");
    }
    largest = std::max(largest, counts[k]);
    if (counts[k] > 0) smallest = std::min(smallest, counts[k]);
  }
  if (largest == 0) {
    return InvalidArgument("counts are all 0: at least one of the ", num_classes,
                           " classes must have a count above 0");
  }

  // Relative to the largest weight, in logarithms: no count and no power overflows.
  const double log_unit = std::log(power >= 0 ? largest : smallest);
  double total = 0;
  for (int64_t k = 0; k < num_classes; ++k) {
    probability[k] = counts[k] > 0 ? std::exp(power * (std::log(counts[k]) - log_unit)) : 0;
    total += probability[k];
  }
  int64_t heaviest = 0;
  *support = 0;
  for (int64_t k = 0; k < num_classes; ++k) {
    probability[k] /= total;
    if (probability[k] > 0) ++*support;
    if (probability[k] > probability[heaviest]) heaviest = k;
  }

  // Columns with less than their share of 1 / V are filled up from those with more. `light` grows
  // from the front of `pending`, `heavy` from its back.
  Scratch scratch(scratch_memory);
  double* share = scratch.Take<double>(num_classes);
  int64_t* pending = scratch.Take<int64_t>(num_classes);
  int64_t light = 0, heavy = num_classes;
  for (int64_t k = 0; k < num_classes; ++k) {
    share[k] = probability[k] * static_cast<double>(num_classes);
    // What rounding leaves unpaired at the end keeps this.
    acceptance[k] = probability[k] > 0 ? 1 : 0;
    alias[k] = heaviest;
    if (share[k] < 1) {
      pending[light++] = k;
    } else {
      pending[--heavy] = k;
    }
  }
  while (light > 0 && heavy < num_classes) {
    const int64_t poor = pending[--light];
    const int64_t rich = pending[heavy];
    acceptance[poor] = share[poor];
    alias[poor] = rich;
    share[rich] -= 1 - share[poor];
    if (share[rich] < 1) {
      ++heavy;
      pending[light++] = rich;
    }
  }
  return Status();
}

}  // namespace fastw2v
