#include "csrc/core/sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "csrc/core/counts.h"
#include "csrc/core/scratch.h"

namespace fastw2v {
namespace {

// Rough costs in CPU cycles, for the scheduler alone.
constexpr int64_t kDrawCost = 30;
constexpr int64_t kExpectedCountCost = 20;
constexpr int64_t kClockCost = 150;

constexpr int64_t kDrawsPerTask = 8192;
constexpr int64_t kCountsPerTask = 16384;
constexpr int64_t kMinBuffer = 1024;
constexpr int64_t kMaxBuffer = 65536;

// Calls body(begin, end, worker) for blocks that cover [0, count).
template <typename Body>
void ForBlocks(const Parallel& parallel, int64_t count, int64_t block, int64_t cost_per_item,
               const Body& body) {
  const int64_t num_tasks = (count + block - 1) / block;
  parallel.For(num_tasks, std::min(count, block) * cost_per_item, [&](int64_t task, int worker) {
    body(task * block, std::min(count, (task + 1) * block), worker);
  });
}

// Loops over this many numbers at a time stay in the first-level cache and fill vector registers.
constexpr int64_t kChunk = 128;

// Calls body(first, count) for chunks that cover [begin, end).
template <typename Body>
void ForChunks(int64_t begin, int64_t end, const Body& body) {
  for (int64_t i = begin; i < end; i += kChunk) body(i, std::min(kChunk, end - i));
}

// exp(x) = power * exp(remainder), power one of 2, |remainder| <= log(2) / 2. For |x| < 700.
struct SplitExp {
  double power;
  double remainder;
};
inline SplitExp Split(double x) {
  // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
  const double shifted = x * 0x1.71547652b82fep0 + 0x1.8p52;
  uint64_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 1023) << 52;
  SplitExp split;
  std::memcpy(&split.power, &bits, sizeof(bits));
  split.remainder = x - (shifted - 0x1.8p52) * 0x1.62e42fefa39efp-1;
  return split;
}

// (exp(x) - 1) / x for |x| <= log(2) / 2, within 1e-15: its Taylor series.
inline double RelativeExpm1(double x) {
  double sum = 1.0 / 479001600;
  sum = sum * x + 1.0 / 39916800;
  sum = sum * x + 1.0 / 3628800;
  sum = sum * x + 1.0 / 362880;
  sum = sum * x + 1.0 / 40320;
  sum = sum * x + 1.0 / 5040;
  sum = sum * x + 1.0 / 720;
  sum = sum * x + 1.0 / 120;
  sum = sum * x + 1.0 / 24;
  sum = sum * x + 1.0 / 6;
  sum = sum * x + 1.0 / 2;
  return sum * x + 1;
}

// log((1 + x) / (1 - x)) for |x| <= 1/3, within a relative error of 2e-11: its Taylor series.
inline double LogRatio(double x) {
  const double square = x * x;
  double sum = 2.0 / 19;
  sum = sum * square + 2.0 / 17;
  sum = sum * square + 2.0 / 15;
  sum = sum * square + 2.0 / 13;
  sum = sum * square + 2.0 / 11;
  sum = sum * square + 2.0 / 9;
  sum = sum * square + 2.0 / 7;
  sum = sum * square + 2.0 / 5;
  sum = sum * square + 2.0 / 3;
  return (sum * square + 2) * x;
}

// classes[i] = distribution.Draw(stream[first + i]), by an exponential function that loops well and
// tells classes apart up to a relative error; where that does not do, by Draw itself.
void DrawLogUniform(const ClassDistribution& distribution, const RandomStream& stream,
                    int64_t first, int64_t count, int64_t* classes) {
  constexpr double kError = 0x1p-42;
  const double log_range = distribution.log_range();
  const int64_t last_class = distribution.range_max() - 1;
  double value[kChunk];
  for (int64_t i = 0; i < count; ++i) {
    const PhiloxBlock bits = stream[first + i];
    value[i] = UniformReal(bits.word[0], bits.word[1]);
  }
  for (int64_t i = 0; i < count; ++i) {
    const SplitExp split = Split(value[i] * log_range);
    value[i] = split.power + split.power * split.remainder * RelativeExpm1(split.remainder);
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t k = static_cast<int64_t>(value[i] * (1 - kError));
    const bool sure = k == static_cast<int64_t>(value[i] * (1 + kError));
    classes[i] = sure ? std::min(k - 1, last_class) : distribution.Draw(stream[first + i]);
  }
}

// Draws [first, first + count) of a stream.
void Draw(const ClassDistribution& distribution, const RandomStream& stream, int64_t first,
          int64_t count, int64_t* classes, const Parallel& parallel) {
  ForBlocks(parallel, count, kDrawsPerTask, kDrawCost, [&](int64_t begin, int64_t end, int) {
    if (distribution.kind() == ClassDistribution::Kind::kLogUniform) {
      ForChunks(begin, end, [&](int64_t i, int64_t size) {
        DrawLogUniform(distribution, stream, first + i, size, classes + i);
      });
      return;
    }
    for (int64_t i = begin; i < end; ++i) classes[i] = distribution.Draw(stream[first + i]);
  });
}

// The classes drawn so far: one bit per class, or a hash table with linear probing at most half
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

