// The innermost loops of csrc/core/word2vec.h: a block of centres with the classes that it meets.
#ifndef FASTW2V_CPU_WORD2VEC_KERNELS_H_
#define FASTW2V_CPU_WORD2VEC_KERNELS_H_

#include <cstdint>

namespace fastw2v::cpu {

// Rows of tables that the next block needs, asked for one by one between the tiles of this one.
struct RowsAhead {
  const float* const* rows;
  int64_t count;
  int64_t bytes;  // of a row
};

// Which rows of a block a centre is paired with: [first, last), but not `self`.
struct CentreRows {
  const int32_t *first, *last, *self;  // [centre columns]; empty past the last centre
};

// A noise class that is the centre, which does not count for that centre's pairs.
struct NoiseHit {
  int32_t noise, centre;
};

// Rows h meet noise classes, weighed by the number of centres that they are paired with, and those
// centres themselves. Columns of logits are the noise and then the centres, each filled up to a
// multiple of `lanes`.
struct Word2VecBlock {
  int64_t dim, rows, noise, centres;
  CentreRows pairs;
  const NoiseHit* hits;
  int64_t num_hits;
  float rate;
  const float* noise_weight;  // [noise columns], of a pair; 0 past the last
  const float* noise_target;  // [noise columns]
  bool centres_are_classes;   // else only the noise is

  const float* const* hidden;   // [rows], each filled up with zeros to a multiple of `lanes`
  const float* const* classes;  // [columns], dim wide; past the last any row will do
  // What the step adds to each row and class is added here.
  float* const* to_hidden;   // [rows]
  float* const* to_classes;  // [columns]

  RowsAhead ahead;
  // Scratch: the classes transposed, their last columns, [columns] x [dim], [lanes], filled up to
  // multiples of `lanes`; logits [rows, columns]; [columns] of weights; bands [2, rows].
  float *packed, *tails, *logits, *weights;
  const float** tail_rows;  // [columns]
  int32_t *band_first, *band_last;
};

// The sums of a CBOW block's contexts, to and fro.
struct Word2VecBags {
  int64_t dim, rows, centres;  // rows of words
  CentreRows bags;
  const float* forward;            // [centre columns]: the weight of a context in the bag's row
  const float* backward;           // of the bag's gradient in that of a context
  const float* const* embeddings;  // [rows], dim wide
  float* const* to_embeddings;     // [rows]
  float* const* hidden;            // [centres], each filled up with zeros
  const float* const* d_hidden;    // [centres], filled up with zeros
  float* coefficients;             // scratch [rows, centre columns]
  float* tails;                    // scratch [rows, lanes]
  const float** tail_rows;         // scratch [rows]
  int32_t *band_first, *band_last;
};

struct Word2VecKernels {
  int lanes;
  // Returns the loss.
  double (*train_block)(const Word2VecBlock& block);
  void (*sum_bags)(const Word2VecBags& bags);     // hidden = forward * embeddings
  void (*spread_bags)(const Word2VecBags& bags);  // to_embeddings += backward * d_hidden
};

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_WORD2VEC_KERNELS_H_
