// Candidate samplers: draw the classes that compete with the true ones, and say how often each
// class is expected among them.
//
//   uniform      p(k) = 1 / V
//   log_uniform  p(k) = log((k + 2) / (k + 1)) / log(V + 1), Zipf's law for classes sorted by
//                falling frequency
//   unigram      p(k) = counts[k]^power / sum_j counts[j]^power, through an alias table
//
// Stateless: a pair of seeds decides the draw. Draw i of a list is a function of block i of the
// list's random stream, so draws are made in parallel and do not depend on the number of threads.
// A list without repeats that takes at least a quarter of the classes and is not full after
// max(2^16, 4 V) draws goes on without the draws that repeat a class: what is left of it, and the
// number of draws it would have taken, are drawn from their exact joint distribution.
#ifndef FASTW2V_CORE_SAMPLER_H_
#define FASTW2V_CORE_SAMPLER_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "csrc/core/parallel.h"
#include "csrc/core/random.h"
#include "csrc/core/status.h"

namespace fastw2v {

// Walker's alias table: column k is drawn with probability 1 / V and gives class k with probability
// acceptance[k], class alias[k] otherwise.
struct UnigramTable {
  const double* probability = nullptr;  // [V], sums to 1; 0 for a class whose count is 0
  const double* acceptance = nullptr;   // [V], in [0, 1]; 0 for a class whose count is 0
  const int64_t* alias = nullptr;       // [V], classes with a count above 0
  int64_t support = 0;                  // number of classes with a probability above 0
};

// The probability of each of range_max classes, and a draw from it.
class ClassDistribution {
 public:
  enum class Kind { kUniform, kLogUniform, kUnigram };

  // Classes are computed in double precision, which holds every integer up to here.
  static constexpr int64_t kMaxRange = int64_t{1} << 53;

  // `name` is "uniform", "log_uniform" or "unigram"; `table` is read for "unigram" alone, and must
  // have range_max rows and outlive the distribution.
  static Status Create(const std::string& name, int64_t range_max, const UnigramTable& table,
                       ClassDistribution* distribution) {
    if (range_max < 1 || range_max > kMaxRange) {
      return InvalidArgument("range_max = ", range_max, " is not in [1, 2^53]");
    }
    distribution->range_max_ = range_max;
    distribution->support_ = range_max;
    if (name == "uniform") {
      distribution->kind_ = Kind::kUniform;
    } else if (name == "log_uniform") {
      distribution->kind_ = Kind::kLogUniform;
      distribution->log_range_ = std::log1p(static_cast<double>(range_max));
    } else if (name == "unigram") {
      distribution->kind_ = Kind::kUnigram;
      distribution->table_ = table;
      distribution->support_ = table.support;
    } else {
      return InvalidArgument("sampler = \"", name,
                             "\" is not one of \"uniform\", \"log_uniform\", \"unigram\"");
    }
    return Status();
  }

  FASTW2V_HOST_DEVICE int64_t Draw(PhiloxBlock bits) const {
    const uint32_t* word = bits.word;
    switch (kind_) {
      case Kind::kUniform:
        return UniformInteger(word[0], word[1], range_max_);
      case Kind::kLogUniform: {
        // u * log(V + 1) lies in [log(k + 1), log(k + 2)) for one k; rounding may reach k = V.
        const double value = std::exp(UniformReal(word[0], word[1]) * log_range_);
        const int64_t k = static_cast<int64_t>(value) - 1;
        return k < range_max_ ? k : range_max_ - 1;
      }
      case Kind::kUnigram:
        break;
    }
    const int64_t column = UniformInteger(word[0], word[1], range_max_);
    if (UniformReal(word[2], word[3]) < table_.acceptance[column]) return column;
    const int64_t alias = table_.alias[column];
    // A table that BuildUnigramTable did not make must not lead outside the range.
    return alias >= 0 && alias < range_max_ ? alias : column;
  }

  // p(k) for k in [0, range_max).
  FASTW2V_HOST_DEVICE double Probability(int64_t k) const {
    switch (kind_) {
      case Kind::kUniform:
        return 1.0 / static_cast<double>(range_max_);
      case Kind::kLogUniform:
        return std::log1p(1.0 / (static_cast<double>(k) + 1.0)) / log_range_;
      case Kind::kUnigram:
        break;
    }
    return table_.probability[k];
  }

