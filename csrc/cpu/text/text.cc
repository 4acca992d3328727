#include "csrc/core/text.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "csrc/cpu/text/word_table.h"

// A piece is cut into blocks. Each block is scanned by one task into a table of its own, which
// stays in the second-level cache, and its different words, a tenth of the words of a book,
// are looked up in the table of all words, which no task changes. Then, block after block, new
// words are added and counts summed; then tasks write the ids. Only the middle part is serial.

namespace fastw2v {
namespace {

using cpu::HashWord;
using cpu::WordBeginning;
using cpu::WordTable;

// Rough cost in CPU cycles, for the scheduler alone.
constexpr int64_t kCostPerByte = 15;
constexpr int64_t kBlockBytes = 1 << 19;
constexpr std::size_t kFirstSlots = 1 << 12;
constexpr int32_t kEnd = -1;  // of a line, among tokens; of a sentence, among ids

constexpr uint32_t kTypographicApostrophe = 0x2019;
constexpr uint32_t kCapitalSigma = 0x3a3;
constexpr uint32_t kFinalSigma = 0x3c2;
constexpr uint32_t kCapitalDottedI = 0x130;  // in lower case an i and a dot, a mark
constexpr uint32_t kDotAbove = 0x307;

uint8_t Byte(const char* at) { return static_cast<uint8_t>(*at); }
bool Continues(const char* at) { return (Byte(at) & 0xc0) == 0x80; }

// The code point at `at`, not an ASCII one, and its bytes: 0 if they are not UTF-8.
int Decode(const char* at, const char* end, uint32_t* code_point) {
  const uint8_t first = Byte(at);
  const int bytes = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (bytes == 0 || end - at < bytes) return 0;
  uint32_t value = first & (0x7f >> bytes);
  for (int i = 1; i < bytes; ++i) {
    if (!Continues(at + i)) return 0;
    value = value << 6 | (Byte(at + i) & 0x3f);
  }
  // No more bytes than needed, no halves of surrogate pairs, nothing above the last code point.
  if (bytes == 3 && (value < 0x800 || (value >= 0xd800 && value < 0xe000))) return 0;
  if (bytes == 4 && (value < 0x10000 || value > 0x10ffff)) return 0;
  *code_point = value;
  return bytes;
}

char* Encode(uint32_t code_point, char* to) {
  const auto put = [&](uint32_t bits) { *to++ = static_cast<char>(bits); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | code_point >> 6);
    put(0x80 | (code_point & 0x3f));
  } else {
    if (code_point < 0x10000) {
      put(0xe0 | code_point >> 12);
    } else {
      put(0xf0 | code_point >> 18);
      put(0x80 | (code_point >> 12 & 0x3f));
    }
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  }
  return to;
}

bool IsSpace(uint32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

// Text is a sequence of stretches between separators. A stretch is a word, or, where letters are
// given, letters, marks and apostrophes that may make several.
class Alphabet {
 public:
  enum Kind : uint8_t { kStretch, kSeparator, kNewline, kLookCloser };

  explicit Alphabet(const TextRules& rules)
      : letters_(rules.letters), num_letters_(rules.num_letters) {
    for (uint32_t c = 0; c < 256; ++c) {
      kinds_[c] = c == 0 || c >= 0x80 ? kLookCloser
                  : c == '\n'         ? kNewline
                  : IsSeparator(c)    ? kSeparator
                                      : kStretch;
    }
  }

  Kind kind(uint8_t byte) const { return kinds_[byte]; }
  bool has_letters() const { return letters_ != nullptr; }
  uint32_t Lower(uint32_t c) const { return Entry(c) & ~TextRules::kMark; }
  bool IsLetter(uint32_t c) const { return Entry(c) != 0 && !IsMark(c); }
  bool IsMark(uint32_t c) const { return (Entry(c) & TextRules::kMark) != 0; }
  bool IsSeparator(uint32_t c) const {
    return has_letters() ? Entry(c) == 0 && !IsApostrophe(c) : IsSpace(c);
  }
  static bool IsApostrophe(uint32_t c) { return c == '\'' || c == kTypographicApostrophe; }

  // The bytes of the separator at `at`, 0 if there is none.
  int64_t SeparatorBytes(const char* at, const char* end) const {
    uint32_t c = Byte(at);
    const int bytes = c < 0x80 ? 1 : Decode(at, end, &c);
    return bytes > 0 && IsSeparator(c) ? bytes : 0;
  }

 private:
  uint32_t Entry(uint32_t c) const { return c < num_letters_ ? letters_[c] : 0; }

  const uint32_t* letters_;
  int64_t num_letters_;
  std::array<Kind, 256> kinds_;
};

// A word of a block. Most words are distinguished from all others without reading the text.
struct BlockWord {
  std::string_view text() const { return {data, size}; }

  uint64_t beginning;
  const char* data;
  uint32_t size;
  uint32_t hash;
  int32_t type;  // -1: not known
  int32_t count;
};

// A part of a text, between separators, and what was found in it.
class Block {
 public:
  // Forgets all that was found and takes other text, which stays where it is until this is called
  // again; `offset` is its place in the whole.
  void Restart(std::string_view text, int64_t offset) {
    text_ = text;
    offset_ = offset;
    words_.clear();
    tokens_.clear();
    slots_.assign(std::max(slots_.size(), kFirstSlots), 0);
    first_end_ = last_end_ = -1;
    ids_.clear();
  }

  // Cuts the text into words.
  Status Scan(const Alphabet& alphabet);
  void Add(std::string_view word);
  void EndLine() {
    if (!tokens_.empty() && tokens_.back() == kEnd) return;
    last_end_ = static_cast<int64_t>(tokens_.size());
    if (first_end_ < 0) first_end_ = last_end_;
    tokens_.push_back(kEnd);
  }

  std::vector<BlockWord>& words() { return words_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  std::vector<int32_t>& ids() { return ids_; }
  const std::vector<int32_t>& ids() const { return ids_; }

  // Words of the sentence that the block leaves open, after so many at its beginning.
  int64_t OpenWords(int64_t before, int64_t max_sentence) const {
    const int64_t size = static_cast<int64_t>(tokens_.size());
    return (last_end_ < 0 ? before + size : size - 1 - last_end_) % max_sentence;
  }
  int64_t NumWords() const {
    int64_t sum = 0;
    for (const BlockWord& word : words_) sum += word.count;
    return sum;
  }

  void LookUp(const WordTable& table) {
    constexpr std::size_t kAhead = 8;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (i + kAhead < words_.size()) table.Prefetch(words_[i + kAhead].hash);
      words_[i].type = table.Find(words_[i].text(), words_[i].hash);
    }
  }

  // Writes ids() from the types of the words; a word of type -1 is left out.
  void WriteIds(int64_t open_words, int64_t max_sentence);

 private:
  void AddStretch(const Alphabet& alphabet, std::string_view stretch);
  void Grow();

  std::string_view text_;
  int64_t offset_ = 0;
  std::vector<BlockWord> words_;
  std::vector<int32_t> tokens_;  // places in words_, kEnd
  std::vector<uint64_t> slots_;  // hash << 32 | place + 1; 0 is empty
  std::vector<char> lower_;      // words in lower case
  char* lower_end_ = nullptr;
  int64_t first_end_ = -1, last_end_ = -1;
  std::vector<int32_t> ids_;
};

Status Block::Scan(const Alphabet& alphabet) {
  if (alphabet.has_letters()) {
    // The lower case of a character of two bytes may have three.
    lower_.resize(text_.size() * 3 / 2 + 1);
    lower_end_ = lower_.data();
  }
  const char* const begin = text_.data();
  const char* const end = begin + text_.size();
  const char* stretch = begin;
  const auto offset = [&](const char* at) { return offset_ + (at - begin); };
  for (const char* at = begin;;) {
    while (at < end && alphabet.kind(Byte(at)) == Alphabet::kStretch) ++at;
    int64_t bytes = 1;
    bool newline = false;
    if (at < end && alphabet.kind(Byte(at)) == Alphabet::kLookCloser) {
      if (*at == 0)
        return InvalidArgument("is not text: it holds a zero byte at offset ", offset(at));
      uint32_t c = 0;
      bytes = Decode(at, end, &c);
      if (bytes == 0) {
        constexpr char kHexadecimal[] = "0123456789abcdef";
        return InvalidArgument("is not UTF-8 text: byte 0x", kHexadecimal[Byte(at) >> 4],
                               kHexadecimal[Byte(at) & 15], " at offset ", offset(at),
                               " is part of no character");
      }
      if (!alphabet.IsSeparator(c)) {
        at += bytes;
        continue;
      }
    } else if (at < end) {
      newline = *at == '\n';
    }
    if (at - stretch > TextRules::kMaxWordBytes) {
      return InvalidArgument("is not text: its word at offset ", offset(stretch), " has more than ",
                             TextRules::kMaxWordBytes, " bytes");
    }
    if (at > stretch) {
      const std::string_view word(stretch, static_cast<std::size_t>(at - stretch));
      if (alphabet.has_letters()) {
        AddStretch(alphabet, word);
      } else {
        Add(word);
      }
    }
    if (at == end) return Status();
    if (newline) EndLine();
    at += bytes;
    stretch = at;
  }
}

void Block::AddStretch(const Alphabet& alphabet, std::string_view stretch) {
  struct Character {
    uint32_t code_point;
    int bytes;
  };
  const char* const end = stretch.data() + stretch.size();
  const auto character = [&](const char* at) {
    Character c = {Byte(at), 1};
    if (c.code_point >= 0x80) c.bytes = Decode(at, end, &c.code_point);
    return c;
  };
  const auto begins_with_letter = [&](const char* at) {
    return at < end && alphabet.IsLetter(character(at).code_point);
  };
  // Whether the word has a letter from here on.
  const auto letter_follows = [&](const char* at) {
    while (at < end && alphabet.IsMark(character(at).code_point)) at += character(at).bytes;
    if (at < end && Alphabet::IsApostrophe(character(at).code_point)) at += character(at).bytes;
    return begins_with_letter(at);
  };
  char* word = lower_end_;
  const auto end_word = [&] {
    if (word == lower_end_) return;
    const std::size_t known = words_.size();
    const char* const begin = lower_end_;
    Add({begin, static_cast<std::size_t>(word - begin)});
    if (words_.size() > known) lower_end_ = word;  // its bytes are needed from here on
    word = lower_end_;
  };
  for (const char* at = stretch.data(); at < end;) {
    if (Byte(at) < 0x80 && *at != '\'') {
      *word++ = static_cast<char>(alphabet.Lower(Byte(at++)));
      continue;
    }
    const auto [c, bytes] = character(at);
    at += bytes;
    const bool is_first = word == lower_end_;
    if (Alphabet::IsApostrophe(c)) {
      if (!is_first && begins_with_letter(at)) {
        word = Encode(c, word);
      } else {
        end_word();
      }
      continue;
    }
    if (is_first && alphabet.IsMark(c)) continue;
    // At the end of a word the lower case of a sigma is another letter.
    const bool final_sigma = c == kCapitalSigma && !is_first && !letter_follows(at);
    word = Encode(final_sigma ? kFinalSigma : alphabet.Lower(c), word);
    if (c == kCapitalDottedI) word = Encode(kDotAbove, word);
  }
  end_word();
}

void Block::Add(std::string_view word) {
  const uint64_t beginning = WordBeginning(word);
  const uint32_t hash = HashWord(word, beginning);
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  for (; slots_[slot] != 0; slot = (slot + 1) & mask) {
    if (slots_[slot] >> 32 != hash) continue;
    const std::size_t place = (slots_[slot] & 0xffffffff) - 1;
    BlockWord& known = words_[place];
    if (known.size != word.size() || known.beginning != beginning) continue;
    if (word.size() > 8 && known.text().substr(8) != word.substr(8)) continue;
    ++known.count;
    tokens_.push_back(static_cast<int32_t>(place));
    return;
  }
  tokens_.push_back(static_cast<int32_t>(words_.size()));
  words_.push_back({beginning, word.data(), static_cast<uint32_t>(word.size()), hash, -1, 1});
  slots_[slot] = uint64_t{hash} << 32 | words_.size();
  if (2 * words_.size() > slots_.size()) Grow();
}

void Block::Grow() {
  slots_.assign(2 * slots_.size(), 0);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    std::size_t slot = words_[i].hash & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = uint64_t{words_[i].hash} << 32 | (i + 1);
  }
}

void Block::WriteIds(int64_t open_words, int64_t max_sentence) {
  ids_.reserve(tokens_.size() + tokens_.size() / static_cast<std::size_t>(max_sentence) + 2);
  const auto end_sentence = [&] {
    if (ids_.empty() || ids_.back() != kEnd) ids_.push_back(kEnd);
    open_words = 0;
  };
  for (const int32_t token : tokens_) {
    if (token == kEnd) {
      end_sentence();
      continue;
    }
    const int32_t type = words_[static_cast<std::size_t>(token)].type;
    if (type >= 0) ids_.push_back(type);
    if (++open_words == max_sentence) end_sentence();
  }
}

}  // namespace