  // Calls body(k) for the classes not drawn, of a set that is a bitmap.
  template <typename Body>
  void ForMissing(int64_t range_max, const Body& body) const {
    for (int64_t k = 0; k < range_max; ++k) {
      if ((words_[k >> 6] >> (k & 63) & 1) == 0) body(k);
    }
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

// A class not yet drawn by a list that has taken many draws: see FinishByRace.
struct Racer {
  double value;  // its clock; once sorted, the probability of all racers from here on
  int64_t k;
};

// Where a list takes most classes, draws become rare that draw a new one. After this many draws
// FinishByRace is faster, and the memory it needs is in proportion to the list.
bool MayRace(const SamplerProblem& problem) {
  return problem.num_sampled >= problem.distribution.range_max() / 4;
}
int64_t DrawsBeforeRace(const SamplerProblem& problem) {
  return std::max(int64_t{1} << 16, 4 * problem.distribution.range_max());
}

// Scratch memory of one list at a time.
struct ListScratch {
  uint64_t* set_words;
  int64_t* buffer;
  int64_t buffer_size;
  Racer* racers;
};

ListScratch TakeListScratch(const SamplerProblem& problem, Scratch* scratch) {
  ListScratch list{};
  if (!problem.unique) return list;
  list.set_words = scratch->Take<uint64_t>(
      DistinctSet::NumWords(problem.distribution.range_max(), problem.num_sampled));
  list.buffer_size = std::clamp(problem.num_sampled, kMinBuffer, kMaxBuffer);
  list.buffer = scratch->Take<int64_t>(list.buffer_size);
  list.racers = MayRace(problem) ? scratch->Take<Racer>(problem.distribution.range_max()) : nullptr;
  return list;
}

// All V classes without repeats take about V log V uniform draws and V log^2 V log-uniform ones:
// about 450 a class for V = 2^31.
int64_t MaxTries(int64_t num_sampled) { return (int64_t{1} << 20) + 1024 * num_sampled; }

Status TooManyTries(int64_t num_sampled) {
  return ResourceExhausted(
      "num_sampled = ", num_sampled, " distinct classes were not drawn in ", MaxTries(num_sampled),
      " draws, because a few classes have nearly all the probability: ask for fewer, sample "
      "with replacement (unique=False), or flatten the distribution (a smaller power)");
}

// The rest of a list without the draws that repeat a class. The classes still missing come in the
// order of independent exponential clocks whose rates are their probabilities, and the number of
// draws up to each of them is geometric, with the probability of all that are missing then: the
// same joint distribution of list and number of draws. Block -1 - k of the stream belongs to class
// k: half of it sets its clock, half decides how many repeats come before it.
Status FinishByRace(const SamplerProblem& problem, const RandomStream& stream,
                    const DistinctSet& met, const Parallel& parallel, Racer* racers, int64_t found,
                    int64_t* sampled, int64_t* num_tries) {
  const ClassDistribution& distribution = problem.distribution;
  const auto log_uniform = [](uint32_t low, uint32_t high) {  // of a number in (0, 1]
    return std::log1p(-UniformReal(low, high));
  };
  int64_t count = 0;
  met.ForMissing(distribution.range_max(), [&](int64_t k) {
    if (distribution.Probability(k) > 0) racers[count++].k = k;
  });
  // A table that BuildUnigramTable did not make may promise more classes than it has.
  if (count < problem.num_sampled - found) return TooManyTries(problem.num_sampled);
  ForBlocks(parallel, count, kDrawsPerTask, kClockCost, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const PhiloxBlock bits = stream[-1 - racers[i].k];
      racers[i].value =
          -log_uniform(bits.word[0], bits.word[1]) / distribution.Probability(racers[i].k);
    }
  });
  std::sort(racers, racers + count, [](const Racer& x, const Racer& y) {
    return x.value != y.value ? x.value < y.value : x.k < y.k;
  });
  double missing = 0;
  for (int64_t i = count - 1; i >= 0; --i) {
    missing += distribution.Probability(racers[i].k);
    racers[i].value = std::min(missing, 1.0);
  }
  double tries = static_cast<double>(*num_tries);
  for (int64_t i = 0; found < problem.num_sampled; ++i) {
    const PhiloxBlock bits = stream[-1 - racers[i].k];
    const double repeats =
        std::floor(log_uniform(bits.word[2], bits.word[3]) / std::log1p(-racers[i].value));
    tries += repeats + 1;
    sampled[found++] = racers[i].k;
  }
  if (!(tries <= static_cast<double>(MaxTries(problem.num_sampled)))) {
    return TooManyTries(problem.num_sampled);
  }
  *num_tries = static_cast<int64_t>(tries);
  return Status();
}

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
  const int64_t most = MayRace(problem) ? DrawsBeforeRace(problem) : MaxTries(num_sampled);
  DistinctSet met(distribution.range_max(), num_sampled, scratch.set_words);
  int64_t found = 0, tries = 0;
  while (found < num_sampled && tries < most) {
    // Few draws are made in vain, and a long search goes in large rounds.
    const int64_t round =
        std::min({scratch.buffer_size, most - tries, std::max(num_sampled - found, tries / 4)});
    Draw(distribution, stream, tries, round, scratch.buffer, parallel);
    for (int64_t i = 0; i < round && found < num_sampled; ++i, ++tries) {
      sampled[found] = scratch.buffer[i];
      found += met.Insert(scratch.buffer[i]);
    }
  }
  *num_tries = tries;
  if (found == num_sampled) return Status();
  if (!MayRace(problem)) return TooManyTries(num_sampled);
  return FinishByRace(problem, stream, met, parallel, scratch.racers, found, sampled, num_tries);
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

