// Tiles of rows and of classes as operands of the product that makes a tile of logits.
#ifndef FASTW2V_CPU_LOSS_TILES_H_
#define FASTW2V_CPU_LOSS_TILES_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/kernels/prefetch.h"
#include "csrc/cpu/loss/products.h"
#include "csrc/cpu/loss/shared_candidates.h"
#include "csrc/cpu/loss/shared_plan.h"

namespace fastw2v::cpu {

// Tiles of rows packed as right operands: transposed (for logits) and as they are (for d_weights).
template <typename A, typename P>
class PackedRows {
 public:
  PackedRows(int64_t tiles, int64_t row_tile, int64_t dim, Passes passes, Scratch* scratch)
      : dim_(dim),
        transposed_size_(P::RightSize(dim, row_tile)),
        rows_size_(P::RightSize(row_tile, dim)) {
    transposed_ = scratch->Take<typename P::Number>(tiles * transposed_size_);
    if (passes != Passes::kForward) rows_ = scratch->Take<typename P::Number>(tiles * rows_size_);
  }

  void Pack(const A* hidden, int64_t count, int64_t tile) const {
    P::Pack(hidden, 1, dim_, dim_, count, transposed_ + tile * transposed_size_);
    if (rows_ == nullptr) return;
    P::Pack(hidden, dim_, 1, count, dim_, rows_ + tile * rows_size_);
  }

  typename P::Right Transposed(int64_t tile) const {
    return P::Packed(transposed_ + tile * transposed_size_, dim_);
  }

  typename P::Right Rows(int64_t tile, int64_t count) const {
    return P::Packed(rows_ + tile * rows_size_, count);
  }

 private:
  int64_t dim_;
  int64_t transposed_size_;
  int64_t rows_size_;
  typename P::Number* transposed_ = nullptr;
  typename P::Number* rows_ = nullptr;
};

// One tile of at most `most_classes` classes, in a worker's own scratch. Its logits with a tile of
// rows are [class, row_tile].
template <typename T, typename P>
class ClassTile {
  using A = Accumulator<T>;
  using Number = typename P::Number;

 public:
  ClassTile(const SharedCandidates<T>& p, int64_t most_classes, int64_t row_tile, Passes passes,
            Scratch* scratch)
      : p_(&p), row_tile_(row_tile) {
    const int64_t dim = p.dim();
    // Rows that need conversion, rounding, or lie in several shards are copied first.
    rounds_ = p.compute_dtype == ComputeDtype::kBFloat16 && !P::kRounds;
    copies_ = !std::is_same_v<T, A> || rounds_ || p.weights.num_shards() != 1;
    if (copies_) copy_ = scratch->Take<A>(most_classes * dim);
    left_memory_ = scratch->Take<Number>(P::LeftSize(most_classes, dim));
    if (passes != Passes::kForward) {
      packed_ = scratch->Take<Number>(P::RightSize(most_classes, dim));
    }
    offset_ = scratch->Take<A>(most_classes);
    label_row_ = scratch->Take<A>(dim);
  }

  // Classes whose weights are not asked for.
  void Name(int64_t first, int64_t count) {
    first_ = first;
    count_ = count;
  }

  void Load(int64_t first, int64_t count) {
    Name(first, count);
    const int64_t dim = p_->dim();
    if (copies_) {
      for (int64_t c = 0; c < count; ++c) {
        ConvertRow(p_->weights.Row(first + c), copy_ + c * dim, dim);
      }
      if (rounds_) Kernels<A>().round_bfloat16(copy_, copy_, count * dim);
      rows_ = copy_;
    } else {
      rows_ = reinterpret_cast<const A*>(p_->weights.Row(first));
    }
    left_ = P::MakeLeft(count, dim, {rows_, dim, true}, left_memory_);
    if (p_->biases.empty() && p_->log_q == nullptr) return;
    std::fill(offset_, offset_ + count, A{0});
    if (!p_->biases.empty()) {
      for (int64_t c = 0; c < count; ++c) ConvertRow(p_->biases.Row(first + c), offset_ + c, 1);
    }
    if (p_->logits.softcap == 0 && p_->log_q != nullptr) {
      for (int64_t c = 0; c < count; ++c) offset_[c] -= p_->log_q[first + c];
    }
  }

  // The weights as right operand for d_hidden. Packing pays where many rows use it.
  typename P::Right ForHidden([[maybe_unused]] int64_t num_rows) const {
    const int64_t dim = p_->dim();
    if constexpr (std::is_same_v<typename P::Right, RightOperand<A>>) {
      const int64_t panel = Kernels<A>().panel;
      if (num_rows <= 16 && dim % panel == 0) {
        for (int64_t c = 0; c < count_; ++c) PrefetchRow(rows_ + c * dim, dim);
        return {rows_, dim, panel};
      }
    }
    P::Pack(rows_, dim, 1, count_, dim, packed_);
    return P::Packed(packed_, count_);
  }

