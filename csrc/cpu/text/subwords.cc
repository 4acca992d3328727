#include "csrc/core/subwords.h"

#include <string>

namespace fastw2v {
namespace {

constexpr int64_t kMostRows = (int64_t{1} << 31) - 1;
constexpr uint32_t kFirstHash = 2166136261u, kPrime = 16777619u;  // of FNV-1a

bool IsWithinCharacter(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

}  // namespace

Status CheckSubwordRules(const SubwordRules& rules) {
  const auto in_range = [](const char* name, int64_t value) {
    return value >= 0 && value <= kMostRows
               ? Status()
               : InvalidArgument(name, " = ", value, " is not in [0, ", kMostRows, "]");
  };
  FASTW2V_RETURN_IF_ERROR(in_range("min_n", rules.min_n));
  FASTW2V_RETURN_IF_ERROR(in_range("max_n", rules.max_n));
  return in_range("bucket", rules.bucket);
}

void AppendSubwords(std::string_view word, const SubwordRules& rules,
                    std::vector<int32_t>* buckets) {
  if (rules.bucket == 0 || rules.max_n < rules.min_n || word == "</s>") return;
  const std::string bytes = '<' + std::string(word) + '>';
  const std::size_t size = bytes.size();
  for (std::size_t begin = 0; begin < size; ++begin) {
    if (IsWithinCharacter(bytes[begin])) continue;
    uint32_t hash = kFirstHash;
    std::size_t end = begin;
    for (int64_t n = 1; n <= rules.max_n && end < size; ++n) {
      do {
        hash = (hash ^ static_cast<uint32_t>(static_cast<int8_t>(bytes[end]))) * kPrime;
      } while (++end < size && IsWithinCharacter(bytes[end]));
      const bool is_bracket = n == 1 && (begin == 0 || end == size);
      if (n < rules.min_n || is_bracket) continue;
      buckets->push_back(static_cast<int32_t>(hash % static_cast<uint32_t>(rules.bucket)));
    }
  }
}

Status BuildWordBags(const std::string_view* words, int64_t num_words, const SubwordRules& rules,
                     std::vector<int64_t>* splits, std::vector<int32_t>* rows) {
  FASTW2V_RETURN_IF_ERROR(CheckSubwordRules(rules));
  if (num_words + rules.bucket > kMostRows) {
    return InvalidArgument("bucket = ", rules.bucket, " and ", num_words,
                           " words make more than 2^31 - 1 rows");
  }
  splits->assign(1, 0);
  rows->clear();
  for (int64_t k = 0; k < num_words; ++k) {
    rows->push_back(static_cast<int32_t>(k));
    const std::size_t first = rows->size();
    AppendSubwords(words[k], rules, rows);
    for (std::size_t i = first; i < rows->size(); ++i) {
      (*rows)[i] += static_cast<int32_t>(num_words);
    }
    splits->push_back(static_cast<int64_t>(rows->size()));
  }
  return Status();
}

}  // namespace fastw2v