class TextScanner::Implementation {
 public:
  explicit Implementation(const TextRules& rules) : rules_(rules), alphabet_(rules) {}

  Status SetVocabulary(const std::string_view* words, int64_t num_words) {
    fixed_ = true;
    for (int64_t i = 0; i < num_words; ++i) {
      if (table_.FindOrAdd(words[i], HashWord(words[i])) == i) continue;
      return InvalidArgument("words[", i, "] is there twice");
    }
    return Status();
  }

  Status Scan(std::string_view piece, const Parallel& parallel) {
    const char* const begin = piece.data();
    const char* const end = begin + piece.size();
    // What is complete ends with the last separator.
    const char* last = end;
    while (last > begin && !EndsWithSeparator(begin, last, end)) --last;
    if (last == begin) return Wait(piece);
    // The first stretch may have begun in the piece before.
    const char* first = begin;
    while (!SkipSeparator(&first, end)) ++first;
    joined_ = rest_;
    joined_.append(begin, first);
    num_blocks_ = 0;
    AddBlock(joined_, offset_ - static_cast<int64_t>(rest_.size()));
    while (first < last) {
      const char* cut = first + std::min<int64_t>(kBlockBytes, last - first);
      while (cut < last && !SkipSeparator(&cut, last)) ++cut;
      AddBlock({first, static_cast<std::size_t>(cut - first)}, offset_ + (first - begin));
      first = cut;
    }
    rest_.assign(last, end);
    offset_ += static_cast<int64_t>(piece.size());
    std::vector<Status> statuses(num_blocks_);
    parallel.For(static_cast<int64_t>(num_blocks_), kBlockBytes * kCostPerByte,
                 [&](int64_t i, int) {
                   Block& block = blocks_[static_cast<std::size_t>(i)];
                   statuses[static_cast<std::size_t>(i)] = block.Scan(alphabet_);
                   block.LookUp(table_);
                 });
    for (const Status& status : statuses) FASTW2V_RETURN_IF_ERROR(status);
    return TakeBlocks(parallel);
  }

