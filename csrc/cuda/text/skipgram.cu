// A token has a slot for itself and, where rows are given, one before it for the -1 that begins a
// row. Slots that stay are counted, running sums say where they go, and the words that are left
// find their contexts.
#include "csrc/core/scratch.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/rows/sort.h"
#include "csrc/cuda/text/skipgram.h"

namespace fastw2v::cuda {

namespace {

constexpr int kThreads = 256;

int64_t NumSlots(const SkipGramProblem& p) { return p.row_splits != nullptr ? 2 * p.size : p.size; }

struct Memory {
  int64_t* place = nullptr;    // [slots + 1]: of the word that is made of a slot; then their number
  int64_t* words = nullptr;    // [slots]
  int32_t* reach = nullptr;    // [slots], or null
  int64_t* example = nullptr;  // [slots + 1]: the first of a word's; then their number
  SortMemory sums;

  Memory(const SkipGramProblem& p, Scratch* scratch) {
    const int64_t slots = NumSlots(p);
    place = scratch->Take<int64_t>(slots + 1);
    words = scratch->Take<int64_t>(slots);
    if (p.shrink_windows) reach = scratch->Take<int32_t>(slots);
    example = scratch->Take<int64_t>(slots + 1);
    sums = SortMemory(SumScratchBytes(slots + 1), scratch);
  }
};

// What a slot becomes.
struct SlotWord {
  bool stays;
  int64_t id;  // negative: between sentences
};

__device__ __forceinline__ bool BeginsRow(const SkipGramProblem& p, int64_t token) {
  int64_t begin = 0, end = p.num_splits;
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (p.row_splits[middle] < token) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin < p.num_splits && p.row_splits[begin] == token;
}

__device__ __forceinline__ SlotWord FindWord(const SkipGramProblem& p, const TokenDraws& draws,
                                             int64_t slot) {
  const bool has_rows = p.row_splits != nullptr;
  const int64_t token = has_rows ? slot / 2 : slot;
  if (has_rows && slot % 2 == 0) return {BeginsRow(p, token), -1};
  const int64_t id = p.ids[token];
  if (id < 0 || p.keep_probability == nullptr) return {true, id};
  if (id >= p.num_classes) return {true, -1};
  const PhiloxBlock bits = draws.KeepBits(token / TokenDraws::kTokensPerBlock);
  const uint32_t word = bits.word[token % TokenDraws::kTokensPerBlock];
  return {TokenDraws::Keep(word, p.keep_probability[id]), id};
}

__global__ void __launch_bounds__(kThreads, 2)
    CountWordsKernel(SkipGramProblem p, int64_t slots, int64_t* counts) {
  const int64_t slot = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (slot > slots) return;
  const TokenDraws draws(p.seed[0], p.seed[1]);
  counts[slot] = slot < slots && FindWord(p, draws, slot).stays ? 1 : 0;
}

__global__ void __launch_bounds__(kThreads, 2)
    PlaceWordsKernel(SkipGramProblem p, int64_t slots, const int64_t* place, int64_t* words,
                     int32_t* reach) {
  const int64_t slot = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (slot >= slots) return;
  const TokenDraws draws(p.seed[0], p.seed[1]);
  const SlotWord word = FindWord(p, draws, slot);
  if (!word.stays) return;
  words[place[slot]] = word.id;
  if (reach == nullptr) return;
  const int64_t token = p.row_splits != nullptr ? slot / 2 : slot;
  const PhiloxBlock bits = draws.ReachBits(token / TokenDraws::kTokensPerBlock);
  reach[place[slot]] = TokenDraws::Reach(bits.word[token % TokenDraws::kTokensPerBlock],
                                         static_cast<int32_t>(p.window));
}

// The words that are left, as the kernels below see them.
struct Words {
  const int64_t* words;
  const int32_t* reach;
  const int64_t* num_words;
  int64_t window;
};

// Contexts of word k are those of [first, last) but k; none where it is no word.
struct Contexts {
  int64_t first, last;
  __device__ int64_t count() const { return last > first ? last - first - 1 : 0; }
};
__device__ __forceinline__ Contexts FindContexts(const Words& w, int64_t k) {
  const int64_t num_words = *w.num_words;
  if (k >= num_words || w.words[k] < 0) return {k, k};
  const int64_t reach = w.reach != nullptr ? w.reach[k] : w.window;
  Contexts contexts = {k, k + 1};
  while (contexts.first > 0 && k - contexts.first < reach && w.words[contexts.first - 1] >= 0) {
    --contexts.first;
  }
  while (contexts.last < num_words && contexts.last - k <= reach && w.words[contexts.last] >= 0) {
    ++contexts.last;
  }
  return contexts;
}

__global__ void __launch_bounds__(kThreads, 2)
    CountExamplesKernel(Words words, int64_t slots, bool pairs, int64_t* counts) {
  const int64_t k = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (k > slots) return;
  const int64_t count = k < slots ? FindContexts(words, k).count() : 0;
  counts[k] = pairs ? count : count > 0 ? 1 : 0;
}

// Thread i makes the examples of word i and fills entry i of what is left over.
__global__ void __launch_bounds__(kThreads, 2)
    FillPairsKernel(Words words, int64_t slots, const int64_t* example, int64_t capacity,
                    int64_t* centers, int64_t* contexts, int64_t* count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t total = example[slots];
  if (i == 0) *count = total;
  if (i >= total && i < capacity) centers[i] = contexts[i] = -1;
  if (i >= slots) return;
  const Contexts of = FindContexts(words, i);
  int64_t at = example[i];
  for (int64_t j = of.first; j < of.last && at < capacity; ++j) {
    if (j == i) continue;
    centers[at] = words.words[i];
    contexts[at++] = words.words[j];
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    FillBagsKernel(Words words, int64_t slots, const int64_t* example, int64_t capacity,
                   int64_t* bags, int64_t* labels, int64_t* count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t total = example[slots], width = 2 * words.window;
  if (i == 0) *count = total;
  if (i >= total && i < capacity) {
    labels[i] = -1;
    for (int64_t j = 0; j < width; ++j) bags[i * width + j] = -1;
  }
  if (i >= slots) return;
  const Contexts of = FindContexts(words, i);
  const int64_t at = example[i];
  if (of.count() == 0 || at >= capacity) return;
  labels[at] = words.words[i];
  int64_t* bag = bags + at * width;
  for (int64_t j = of.first; j < of.last; ++j) {
    if (j != i) *bag++ = words.words[j];
  }
  while (bag < bags + (at + 1) * width) *bag++ = -1;
}

using FillKernel = void (*)(Words, int64_t, const int64_t*, int64_t, int64_t*, int64_t*, int64_t*);

Status Fill(const SkipGramProblem& p, bool pairs, FillKernel kernel, int64_t capacity,
            const Stream& stream, void* scratch_memory, int64_t* first, int64_t* second,
            int64_t* count) {
  FASTW2V_RETURN_IF_ERROR(CheckSkipGrams(p));
  Scratch scratch(scratch_memory);
  const Memory memory(p, &scratch);
  const int64_t slots = NumSlots(p);
  const unsigned blocks = NumBlocks(slots + 1, kThreads);
  FASTW2V_RETURN_IF_ERROR(
      Launch(CountWordsKernel, blocks, kThreads, 0, stream, p, slots, memory.place));
  FASTW2V_RETURN_IF_ERROR(SumBefore(memory.place, slots + 1, stream, memory.sums, memory.place));
  FASTW2V_RETURN_IF_ERROR(Launch(PlaceWordsKernel, blocks, kThreads, 0, stream, p, slots,
                                 memory.place, memory.words, memory.reach));
  const Words words = {memory.words, memory.reach, memory.place + slots, p.window};
  FASTW2V_RETURN_IF_ERROR(Launch(CountExamplesKernel, blocks, kThreads, 0, stream, words, slots,
                                 pairs, memory.example));
  FASTW2V_RETURN_IF_ERROR(
      SumBefore(memory.example, slots + 1, stream, memory.sums, memory.example));
  const unsigned fill_blocks = NumBlocks(slots + 1 > capacity ? slots + 1 : capacity, kThreads);
  return Launch(kernel, fill_blocks, kThreads, 0, stream, words, slots, memory.example, capacity,
                first, second, count);
}

}  // namespace

Status CheckSkipGrams(const SkipGramProblem& p) {
  FASTW2V_RETURN_IF_ERROR(CheckSkipGramNumbers(p));
  if (p.shuffle) return InvalidArgument("shuffle = True is not offered on a GPU");
  return Status();
}

std::size_t SkipGramScratchBytes(const SkipGramProblem& problem) {
  Scratch scratch;
  Memory(problem, &scratch);
  return scratch.used();
}

Status FillPairs(const SkipGramProblem& problem, int64_t capacity, const Stream& stream,
                 void* scratch, int64_t* centers, int64_t* contexts, int64_t* count) {
  return Fill(problem, true, FillPairsKernel, capacity, stream, scratch, centers, contexts, count);
}

Status FillBags(const SkipGramProblem& problem, int64_t capacity, const Stream& stream,
                void* scratch, int64_t* bags, int64_t* labels, int64_t* count) {
  return Fill(problem, false, FillBagsKernel, capacity, stream, scratch, bags, labels, count);
}

}  // namespace fastw2v::cuda
