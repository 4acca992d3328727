// The cuBLAS that TensorFlow has loaded, through its StreamExecutor: of the same release of CUDA,
// on the stream and the handle of TensorFlow's own products.
#include <string>

#include "csrc/cuda/device/gemm.h"
#include "csrc/tensorflow/support/gpu.h"

#if !defined(FASTW2V_CUDA_EMULATED)
#include "xla/stream_executor/blas.h"
#include "xla/stream_executor/device_memory.h"
#include "xla/stream_executor/stream.h"
#include "xla/stream_executor/stream_executor.h"
#endif

namespace fastw2v {

#if defined(FASTW2V_CUDA_EMULATED)

cuda::Gemm GemmOf(stream_executor::Stream*) { return cuda::EmulatedGemm(); }

#else

namespace {

namespace se = ::stream_executor;

se::blas::DataType TypeOf(cuda::NumberType type) {
  switch (type) {
    case cuda::NumberType::kFloat:
      return se::blas::DataType::kFloat;
    case cuda::NumberType::kDouble:
      return se::blas::DataType::kDouble;
    case cuda::NumberType::kHalf:
      return se::blas::DataType::kHalf;
    case cuda::NumberType::kBFloat16:
      return se::blas::DataType::kBF16;
  }
  return se::blas::DataType::kFloat;
}

se::blas::Transpose Transposed(bool transpose) {
  return transpose ? se::blas::Transpose::kTranspose : se::blas::Transpose::kNoTranspose;
}

// NumericOptions in 2.20, EngineOptions since 2.21.
struct Options {
  bool allow_tf32;

  template <typename TheirOptions>
  operator TheirOptions() const {
    TheirOptions options;
    options.require_determinism = true;
    options.allow_tf32 = allow_tf32;
    return options;
  }
};

se::DeviceMemoryBase Memory(const void* data) {
  // Its size is for checks of whole buffers, which these are not.
  return se::DeviceMemoryBase(const_cast<void*>(data));
}

Status MultiplyByTensorFlow(void* context, const cuda::GemmCall& call, cudaStream_t) {
  auto* const stream = static_cast<se::Stream*>(context);
  se::blas::BlasSupport* const blas = stream->parent()->AsBlas();
  if (blas == nullptr) {
    return Status(StatusCode::kInternal, "TensorFlow has no cuBLAS for this GPU");
  }
  const bool wide = call.operands == cuda::NumberType::kDouble;
  const bool tf32 = call.operands == cuda::NumberType::kFloat && call.allow_tf32;
  const float alpha = static_cast<float>(call.alpha), beta = static_cast<float>(call.beta);
  se::DeviceMemoryBase c = Memory(call.c);
  const absl::Status status = blas->DoBlasGemmWithAlgorithm(
      stream, Transposed(call.transpose_a), Transposed(call.transpose_b), call.m, call.n, call.k,
      wide ? static_cast<const void*>(&call.alpha) : &alpha, Memory(call.a), TypeOf(call.operands),
      call.pitch_a, Memory(call.b), TypeOf(call.operands), call.pitch_b,
      wide ? static_cast<const void*>(&call.beta) : &beta, &c, TypeOf(call.result), call.pitch_c,
      wide   ? se::blas::ComputationType::kF64
      : tf32 ? se::blas::ComputationType::kTF32AsF32
             : se::blas::ComputationType::kF32,
      se::blas::kDefaultGemmAlgo, Options{tf32}, /*output_profile_result=*/nullptr,
      se::blas::CallContext::kNone);
  if (status.ok()) return Status();
  return Status(StatusCode::kInternal, "cuBLAS: " + std::string(status.message()));
}

}  // namespace

cuda::Gemm GemmOf(stream_executor::Stream* stream) { return {MultiplyByTensorFlow, stream}; }

#endif

}  // namespace fastw2v