  Status EndText() {
    num_blocks_ = 0;
    joined_.swap(rest_);
    rest_.clear();
    Block& block = AddBlock(joined_, offset_ - static_cast<int64_t>(joined_.size()));
    offset_ = 0;
    FASTW2V_RETURN_IF_ERROR(block.Scan(alphabet_));
    block.EndLine();
    block.LookUp(table_);
    return TakeBlocks(Serial());
  }

  Status ScanSentences(const char* bytes, const int64_t* lengths, const int64_t* sentence_words,
                       int64_t num_sentences) {
    num_blocks_ = 0;
    Block& block = AddBlock({}, 0);
    for (int64_t sentence = 0; sentence < num_sentences; ++sentence) {
      for (int64_t i = 0; i < sentence_words[sentence]; ++i) {
        const int64_t length = *lengths++;
        if (length > TextRules::kMaxWordBytes) {
          return InvalidArgument("a word has ", length, " bytes, more than ",
                                 TextRules::kMaxWordBytes);
        }
        block.Add({bytes, static_cast<std::size_t>(length)});
        bytes += length;
      }
      block.EndLine();
    }
    block.LookUp(table_);
    return TakeBlocks(Serial());
  }

  int64_t num_ids() const { return num_ids_; }

  void CopyIds(int32_t* ids) const {
    int32_t previous = previous_id_;
    for (std::size_t i = 0; num_ids_ > 0 && i < num_blocks_; ++i) {
      const std::vector<int32_t>& from = blocks_[i].ids();
      if (from.empty()) continue;
      const bool skip = from[0] == kEnd && previous == kEnd;
      ids = std::copy(from.begin() + skip, from.end(), ids);
      previous = from.back();
    }
  }