// probability[i] = distribution.Probability(classes[i]), within a relative error of 3e-11.
void Probabilities(const ClassDistribution& distribution, const int64_t* classes, int64_t count,
                   double* probability) {
  switch (distribution.kind()) {
    case ClassDistribution::Kind::kUniform:
      std::fill_n(probability, count, distribution.Probability(0));
      return;
    case ClassDistribution::Kind::kLogUniform: {
      const double unit = 1 / distribution.log_range();
      for (int64_t i = 0; i < count; ++i) probability[i] = static_cast<double>(classes[i]);
      for (int64_t i = 0; i < count; ++i) {
        // (k + 2) / (k + 1) is (1 + x) / (1 - x) for this x.
        probability[i] = LogRatio(1 / (2 * probability[i] + 3)) * unit;
      }
      return;
    }
    case ClassDistribution::Kind::kUnigram:
      break;
  }
  for (int64_t i = 0; i < count; ++i) probability[i] = distribution.Probability(classes[i]);
}

// ExpectedCount of `count` classes, by functions that loop well: within a relative error of 1e-10.
void ExpectedCountsOfList(const double* p, int64_t count, int64_t num_sampled, int64_t num_tries,
                          float* expected_count) {
  const double tries = static_cast<double>(num_tries);
  if (num_tries == num_sampled) {
    for (int64_t i = 0; i < count; ++i) expected_count[i] = static_cast<float>(p[i] * tries);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    // 1 / (1 - p) is (1 + x) / (1 - x) for x = p / (2 - p), and x <= 1/3 where p <= 1/2.
    const SplitExp split = Split(-tries * LogRatio(p[i] / (2 - p[i])));
    // 1 - exp(...), without cancellation: the first part is 0 or at least 1/2.
    expected_count[i] = static_cast<float>((1 - split.power) - split.power * split.remainder *
                                                                   RelativeExpm1(split.remainder));
  }
  for (int64_t i = 0; i < count; ++i) {
    // Here the series above do not hold.
    if (p[i] > 0.5 || p[i] * tries > 500) {
      expected_count[i] = ExpectedCount(p[i], num_sampled, num_tries);
    }
  }
}

// classes [num_rows, row_length]; a row belongs to an example, or all rows to the shared list.
void ExpectedCounts(const SamplerProblem& problem, const int64_t* classes, int64_t num_rows,
                    int64_t row_length, const int64_t* num_tries, float* expected_count,
                    const Parallel& parallel) {
  const int64_t list_length = problem.per_example ? row_length : num_rows * row_length;
  ForBlocks(parallel, num_rows * row_length, kCountsPerTask, kExpectedCountCost,
            [&](int64_t begin, int64_t end, int) {
              for (int64_t i = begin; i < end;) {
                const int64_t list = i / list_length;
                const int64_t list_end = std::min(end, (list + 1) * list_length);
                ForChunks(i, list_end, [&](int64_t first, int64_t count) {
                  double p[kChunk];
                  Probabilities(problem.distribution, classes + first, count, p);
                  ExpectedCountsOfList(p, count, problem.num_sampled, num_tries[list],
                                       expected_count + first);
                });
                i = list_end;
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
  FASTW2V_RETURN_IF_ERROR(CheckCounts(counts, num_classes));
  for (int64_t k = 0; k < num_classes; ++k) {
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
