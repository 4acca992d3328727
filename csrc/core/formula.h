// How a formula is written once for every processor: kernels for the CPU, compiled once per
// instruction set, and kernels of a GPU are made of the same functions.
//
// A formula is a function of numbers with internal linkage, so that no copy compiled for one
// instruction set serves another, and uses no inline function of the standard library. What an
// instruction set computes by vectors of its own (csrc/cpu/isa) names the formula that it follows,
// and tests/kernels/test_formulas.py compares the two.
//
// FASTW2V_FORMULA_OF is for formulas that take a function, such as a kernel's own exp: on a GPU
// only kernels can call them.
#ifndef FASTW2V_CORE_FORMULA_H_
#define FASTW2V_CORE_FORMULA_H_

#if defined(__CUDACC__)
#define FASTW2V_FORMULA static __host__ __device__ __forceinline__
#define FASTW2V_FORMULA_OF static __device__ __forceinline__
#define FASTW2V_HOST_DEVICE \
  __host__ __device__  // for members, which only csrc/cpu/isa does without
#else
#define FASTW2V_FORMULA static inline __attribute__((always_inline))
#define FASTW2V_FORMULA_OF FASTW2V_FORMULA
#define FASTW2V_HOST_DEVICE
#endif

namespace fastw2v::math {

#if defined(__CUDA_ARCH__)
#define FASTW2V_MATH(name) ::name
#else
#define FASTW2V_MATH(name) __builtin_##name
#endif
#define FASTW2V_DEFINE_MATH(Name, name)                                    \
  FASTW2V_FORMULA float Name(float x) { return FASTW2V_MATH(name##f)(x); } \
  FASTW2V_FORMULA double Name(double x) { return FASTW2V_MATH(name)(x); }
FASTW2V_DEFINE_MATH(Sqrt, sqrt)
FASTW2V_DEFINE_MATH(Exp, exp)
FASTW2V_DEFINE_MATH(Log, log)
FASTW2V_DEFINE_MATH(Log1p, log1p)
FASTW2V_DEFINE_MATH(Tanh, tanh)
FASTW2V_DEFINE_MATH(Abs, fabs)
#undef FASTW2V_DEFINE_MATH
FASTW2V_FORMULA float Pow(float x, float y) { return FASTW2V_MATH(powf)(x, y); }
FASTW2V_FORMULA double Pow(double x, double y) { return FASTW2V_MATH(pow)(x, y); }
#undef FASTW2V_MATH

}  // namespace fastw2v::math

#endif  // FASTW2V_CORE_FORMULA_H_
