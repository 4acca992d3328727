// Different words, numbered as they come, and how often each occurs.
#ifndef FASTW2V_CPU_TEXT_WORD_TABLE_H_
#define FASTW2V_CPU_TEXT_WORD_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace fastw2v {
namespace cpu {

// The first eight bytes of a word; of a shorter one, bits that no other of its length has.
inline uint64_t WordBeginning(std::string_view word) {
  const char* data = word.data();
  const std::size_t size = word.size();
  const auto load = [](auto value, const char* from) {
    std::memcpy(&value, from, sizeof(value));
    return static_cast<uint64_t>(value);
  };
  if (size >= 8) return load(uint64_t{}, data);
  if (size >= 4) return load(uint32_t{}, data) << 32 | load(uint32_t{}, data + size - 4);
  if (size == 0) return 0;
  return load(uint8_t{}, data) << 16 | load(uint8_t{}, data + size / 2) << 8 |
         load(uint8_t{}, data + size - 1);
}

inline uint32_t HashWord(std::string_view word, uint64_t beginning) {
  const auto mix = [](uint64_t state, uint64_t value) {
    state = (state ^ value) * 0x9e3779b97f4a7c15;
    return state ^ state >> 32;
  };
  uint64_t hash = mix(word.size(), beginning);
  for (std::size_t i = 8; i < word.size(); i += 8) {
    const std::size_t place = i + 8 <= word.size() ? i : word.size() - 8;
    hash = mix(hash, WordBeginning(word.substr(place)));
  }
  return static_cast<uint32_t>(mix(hash, 0xd6e8feb86659fd93));
}
inline uint32_t HashWord(std::string_view word) { return HashWord(word, WordBeginning(word)); }

// An array that grows without moving: no moment at which it is there twice.
template <typename T>
class GrowingArray {
 public:
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return chunks_[i >> kBits][i & kMask]; }
  const T& operator[](int64_t i) const { return chunks_[i >> kBits][i & kMask]; }
  void Append(T value) {
    if (size_ >> kBits == static_cast<int64_t>(chunks_.size())) {
      chunks_.emplace_back(new T[std::size_t{1} << kBits]);
    }
    (*this)[size_++] = value;
  }
  std::size_t bytes() const { return (chunks_.size() << kBits) * sizeof(T); }

 private:
  static constexpr int kBits = 14;
  static constexpr int64_t kMask = (int64_t{1} << kBits) - 1;

  std::vector<std::unique_ptr<T[]>> chunks_;
  int64_t size_ = 0;
};

// Open addressing over 64-bit slots: half of the hash, half the number of the word. Words lie one
// after another, each behind its length. Reading is safe from several threads.
class WordTable {
 public:
  static constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;

  int64_t size() const { return counts_.size(); }
  std::string_view word(int64_t id) const;
  int64_t& count(int64_t id) { return counts_[id]; }
  int64_t count(int64_t id) const { return counts_[id]; }
  std::size_t bytes() const;

  // Brings what Find will look at first nearer.
  void Prefetch(uint32_t hash) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[hash & mask_]);
  }
  // The number of a word, -1 where it is none.
  int32_t Find(std::string_view word, uint32_t hash) const;
  // Its number, the next free one with count 0 if it is new. size() is below kMaxSize.
  int32_t FindOrAdd(std::string_view word, uint32_t hash);
  // Forgets the words counted fewer than min_count times; the others get new numbers in the same
  // order.
  void Prune(int64_t min_count);

 private:
  static constexpr int kChunkBits = 22;  // bytes of a chunk of words; larger than any word

  // The slot of the word, or the empty one where it belongs.
  std::size_t Place(std::string_view word, uint32_t hash) const;
  void Grow();

  std::vector<uint64_t> slots_;  // hash << 32 | number + 1; 0 is empty
  std::size_t mask_ = 0;
  GrowingArray<int64_t> counts_;
  GrowingArray<int64_t> places_;  // chunk << kChunkBits | offset
  std::vector<std::unique_ptr<char[]>> chunks_;
  std::size_t used_ = std::size_t{1} << kChunkBits;  // bytes of the last chunk
};

}  // namespace cpu
}  // namespace fastw2v

#endif  // FASTW2V_CPU_TEXT_WORD_TABLE_H_
