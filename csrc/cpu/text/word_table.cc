#include "csrc/cpu/text/word_table.h"

#include <cstring>
#include <utility>

namespace fastw2v {
namespace cpu {
namespace {

constexpr std::size_t kFirstSlots = 1 << 10;

}  // namespace

std::string_view WordTable::word(int64_t id) const {
  const int64_t place = places_[id];
  const char* at = chunks_[place >> kChunkBits].get() + (place & ((int64_t{1} << kChunkBits) - 1));
  // The length, seven bits in each byte, the low ones first.
  std::size_t length = 0;
  for (int shift = 0;; shift += 7) {
    const uint8_t bits = static_cast<uint8_t>(*at++);
    length |= std::size_t{bits & 127u} << shift;
    if (bits < 128) return {at, length};
  }
}

std::size_t WordTable::bytes() const {
  return slots_.size() * sizeof(uint64_t) + counts_.bytes() + places_.bytes() +
         (chunks_.size() << kChunkBits);
}

std::size_t WordTable::Place(std::string_view word, uint32_t hash) const {
  std::size_t slot = hash & mask_;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask_) {
    if (slots_[slot] >> 32 != hash) continue;
    const int64_t id = static_cast<int64_t>(slots_[slot] & 0xffffffff) - 1;
    if (this->word(id) == word) break;
  }
  return slot;
}

int32_t WordTable::Find(std::string_view word, uint32_t hash) const {
  if (slots_.empty()) return -1;
  return static_cast<int32_t>(slots_[Place(word, hash)] & 0xffffffff) - 1;
}

int32_t WordTable::FindOrAdd(std::string_view word, uint32_t hash) {
  if (static_cast<std::size_t>(size()) * 4 >= slots_.size() * 3) Grow();
  uint64_t& slot = slots_[Place(word, hash)];
  if (slot != 0) return static_cast<int32_t>(slot & 0xffffffff) - 1;
  constexpr std::size_t kChunk = std::size_t{1} << kChunkBits;
  if (used_ + word.size() + 5 > kChunk) {
    chunks_.emplace_back(new char[kChunk]);
    used_ = 0;
  }
  places_.Append(static_cast<int64_t>((chunks_.size() - 1) << kChunkBits | used_));
  char* chunk = chunks_.back().get();
  std::size_t length = word.size();
  for (; length >= 128; length >>= 7) chunk[used_++] = static_cast<char>(length | 128);
  chunk[used_++] = static_cast<char>(length);
  if (!word.empty()) std::memcpy(chunk + used_, word.data(), word.size());
  used_ += word.size();
  counts_.Append(0);
  slot = uint64_t{hash} << 32 | static_cast<uint64_t>(size());
  return static_cast<int32_t>(size() - 1);
}

void WordTable::Grow() {
  std::vector<uint64_t> old(slots_.empty() ? kFirstSlots : 2 * slots_.size());
  old.swap(slots_);
  mask_ = slots_.size() - 1;
  for (const uint64_t entry : old) {
    if (entry == 0) continue;
    std::size_t slot = (entry >> 32) & mask_;
    while (slots_[slot] != 0) slot = (slot + 1) & mask_;
    slots_[slot] = entry;
  }
}

void WordTable::Prune(int64_t min_count) {
  WordTable kept;
  for (int64_t id = 0; id < size(); ++id) {
    if (count(id) < min_count) continue;
    const std::string_view word = this->word(id);
    kept.count(kept.FindOrAdd(word, HashWord(word))) = count(id);
  }
  *this = std::move(kept);
}

}  // namespace cpu
}  // namespace fastw2v
