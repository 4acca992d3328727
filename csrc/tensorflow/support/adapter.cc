#include "csrc/tensorflow/support/adapter.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "absl/strings/str_cat.h"
#include "csrc/core/task_list.h"
#include "csrc/tensorflow/support/huge_pages.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/lib/core/threadpool.h"

namespace fastw2v {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::Var;

absl::Status ToTensorFlow(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return absl::OkStatus();
    case StatusCode::kInvalidArgument:
      return absl::InvalidArgumentError(status.message());
    case StatusCode::kResourceExhausted:
      return absl::ResourceExhaustedError(status.message());
    case StatusCode::kInternal:
      break;
  }
  return absl::InternalError(status.message());
}

absl::Status CheckShape(bool matches, const char* name, const Tensor& tensor,
                        const char* expected) {
  if (matches) return absl::OkStatus();
  return ToTensorFlow(
      InvalidArgument(name, " has shape ", tensor.shape().DebugString(), "; expected ", expected));
}

TensorFlowParallel::TensorFlowParallel(OpKernelContext* context)
    : pool_(context->device()->tensorflow_cpu_worker_threads()->workers) {}

// The calling thread is one of them.
int TensorFlowParallel::num_workers() const { return pool_->NumThreads(); }

// The pool's own ParallelFor hands out all tasks but the first, and waits until they are taken,
// which costs as much as a small step.
void TensorFlowParallel::For(int64_t num_tasks, int64_t cost, TaskRef task) const {
  constexpr int64_t kWorthAThread = 50000;  // cycles: to wake one costs about as many
  const int64_t worth = std::min(num_tasks - 1, num_tasks * cost / kWorthAThread);
  const int helpers = static_cast<int>(std::min<int64_t>(worth, num_workers() - 1));
  std::shared_ptr<TaskList> list;
  try {
    if (helpers > 0) list = std::make_shared<TaskList>(num_tasks, task);
    for (int worker = 1; worker <= helpers; ++worker) {
      pool_->Schedule([list, worker] { list->Work(worker); });
    }
  } catch (const std::bad_alloc&) {  // with those that were started, or alone
  }
  if (list == nullptr) return Serial().For(num_tasks, cost, task);
  list->Work(0);
  list->Wait();
}

absl::Status TableArgument::Read(OpKernelContext* context, const char* name,
                                 tensorflow::DataType dtype, int rank) {
  name_ = name;
  dtype_ = dtype;
  rank_ = rank;
  tensorflow::OpInputList inputs;
  TF_RETURN_IF_ERROR(context->input_list(name, &inputs));
  for (int i = 0; i < inputs.size(); ++i) {
    tensorflow::core::RefCountPtr<Var> variable;
    if (inputs[i].dtype() == tensorflow::DT_RESOURCE) {
      TF_RETURN_IF_ERROR(FindVariable(context, inputs[i], name, &variable));
      inputs_.push_back(nullptr);
    } else {
      inputs_.push_back(&inputs[i]);
    }
    variables_.push_back(std::move(variable));
  }
  return absl::OkStatus();
}