  // Products of all classes with a tile of rows, and what has to be done to them one by one. Bias
  // and expected count are left to the step that follows, which adds offset().
  void Logits(const typename P::Right& hidden, int64_t first_row, int64_t rows, int64_t padded_rows,
              A* z, A* slope) const {
    if (rows == 1 && !P::kRounds) {
      // A product would multiply as many rows as a vector has numbers.
      const int64_t dim = p_->dim();
      for (int64_t c = 0; c < count_; ++c) {
        A* row = z + c * row_tile_;
        std::fill(row, row + padded_rows, A{0});
        row[0] = Kernels<A>().dot(p_->hidden + first_row * dim, rows_ + c * dim, dim);
      }
    } else {
      P::Multiply(count_, padded_rows, p_->dim(), left_, hidden, z, row_tile_, false);
    }
    Scale(padded_rows, z);
    if (p_->logits.softcap != 0) {
      for (int64_t c = 0; c < count_; ++c) {
        A* row = z + c * row_tile_;
        if (!p_->biases.empty()) {
          for (int64_t r = 0; r < padded_rows; ++r) row[r] += offset_[c];
        }
        Kernels<A>().softcap(p_->logits.softcap, row,
                             slope == nullptr ? nullptr : slope + c * row_tile_, padded_rows);
        if (p_->log_q == nullptr) continue;
        for (int64_t r = 0; r < padded_rows; ++r) row[r] -= p_->log_q[first_ + c];
      }
    }
    if (p_->logits.margin != 0) {
      for (int64_t r = 0; r < rows; ++r) TakeMargin(first_row + r, z + r);
    }
    if (p_->hits != nullptr) {
      for (int64_t r = 0; r < rows; ++r) MaskHits(first_row + r, z + r);
    }
    if (p_->excluded != nullptr) {
      for (int64_t r = 0; r < rows; ++r) MaskExcluded(first_row + r, z + r);
    }
  }

  // Products become logits; gradients of logits become those of products.
  void Scale(int64_t padded_rows, A* z) const {
    if (p_->logits.scale == 1) return;
    for (int64_t c = 0; c < count_; ++c) {
      Updates<A>().scale(p_->logits.scale, z + c * row_tile_, padded_rows);
    }
  }

  // Over classes, or null where nothing is left to add.
  const A* offset() const {
    const bool none = p_->biases.empty() && p_->log_q == nullptr;
    return none || p_->logits.softcap != 0 ? nullptr : offset_;
  }

  // Calls use(place in the tile, label number) for the labels of a row that are classes of it.
  template <typename Use>
  void ForLabels(int64_t row, Use use) const {
    if (p_->labels == nullptr) return;
    for (int64_t j = 0; j < p_->num_true; ++j) {
      const int64_t label = p_->labels[row * p_->num_true + j];
      if (p_->ignored.Is(label)) continue;
      const int64_t place = label - p_->first_class - first_;
      if (place >= 0 && place < count_) use(place, j);
    }
  }

  // Calls use(weights, label number) for the labels of a row that are classes at all, rounded as
  // products are.
  template <typename Use>
  void ForLabelRows(int64_t row, Use use) const {
    if (p_->labels == nullptr) return;
    const int64_t dim = p_->dim();
    for (int64_t j = 0; j < p_->num_true; ++j) {
      const int64_t label = p_->labels[row * p_->num_true + j];
      const int64_t place = label - p_->first_class;
      if (p_->ignored.Is(label) || place < 0 || place >= p_->classes()) continue;
      ConvertRow(p_->weights.Row(place), label_row_, dim);
      if (p_->compute_dtype == ComputeDtype::kBFloat16) {
        Kernels<A>().round_bfloat16(label_row_, label_row_, dim);
      }
      use(label_row_, j);
    }
  }

  // The weights, in the type of the sums.
  const A* rows() const { return rows_; }

  int64_t first() const { return first_; }
  int64_t count() const { return count_; }

 private:
  void TakeMargin(int64_t row, A* column) const {
    ForLabels(row, [&](int64_t place, int64_t j) {
      if (!IsFirstOfClass(p_->labels + row * p_->num_true, j)) return;
      column[place * row_tile_] -= p_->logits.margin;
    });
  }

  void MaskHits(int64_t row, A* column) const {
    for (int64_t j = 0; j < p_->num_true; ++j) {
      const int64_t* hit = p_->hits + 2 * (row * p_->num_true + j);
      const int64_t last = std::min(hit[1] - first_, count_);
      for (int64_t c = std::max<int64_t>(hit[0] - first_, 0); c < last; ++c) {
        column[c * row_tile_] = -std::numeric_limits<A>::infinity();
      }
    }
  }

  void MaskExcluded(int64_t row, A* column) const {
    const int64_t* const range = p_->excluded + 2 * row;
    const int64_t last = std::min(range[1] - first_, count_);
    for (int64_t c = std::max<int64_t>(range[0] - first_, 0); c < last; ++c) {
      if (!IsLabel(row, c)) column[c * row_tile_] = -std::numeric_limits<A>::infinity();
    }
  }

  bool IsLabel(int64_t row, int64_t place) const {
    bool is = false;
    ForLabels(row, [&](int64_t label, int64_t) { is = is || label == place; });
    return is;
  }

  const SharedCandidates<T>* p_;
  int64_t row_tile_;
  bool rounds_;
  bool copies_;
  A* copy_ = nullptr;
  Number* left_memory_;
  Number* packed_ = nullptr;
  A* offset_;
  A* label_row_;
  const A* rows_ = nullptr;
  typename P::Left left_{};
  int64_t first_ = 0;
  int64_t count_ = 0;
};

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_LOSS_TILES_H_
