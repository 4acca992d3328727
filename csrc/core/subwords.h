// The n-grams of characters that a word shares with others, as fastText and gensim have them.
//
//   <word>   the word between angle brackets, in UTF-8; a character is a byte and the bytes
//   10xxxxxx
//            behind it
//   n-gram   a run of n characters of that, min_n <= n <= max_n, but for a single bracket
//   bucket   hash mod bucket, where hash is FNV-1a of 32 bits over the bytes, each extended by its
//            sign, as fastText took them
//
// The word </s>, by which fastText ends a line, has no n-grams.
//
// Bojanowski, Grave, Joulin and Mikolov, "Enriching Word Vectors with Subword Information", 2017,
// section 3.2.
#ifndef FASTW2V_CORE_SUBWORDS_H_
#define FASTW2V_CORE_SUBWORDS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "csrc/core/status.h"

namespace fastw2v {

struct SubwordRules {
  int64_t min_n = 3, max_n = 6;  // none where max_n < min_n
  int64_t bucket = 2000000;      // none where that is 0
};

// kInvalidArgument for a negative number, or a bucket of 2^31 or more.
Status CheckSubwordRules(const SubwordRules& rules);

// Appends the buckets of the n-grams of a word, in the order of their places. Of valid rules.
void AppendSubwords(std::string_view word, const SubwordRules& rules,
                    std::vector<int32_t>* buckets);

// The bag of each word: its own row, k for word k, and rows num_words + bucket of its n-grams, as
// csrc/core/word2vec.h takes them. kInvalidArgument where the rows are 2^31 or more.
Status BuildWordBags(const std::string_view* words, int64_t num_words, const SubwordRules& rules,
                     std::vector<int64_t>* splits, std::vector<int32_t>* rows);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_SUBWORDS_H_
