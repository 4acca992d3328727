// Between TensorFlow and csrc/cuda: the stream, memory of the device, and the registration of
// kernels.
#ifndef FASTW2V_TENSORFLOW_SUPPORT_GPU_H_
#define FASTW2V_TENSORFLOW_SUPPORT_GPU_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "csrc/core/loss_options.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/tensorflow/support/adapter.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
#include "tensorflow/core/framework/op_kernel.h"

// Kernels of a GPU. In the emulated build, where memory of the device is that of the process, they
// take the place of the kernels of the CPU, so that TensorFlow can run them without a GPU.
#if defined(FASTW2V_CUDA_EMULATED)
#define FASTW2V_GPU_KERNEL(name) \
  ::tensorflow::KernelDefBuilder(name).Device(::tensorflow::DEVICE_CPU).Priority(1)
#else
#define FASTW2V_GPU_KERNEL(name) \
  ::tensorflow::KernelDefBuilder(name).Device(::tensorflow::DEVICE_GPU)
#endif

namespace stream_executor {
class Stream;
}

namespace fastw2v {

// The library of matrix products on TensorFlow's stream (gemm_gpu.cc).
cuda::Gemm GemmOf(stream_executor::Stream* stream);

// The stream on which TensorFlow runs the op.
absl::Status GetStream(tensorflow::OpKernelContext* context, cuda::Stream* stream);

// Where an op runs, for what all devices share: this, or OnHost (adapter.h).
struct OnDevice {
  cuda::Stream stream;

  absl::Status Start(tensorflow::OpKernelContext* context) { return GetStream(context, &stream); }
  // Copies within the device, on the stream.
  CopyMemory copy() const;
};

// Memory of the device that lives until the work that the op has enqueued is done.
class DeviceMemory {
 public:
  absl::Status Allocate(tensorflow::OpKernelContext* context, std::size_t bytes) {
    return context->allocate_temp(tensorflow::DT_UINT8,
                                  tensorflow::TensorShape({static_cast<int64_t>(bytes)}), &tensor_);
  }
  template <typename T = void>
  T* data() const {
    return static_cast<T*>(tensor_.data());
  }

 private:
  tensorflow::Tensor tensor_;
};

// The only shard of a table: kernels of a GPU take no more.
template <typename T>
absl::Status OneShard(const TableArgument& table, const char* name,
                      const typename CoreType<T>::type** data) {
  if (table.num_shards() != 1) {
    return absl::UnimplementedError(absl::StrCat(
        name, " has ", table.num_shards(),
        " shards; on a GPU a table is one tensor or variable, or place the op on the CPU"));
  }
  *data = table.View<T>().Row(0);
  return absl::OkStatus();
}

// The biases of `classes` classes, or null for none.
template <typename T>
absl::Status BiasesOrNull(const TableArgument& biases, int64_t classes,
                          const typename CoreType<T>::type** data) {
  *data = nullptr;
  if (biases.empty()) return absl::OkStatus();
  TF_RETURN_IF_ERROR(ToTensorFlow(CheckBiasRows(biases.rows(), classes)));
  return OneShard<T>(biases, "biases", data);
}

// Nothing on a GPU can refuse an id. With the environment variable FASTW2V_CHECK_IDS=1 the host
// waits for `ids` and looks at them, as it does on the CPU: for looking for mistakes, not for
// speed. Negative ones pass where they are `padded`, and `ignored` where it is given.
absl::Status CheckIdsIfAsked(const cuda::Stream& stream, const char* name, const int64_t* ids,
                             int64_t count, int64_t rows, bool padded = false,
                             const int64_t* ignored = nullptr);

using MakeKernel = tensorflow::OpKernel* (*)(tensorflow::OpKernelConstruction*);

// Whether it was registered.
bool RegisterGpuKernel(tensorflow::KernelDefBuilder& definition, const char* name, MakeKernel make);

}  // namespace fastw2v

// What REGISTER_KERNEL_BUILDER is for kernels of the CPU:
//   FASTW2V_REGISTER_GPU_KERNEL(FASTW2V_GPU_KERNEL("Fastw2v>TopK").TypeConstraint<T>("T"),
//                               GpuTopKOp<T>);
// Nothing is registered where no GPU of the machine can run the kernels: TensorFlow then takes
// those of the CPU.
#define FASTW2V_REGISTER_GPU_KERNEL(definition, ...) \
  FASTW2V_REGISTER_GPU_KERNEL_AS(__COUNTER__, definition, __VA_ARGS__)
#define FASTW2V_REGISTER_GPU_KERNEL_AS(number, definition, ...) \
  FASTW2V_REGISTER_GPU_KERNEL_NAMED(number, definition, __VA_ARGS__)
#define FASTW2V_REGISTER_GPU_KERNEL_NAMED(number, definition, ...)                       \
  [[maybe_unused]] static const bool gpu_kernel_##number = ::fastw2v::RegisterGpuKernel( \
      definition, #__VA_ARGS__,                                                          \
      [](::tensorflow::OpKernelConstruction* context) -> ::tensorflow::OpKernel* {       \
        return new __VA_ARGS__(context);                                                 \
      })

#endif  // FASTW2V_TENSORFLOW_SUPPORT_GPU_H_