absl::Status TableArgument::Resolve() {
  shards_.clear();
  rows_ = dim_ = 0;
  const auto which = [&](std::size_t i) {
    return inputs_.size() == 1 ? name_ : absl::StrCat(name_, "[", i, "]");
  };
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Tensor* shard = inputs_[i] == nullptr ? variables_[i]->tensor() : inputs_[i];
    if (inputs_[i] == nullptr && !variables_[i]->is_initialized) {
      return absl::FailedPreconditionError(
          absl::StrCat(which(i), ": the variable is not initialized"));
    }
    if (shard->dtype() != dtype_) {
      return absl::InvalidArgumentError(
          absl::StrCat(which(i), " has dtype ", tensorflow::DataTypeString(shard->dtype()),
                       ", expected ", tensorflow::DataTypeString(dtype_)));
    }
    if (shard->dims() != rank_) {
      return absl::InvalidArgumentError(
          absl::StrCat(which(i), " has shape ", shard->shape().DebugString(), ", expected rank ",
                       rank_, rank_ == 2 ? ": [rows, dim]" : ": [rows]"));
    }
    const int64_t dim = rank_ == 2 ? shard->dim_size(1) : 1;
    if (i > 0 && dim != dim_) {
      return absl::InvalidArgumentError(
          absl::StrCat(which(i), " has width ", dim, ", but ", which(0), " has width ", dim_));
    }
    dim_ = dim;
    rows_ += shard->dim_size(0);
    shards_.push_back(shard);
  }
  const int64_t count = static_cast<int64_t>(shards_.size());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t expected = rows_ / count + (i < rows_ % count ? 1 : 0);
    if (shards_[i]->dim_size(0) != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat(which(i), " has ", shards_[i]->dim_size(0), " rows, expected ", expected,
                       ": the partition strategy \"div\" cuts ", rows_, " rows into ", count,
                       " contiguous shards, the first ", rows_ % count, " of them one row longer"));
    }
  }
  return absl::OkStatus();
}

void TableArgument::AppendVariables(std::vector<Var*>* variables) const {
  for (const auto& variable : variables_) {
    if (variable != nullptr) variables->push_back(variable.get());
  }
}

absl::Status FindVariable(OpKernelContext* context, const Tensor& tensor, const std::string& name,
                          tensorflow::core::RefCountPtr<Var>* variable) {
  if (tensor.NumElements() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(name, " has shape ",
                                                   tensor.shape().DebugString(),
                                                   ", expected the handle of one variable"));
  }
  const auto& handle = tensor.flat<tensorflow::ResourceHandle>()(0);
  const absl::Status found = LookupResource(context, handle, variable);
  if (found.ok()) return found;
  return absl::FailedPreconditionError(absl::StrCat(
      name, ": the variable '", handle.name(),
      "' cannot be read; initialize it first, on this device (", found.message(), ")"));
}

namespace {

std::vector<Var*> InLockingOrder(std::vector<Var*> variables) {
  std::sort(variables.begin(), variables.end());
  variables.erase(std::unique(variables.begin(), variables.end()), variables.end());
  return variables;
}

}  // namespace

ReadLock::ReadLock(std::vector<Var*> variables) {
  for (Var* variable : InLockingOrder(std::move(variables))) {
    locks_.push_back(std::make_unique<tensorflow::tf_shared_lock>(*variable->mu()));
  }
}

WriteLock::WriteLock(std::vector<Var*> variables) {
  for (Var* variable : InLockingOrder(std::move(variables))) {
    locks_.push_back(std::make_unique<tensorflow::mutex_lock>(*variable->mu()));
  }
}

absl::Status CopyOnHost(void* to, const void* from, std::size_t bytes) {
  std::memcpy(to, from, bytes);
  return absl::OkStatus();
}

absl::Status MakeWritable(OpKernelContext* context, Var* variable, const CopyMemory& copy) {
  Tensor* tensor = variable->tensor();
  // In copy-on-read mode nobody shares the memory.
  if (variable->copy_on_read_mode.load() || tensor->RefCountIsOne()) return absl::OkStatus();
  Tensor own;
  TF_RETURN_IF_ERROR(AllocateTensor(context, tensor->dtype(), tensor->shape(), &own));
  TF_RETURN_IF_ERROR(copy(own.data(), tensor->data(), tensor->TotalBytes()));
  *tensor = std::move(own);
  return absl::OkStatus();
}

absl::Status AllocateTensor(OpKernelContext* context, tensorflow::DataType dtype,
                            const tensorflow::TensorShape& shape, Tensor* tensor) {
  TF_RETURN_IF_ERROR(context->allocate_temp(dtype, shape, tensor));
  if (context->op_device_context() == nullptr) PreferHugePages(*tensor);  // memory of the host
  return absl::OkStatus();
}

}  // namespace fastw2v
