// Scratch memory of a call, kept for the next one. The allocator returns large blocks to the
// system, which hands out cleared pages at the next call: on a virtual machine 40 MB of them took
// 28 ms.
#ifndef FASTW2V_TENSORFLOW_SUPPORT_SCRATCH_MEMORY_H_
#define FASTW2V_TENSORFLOW_SUPPORT_SCRATCH_MEMORY_H_

#include <cstddef>

#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

class ScratchMemory {
 public:
  ScratchMemory() = default;
  ScratchMemory(const ScratchMemory&) = delete;
  ScratchMemory& operator=(const ScratchMemory&) = delete;
  ~ScratchMemory();

  // Called once.
  absl::Status Allocate(tensorflow::OpKernelContext* context, std::size_t bytes);

  void* data() const { return data_; }  // aligned to Scratch::kAlignment

 private:
  tensorflow::Tensor tensor_;
  void* data_ = nullptr;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_SUPPORT_SCRATCH_MEMORY_H_
