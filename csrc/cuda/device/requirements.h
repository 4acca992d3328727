// What the kernels need of a machine, and what this one has. Asked when an op library is loaded, so
// nothing here makes a context or initializes the driver, after which a process could not fork.
#ifndef FASTW2V_CUDA_DEVICE_REQUIREMENTS_H_
#define FASTW2V_CUDA_DEVICE_REQUIREMENTS_H_

#include <string>
#include <vector>

#include "csrc/core/status.h"

namespace fastw2v::cuda {

// The oldest `arch` (Device) that the kernels are compiled for.
constexpr int kOldestArch = 80;

struct Machine {
  int driver = 0;          // 1000 * major + 10 * minor of the CUDA that it is for; 0: there is none
  std::vector<int> archs;  // of its GPUs, as far as they are known
};

// Read from the driver's library and the one that manages its devices (NVML), by their file names.
// Where one of them is missing, what it would tell is left out.
Machine ReadMachine(const char* driver, const char* management);

// What this process may use: a machine without GPUs where CUDA_VISIBLE_DEVICES hides all of them.
// In launch.h, or in csrc/cuda/emulated.
inline Machine ThisMachine();

// Why the kernels cannot run on a GPU of that `arch`, and what to do: a sentence, or an empty
// string where they can.
std::string WhyNotOn(int arch);

inline Status CheckArch(int arch) {
  const std::string why = WhyNotOn(arch);
  return why.empty() ? Status() : Status(StatusCode::kInternal, why);
}

// The same of all GPUs of the machine together, for kernels built with the CUDA runtime `runtime`,
// a number as that of the driver. Empty where one can be used, or there is none.
std::string WhyNotOnAny(const Machine& machine, int runtime);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_DEVICE_REQUIREMENTS_H_