  const WordTable& table() const { return table_; }
  int64_t num_words() const { return num_words_; }
  bool pruned() const { return num_prunings_ > 0; }

 private:
  // Whether a separator ends right before `at`, which is in or behind a text [begin, end).
  bool EndsWithSeparator(const char* begin, const char* at, const char* end) const {
    const char* start = at - 1;
    while (start > begin && at - start < 4 && Continues(start)) --start;
    return alphabet_.SeparatorBytes(start, end) == at - start;
  }

  // Moves *at behind the separator that begins there, if one does.
  bool SkipSeparator(const char** at, const char* end) const {
    const int64_t bytes = alphabet_.SeparatorBytes(*at, end);
    *at += bytes;
    return bytes > 0;
  }

  Status Wait(std::string_view piece) {
    num_ids_ = 0;
    num_blocks_ = 0;
    rest_.append(piece);
    offset_ += static_cast<int64_t>(piece.size());
    constexpr std::size_t kMostBytesOfCharacter = 4;
    if (rest_.size() <= TextRules::kMaxWordBytes + kMostBytesOfCharacter) return Status();
    // Too long, if it is text at all. The last character may not be complete.
    std::size_t whole = rest_.size() - 1;
    while (Continues(&rest_[whole])) --whole;
    Block& block = AddBlock({rest_.data(), whole}, offset_ - static_cast<int64_t>(rest_.size()));
    return block.Scan(alphabet_);
  }