  FASTW2V_HOST_DEVICE int64_t range_max() const { return range_max_; }
  // Number of classes that can be drawn.
  int64_t support() const { return support_; }

  Kind kind() const { return kind_; }
  double log_range() const { return log_range_; }  // log(V + 1), of a log-uniform distribution

 private:
  Kind kind_ = Kind::kUniform;
  int64_t range_max_ = 1;
  int64_t support_ = 1;
  double log_range_ = 0;
  UnigramTable table_;
};

// How often a class of probability p is expected in a list of num_sampled, as TensorFlow's samplers
// have it: without repeats, the probability that num_tries draws draw the class at all.
FASTW2V_HOST_DEVICE inline float ExpectedCount(double p, int64_t num_sampled, int64_t num_tries) {
  if (num_tries == num_sampled) return static_cast<float>(p * static_cast<double>(num_sampled));
  return static_cast<float>(-std::expm1(static_cast<double>(num_tries) * std::log1p(-p)));
}

struct SamplerProblem {
  ClassDistribution distribution;
  int64_t num_sampled = 1;   // S, the length of a list
  bool unique = true;        // without replacement: repeats in the stream of draws are skipped
  bool per_example = false;  // a list for each example, or one for the whole batch
  int64_t batch = 0;         // B
  int64_t num_true = 1;      // T

  int64_t num_lists() const { return per_example ? batch : 1; }
};

// A problem that cannot end is kInvalidArgument. The functions below expect a valid one.
inline Status ValidateSampler(const SamplerProblem& problem) {
  const int64_t range_max = problem.distribution.range_max();
  const int64_t support = problem.distribution.support();
  if (problem.num_sampled < 1) {
    return InvalidArgument("num_sampled = ", problem.num_sampled, " is not in [1, ",
                           problem.unique ? range_max : ClassDistribution::kMaxRange, "]");
  }
  if (problem.unique && problem.num_sampled > range_max) {
    return InvalidArgument("num_sampled = ", problem.num_sampled, " is not in [1, ", range_max,
                           "]: a unique sampler draws each of the range_max = ", range_max,
                           " classes at most once");
  }
  if (problem.unique && problem.num_sampled > support) {
    return InvalidArgument("num_sampled = ", problem.num_sampled, " is not in [1, ", support,
                           "]: a unique sampler draws each class at most once, and only ", support,
                           " of the ", range_max, " counts are above 0");
  }
  return Status();
}

// Bytes of scratch, aligned to Scratch::kAlignment, for SampleCandidates.
std::size_t SamplerScratchBytes(const SamplerProblem& problem, const Parallel& parallel);

// Draws the lists and computes expected counts.
//
// seed                    [2]     decides the draw; list b uses stream b of the pair
// true_classes            [B, T]  each in [0, range_max); otherwise kInvalidArgument
// sampled                 [S], or [B, S] per example, in the order of the draws
// true_expected_count     [B, T]
// sampled_expected_count  like sampled
// num_tries               [1], or [B] per example: draws taken to fill the list
//
// Work O(num_tries) per list, and O(V log V) at most once a list goes on without repeats. A unique
// list that takes more draws than suffice for any uniform or log-uniform one gives
// kResourceExhausted. Deterministic for any number of threads. B == 0 draws the shared list alone.
Status SampleCandidates(const SamplerProblem& problem, const int64_t* seed,
                        const int64_t* true_classes, const Parallel& parallel, void* scratch,
                        int64_t* sampled, float* true_expected_count, float* sampled_expected_count,
                        int64_t* num_tries);

// Bytes of scratch, aligned to Scratch::kAlignment, for BuildUnigramTable.
std::size_t UnigramTableScratchBytes(int64_t num_classes);

// Fills the alias table of p(k) ~ counts[k]^power in O(V) (Vose, "A linear algorithm for generating
// random numbers with a given distribution", IEEE Transactions on Software Engineering, 1991).
//
// counts   [V]  V >= 1, finite, not negative, at least one above 0; otherwise kInvalidArgument
// power         finite; a class whose count is 0 has probability 0 whatever the power
// probability, acceptance, alias  [V], support  [1]: see UnigramTable
Status BuildUnigramTable(const double* counts, int64_t num_classes, double power, void* scratch,
                         double* probability, double* acceptance, int64_t* alias, int64_t* support);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_SAMPLER_H_
