#include <algorithm>

#include "csrc/core/scratch.h"
#include "csrc/cuda/loss/add_parts.h"
#include "csrc/cuda/loss/exact/examples.h"
#include "csrc/cuda/loss/exact/fused_gradient.h"
#include "csrc/cuda/loss/exact/logit_tiles.h"
#include "csrc/cuda/loss/exact/tile_loss.h"

namespace fastw2v::cuda {

namespace {

// Blocks that have work at the same time, more than any device runs: ends of runs overlap.
constexpr int64_t kManyBlocks = 4096;
constexpr int64_t kGradientBlocks = 512;
constexpr int64_t kWidth = kPanelWidth<BFloat16>;
constexpr int kMostPanels = 4;

int64_t Divide(int64_t x, int64_t y) { return (x + y - 1) / y; }

// Of hidden rows and weights, as many as a kernel of the backward pass is made for.
int Panels(int64_t dim) { return dim <= kWidth ? 1 : dim <= 2 * kWidth ? 2 : kMostPanels; }

struct Sizes {
  int64_t rows, width;  // of padded hidden rows
  int64_t class_tiles;
  int64_t run_tiles, runs;  // class tiles of a block of the forward pass
  // Gradients are summed in parts where they have too few tiles to keep a device busy: tiles of the
  // others in a part, and parts.
  int64_t hidden_part, hidden_parts;
  int64_t weight_part, weight_parts;

  template <typename T>
  explicit Sizes(const LossProblem<T>& p) {
    const int64_t row_tiles = Divide(p.batch, kTile);
    rows = row_tiles * kTile;
    width = Divide(p.dim, kWidth) * kWidth;
    class_tiles = Divide(p.classes, kTile);
    run_tiles = Divide(class_tiles * row_tiles, kManyBlocks);
    runs = Divide(class_tiles, run_tiles);
    Cut(Divide(p.classes, kOthers), row_tiles, &hidden_part, &hidden_parts);
    Cut(Divide(p.batch, kOthers), class_tiles, &weight_part, &weight_parts);
  }

 private:
  // So many parts of `steps` that, with `tiles` blocks each, a device is busy, if each has some
  // work.
  static void Cut(int64_t steps, int64_t tiles, int64_t* part, int64_t* parts) {
    constexpr int64_t kFewest = 8;
    *part = Divide(steps, std::clamp<int64_t>(kGradientBlocks / tiles, 1, Divide(steps, kFewest)));
    *parts = Divide(steps, *part);
  }
};

template <typename T>
class TileLoss {
 public:
  TileLoss(const LossProblem<T>& problem, const Stream& stream, Scratch* scratch)
      : p_(problem),
        sizes_(problem),
        stream_(stream),
        hidden_(scratch->Take<T>(sizes_.rows * sizes_.width)),
        bias_sums_(scratch->Take<float>(sizes_.weight_parts * p_.classes)),
        hidden_sums_(scratch->Take<float>(
            sizes_.hidden_parts > 1 ? sizes_.hidden_parts * p_.batch * p_.dim : 0)),
        weight_sums_(scratch->Take<float>(
            sizes_.weight_parts > 1 ? sizes_.weight_parts * p_.classes * p_.dim : 0)) {
    operands_.hidden = MakeMatrix<T>(hidden_, sizes_.rows, sizes_.width, sizes_.width);
    operands_.weights = MakeMatrix<T>(p_.weights, p_.classes, p_.dim, p_.dim);
    operands_.biases = p_.biases;
    operands_.examples = Examples<float>(p_, sizes_.rows, sizes_.runs, scratch);
    operands_.dim = p_.dim;
    operands_.logits = MakeLogitNumbers<float>(p_.options);
  }

  Status Prepare() {
    return PrepareExamples(p_, operands_.examples, stream_, hidden_, sizes_.width);
  }

  Status Sum() {
    return SumLogitTiles(operands_, p_.options.label_smoothing != 0, sizes_.class_tiles,
                         sizes_.run_tiles, stream_);
  }
  Status Finish(float* loss, const Normalizer<float>& normalizer) {
    return FinishLoss(p_, operands_.examples, {0, p_.batch}, stream_, loss, normalizer);
  }
  Status Finish(const SoftmaxPart<float>& part) {
    return FinishPart(p_, operands_.examples, stream_, part);
  }

  Status Backward(const float* d_loss, const Normalizer<const float>& normalizer, float* d_hidden,
                  T* d_weights, T* d_biases) {
    if (d_hidden == nullptr && d_weights == nullptr && d_biases == nullptr) return Status();
    FASTW2V_RETURN_IF_ERROR(
        PrepareGradient(p_, operands_.examples, {0, sizes_.rows}, d_loss, normalizer, stream_));
    if (d_hidden != nullptr) FASTW2V_RETURN_IF_ERROR(OfHidden(d_hidden));
    return d_weights == nullptr && d_biases == nullptr ? Status() : OfTables(d_weights, d_biases);
  }

