#include "csrc/python/testing/cuda/cublas.h"

#if !defined(FASTW2V_CUDA_EMULATED)

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <string>

#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

namespace {

// From the manual of cuBLAS (12 and 13), whose headers a toolkit of compilers alone lacks.
using Handle = struct CublasContext*;
enum DataType { kReal32 = 0, kReal64 = 1, kReal16 = 2, kBrain16 = 14 };
enum ComputeType { kCompute32 = 68, kCompute64 = 70, kComputeTf32 = 77 };
constexpr int kDefaultAlgorithm = -1;

struct Library {
  int (*create)(Handle*) = nullptr;
  int (*set_stream)(Handle, cudaStream_t) = nullptr;
  int (*multiply)(Handle, int, int, int, int, int, const void*, const void*, DataType, int,
                  const void*, DataType, int, const void*, void*, DataType, int, ComputeType,
                  int) = nullptr;
  Status status;

  Library() {
    std::string failures;
    // One that is in the process already, PyTorch's for example, before any other.
    for (const int flags : {RTLD_NOW | RTLD_NOLOAD, RTLD_NOW}) {
      for (const char* name : {"libcublas.so.13", "libcublas.so.12"}) {
        void* const library = dlopen(name, flags);
        if (library == nullptr) {
          if ((flags & RTLD_NOLOAD) == 0) failures += std::string("; ") + dlerror();
          continue;
        }
        create = reinterpret_cast<decltype(create)>(dlsym(library, "cublasCreate_v2"));
        set_stream = reinterpret_cast<decltype(set_stream)>(dlsym(library, "cublasSetStream_v2"));
        multiply = reinterpret_cast<decltype(multiply)>(dlsym(library, "cublasGemmEx"));
        if (create != nullptr && set_stream != nullptr && multiply != nullptr) return;
        failures += std::string("; ") + name + " lacks a function";
      }
    }
    status = Status(StatusCode::kInternal,
                    "cuBLAS 12 or 13 was not found, which multiplies large matrices (the Python "
                    "packages nvidia-cublas-cu12 and nvidia-cublas have it)" +
                        failures);
  }
};

Status Check(const char* function, int code) {
  if (code == 0) return Status();
  return Status(StatusCode::kInternal,
                std::string(function) + " of cuBLAS failed with status " + std::to_string(code));
}

DataType TypeOf(NumberType type) {
  switch (type) {
    case NumberType::kFloat:
      return kReal32;
    case NumberType::kDouble:
      return kReal64;
    case NumberType::kHalf:
      return kReal16;
    case NumberType::kBFloat16:
      return kBrain16;
  }
  return kReal32;
}

Status MultiplyByCublas(void*, const GemmCall& call, cudaStream_t stream) {
  static const Library library;
  static std::mutex mutex;  // a handle has one stream at a time
  static std::map<int, Handle> handles;
  FASTW2V_RETURN_IF_ERROR(library.status);
  int device = 0;
  FASTW2V_RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device)));
  const std::lock_guard<std::mutex> lock(mutex);
  Handle& handle = handles[device];
  if (handle == nullptr) FASTW2V_RETURN_IF_ERROR(Check("cublasCreate", library.create(&handle)));
  FASTW2V_RETURN_IF_ERROR(Check("cublasSetStream", library.set_stream(handle, stream)));
  const float alpha = static_cast<float>(call.alpha), beta = static_cast<float>(call.beta);
  const bool wide = call.operands == NumberType::kDouble;
  const bool tf32 = call.operands == NumberType::kFloat && call.allow_tf32;
  const DataType operands = TypeOf(call.operands);
  return Check("cublasGemmEx",
               library.multiply(handle, call.transpose_a, call.transpose_b, call.m, call.n, call.k,
                                wide ? static_cast<const void*>(&call.alpha) : &alpha, call.a,
                                operands, call.pitch_a, call.b, operands, call.pitch_b,
                                wide ? static_cast<const void*>(&call.beta) : &beta, call.c,
                                TypeOf(call.result), call.pitch_c,
                                wide   ? kCompute64
                                : tf32 ? kComputeTf32
                                       : kCompute32,
                                kDefaultAlgorithm));
}

}  // namespace

Gemm CublasGemm() { return {MultiplyByCublas, nullptr}; }

}  // namespace fastw2v::cuda

#endif  // !FASTW2V_CUDA_EMULATED
