// A table of rows: embeddings, class weights, or biases (rows of width 1).
//
// A table may be cut into shards along its rows as tf.nn.embedding_lookup does with the partition
// strategy "div": `rows % shards` leading shards have one row more than the others.
#ifndef FASTW2V_CORE_TABLE_H_
#define FASTW2V_CORE_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "csrc/core/status.h"

namespace fastw2v {

template <typename T>  // const T for a table that is read
class Table {
 public:
  Table() = default;
  Table(T* data, int64_t rows, int64_t dim) : Table(std::vector<T*>{data}, rows, dim) {}
  Table(std::vector<T*> shards, int64_t rows, int64_t dim)
      : shards_(std::move(shards)), rows_(rows), dim_(dim) {}

  bool empty() const { return shards_.empty(); }
  int64_t rows() const { return rows_; }
  int64_t dim() const { return dim_; }
  int64_t num_shards() const { return static_cast<int64_t>(shards_.size()); }

  // The first row of a shard; ShardBegin(num_shards()) is rows().
  int64_t ShardBegin(int64_t shard) const {
    const int64_t size = rows_ / num_shards(), longer = rows_ % num_shards();
    return shard * size + std::min(shard, longer);
  }

  int64_t ShardOf(int64_t row) const {
    const int64_t size = rows_ / num_shards(), longer = rows_ % num_shards();
    const int64_t in_longer = longer * (size + 1);
    return row < in_longer ? row / (size + 1) : longer + (row - in_longer) / size;
  }

  T* Row(int64_t row) const {
    if (shards_.size() == 1) return shards_[0] + row * dim_;
    const int64_t shard = ShardOf(row);
    return shards_[shard] + (row - ShardBegin(shard)) * dim_;
  }

 private:
  std::vector<T*> shards_;
  int64_t rows_ = 0;
  int64_t dim_ = 0;
};

// Entry i of the argument `name` must be a row.
inline Status CheckId(const char* name, int64_t i, int64_t id, int64_t rows) {
  if (id >= 0 && id < rows) return Status();
  return InvalidArgument(name, "[", i, "] = ", id, " is not in [0, ", rows, ")");
}

inline Status CheckIds(const char* name, const int64_t* ids, int64_t count, int64_t rows) {
  for (int64_t i = 0; i < count; ++i) FASTW2V_RETURN_IF_ERROR(CheckId(name, i, ids[i], rows));
  return Status();
}

}  // namespace fastw2v

#endif  // FASTW2V_CORE_TABLE_H_