 private:
  Status OfHidden(float* d_hidden) {
    const int64_t parts = sizes_.hidden_parts, size = p_.batch * p_.dim;
    FusedResults<T> results = {};
    results.rows = p_.batch;
    results.columns = p_.dim;
    results.factor = operands_.logits.scale;
    results.sums = parts > 1 ? hidden_sums_ : d_hidden;
    results.part = sizes_.hidden_part;
    results.multiply = true;
    FASTW2V_RETURN_IF_ERROR(
        (LaunchFusedGradient<T, true>(Panels(p_.dim), operands_, results, parts, stream_)));
    return parts == 1 ? Status() : Add(hidden_sums_, parts, size, d_hidden);
  }

  Status OfTables(T* d_weights, T* d_biases) {
    const int64_t parts = sizes_.weight_parts;
    FusedResults<T> results = {};
    results.rows = p_.classes;
    results.columns = p_.dim;
    results.factor = operands_.logits.scale;
    results.rounded = parts > 1 ? nullptr : d_weights;
    results.sums = weight_sums_;
    results.part = sizes_.weight_part;
    results.multiply = d_weights != nullptr;
    results.bias_sums = d_biases != nullptr && parts > 1 ? bias_sums_ : nullptr;
    results.biases = parts > 1 ? nullptr : d_biases;
    FASTW2V_RETURN_IF_ERROR(
        (LaunchFusedGradient<T, false>(Panels(p_.dim), operands_, results, parts, stream_)));
    if (parts == 1) return Status();
    if (d_weights != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Add(weight_sums_, parts, p_.classes * p_.dim, d_weights));
    }
    return d_biases == nullptr ? Status() : Add(bias_sums_, parts, p_.classes, d_biases);
  }

  template <typename R>
  Status Add(const float* parts, int64_t count, int64_t size, R* sum) {
    return AddParts(parts, count, size, size, true, nullptr, stream_, sum);
  }

  const LossProblem<T>& p_;
  const Sizes sizes_;
  const Stream& stream_;
  T* const hidden_;
  float* const bias_sums_;
  float* const hidden_sums_;
  float* const weight_sums_;
  Operands<T> operands_ = {};
};

// use(a prepared TileLoss).
template <typename T, typename Use>
Status WithTiles(const LossProblem<T>& problem, const Stream& stream, void* memory, Use use) {
  Scratch scratch(memory);
  TileLoss<T> loss(problem, stream, &scratch);
  FASTW2V_RETURN_IF_ERROR(loss.Prepare());
  return use(loss);
}

}  // namespace

template <typename T>
bool TilesSupportForward(const LossProblem<T>& p, const Device& device) {
  return p.dim > 0 && p.dim <= kMostPanels * kWidth && p.options.margin == 0 &&
         !RoundsOperands(p) && SumSharedBytes(Divide(p.dim, kWidth)) <= device.shared_bytes;
}

template <typename T>
bool TilesSupportBackward(const LossProblem<T>& p, const Device& device) {
  // More than a block of the forward pass has.
  return TilesSupportForward(p, device) && FusedSharedBytes(Panels(p.dim)) <= device.shared_bytes;
}

template <typename T>
std::size_t TileLossScratchBytes(const LossProblem<T>& problem) {
  Scratch scratch;
  TileLoss<T>(problem, Stream(), &scratch);
  return scratch.used();
}

template <typename T>
Status TileLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                       float* loss, const Normalizer<float>& normalizer) {
  return WithTiles(problem, stream, scratch, [&](auto& call) {
    FASTW2V_RETURN_IF_ERROR(call.Sum());
    return call.Finish(loss, normalizer);
  });
}

template <typename T>
Status TilePartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                       const SoftmaxPart<float>& part) {
  return WithTiles(problem, stream, scratch, [&](auto& call) {
    FASTW2V_RETURN_IF_ERROR(call.Sum());
    return call.Finish(part);
  });
}

template <typename T>
Status TileLossBackward(const LossProblem<T>& problem, const float* d_loss,
                        const Normalizer<const float>& normalizer, const Stream& stream,
                        void* scratch, float* d_hidden, T* d_weights, T* d_biases) {
  return WithTiles(problem, stream, scratch, [&](auto& call) {
    return call.Backward(d_loss, normalizer, d_hidden, d_weights, d_biases);
  });
}

#define FASTW2V_INSTANTIATE(T)                                                                   \
  template bool TilesSupportForward(const LossProblem<T>&, const Device&);                       \
  template bool TilesSupportBackward(const LossProblem<T>&, const Device&);                      \
  template std::size_t TileLossScratchBytes(const LossProblem<T>&);                              \
  template Status TileLossForward(const LossProblem<T>&, const Stream&, void*, float*,           \
                                  const Normalizer<float>&);                                     \
  template Status TilePartForward(const LossProblem<T>&, const Stream&, void*,                   \
                                  const SoftmaxPart<float>&);                                    \
  template Status TileLossBackward(const LossProblem<T>&, const float*,                          \
                                   const Normalizer<const float>&, const Stream&, void*, float*, \
                                   T*, T*);
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