  Block& AddBlock(std::string_view text, int64_t offset) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (offset == 0 && text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
      text.remove_prefix(kByteOrderMark.size());
      offset += static_cast<int64_t>(kByteOrderMark.size());
    }
    if (num_blocks_ == blocks_.size()) blocks_.emplace_back();
    Block& block = blocks_[num_blocks_++];
    block.Restart(text, offset);
    return block;
  }

  // Counts the words of all blocks and writes their ids.
  Status TakeBlocks(const Parallel& parallel) {
    std::vector<int64_t> open_words(num_blocks_);
    const int64_t prunings = num_prunings_;
    for (std::size_t i = 0; i < num_blocks_; ++i) {
      Block& block = blocks_[i];
      open_words[i] = open_words_;
      num_words_ += block.NumWords();
      if (!fixed_) {
        if (num_prunings_ > prunings) block.LookUp(table_);
        FASTW2V_RETURN_IF_ERROR(Count(&block));
      }
      open_words_ = block.OpenWords(open_words[i], rules_.max_sentence);
    }
    previous_id_ = last_id_;
    num_ids_ = 0;
    if (pruned()) return Status();
    parallel.For(static_cast<int64_t>(num_blocks_), kBlockBytes, [&](int64_t i, int) {
      const std::size_t block = static_cast<std::size_t>(i);
      blocks_[block].WriteIds(open_words[block], rules_.max_sentence);
    });
    for (std::size_t i = 0; i < num_blocks_; ++i) {
      const std::vector<int32_t>& ids = blocks_[i].ids();
      if (ids.empty()) continue;
      num_ids_ += static_cast<int64_t>(ids.size()) - (ids[0] == kEnd && last_id_ == kEnd);
      last_id_ = ids.back();
    }
    return Status();
  }

  Status Count(Block* block) {
    int64_t unknown = 0;
    for (const BlockWord& word : block->words()) unknown += word.type < 0;
    const int64_t most = table_.size() + unknown;
    if (most > WordTable::kMaxSize) {
      return ResourceExhausted("there are more than ", WordTable::kMaxSize, " different words");
    }
    if (rules_.max_types > 0 && most > rules_.max_types) {
      CountInOrder(block);
      return Status();
    }
    for (BlockWord& word : block->words()) {
      if (word.type < 0) word.type = table_.FindOrAdd(word.text(), word.hash);
      table_.count(word.type) += word.count;
    }
    return Status();
  }

  // Where words may have to be forgotten, after which sentence decides which they are.
  void CountInOrder(Block* block) {
    int64_t open_words = open_words_;
    const auto end_sentence = [&] {
      open_words = 0;
      if (table_.size() <= rules_.max_types) return;
      const int64_t before = table_.size();
      table_.Prune(min_reduce_++);
      if (table_.size() == before) return;
      ++num_prunings_;
      for (BlockWord& word : block->words()) word.type = -1;
    };
    for (const int32_t token : block->tokens()) {
      if (token == kEnd) {
        if (open_words > 0) end_sentence();
        continue;
      }
      BlockWord& word = block->words()[static_cast<std::size_t>(token)];
      if (word.type < 0) word.type = table_.FindOrAdd(word.text(), word.hash);
      ++table_.count(word.type);
      if (++open_words == rules_.max_sentence) end_sentence();
    }
  }

  const TextRules rules_;
  const Alphabet alphabet_;
  WordTable table_;
  bool fixed_ = false;
  int64_t min_reduce_ = 1;
  int64_t num_prunings_ = 0;  // that forgot a word
  int64_t num_words_ = 0;
  int64_t offset_ = 0;      // of the next piece in the text
  int64_t open_words_ = 0;  // of the sentence that is not over
  std::string rest_, joined_;
  std::vector<Block> blocks_;
  std::size_t num_blocks_ = 0;
  int32_t last_id_ = kEnd, previous_id_ = kEnd;
  int64_t num_ids_ = 0;
};

