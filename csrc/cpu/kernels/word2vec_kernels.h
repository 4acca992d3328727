// The innermost loops of csrc/core/word2vec.h: a group of centers with the classes that it trains
// on.
#ifndef FASTW2V_CPU_KERNELS_WORD2VEC_KERNELS_H_
#define FASTW2V_CPU_KERNELS_WORD2VEC_KERNELS_H_

#include <cstdint>

namespace fastw2v::cpu {

// Rows of tables that the next group needs, asked for one by one between the tiles of this one.
struct RowsAhead {
  const float* const* rows;  // that are still to be asked for
  int64_t count;
  int64_t bytes;  // of a row
};

// Which rows of a group a center is paired with: [first, last), but not `self`.
struct CenterRows {
  const int32_t *first, *last, *self;  // [center columns]; empty past the last center
};

// A noise class that is the center, which does not count for that center's pairs.
struct NoiseHit {
  int32_t noise, center;
};

// Rows h train on noise classes, weighted by the number of centers that they are paired with, and
// those centers themselves. Of bags, row i is paired with center i alone, and `pairs` is not read.
// Columns of logits are the noise and then the centers, each filled up to a multiple of `lanes`.
struct Word2VecGroup {
  int64_t dim, rows, noise, centers;
  CenterRows pairs;
  const NoiseHit* hits;
  int64_t num_hits;
  float rate;
  const float* noise_weight;  // [noise columns], of a pair; 0 past the last
  // Of a tree, where only the noise are classes, its nodes: [centers, noise columns], how often
  // each is on the way to a center, and in how many of these the way does not turn. Else null.
  const float *way_nodes, *way_targets;

  const float* const* hidden;   // [rows], each filled up with zeros to a multiple of `lanes`
  const float* const* classes;  // [columns], dim wide; past the last any row will do
  // What the step adds to each row and class is added here, times a factor; null: 1.
  float* const* to_hidden;   // [rows]
  float* const* to_classes;  // [columns], or null: classes stay as they are
  const float *hidden_factors, *class_factors;
  // Not of bags: the factors of the centers that move before the rows do, which then move along the
  // centers as they are by then, and of those that move afterwards; null: none.
  const float *first_factors, *last_factors;  // [center columns]

  // The rate times a bound of the second derivative of the loss along each row and class: over its
  // terms the sum of weight * min(1/4, |derivative|) times the squared length of the other vector.
  float *hidden_curvature, *class_curvature;  // [rows], [columns]

  bool centers_are_classes() const { return way_nodes == nullptr; }

  RowsAhead* ahead;
  float* hidden_lengths;  // scratch [center columns], of bags: their squared lengths
  // Scratch: the classes transposed, their last columns, [columns] x [dim], [lanes], filled up to
  // multiples of `lanes`; logits [rows, columns]; [columns] of weights, targets and squared
  // lengths; bands [2, rows].
  float *packed, *tails, *logits, *weights, *targets, *lengths;
  const float** tail_rows;  // [columns]
  int32_t *band_first, *band_last;
};

// The sums of a CBOW group's contexts, to and fro.
struct Word2VecBags {
  int64_t dim, rows, centers;  // rows of words
  CenterRows bags;
  const float* forward;            // [center columns]: the weight of a context in the bag's row
  const float* backward;           // of the bag's gradient in that of a context
  const float* const* embeddings;  // [rows], dim wide
  float* const* to_embeddings;     // [rows]
  float* const* hidden;            // [centers], each filled up with zeros
  const float* const* d_hidden;    // [centers], filled up with zeros
  const float* factors;            // [rows], of what is added to the embeddings; null: 1
  float* sums;                     // scratch [rows + 1, dim], filled up to a multiple of `lanes`
  int32_t* center_at;              // scratch [rows]
};

struct Word2VecKernels {
  int lanes;
  // Makes logits the steps along them, and finds the curvatures. Returns the loss.
  double (*find_steps)(const Word2VecGroup& group);
  void (*add_steps)(const Word2VecGroup& group);  // after find_steps
  double (*find_steps_of_bags)(const Word2VecGroup& group);
  void (*add_steps_of_bags)(const Word2VecGroup& group);
  void (*sum_bags)(const Word2VecBags& bags);  // hidden = forward * embeddings
  // to_embeddings += factors * backward * d_hidden
  void (*spread_bags)(const Word2VecBags& bags);
  // sum = factor * the sum of `count` rows of a table. Rows are `stride` apart, a multiple of
  // `lanes`.
  void (*sum_rows)(const float* table, const int32_t* rows, int64_t count, int64_t stride,
                   float factor, float* sum);
  // Adds factors[i] * step to row rows[i] of such a table; without factors: step.
  void (*add_to_rows)(const float* step, const int32_t* rows, const float* factors, int64_t count,
                      int64_t stride, float* table);
};

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_KERNELS_WORD2VEC_KERNELS_H_
