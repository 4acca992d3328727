// What runtime.h declares, by the runtime of CUDA. Included by it.
#ifndef FASTW2V_CUDA_DEVICE_LAUNCH_H_
#define FASTW2V_CUDA_DEVICE_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdlib>
#include <string>

#include "csrc/cuda/device/requirements.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

inline Status ToStatus(cudaError_t error) {
  if (error == cudaSuccess) return Status();
  // The runtime keeps it for this thread until it is asked: the next one to ask, CUB or PyTorch,
  // would take it for its own.
  cudaGetLastError();
  return Status(StatusCode::kInternal, std::string("CUDA: ") + cudaGetErrorString(error));
}

inline Machine ThisMachine() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  // What the driver takes for "none": its list ends at the first entry that names no device.
  if (visible != nullptr && (*visible == '\0' || *visible == '-')) return Machine();
  return ReadMachine("libcuda.so.1", "libnvidia-ml.so.1");
}

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
  FASTW2V_RETURN_IF_ERROR(ToStatus(error));
  return CheckArch(device->arch);
}

template <typename... Parameters, typename... Arguments>
Status Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
              const Stream& stream, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return Status();
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
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_DEVICE_LAUNCH_H_
