// What every op of the library derives from.
#ifndef FASTW2V_TENSORFLOW_SUPPORT_KERNEL_H_
#define FASTW2V_TENSORFLOW_SUPPORT_KERNEL_H_

#include "absl/status/status.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {

// An op whose failures are all statuses, those of memory and threads too: TensorFlow lets no
// exception through, and ends the process.
class Kernel : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(tensorflow::OpKernelContext* context) final;

 private:
  // Takes all memory that it needs before it changes a variable.
  virtual absl::Status Run(tensorflow::OpKernelContext* context) const = 0;
};

}  // namespace fastw2v

#endif  // FASTW2V_TENSORFLOW_SUPPORT_KERNEL_H_
