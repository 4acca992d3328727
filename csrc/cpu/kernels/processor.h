// What an x86-64 processor has and the operating system allows, where __builtin_cpu_supports does
// not tell with every compiler. To be asked where that has found AVX-512.
#ifndef FASTW2V_CPU_KERNELS_PROCESSOR_H_
#define FASTW2V_CPU_KERNELS_PROCESSOR_H_

namespace fastw2v::cpu {

bool HasAvx512BFloat16();

// Whether the products of AVX512_BF16 are slower than those of float32: measured on an Intel
// processor (docs/experiments/exact.md), and taken for true of all of Intel's, of which those that
// are made for such products have AMX.
bool HasSlowAvx512BFloat16();

// If so, the process has got the system's permission to use tiles.
bool HasAmxBFloat16();

}  // namespace fastw2v::cpu

#endif  // FASTW2V_CPU_KERNELS_PROCESSOR_H_
