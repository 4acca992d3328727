// csrc/cuda/device/gemm.h on the processor, with the operands that a GPU multiplies: TF32 without
// the lowest 13 bits, and sums of the type that it sums in, one term after the other.
#include "csrc/cuda/device/gemm.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "csrc/cuda/device/device.h"

namespace fastw2v::cuda {

namespace {

template <typename T>
Accumulator<T> Read(const void* data, int64_t at) {
  return ToFloat(static_cast<const T*>(data)[at]);
}

// Rows [first, first + rows) of [all rows, k] as an operand of the product: by columns, `across`
// tells which index walks through neighbors.
template <typename T>
std::vector<Accumulator<T>> ReadOperand(const void* data, int64_t pitch, bool across, int64_t first,
                                        int64_t rows, int64_t k, bool tf32) {
  std::vector<Accumulator<T>> operand(rows * k);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      auto x = Read<T>(data, across ? (first + i) * pitch + j : j * pitch + first + i);
      if constexpr (std::is_same_v<T, float>) {
        if (tf32) x = __uint_as_float(__float_as_uint(x) & 0xFFFFE000);
      }
      operand[i * k + j] = x;
    }
  }
  return operand;
}

template <typename E, typename C>
void MultiplyAs(const GemmCall& call) {
  using A = Accumulator<E>;
  // Some rows at a time: tests look at the memory that a call takes.
  constexpr int64_t kElements = 1 << 20;
  const int64_t k = call.k, together = std::max<int64_t>(kElements / std::max<int64_t>(k, 1), 1);
  const A alpha = static_cast<A>(call.alpha), beta = static_cast<A>(call.beta);
  for (int64_t first = 0; first < call.m; first += together) {
    const int64_t rows = std::min(together, call.m - first);
    const auto a =
        ReadOperand<E>(call.a, call.pitch_a, call.transpose_a, first, rows, k, call.allow_tf32);
    for (int64_t j = 0; j < call.n; ++j) {
      const auto b =
          ReadOperand<E>(call.b, call.pitch_b, !call.transpose_b, j, 1, k, call.allow_tf32);
      C* const column = static_cast<C*>(call.c) + j * call.pitch_c + first;
      for (int64_t i = 0; i < rows; ++i) {
        A sum = 0;
        for (int64_t d = 0; d < k; ++d) sum = std::fma(a[i * k + d], b[d], sum);
        sum *= alpha;
        if (beta != 0) sum += beta * ToFloat(column[i]);
        column[i] = Round<C>(sum);
      }
    }
  }
}

template <typename E>
void MultiplyInto(const GemmCall& call) {
  if (call.result == kNumberType<E>) return MultiplyAs<E, E>(call);
  return MultiplyAs<E, Accumulator<E>>(call);
}

Status MultiplyOnProcessor(void*, const GemmCall& call, cudaStream_t) {
  switch (call.operands) {
    case NumberType::kFloat:
      MultiplyInto<float>(call);
      break;
    case NumberType::kDouble:
      MultiplyInto<double>(call);
      break;
    case NumberType::kHalf:
      MultiplyInto<Half>(call);
      break;
    case NumberType::kBFloat16:
      MultiplyInto<BFloat16>(call);
      break;
  }
  return Status();
}

}  // namespace

Gemm EmulatedGemm() { return {MultiplyOnProcessor, nullptr}; }

}  // namespace fastw2v::cuda
