// Which classes compete for an example: its labels, except ignored ones, and sampled classes,
// except accidental hits. `Problem` is a LossProblem of any device.
#ifndef FASTW2V_CORE_OWN_CANDIDATES_H_
#define FASTW2V_CORE_OWN_CANDIDATES_H_

#include <cstdint>

#include "csrc/core/formula.h"
#include "csrc/core/loss_options.h"

namespace fastw2v {

// Candidates that an example has to itself: its labels, then its own sampled classes.
template <typename Problem>
FASTW2V_FORMULA int64_t NumOwnCandidates(const Problem& p) {
  return p.num_true + (p.candidates == Candidates::kPerExample ? p.num_sampled : 0);
}

// Labels of example b that are not ignored.
template <typename Problem>
FASTW2V_FORMULA int64_t NumLabels(const Problem& p, int64_t b) {
  int64_t count = 0;
  for (int64_t j = 0; j < p.num_true; ++j) {
    count += !p.options.ignored.Is(p.labels[b * p.num_true + j]);
  }
  return count;
}

// The class of own candidate k, which is a row of the weights unless it is an ignored label.
template <typename Problem>
FASTW2V_FORMULA int64_t OwnRow(const Problem& p, int64_t b, int64_t k) {
  return k < p.num_true ? p.labels[b * p.num_true + k]
                        : p.sampled[b * p.num_sampled + k - p.num_true];
}

struct OwnCandidate {
  int64_t row;
  bool competes;  // false: an ignored label or an accidental hit
  float expected_count;
};

template <typename Problem>
FASTW2V_FORMULA OwnCandidate FindOwnCandidate(const Problem& p, int64_t b, int64_t k) {
  OwnCandidate candidate = {OwnRow(p, b, k), true, 1};
  if (k < p.num_true) {
    candidate.competes = !p.options.ignored.Is(candidate.row);
    if (p.true_expected_count != nullptr) {
      candidate.expected_count = p.true_expected_count[b * p.num_true + k];
    }
    return candidate;
  }
  if (p.options.remove_accidental_hits && !p.options.ignored.Is(candidate.row)) {
    for (int64_t j = 0; j < p.num_true; ++j) {
      candidate.competes = candidate.competes && p.labels[b * p.num_true + j] != candidate.row;
    }
  }
  if (p.sampled_expected_count != nullptr) {
    candidate.expected_count = p.sampled_expected_count[b * p.num_sampled + k - p.num_true];
  }
  return candidate;
}

// Places [begin, end) of a shared list of classes, in ascending order, that are hits of a label.
struct HitRange {
  int64_t begin = 0, end = 0;
};

// The first of the ascending rows that is not below `row`.
FASTW2V_FORMULA int64_t FirstNotBelow(const int64_t* rows, int64_t count, int64_t row) {
  int64_t begin = 0, end = count;
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (rows[middle] < row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

FASTW2V_FORMULA HitRange FindHits(const int64_t* rows, int64_t count, int64_t label) {
  const int64_t begin = FirstNotBelow(rows, count, label);
  const bool hits = begin < count && rows[begin] == label;  // most labels are not in the list
  return {begin, hits ? FirstNotBelow(rows, count, label + 1) : begin};
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_OWN_CANDIDATES_H_