TextScanner::TextScanner(const TextRules& rules)
    : implementation_(std::make_unique<Implementation>(rules)) {}
TextScanner::~TextScanner() = default;

Status TextScanner::SetVocabulary(const std::string_view* words, int64_t num_words) {
  return implementation_->SetVocabulary(words, num_words);
}
Status TextScanner::Scan(std::string_view piece, const Parallel& parallel) {
  return implementation_->Scan(piece, parallel);
}
Status TextScanner::EndText() { return implementation_->EndText(); }
Status TextScanner::ScanSentences(const char* bytes, const int64_t* lengths,
                                  const int64_t* sentence_words, int64_t num_sentences) {
  return implementation_->ScanSentences(bytes, lengths, sentence_words, num_sentences);
}
int64_t TextScanner::num_ids() const { return implementation_->num_ids(); }
void TextScanner::CopyIds(int32_t* ids) const { implementation_->CopyIds(ids); }
int64_t TextScanner::num_words() const { return implementation_->num_words(); }
int64_t TextScanner::num_types() const { return implementation_->table().size(); }
bool TextScanner::pruned() const { return implementation_->pruned(); }
std::string_view TextScanner::word(int64_t type) const {
  return implementation_->table().word(type);
}
int64_t TextScanner::count(int64_t type) const { return implementation_->table().count(type); }
std::size_t TextScanner::memory_bytes() const { return implementation_->table().bytes(); }

WordOrder TextScanner::FinalOrder(int64_t min_count, int64_t max_final) const {
  // Most ties end within the first eight bytes, which lie here and not all over the table.
  struct Key {
    int64_t count;
    uint64_t beginning;
    int32_t type;
  };
  const WordTable& table = implementation_->table();
  std::vector<Key> keys;
  for (int64_t type = 0; type < table.size(); ++type) {
    if (table.count(type) < min_count) continue;
    const std::string_view word = table.word(type);
    uint64_t beginning = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      beginning = beginning << 8 | (i < word.size() ? static_cast<uint8_t>(word[i]) : 0u);
    }
    keys.push_back({table.count(type), beginning, static_cast<int32_t>(type)});
  }
  std::sort(keys.begin(), keys.end(), [&](const Key& one, const Key& other) {
    if (one.count != other.count) return one.count > other.count;
    if (one.beginning != other.beginning) return one.beginning < other.beginning;
    return table.word(one.type) < table.word(other.type);
  });
  if (max_final > 0 && max_final < static_cast<int64_t>(keys.size())) {
    const int64_t too_few = keys[static_cast<std::size_t>(max_final)].count;
    keys.erase(std::find_if(keys.begin(), keys.end(),
                            [&](const Key& key) { return key.count == too_few; }),
               keys.end());
  }
  WordOrder order;
  order.final_ids.assign(static_cast<std::size_t>(table.size()), -1);
  order.types.reserve(keys.size());
  for (const Key& key : keys) {
    order.final_ids[static_cast<std::size_t>(key.type)] = static_cast<int32_t>(order.types.size());
    order.types.push_back(key.type);
  }
  return order;
}

int64_t Renumber(const std::vector<int32_t>& final_ids, int32_t* previous, int32_t* ids,
                 int64_t size) {
  int32_t last = *previous;
  int64_t left = 0;
  for (int64_t i = 0; i < size; ++i) {
    int32_t id = kEnd;
    if (ids[i] < kEnd) {
      id = ids[i];
    } else if (ids[i] != kEnd) {
      id = final_ids[static_cast<std::size_t>(ids[i])];
      if (id < 0) continue;
    } else if (last == kEnd) {
      continue;
    }
    ids[left++] = last = id;
  }
  *previous = last;
  return left;
}

}  // namespace fastw2v
