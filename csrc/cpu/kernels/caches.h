// Sizes of the processor's caches, by which plans cut work. They change what is added up in which
// order, as the instruction set does, and are the same throughout a process.
#ifndef FASTW2V_CPU_KERNELS_CACHES_H_
#define FASTW2V_CPU_KERNELS_CACHES_H_

#include <cstdint>

namespace fastw2v::cpu {

// Of one core: between 256 KB and 2 MB, and 512 KB where the system does not tell.
int64_t SecondLevelBytes();

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_KERNELS_CACHES_H_
