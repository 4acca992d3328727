// Training of word vectors on running text, in place: skip-gram and CBOW, with negative sampling or
// hierarchical softmax.
//
// word2vec trains pair by pair: each context of a center with that center and `negative` words
// drawn for the pair. Here `group` centers are taken at a time, with all their contexts and with
// `shared` words drawn for the group, so that their logits are computed by matrix products:
//
//   skip-gram  h[i] = embeddings[word i] for every word i within reach of a center;
//              each pair of a center c and a context i: softplus(-h[i] w[c]); each i and each
//              shared word n: m[i,n] * negative / shared * softplus(h[i] w[n]), where m[i,n] counts
//              the pairs of i whose center is not n
//   CBOW       h[c] = sum or mean of embeddings[i] over the contexts i of c; softplus(-h[c] w[c]),
//              and for each n that is not c: negative / shared * softplus(h[c] w[n])
//
// With a tree of the words, hierarchical softmax takes the place of negative sampling: the contexts
// of a center (or their bag) train on all nodes on the way to it, softplus(-h w[node]) where the
// way does not turn and softplus(h w[node]) where it does, and weights has a row for each node.
// Groups have fewer centers, as all ways begin at the same nodes.
//
// A group ends early where its contexts lie more than 2 (group + window) words apart, as runs of
// sentences without pairs can make them.
//
// The expected loss is that of word2vec. The tables of a group are updated at once, by gradients
// taken at its beginning, times a learning rate that falls linearly from the first token to the
// last. As in word2vec, CBOW hands the whole gradient of a mean to each of its contexts.
//
// In word2vec a context uses the row of its center as earlier contexts have moved it, and rows that
// are short, as at the beginning, grow faster for that. So in skip-gram weights of centers whose
// curvature, see below, is less than 1/8 move first, and all words of the group move along the rows
// as they are by then. With longer steps that would overshoot; the updates of a deterministic round
// come all at once.
//
// Updates that are made at once add up, and would overshoot where a word is in many pairs of a
// group: in sessions of few items, with wide windows, many negatives or a high rate. So a row's
// curvature is found with its step,
//
//   curvature = rate * sum over its terms of weight * min(1/4, |derivative|) * |other row|^2,
//
// summed over the copies of the word in the group, or in all parts of a deterministic round, times
// the number of threads that are expected to update the row at the same time. 1/4 bounds the second
// derivative of the logistic loss, and |derivative| does where the sign of the logit is right.
// Where the curvature exceeds 2, at which a step ends as far from the minimum along its row as it
// began, the step is multiplied by 2 / curvature; and while that takes more than an eighth of the
// steps away, groups have fewer centers, down to one.
//
// A word may be a bag of rows of the embeddings, such as its own and those of its n-grams
// (csrc/core/subwords.h). In place of embeddings[i] above then stands
//
//   skip-gram  the mean of the rows of word i
//   CBOW       their sum; the mean over the contexts is that over all their rows
//
// and each of the rows gets the whole step of the word, as in fastText. All rows together move the
// word as far as its one row did. A row is in the bags of many words: its curvature is the sum of
// theirs, so that the steps of words which share most of their rows are shortened, too.
//
// Which words stay and how far each looks is what csrc/core/skipgram.h draws for the same seeds.
//
// Documents have vectors, too. The id -2 - d before a sentence says that it is of document d;
// several such ids may stand there, or none. The documents of its sentence take the place of the
// contexts of a center (skip-gram: this is PV-DBOW), or are in its bag beside them (CBOW: PV-DM).
// As a center needs no context then, it may be alone in its sentence.
//
// Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed Representations of Words and Phrases and
// their Compositionality", NIPS 2013, equation 4; shared negatives: Ji, Satish, Li and Dubey,
// "Parallelizing Word2Vec in Shared and Distributed Memory", 2016, section 3; bags of n-grams:
// Bojanowski, Grave, Joulin and Mikolov, "Enriching Word Vectors with Subword Information", 2017;
// documents: Le and Mikolov, "Distributed Representations of Sentences and Documents", ICML 2014.
#ifndef FASTW2V_CORE_WORD2VEC_H_
#define FASTW2V_CORE_WORD2VEC_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "csrc/core/parallel.h"
#include "csrc/core/random.h"
#include "csrc/core/status.h"

