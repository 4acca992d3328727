#include "csrc/cuda/loss/exact/gradient_products.h"
#include "csrc/cuda/loss/exact_logits.h"

namespace fastw2v::cuda {

namespace {

// A tile of P W (kOfHidden: rows of P lie along k) or P^T X. Block (x, y, z): tile (x, y), part z
// of the sum over k.
template <typename Products, bool kOfHidden>
__global__ void __launch_bounds__(kThreads, Products::kBlocks)
    MultiplyGradient(Products products, Matrix<typename Products::Element> p,
                     Matrix<typename Products::Element> other, ProductResults<Products> results) {
  using T = typename Products::Element;
  using A = typename Products::Sum;
  constexpr int kWidth = kPanelWidth<T>;   // steps of k at a time
  constexpr int kPanels = kTile / kWidth;  // that 128 columns take
  constexpr int kOperand = kTile * kWidth;
  T* const stages = reinterpret_cast<T*>(SharedMemory());

  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int group = lane / 4, pair = lane % 4 * 2;
  const int m0 = warp % kWarpsM * kWarpM, n0 = warp / kWarpsM * kWarpN;
  const int64_t row0 = int64_t{blockIdx.x} * kTile, column0 = int64_t{blockIdx.y} * kTile;
  const int64_t count = other.rows;
  const int64_t k0 = blockIdx.z * results.part * kWidth;
  const int64_t k1 = k0 + results.part * kWidth < count ? k0 + results.part * kWidth : count;

  int64_t load_k = k0;
  int load_stage = 0;
  const auto load = [&] {
    if (load_k < k1) {
      T* const stage = stages + load_stage * 2 * kOperand;
      if constexpr (kOfHidden) {
        CopyPanels<kTile, 1>(stage, p, row0, load_k);
      } else {
        CopyPanels<kWidth, kPanels>(stage, p, load_k, row0);
      }
      CopyPanels<kWidth, kPanels>(stage + kOperand, other, load_k, column0);
      load_k += kWidth;
      load_stage = (load_stage + 1) % kStages;
    }
    CommitCopies();
  };
  for (int s = 0; s < kStages - 1; ++s) load();

  A c[kPiecesM][kPiecesN][4];
  Clear(c);
  int stage_number = 0;
  for (int64_t k = k0; k < k1; k += kWidth) {
    WaitForCopies<kStages - 2>();
    __syncthreads();
    load();
    const T* const stage = stages + stage_number * 2 * kOperand;
    products.Multiply(c, Operand<T, kOfHidden, kOfHidden ? kTile : kWidth>{stage}, m0,
                      Operand<T, false, kWidth>{stage + kOperand}, n0,
                      k1 - k < kWidth ? static_cast<int>(k1 - k) : kWidth);
    stage_number = (stage_number + 1) % kStages;
  }

  const A factor =
      results.factor * GradientUnit<typename Products::Element>(results.largest, /*inverse=*/true);
#pragma unroll
  for (int i = 0; i < 2 * kPiecesM; ++i) {
#pragma unroll
    for (int j = 0; j < kPiecesN; ++j) {
#pragma unroll
      for (int q = 0; q < 2; ++q) {
        results.Store(row0 + m0 + 8 * i + group, column0 + n0 + 8 * j + pair + q,
                      factor * c[i / 2][j][i % 2 * 2 + q]);
      }
    }
  }
}

}  // namespace

template <typename Products, bool kOfHidden>
Status LaunchMultiplyGradient(const Products& products, const Matrix<typename Products::Element>& p,
                              const Matrix<typename Products::Element>& other,
                              const ProductResults<Products>& results, int64_t parts,
                              const Stream& stream) {
  const dim3 grid(NumBlocks(results.rows, kTile), NumBlocks(results.columns, kTile),
                  static_cast<unsigned>(parts));
  return Launch(MultiplyGradient<Products, kOfHidden>, grid, dim3(kThreads),
                2 * kStages * kPanelBytes, stream, products, p, other, results);
}

#define FASTW2V_INSTANTIATE(...)                                                        \
  template Status LaunchMultiplyGradient<__VA_ARGS__, false>(                           \
      const __VA_ARGS__&, const Matrix<__VA_ARGS__::Element>&,                          \
      const Matrix<__VA_ARGS__::Element>&, const ProductResults<__VA_ARGS__>&, int64_t, \
      const Stream&);                                                                   \
  template Status LaunchMultiplyGradient<__VA_ARGS__, true>(                            \
      const __VA_ARGS__&, const Matrix<__VA_ARGS__::Element>&,                          \
      const Matrix<__VA_ARGS__::Element>&, const ProductResults<__VA_ARGS__>&, int64_t, \
      const Stream&);
FASTW2V_INSTANTIATE(PlainProducts<double>)
FASTW2V_INSTANTIATE(PlainProducts<Half>)
FASTW2V_INSTANTIATE(ProductsTf32<false>)
FASTW2V_INSTANTIATE(ProductsTf32<true>)
FASTW2V_INSTANTIATE(Products16<Half>)
FASTW2V_INSTANTIATE(Products16<BFloat16>)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
