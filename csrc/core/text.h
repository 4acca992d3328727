// The words of a text: cut, counted and numbered.
//
//   text      UTF-8 without zero bytes, in pieces cut anywhere
//   word      what lies between white space; or, where letters are given, a run of letters in lower
//             case, with their marks and with single apostrophes (' and U+2019) before letters
//             inside it; a sigma at the end of a word of several letters is the final one
//   sentence  a line, or what `max_sentence` words in a line leave of it
//   ids       the words in order, -1 after each sentence, none of which is empty
//
// White space is what Python's str.split takes for it; lines end with \n.
//
// A scanner that counts numbers words as they come: the ids are provisional. When the text is over,
// FinalOrder says which words stay and what their final ids are, and Renumber changes the ids. A
// scanner of a given vocabulary gives the final ids at once and leaves out all other words.
//
// With max_types = N, as in gensim: when after a sentence there are more than N words, those
// counted fewer than r times are forgotten, where r is 1 the first time, 2 the second time and so
// on. Ids given up to then stand for nothing any more, and none follow; counting goes on.
//
// Results depend on the text alone: not on the number of threads, nor on where pieces are cut.
// Memory: about 30 bytes for each word counted and the word itself, and blocks of text in
// proportion to the pieces.
#ifndef FASTW2V_CORE_TEXT_H_
#define FASTW2V_CORE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "csrc/core/parallel.h"
#include "csrc/core/status.h"

namespace fastw2v {

struct TextRules {
  static constexpr int64_t kMaxWordBytes = 1 << 20;
  static constexpr uint32_t kMark = uint32_t{1} << 31;

  int64_t max_sentence = 10000;  // words, at least 1
  int64_t max_types = 0;         // 0: no bound
  // [num_letters], or null: words lie between white space. letters[c] is the lower case of the code
  // point c, c + kMark where c is a mark (it goes on with a word and begins none), 0 where c is
  // neither, as those from num_letters on.
  const uint32_t* letters = nullptr;
  int64_t num_letters = 0;
};

// Words in final order: the most frequent first, ties in the order of their bytes, which is that of
// their code points.
struct WordOrder {
  std::vector<int32_t> types;      // provisional id of each word that stays
  std::vector<int32_t> final_ids;  // by provisional id; -1 for words that do not
};

class TextScanner {
 public:
  explicit TextScanner(const TextRules& rules);
  ~TextScanner();

  // Numbers texts by these words from here on: word i has id i. Before any text.
  // kInvalidArgument for a word that is given twice.
  Status SetVocabulary(const std::string_view* words, int64_t num_words);

  // Takes the next piece of a text. What may be the beginning of a word waits for the next piece.
  // A byte order mark at the beginning of a text is left out.
  // kInvalidArgument, naming the offset in the text, for a zero byte, bytes that are not UTF-8 and
  // words of more than kMaxWordBytes; kResourceExhausted for more than 2^31 - 1 different words.
  Status Scan(std::string_view piece, const Parallel& parallel);
  // Takes what waits, ends the sentence and the text; offsets begin at 0 again.
  Status EndText();
  // Takes sentences that are cut into words already: words of lengths[0, num_words) bytes one after
  // another, the first sentence_words[0] of them the first sentence, and so on.
  Status ScanSentences(const char* bytes, const int64_t* lengths, const int64_t* sentence_words,
                       int64_t num_sentences);

  // The ids of what the last of these three calls took. CopyIds writes num_ids() of them.
  int64_t num_ids() const;
  void CopyIds(int32_t* ids) const;

  int64_t num_words() const;  // so far, those outside a vocabulary included
  int64_t num_types() const;  // different words, counted and not forgotten
  bool pruned() const;        // whether words were forgotten
  std::string_view word(int64_t type) const;
  int64_t count(int64_t type) const;
  std::size_t memory_bytes() const;  // of the words and their counts

  // Which words stay: those counted min_count times. If more than max_final (0: no bound), only
  // those more frequent than word max_final in the order.
  WordOrder FinalOrder(int64_t min_count, int64_t max_final) const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// Puts final ids in the place of provisional ones, leaves out words that have none and the ends of
// sentences that are empty then. Ids below -1, which are no words, stay. Returns how many ids are
// left, at the front of ids [size]. `previous`, -1 at first, carries the last id from one part of a
// text to the next.
int64_t Renumber(const std::vector<int32_t>& final_ids, int32_t* previous, int32_t* ids,
                 int64_t size);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_TEXT_H_
