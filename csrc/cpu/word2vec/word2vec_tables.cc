// What csrc/core/word2vec.h makes of the counts of words: the noise table, and Huffman's tree.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "csrc/core/counts.h"
#include "csrc/core/sampler.h"
#include "csrc/core/scratch.h"
#include "csrc/core/word2vec.h"

namespace fastw2v {
namespace {

constexpr int64_t kMaxClasses = (int64_t{1} << 31) - 1;

// Huffman's tree from words in ascending order of their counts: the two nodes of the lowest counts
// are the next words or the next inner nodes, which come in ascending order too.
void MergeNodes(const double* counts, const std::vector<int32_t>& order,
                std::vector<int32_t>* parent, std::vector<bool>* turns) {
  const int64_t classes = static_cast<int64_t>(order.size());
  std::vector<double> inner(classes);
  int64_t next_word = 0, next_inner = 0;
  for (int64_t made = 0; made + 1 < classes; ++made) {
    for (const bool turn : {false, true}) {
      const bool word = next_inner == made ||
                        (next_word < classes && counts[order[next_word]] <= inner[next_inner]);
      const int64_t node = word ? order[next_word++] : classes + next_inner++;
      inner[made] += word ? counts[node] : inner[node - classes];
      (*parent)[node] = static_cast<int32_t>(made);
      (*turns)[node] = turn;
    }
  }
}

}  // namespace

std::size_t NoiseTableScratchBytes(int64_t classes) {
  Scratch scratch;
  scratch.Take<double>(2 * classes);
  scratch.Take<int64_t>(classes);
  scratch.Take<char>(static_cast<int64_t>(UnigramTableScratchBytes(classes)));
  return scratch.used();
}

Status BuildNoiseTable(const double* counts, int64_t classes, double power, void* memory,
                       NoiseColumn* columns) {
  if (classes > kMaxClasses) {
    return InvalidArgument("counts has ", classes, " numbers, expected at most ", kMaxClasses);
  }
  Scratch scratch(memory);
  double* probability = scratch.Take<double>(2 * classes);
  double* acceptance = probability + classes;
  int64_t* alias = scratch.Take<int64_t>(classes);
  void* rest = scratch.Take<char>(static_cast<int64_t>(UnigramTableScratchBytes(classes)));
  int64_t support;
  FASTW2V_RETURN_IF_ERROR(
      BuildUnigramTable(counts, classes, power, rest, probability, acceptance, alias, &support));
  for (int64_t k = 0; k < classes; ++k) {
    const double scaled = std::round(acceptance[k] * 0x1p32);
    const bool always = scaled >= 0x1p32;
    columns[k].acceptance = always ? ~uint32_t{0} : static_cast<uint32_t>(scaled);
    columns[k].alias = static_cast<int32_t>(always ? k : alias[k]);
  }
  return Status();
}

Status BuildWordTree(const double* counts, int64_t classes, std::vector<int64_t>* splits,
                     std::vector<int32_t>* steps, int64_t* longest) {
  if (classes < 1 || classes > kMaxClasses / 2) {
    return InvalidArgument("counts has ", classes, " numbers, expected 1 to ", kMaxClasses / 2);
  }
  FASTW2V_RETURN_IF_ERROR(CheckCounts(counts, classes));
  std::vector<int32_t> order(classes), parent(2 * classes);
  std::vector<bool> turns(2 * classes);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t x, int32_t y) { return counts[x] < counts[y]; });
  MergeNodes(counts, order, &parent, &turns);

  const int64_t root = 2 * classes - 2;  // of one word, itself
  splits->assign(1, 0);
  steps->clear();
  *longest = 0;
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t node = k; node != root; node = classes + parent[node]) {
      steps->push_back(2 * parent[node] + turns[node]);
    }
    std::reverse(steps->begin() + splits->back(), steps->end());
    splits->push_back(static_cast<int64_t>(steps->size()));
    *longest = std::max(*longest, splits->back() - (*splits)[k]);
  }
  return Status();
}

}  // namespace fastw2v
