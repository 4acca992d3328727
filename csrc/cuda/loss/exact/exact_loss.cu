// The exact softmax loss in one of three ways, each of which says what it takes: Hopper's kernels,
// tiles of logits in registers, and, for everything, blocks of logits in memory.
#include <algorithm>

#include "csrc/cuda/loss/exact/block_loss.h"
#include "csrc/cuda/loss/exact/examples.h"
#include "csrc/cuda/loss/exact/tile_loss.h"
#include "csrc/cuda/loss/hopper/exact_loss.h"
#include "csrc/cuda/loss/loss.h"

namespace fastw2v::cuda {

namespace {

enum class Way { kHopper, kTiles, kBlocks };

template <typename T>
Way WayForward(const LossProblem<T>& problem, const Device& device) {
  if constexpr (sizeof(T) == 2) {
    if (hopper::SupportsForward(problem, device)) return Way::kHopper;
    if (TilesSupportForward(problem, device)) return Way::kTiles;
  }
  return Way::kBlocks;
}

template <typename T>
Way WayBackward(const LossProblem<T>& problem, const Device& device) {
  if constexpr (sizeof(T) == 2) {
    if (hopper::SupportsBackward(problem, device)) return Way::kHopper;
    if (TilesSupportBackward(problem, device)) return Way::kTiles;
  }
  return Way::kBlocks;
}

template <typename T>
std::size_t ScratchBytes(Way way, const LossProblem<T>& problem, const Device& device) {
  if constexpr (sizeof(T) == 2) {
    if (way == Way::kHopper) return hopper::ExactLossScratchBytes(problem, device);
    if (way == Way::kTiles) return TileLossScratchBytes(problem);
  }
  return BlockLossScratchBytes(problem, device);
}

}  // namespace

template <typename T>
std::size_t ExactLossScratchBytes(const LossProblem<T>& problem, const Device& device) {
  if (problem.batch == 0 || problem.classes == 0) return 0;
  return std::max(ScratchBytes(WayForward(problem, device), problem, device),
                  ScratchBytes(WayBackward(problem, device), problem, device));
}

template <typename T>
Status ExactLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  if (problem.batch == 0) return Status();
  if constexpr (sizeof(T) == 2) {
    const Way way = WayForward(problem, stream.device);
    if (way == Way::kHopper) {
      return hopper::ExactLossForward(problem, stream, scratch, loss, normalizer);
    }
    if (way == Way::kTiles) return TileLossForward(problem, stream, scratch, loss, normalizer);
  }
  return BlockLossForward(problem, stream, scratch, loss, normalizer);
}

template <typename T>
Status SoftmaxPartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                          const SoftmaxPart<Accumulator<T>>& part) {
  if (problem.batch == 0) return Status();
  if (problem.classes == 0) return FinishEmptyPart(problem.batch, stream, part);
  if constexpr (sizeof(T) == 2) {
    const Way way = WayForward(problem, stream.device);
    if (way == Way::kHopper) return hopper::SoftmaxPartForward(problem, stream, scratch, part);
    if (way == Way::kTiles) return TilePartForward(problem, stream, scratch, part);
  }
  return BlockPartForward(problem, stream, scratch, part);
}

template <typename T>
Status ExactLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                         const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                         void* scratch, Accumulator<T>* d_hidden, T* d_weights, T* d_biases) {
  if (problem.batch == 0 || problem.classes == 0) {
    if (d_hidden != nullptr) {
      FASTW2V_RETURN_IF_ERROR(
          Zero(d_hidden, problem.batch * problem.dim * sizeof(Accumulator<T>), stream));
    }
    const std::size_t bytes = problem.classes * sizeof(T);
    if (d_weights != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Zero(d_weights, bytes * problem.dim, stream));
    }
    return d_biases == nullptr ? Status() : Zero(d_biases, bytes, stream);
  }
  if constexpr (sizeof(T) == 2) {
    const Way way = WayBackward(problem, stream.device);
    if (way == Way::kHopper) {
      return hopper::ExactLossBackward(problem, d_loss, normalizer, stream, scratch, d_hidden,
                                       d_weights, d_biases);
    }
    if (way == Way::kTiles) {
      return TileLossBackward(problem, d_loss, normalizer, stream, scratch, d_hidden, d_weights,
                              d_biases);
    }
  }
  return BlockLossBackward(problem, d_loss, normalizer, stream, scratch, d_hidden, d_weights,
                           d_biases);
}

template <typename T>
Status ExactLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                              const Stream& stream, void* scratch, Accumulator<T>* loss,
                              const Normalizer<Accumulator<T>>& normalizer,
                              Accumulator<T>* d_hidden, T* d_weights, T* d_biases) {
  const auto by_blocks = [](Way way) { return way == Way::kBlocks; };
  if (problem.batch > 0 && by_blocks(WayForward(problem, stream.device)) &&
      by_blocks(WayBackward(problem, stream.device))) {
    return BlockLossWithGradients(problem, d_loss, stream, scratch, loss, normalizer, d_hidden,
                                  d_weights, d_biases);
  }
  FASTW2V_RETURN_IF_ERROR(ExactLossForward<T>(problem, stream, scratch, loss, normalizer));
  return ExactLossBackward<T>(problem, d_loss, {normalizer.max, normalizer.log_sum}, stream,
                              scratch, d_hidden, d_weights, d_biases);
}

#define FASTW2V_INSTANTIATE(T)                                                                 \
  template std::size_t ExactLossScratchBytes<T>(const LossProblem<T>&, const Device&);         \
  template Status ExactLossForward<T>(const LossProblem<T>&, const Stream&, void*,             \
                                      Accumulator<T>*, const Normalizer<Accumulator<T>>&);     \
  template Status SoftmaxPartForward<T>(const LossProblem<T>&, const Stream&, void*,           \
                                        const SoftmaxPart<Accumulator<T>>&);                   \
  template Status ExactLossBackward<T>(const LossProblem<T>&, const Accumulator<T>*,           \
                                       const Normalizer<const Accumulator<T>>&, const Stream&, \
                                       void*, Accumulator<T>*, T*, T*);                        \
  template Status ExactLossWithGradients<T>(                                                   \
      const LossProblem<T>&, const Accumulator<T>*, const Stream&, void*, Accumulator<T>*,     \
      const Normalizer<Accumulator<T>>&, Accumulator<T>*, T*, T*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
