// Rows of tables in the arguments of ops: ids that pick some, and the gradient of those that were
// picked.
#ifndef FASTW2V_TENSORFLOW_SUPPORT_ROWS_H_
#define FASTW2V_TENSORFLOW_SUPPORT_ROWS_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "csrc/core/gather.h"
#include "csrc/tensorflow/support/adapter.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

inline absl::Status WrongShape(const char* name, const tensorflow::Tensor& tensor,
                               const std::string& expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, " has shape ", tensor.shape().DebugString(), ", expected ", expected));
}

// `ids` int64 [batch] or padded bags [batch, n], or flat ones that the list input "row_splits"
// makes bags of.
inline absl::Status ReadBags(tensorflow::OpKernelContext* context, const tensorflow::Tensor& ids,
                             Combiner combiner, Bags* bags) {
  bags->ids = ids.flat<int64_t>().data();
  bags->num_ids = ids.NumElements();
  bags->combiner = combiner;
  tensorflow::OpInputList splits;
  TF_RETURN_IF_ERROR(context->input_list("row_splits", &splits));
  if (splits.size() > 0) {
    if (splits[0].dims() != 1 || splits[0].dim_size(0) < 1 || ids.dims() != 1) {
      return WrongShape("inputs", ids, "a RaggedTensor [batch, (n)]");
    }
    bags->row_splits = splits[0].flat<int64_t>().data();
    bags->batch = splits[0].dim_size(0) - 1;
    return absl::OkStatus();
  }
  if (ids.dims() != 1 && ids.dims() != 2) {
    return WrongShape("inputs", ids, "[batch] ids or [batch, n] padded bags of ids");
  }
  bags->batch = ids.dim_size(0);
  bags->padded = ids.dims() == 2;
  bags->width = bags->padded ? ids.dim_size(1) : 1;
  return absl::OkStatus();
}

// The distinct rows of each shard, counted from its first row, and their values: a tensor of each
// for every shard of `table`. Values are [rows, dim], or [rows] for biases (`rank` 1).
template <typename T>
absl::Status WriteRows(tensorflow::OpKernelContext* context,
                       const RowGradient<Accumulator<typename CoreType<T>::type>>& gradient,
                       const TableArgument& table, int rank, const Parallel& parallel,
                       tensorflow::Tensor* rows, tensorflow::Tensor* values) {
  using Core = typename CoreType<T>::type;
  using tensorflow::TensorShape;
  const Table<const Core> view = table.View<T>();
  int64_t first = 0;
  for (int shard = 0; shard < table.num_shards(); ++shard) {
    const int64_t shard_begin = view.ShardBegin(shard), shard_end = view.ShardBegin(shard + 1);
    int64_t last = first;
    while (last < gradient.num_rows() && gradient.Row(last) < shard_end) ++last;

    TF_RETURN_IF_ERROR(
        AllocateTensor(context, tensorflow::DT_INT64, TensorShape({last - first}), &rows[shard]));
    for (int64_t u = first; u < last; ++u) {
      rows[shard].flat<int64_t>()(u - first) = gradient.Row(u) - shard_begin;
    }
    TensorShape shape({last - first});
    if (rank == 2) shape.AddDim(table.dim());
    TF_RETURN_IF_ERROR(
        AllocateTensor(context, tensorflow::DataTypeToEnum<T>::value, shape, &values[shard]));
    Core* data = CoreData<Core>(values[shard].flat<T>().data());
    if (rank == 2) {
      SumTerms<Core>(gradient, first, last, table.dim(), parallel, data);
    } else {
      SumBiasTerms<Core>(gradient, first, last, data);
    }
    first = last;
  }
  return absl::OkStatus();
}

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_SUPPORT_ROWS_H_
