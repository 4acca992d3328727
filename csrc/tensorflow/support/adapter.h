// Between TensorFlow and the core: status, threads, scratch memory, tables held by variables.
#ifndef FASTW2V_TENSORFLOW_SUPPORT_ADAPTER_H_
#define FASTW2V_TENSORFLOW_SUPPORT_ADAPTER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "csrc/core/parallel.h"
#include "csrc/core/status.h"
#include "csrc/core/table.h"
#include "csrc/core/types.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/types.h"

namespace fastw2v {

absl::Status ToTensorFlow(const Status& status);

// An error that names the tensor and its shape, unless that `matches`.
absl::Status CheckShape(bool matches, const char* name, const tensorflow::Tensor& tensor,
                        const char* expected);

// TensorFlow's number types and the core's, bit for bit.
template <typename T>
struct CoreType {
  using type = T;
};
template <>
struct CoreType<Eigen::half> {
  using type = Half;
};
template <>
struct CoreType<Eigen::bfloat16> {
  using type = BFloat16;
};

template <typename Core, typename T>
Core* CoreData(T* data) {
  return reinterpret_cast<Core*>(data);
}

// TensorFlow's own thread pool.
class TensorFlowParallel final : public Parallel {
 public:
  explicit TensorFlowParallel(tensorflow::OpKernelContext* context);
  int num_workers() const override;
  void For(int64_t num_tasks, int64_t cost, TaskRef task) const override;

 private:
  tensorflow::thread::ThreadPool* pool_;
};

// The shards of one table argument, each a tensor or the handle of a variable.
class TableArgument {
 public:
  // Reads the list input `name`. Every shard must be of `dtype`, of rank `rank` (2, or 1 for
  // biases), all of one width, and cut along the rows as the partition strategy "div" does.
  // Variables are held but not locked: see ReadLock.
  absl::Status Read(tensorflow::OpKernelContext* context, const char* name,
                    tensorflow::DataType dtype, int rank);
  // The same after the variables were locked: their tensors cannot change from here on.
  absl::Status Resolve();

  bool empty() const { return inputs_.empty(); }
  int64_t rows() const { return rows_; }
  int64_t dim() const { return dim_; }
  int num_shards() const { return static_cast<int>(shards_.size()); }
  const tensorflow::TensorShape& shard_shape(int shard) const { return shards_[shard]->shape(); }
  void AppendVariables(std::vector<tensorflow::Var*>* variables) const;

  template <typename T>
  Table<const typename CoreType<T>::type> View() const {
    using Core = typename CoreType<T>::type;
    std::vector<const Core*> data;
    for (const tensorflow::Tensor* shard : shards_) {
      data.push_back(CoreData<const Core>(shard->flat<T>().data()));
    }
    return Table<const Core>(std::move(data), rows_, dim_);
  }

 private:
  std::string name_;
  tensorflow::DataType dtype_ = tensorflow::DT_INVALID;
  int rank_ = 2;
  std::vector<const tensorflow::Tensor*> inputs_;                          // null for a variable
  std::vector<tensorflow::core::RefCountPtr<tensorflow::Var>> variables_;  // null for a tensor
  std::vector<const tensorflow::Tensor*> shards_;
  int64_t rows_ = 0;
  int64_t dim_ = 0;
};

// Shared locks on a set of variables, held for as long as their rows are read, so that no update
// frees or changes the memory meanwhile. Each variable is locked once, in the order of addresses:
// two readers that lock the same variables in different orders could otherwise wait for each other
// behind two waiting writers.
class ReadLock {
 public:
  explicit ReadLock(std::vector<tensorflow::Var*> variables);

 private:
  std::vector<std::unique_ptr<tensorflow::tf_shared_lock>> locks_;
};

// Exclusive locks on a set of variables that are written, in the same order.
class WriteLock {
 public:
  explicit WriteLock(std::vector<tensorflow::Var*> variables);

 private:
  std::vector<std::unique_ptr<tensorflow::mutex_lock>> locks_;
};

// The variable whose handle the argument `name` of the op holds.
absl::Status FindVariable(tensorflow::OpKernelContext* context, const tensorflow::Tensor& tensor,
                          const std::string& name,
                          tensorflow::core::RefCountPtr<tensorflow::Var>* variable);

// Makes the memory of a locked variable its own, so that it can be written in place: whoever holds
// the tensor that was read from it keeps the old values. Unlike TensorFlow's sparse updates this
// leaves reads of the whole variable without a copy.
using CopyMemory = std::function<absl::Status(void* to, const void* from, std::size_t bytes)>;
absl::Status CopyOnHost(void* to, const void* from, std::size_t bytes);
absl::Status MakeWritable(tensorflow::OpKernelContext* context, tensorflow::Var* variable,
                          const CopyMemory& copy = CopyOnHost);

// Where an op runs, for what all devices share: this, or OnDevice (gpu.h).
struct OnHost {
  absl::Status Start(tensorflow::OpKernelContext*) { return absl::OkStatus(); }
  CopyMemory copy() const { return CopyOnHost; }
};

absl::Status AllocateTensor(tensorflow::OpKernelContext* context, tensorflow::DataType dtype,
                            const tensorflow::TensorShape& shape, tensorflow::Tensor* tensor);

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_SUPPORT_ADAPTER_H_
