// The caller's stream, the device it runs on, and the launch of a kernel. csrc/cuda allocates
// nothing on the device and never waits for it; kernels are compiled by nvcc or, for tests without
// a GPU, run on the processor (csrc/cuda/emulated).
#ifndef FASTW2V_CUDA_DEVICE_RUNTIME_H_
#define FASTW2V_CUDA_DEVICE_RUNTIME_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "csrc/core/status.h"
#include "csrc/cuda/device/gemm.h"

namespace fastw2v::cuda {

// What decides how work is cut. Results are the same bits on every device of one `arch`.
struct Device {
  int arch = 80;  // 10 * major + minor of the compute capability
  int num_multiprocessors = 1;
  int shared_bytes = 99 << 10;  // that a block can have
  // That logits may take at a time where they are stored (csrc/cuda/loss/stored_logits.h).
  int64_t logit_bytes = int64_t{256} << 20;
};

struct Stream {
  cudaStream_t stream = nullptr;
  Device device;
  Gemm gemm;
};

// What an error of CUDA says.
inline Status ToStatus(cudaError_t error);

// The device that is current for the calling thread; an error where the kernels cannot run on it.
inline Status CurrentDevice(Device* device);

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...). A grid without blocks does nothing.
template <typename... Parameters, typename... Arguments>
Status Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
              const Stream& stream, const Arguments&... arguments);

inline Status Zero(void* data, std::size_t bytes, const Stream& stream) {
  if (bytes == 0) return Status();
  return ToStatus(cudaMemsetAsync(data, 0, bytes, stream.stream));
}

// Blocks of `size` that cover `count`.
inline unsigned NumBlocks(int64_t count, int64_t size) {
  return static_cast<unsigned>((count + size - 1) / size);
}

}  // namespace fastw2v::cuda

#if defined(FASTW2V_CUDA_EMULATED)
#include "csrc/cuda/emulated/launch.h"
#else
#include "csrc/cuda/device/launch.h"
#endif

#endif  // FASTW2V_CUDA_DEVICE_RUNTIME_H_
