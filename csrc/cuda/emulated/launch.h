// What csrc/cuda/device/runtime.h declares, on the processor. Included by it.
#ifndef FASTW2V_CUDA_EMULATED_LAUNCH_H_
#define FASTW2V_CUDA_EMULATED_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdlib>
#include <string>

#include "csrc/cuda/device/requirements.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

inline Status ToStatus(cudaError_t) { return Status(); }

// FASTW2V_EMULATED_ARCH chooses the device: 80 (the default), 90, which has Hopper's kernels, or
// one that is too old.
inline Machine ThisMachine() {
  const char* arch = std::getenv("FASTW2V_EMULATED_ARCH");
  Machine machine;
  machine.archs = {arch == nullptr ? 80 : std::atoi(arch)};
  return machine;
}

inline Status CurrentDevice(Device* device) {
  // Few multiprocessors, so that persistent kernels take several turns.
  *device = Device{ThisMachine().archs[0], 3, 227 << 10};
  return CheckArch(device->arch);
}

template <typename... Parameters, typename... Arguments>
Status Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
              const Stream&, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return Status();
  emulated::NoteKernel(reinterpret_cast<const void*>(kernel));
  const std::string failure =
      emulated::Run(grid, block, shared_bytes, [&] { kernel(Parameters(arguments)...); });
  if (!failure.empty()) return Status(StatusCode::kInternal, failure);
  return Status();
}

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_EMULATED_LAUNCH_H_