namespace fastw2v {

// Walker's alias table in eight bytes a column, so that a draw reads one line of the cache: column
// k gives word k where 32 random bits are below `acceptance`, and `alias` otherwise. Each word is
// drawn with its probability within 2^-31.
struct NoiseColumn {
  uint32_t acceptance;
  int32_t alias;
};

// Bytes of scratch, aligned to Scratch::kAlignment, for BuildNoiseTable.
std::size_t NoiseTableScratchBytes(int64_t classes);

// The table of p(k) ~ counts[k]^power; what counts and power may be says BuildUnigramTable.
//
// columns  [classes], classes < 2^31
Status BuildNoiseTable(const double* counts, int64_t classes, double power, void* scratch,
                       NoiseColumn* columns);

// Hierarchical softmax: the nodes on the way from the root of a binary tree to each word, and where
// the way turns. Step i of word k is steps[splits[k] + i] = 2 * node + turn.
struct WordTree {
  const int64_t* splits = nullptr;  // [classes + 1], never decreasing
  const int32_t* steps = nullptr;   // [num_steps], nodes in [0, classes - 1)
  int64_t num_steps = 0;
  int64_t longest = 0;  // of the ways
};

// Huffman's tree of the counts: the words that occur most have the shortest ways, and the sum of
// counts[k] times the length of the way to k is the least that a tree can have.
//
// counts  [classes]  finite, not negative, 1 <= classes <= 2^30; otherwise kInvalidArgument
Status BuildWordTree(const double* counts, int64_t classes, std::vector<int64_t>* splits,
                     std::vector<int32_t>* steps, int64_t* longest);

// The rows of the embeddings that each word is the sum of: rows[splits[k]] to rows[splits[k + 1]],
// at least one; one may occur several times.
struct WordBags {
  const int64_t* splits = nullptr;  // [classes + 1]
  const int32_t* rows = nullptr;    // [num_rows], in [0, table_rows)
  int64_t num_rows = 0;
  int64_t table_rows = 0;  // of the embeddings
};

struct Word2VecProblem {
  float* embeddings = nullptr;  // [EmbeddingRows(), dim]
  float* weights = nullptr;     // [classes, dim]
  int64_t classes = 0;          // < 2^31
  int64_t dim = 0;
  float* documents = nullptr;  // [num_documents, dim], or null: ids below -1 only end a sentence
  int64_t num_documents = 0;   // classes + num_documents < 2^31
  int64_t most_documents = 0;  // before a sentence, see MostDocuments
  bool frozen = false;         // of all tables that of the documents alone changes

  const int32_t* ids = nullptr;  // [size], below classes; a negative one ends a sentence
  int64_t size = 0;
  const float* keep_probability = nullptr;  // [classes], or null: every word stays
  int64_t window = 5;
  bool shrink_windows = true;  // reaches are drawn from 1, ..., window
  int64_t seed[2] = {0, 0};

  const NoiseColumn* noise = nullptr;  // [classes], where there is no tree
  WordTree tree;
  WordBags bags;  // without splits: word k has row k alone
  bool cbow = false;
  bool mean = true;  // CBOW: mean, else sum
  int64_t negative = 5;
  int64_t group = 16;  // at most
  int64_t shared = 16;
  double start_alpha = 0.025, end_alpha = 0.025;
  // At most so many threads, where training is not deterministic; 0: all that there are. One gives
  // the same bits each time.
  int64_t workers = 0;
  // The same bits for any number of workers: parts of the text, 16 or one for every 64 classes, are
  // trained on side by side, group by group, and what their groups add is added in a fixed order
  // once all of a round are done. Otherwise tasks run at the same time and update the same tables
  // without locks ("hogwild").
  bool deterministic = false;

  int64_t EmbeddingRows() const { return bags.splits == nullptr ? classes : bags.table_rows; }
  bool PairsDocuments() const { return documents != nullptr && !cbow; }

  // The ways of four centers share about a third of their nodes. With more centers, most of their
  // contexts are not paired with most nodes, whose logits are computed all the same.
  int64_t CentersOfGroup() const {
    if (tree.splits == nullptr) return group;
    return std::min(group, std::clamp<int64_t>(256 / std::max<int64_t>(1, tree.longest), 1, 4));
  }
};

struct Word2VecResult {
  double loss = 0;       // the sum over pairs or bags, in nats
  int64_t examples = 0;  // pairs or bags
  int64_t words = 0;     // that subsampling has left
};

// How many ids below -1 stand in a row, at most.
int64_t MostDocuments(const int32_t* ids, int64_t size);

// kInvalidArgument for an option outside its range, an id that is not below `classes` or names no
// document, bags that are none, or bags beside documents.
Status CheckWord2Vec(const Word2VecProblem& problem);

// Of a valid problem.
std::size_t Word2VecScratchBytes(const Word2VecProblem& problem, const Parallel& parallel);

// Trains on the whole text once.
Status TrainWord2Vec(const Word2VecProblem& problem, const Parallel& parallel, void* scratch,
                     Word2VecResult* result);

// Of the problem that InferDocuments takes.
std::size_t InferScratchBytes(const Word2VecProblem& problem, const Parallel& parallel);

// Trains each of the documents on a text of its own, `epochs` times, while all else stays as it is:
// the texts stand one after another in `ids`, each ended by -1. The vector of a document depends on
// its own text and first vector alone, and has the same bits each time; the rate falls from the
// first epoch to the last. kInvalidArgument where there are not as many texts as documents.
Status InferDocuments(const Word2VecProblem& problem, int64_t epochs, const Parallel& parallel,
                      void* scratch);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_WORD2VEC_H_
