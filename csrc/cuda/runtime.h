// The caller's stream, the device it runs on, and the launch of a kernel. csrc/cuda allocates
// nothing on the device and never waits for it; kernels are compiled by nvcc or, for tests without
// a GPU, run on the processor (see emulated/cuda_runtime.h).
#ifndef FASTW2V_CUDA_RUNTIME_H_
#define FASTW2V_CUDA_RUNTIME_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "csrc/core/status.h"

namespace fastw2v::cuda {

// What decides how work is cut. Results are the same bits on every device of one `arch`.
struct Device {
  int arch = 80;  // 10 * major + minor of the compute capability
  int num_multiprocessors = 1;
  int shared_bytes = 99 << 10;  // that a block can have
};

struct Stream {
  cudaStream_t stream = nullptr;
  Device device;
};

#if defined(FASTW2V_CUDA_EMULATED)
inline Status ToStatus(cudaError_t) { return Status(); }
// FASTW2V_EMULATED_ARCH chooses the device: 80 (the default) or 90, which has Hopper's kernels.
inline Status CurrentDevice(Device* device) {
  const char* arch = std::getenv("FASTW2V_EMULATED_ARCH");
  // Few multiprocessors, so that persistent kernels take several turns.
  *device = Device{arch == nullptr ? 80 : std::atoi(arch), 3, 227 << 10};
  return Status();
}
#else
inline Status ToStatus(cudaError_t error) {
  if (error == cudaSuccess) return Status();
  return Status(StatusCode::kInternal, std::string("CUDA: ") + cudaGetErrorString(error));
}

// The device that is current for the calling thread.
inline Status CurrentDevice(Device* device) {
  int number = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDevice(&number);
  const auto get = [&](int* value, cudaDeviceAttr attribute) {
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(value, attribute, number);
  };
  get(&major, cudaDevAttrComputeCapabilityMajor);
  get(&minor, cudaDevAttrComputeCapabilityMinor);
  get(&device->num_multiprocessors, cudaDevAttrMultiProcessorCount);
  get(&device->shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  device->arch = 10 * major + minor;
  return ToStatus(error);
}
#endif

inline Status Zero(void* data, std::size_t bytes, const Stream& stream) {
  if (bytes == 0) return Status();
  return ToStatus(cudaMemsetAsync(data, 0, bytes, stream.stream));
}

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...). A grid without blocks does nothing.
template <typename... Parameters, typename... Arguments>
Status Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
              [[maybe_unused]] const Stream& stream, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return Status();
#if defined(FASTW2V_CUDA_EMULATED)
  const std::string failure =
      emulated::Run(grid, block, shared_bytes, [&] { kernel(Parameters(arguments)...); });
  if (!failure.empty()) return Status(StatusCode::kInternal, failure);
  return Status();
#else
  constexpr std::size_t kWithoutAsking = 48 << 10;
  if (shared_bytes > kWithoutAsking) {
    FASTW2V_RETURN_IF_ERROR(ToStatus(cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes))));
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.stream;
  return ToStatus(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...));
#endif
}

// Blocks of `size` that cover `count`.
inline unsigned NumBlocks(int64_t count, int64_t size) {
  return static_cast<unsigned>((count + size - 1) / size);
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_RUNTIME_H_
