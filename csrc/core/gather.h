// Rows of a table picked by ids, one id or a bag of ids per example, and the gradient of that.
//
//   hidden[b, :] = sum or mean over the ids i of bag b of embeddings[i, :]
//
// The gradient of a table of which only some rows were used is a list of its distinct rows in
// ascending order with one summed value each ("row gradient").
#ifndef FASTW2V_CORE_GATHER_H_
#define FASTW2V_CORE_GATHER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "csrc/core/parallel.h"
#include "csrc/core/status.h"
#include "csrc/core/table.h"
#include "csrc/core/types.h"

namespace fastw2v {

enum class Combiner { kSum, kMean };

// The ids of `batch` examples. Either `width` ids for each (width 1: a plain list of ids; more:
// bags where a negative id is padding), or, where row_splits is given, ids[row_splits[b]] up to
// ids[row_splits[b + 1]].
struct Bags {
  const int64_t* ids = nullptr;
  int64_t num_ids = 0;
  int64_t batch = 0;
  int64_t width = 1;
  bool padded = false;                  // negative ids are padding
  const int64_t* row_splits = nullptr;  // [batch + 1], or null
  Combiner combiner = Combiner::kMean;

  int64_t Begin(int64_t b) const { return row_splits != nullptr ? row_splits[b] : b * width; }
  int64_t End(int64_t b) const {
    return row_splits != nullptr ? row_splits[b + 1] : (b + 1) * width;
  }
};

// Ids in [0, rows) (or negative where padded), row_splits ascending from 0 to num_ids, no empty
// bag.
Status CheckBags(const Bags& bags, int64_t rows);

// hidden [batch, dim], overwritten. Sums in the order of the ids.
template <typename T>
void GatherBags(const Table<const T>& embeddings, const Bags& bags, const Parallel& parallel,
                Accumulator<T>* hidden);

// One term of a row gradient: row `row` receives coefficient * source[:], its bias receives `bias`.
template <typename A>
struct RowTerm {
  int64_t row;
  int64_t order;  // terms of a row are summed in ascending order
  A coefficient;
  A bias;
  const A* source;  // [dim]
};

// Terms sorted by (row, order), and where each distinct row begins among them.
template <typename A>
struct RowGradient {
  std::vector<RowTerm<A>> terms;
  std::vector<int64_t> begins;  // [distinct rows + 1]

  int64_t num_rows() const { return static_cast<int64_t>(begins.size()) - 1; }
  int64_t Row(int64_t unique) const { return terms[begins[unique]].row; }
};

// The terms that d_hidden [batch, dim] contributes to the embeddings.
template <typename A>
std::vector<RowTerm<A>> BagTerms(const Bags& bags, const A* d_hidden, int64_t dim);

// The terms given ascend in `order`.
template <typename A>
RowGradient<A> SortTerms(std::vector<RowTerm<A>> terms);

// values[u - first, :] of the distinct rows u in [first, last).
template <typename T>
void SumTerms(const RowGradient<Accumulator<T>>& gradient, int64_t first, int64_t last, int64_t dim,
              const Parallel& parallel, T* values);

// biases[u - first] likewise.
template <typename T>
void SumBiasTerms(const RowGradient<Accumulator<T>>& gradient, int64_t first, int64_t last,
                  T* biases);

// Dense rows from a table's type to the accumulator's and back (rounding to nearest even).
template <typename T>
void WidenRows(const T* rows, int64_t count, int64_t dim, const Parallel& parallel,
               Accumulator<T>* wide);
template <typename T>
void RoundRows(const Accumulator<T>* wide, int64_t count, int64_t dim, const Parallel& parallel,
               T* rows);

}  // namespace fastw2v

#endif  // FASTW2V_CORE_GATHER_H_
