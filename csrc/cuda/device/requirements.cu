#include <dlfcn.h>

#include <algorithm>
#include <string>
#include <vector>

#include "csrc/cuda/device/requirements.h"

namespace fastw2v::cuda {
namespace {

constexpr const char* kUseTheCpu =
    "create the variables that it uses under tf.device('CPU:0'), where its ops then run";

// "8.0" of 80.
std::string Capability(int arch) {
  return std::to_string(arch / 10) + "." + std::to_string(arch % 10);
}

// "12.4" of 12040.
std::string Release(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Null where there is none. Libraries stay open: TensorFlow uses them too.
template <typename Function>
Function* Find(void* library, const char* name) {
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library, name));
}

}  // namespace

Machine ReadMachine(const char* driver, const char* management) {
  Machine machine;
  // Both libraries return 0 for success.
  void* const cuda = dlopen(driver, RTLD_LAZY | RTLD_LOCAL);
  if (auto* version = Find<int(int*)>(cuda, "cuDriverGetVersion")) {
    if (version(&machine.driver) != 0) machine.driver = 0;
  }
  // The driver's library tells of its devices only once it is initialized; this one needs nothing.
  void* const nvml = dlopen(management, RTLD_LAZY | RTLD_LOCAL);
  auto* const init = Find<int()>(nvml, "nvmlInit_v2");
  auto* const shut_down = Find<int()>(nvml, "nvmlShutdown");
  auto* const count_devices = Find<int(unsigned*)>(nvml, "nvmlDeviceGetCount_v2");
  auto* const find_device = Find<int(unsigned, void**)>(nvml, "nvmlDeviceGetHandleByIndex_v2");
  auto* const capability = Find<int(void*, int*, int*)>(nvml, "nvmlDeviceGetCudaComputeCapability");
  if (init == nullptr || shut_down == nullptr || count_devices == nullptr ||
      find_device == nullptr || capability == nullptr || init() != 0) {
    return machine;
  }
  unsigned count = 0;
  if (count_devices(&count) != 0) count = 0;
  for (unsigned i = 0; i < count; ++i) {
    void* device = nullptr;
    int major = 0, minor = 0;
    if (find_device(i, &device) == 0 && capability(device, &major, &minor) == 0) {
      machine.archs.push_back(10 * major + minor);
    }
  }
  shut_down();
  return machine;
}

std::string WhyNotOn(int arch) {
  if (arch >= kOldestArch) return "";
  return "fastw2v's GPU kernels need compute capability " + Capability(kOldestArch) +
         " or later, and the GPU has " + Capability(arch) + ": " + kUseTheCpu;
}

std::string WhyNotOnAny(const Machine& machine, int runtime) {
  // A runtime works with each driver of its major release.
  const int oldest = runtime / 1000 * 1000;
  if (machine.driver != 0 && machine.driver < oldest) {
    return "fastw2v's GPU kernels were built with CUDA " + Release(runtime) +
           " and need a driver for CUDA " + Release(oldest) +
           " or later, and the driver is for CUDA " + Release(machine.driver) +
           ": update the driver, or build fastw2v with nvcc of CUDA " +
           std::to_string(machine.driver / 1000) + ", or " + kUseTheCpu;
  }
  if (machine.archs.empty()) return "";
  return WhyNotOn(*std::max_element(machine.archs.begin(), machine.archs.end()));
}

}  // namespace fastw2v::cuda
