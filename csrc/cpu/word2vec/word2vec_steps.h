// How far the rows of a group go: curvatures, and what follows from them (csrc/core/word2vec.h).
#ifndef FASTW2V_CPU_WORD2VEC_WORD2VEC_STEPS_H_
#define FASTW2V_CPU_WORD2VEC_WORD2VEC_STEPS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "csrc/core/word2vec.h"

namespace fastw2v {

inline constexpr float kMostCurvature = 2;
// Centers of a curvature below that move before their contexts do.
inline constexpr float kFirstCurvature = 0.125f;

// How much of its step a row of that curvature makes, see csrc/core/word2vec.h.
inline float StepFactor(float curvature) {
  return curvature > kMostCurvature ? kMostCurvature / curvature : 1.0f;
}

// How much of the steps of some rows is made, in all. Integers, so that the order of the rows does
// not matter.
struct Shortening {
  // `made` of the curvature `wanted`. What is not finite counts as much.
  void Add(float all, float of_made) {
    wanted += Bounded(all);
    made += Bounded(of_made);
  }

  void Add(const Shortening& other) {
    wanted += other.wanted;
    made += other.made;
  }

  int64_t wanted = 0, made = 0;

 private:
  static int64_t Bounded(float x) { return x < 1e9f ? static_cast<int64_t>(1024 * x) : 1 << 30; }
};

// How many centers a group has: fewer where much of their steps would be cut away. Groups of half
// the length have about half the curvature.
class GroupLength {
 public:
  explicit GroupLength(const Word2VecProblem& problem)
      : most_(problem.CentersOfGroup()), length_(most_) {}

  int64_t value() const { return length_; }

  void Adapt(const Shortening& steps) {
    const int64_t lost = steps.wanted - steps.made;
    if (lost * kMostLost > steps.wanted) {
      length_ = std::max<int64_t>(1, length_ / 2);
    } else if (lost * 4 * kMostLost < steps.wanted) {
      length_ = std::min(most_, 2 * length_);
    }
  }

 private:
  static constexpr int64_t kMostLost = 8;  // one part of so many
  int64_t most_, length_;
};

// The place at which each number of a sequence occurs first: a hash table that is never more than
// half full. An entry counts if it was made since the last call of Clear.
class FirstPlaces {
 public:
  // For at most so many numbers between two calls of Clear.
  explicit FirstPlaces(int64_t most) {
    while ((int64_t{1} << bits_) < 2 * most) ++bits_;
    entries_.resize(std::size_t{1} << bits_);
  }

  void Clear() {
    if (++time_ == 0) {
      std::fill(entries_.begin(), entries_.end(), Entry());
      time_ = 1;
    }
  }

  // Of a number at a place.
  int32_t Add(int32_t number, int32_t place) {
    uint32_t i = static_cast<uint32_t>(number) * 2654435769u >> (32 - bits_);
    while (entries_[i].time == time_) {
      if (entries_[i].number == number) return entries_[i].place;
      i = (i + 1) & ((uint32_t{1} << bits_) - 1);
    }
    entries_[i] = {time_, number, place};
    return place;
  }

 private:
  struct Entry {
    uint32_t time = 0;
    int32_t number = 0, place = 0;
  };

  int bits_ = 4;
  uint32_t time_ = 1;
  std::vector<Entry> entries_;
};

// Threads that update the same tables do not see each other's steps: how many of their groups hold
// a row, on average, where one does. Null: one.
struct Crowds {
  const float* embeddings = nullptr;  // [EmbeddingRows()]
  const float* weights = nullptr;     // [classes]
};

}  // namespace fastw2v

#endif  // FASTW2V_CPU_WORD2VEC_WORD2VEC_STEPS_H_
