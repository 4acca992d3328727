// Products of large matrices, which a library does best. Who calls csrc/cuda brings it: TensorFlow
// the cuBLAS that it has loaded (csrc/tensorflow/support/gemm_gpu.cc), tests and benchmarks one of
// their own (csrc/python/testing/cuda/cublas.cc), the emulated build the processor
// (csrc/cuda/emulated/gemm.cc).
#ifndef FASTW2V_CUDA_DEVICE_GEMM_H_
#define FASTW2V_CUDA_DEVICE_GEMM_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "csrc/core/status.h"
#include "csrc/core/types.h"

namespace fastw2v::cuda {

enum class NumberType { kFloat, kDouble, kHalf, kBFloat16 };

template <typename T>
constexpr NumberType kNumberType = NumberType::kFloat;
template <>
inline constexpr NumberType kNumberType<double> = NumberType::kDouble;
template <>
inline constexpr NumberType kNumberType<Half> = NumberType::kHalf;
template <>
inline constexpr NumberType kNumberType<BFloat16> = NumberType::kBFloat16;

// c = alpha * op(a) op(b) + beta * c, by columns as BLAS has it: c is [m, n], op(a) [m, k] and
// op(b) [k, n]. c is not read where beta is 0. Sums, alpha and beta are double where the operands
// are, float otherwise; TF32 is only for operands of float.
struct GemmCall {
  NumberType operands = NumberType::kFloat, result = NumberType::kFloat;
  bool allow_tf32 = false;
  bool transpose_a = false, transpose_b = false;
  int m = 0, n = 0, k = 0;
  double alpha = 1, beta = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int pitch_a = 0, pitch_b = 0, pitch_c = 0;  // elements from one column to the next
};

// The library. It works on the stream alone, and gives the same bits for the same call.
struct Gemm {
  Status (*multiply)(void* context, const GemmCall& call, cudaStream_t stream) = nullptr;
  void* context = nullptr;
};

// A matrix in memory by rows, [rows, columns], `pitch` elements from one row to the next.
template <typename T>
struct RowMajor {
  T* data;
  int64_t pitch;
};

// By rows: c [m, n] = alpha * op(a) op(b) + beta * c, where op(a) [m, k] is a or, transposed, a is
// [k, m]; the same for b.
template <typename E, typename C>
Status Multiply(const Gemm& gemm, cudaStream_t stream, bool allow_tf32, int64_t m, int64_t n,
                int64_t k, double alpha, const RowMajor<const E>& a, bool transpose_a,
                const RowMajor<const E>& b, bool transpose_b, double beta, const RowMajor<C>& c) {
  if (m == 0 || n == 0) return Status();
  if (gemm.multiply == nullptr) {
    return Status(StatusCode::kInternal, "the caller has brought no library for matrix products");
  }
  const int64_t largest = std::max({m, n, k, a.pitch, b.pitch, c.pitch});
  if (largest > INT32_MAX) {
    return InvalidArgument("a matrix of ", largest,
                           " rows or columns: a product on a GPU takes fewer than 2^31");
  }
  // The same memory by columns holds the transposed matrices: c^T = op(b)^T op(a)^T.
  GemmCall call;
  call.operands = kNumberType<E>;
  call.result = kNumberType<C>;
  call.allow_tf32 = allow_tf32;
  call.transpose_a = transpose_b;
  call.transpose_b = transpose_a;
  call.m = static_cast<int>(n);
  call.n = static_cast<int>(m);
  call.k = static_cast<int>(k);
  call.alpha = alpha;
  call.beta = beta;
  call.a = b.data;
  call.b = a.data;
  call.c = c.data;
  call.pitch_a = static_cast<int>(b.pitch);
  call.pitch_b = static_cast<int>(a.pitch);
  call.pitch_c = static_cast<int>(c.pitch);
  return gemm.multiply(gemm.context, call, stream);
}

#if defined(FASTW2V_CUDA_EMULATED)
// By the processor.
Gemm EmulatedGemm();
#endif

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_DEVICE_GEMM_H_
