// cuBLAS for tests and benchmarks, which run without TensorFlow: loaded when it is first used, so
// that the module needs none of CUDA's libraries.
#ifndef FASTW2V_PYTHON_TESTING_CUDA_CUBLAS_H_
#define FASTW2V_PYTHON_TESTING_CUDA_CUBLAS_H_

#include "csrc/cuda/device/gemm.h"

namespace fastw2v::cuda {

// On the device that is current when it multiplies. PyTorch has brought a cuBLAS into the process,
// or the loader finds one.
Gemm CublasGemm();

}  // namespace fastw2v::cuda

#endif  // FASTW2V_PYTHON_TESTING_CUDA_CUBLAS_H_
