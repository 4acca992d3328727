// Three warpgroups a block: one brings tiles, two multiply. The passes are exact_forward.cu and
// exact_backward.cu; here is what they have in common, and how they are put together.
#include "csrc/core/scratch.h"
#include "csrc/cuda/loss/hopper/exact_backward.h"
#include "csrc/cuda/loss/hopper/exact_forward.h"
#include "csrc/cuda/loss/hopper/exact_loss.h"
#include "csrc/cuda/loss/hopper/exact_rows.h"

namespace fastw2v::cuda::hopper {

namespace {

constexpr int kPrepareThreads = 256;  // a warp for each row
constexpr int kPrepareWarps = kPrepareThreads / kWarp;

__device__ __forceinline__ int64_t PreparedRow() {
  return int64_t{blockIdx.x} * kPrepareWarps + threadIdx.x / kWarp;
}

// One row of an even width, by a warp, with zeros up to an even pitch.
template <typename T>
__device__ __forceinline__ void CopyRow(const T* from, bool exists, int64_t dim, int64_t pitch,
                                        T* to) {
  const auto* const pairs = reinterpret_cast<const uint32_t*>(from);
  for (int64_t i = threadIdx.x % kWarp; i < pitch / 2; i += kWarp) {
    reinterpret_cast<uint32_t*>(to)[i] = exists && i < dim / 2 ? pairs[i] : 0;
  }
}

template <typename T>
__global__ void __launch_bounds__(kPrepareThreads)
    PadWeightsKernel(const T* weights, int64_t classes, int64_t dim, int64_t pitch, T* padded) {
  const int64_t k = PreparedRow();
  if (k < classes) CopyRow(weights + k * dim, true, dim, pitch, padded + k * pitch);
}

// Copies hidden rows and looks at ids and labels.
template <typename T>
__global__ void __launch_bounds__(kPrepareThreads)
    PrepareKernel(const T* hidden, const int64_t* ids, int64_t hidden_rows, const int64_t* labels,
                  IgnoredLabel ignored, int64_t first_class, int64_t all_classes, int64_t batch,
                  int64_t classes, int64_t dim, int64_t padded_dim, T* rows, int* row_labels) {
  const int64_t b = PreparedRow();
  if (b >= batch) return;
  const int64_t id = ids == nullptr ? b : ids[b];
  const bool valid = ids == nullptr || (id >= 0 && id < hidden_rows);
  CopyRow(hidden + (valid ? id : 0) * dim, valid, dim, padded_dim, rows + b * padded_dim);
  if (threadIdx.x % kWarp != 0) return;
  const int64_t label = labels[b];
  int row_label = kElsewhere;
  if (ignored.Is(label)) {
    row_label = kIgnoredLabel;
  } else if (label < 0 || label >= all_classes) {
    row_label = kInvalidLabel;
  } else if (label >= first_class && label - first_class < classes) {
    row_label = static_cast<int>(label - first_class);
  }
  row_labels[b] = valid ? row_label : kInvalidLabel;
}

// What weights become where the copy engine cannot read them as they are.
template <typename T>
int64_t PaddedWeights(const LossProblem<T>& p) {
  return CanMap(p.weights, p.dim) ? 0 : p.classes * NumBlocks(p.dim, kMapColumns) * kMapColumns;
}

struct Plan {
  LogitPlan forward;
  BackwardPlan backward;
  int64_t padded_dim;      // of hidden rows
  int64_t padded_weights;  // 0: they stay where they are
  int64_t weights_pitch;

  template <typename T>
  explicit Plan(const LossProblem<T>& p)
      : forward(p.batch, p.classes, p.dim),
        backward(p.batch, p.classes, p.dim),
        padded_dim(forward.chunks * kChunkColumns),
        padded_weights(PaddedWeights(p)),
        weights_pitch(padded_weights == 0 ? p.dim : padded_weights / p.classes) {}
};

template <typename T>
struct Pieces {
  T *hidden, *weights;
  int* labels;
  PartialSums sums;
  float* label_logits;
  RowGradients rows;
  float* d_hidden_parts;

  Pieces(const LossProblem<T>& p, const Plan& plan, Scratch* scratch) {
    hidden = scratch->Take<T>(p.batch * plan.padded_dim);
    weights = scratch->Take<T>(plan.padded_weights);
    labels = scratch->Take<int>(p.batch);
    const int64_t sums_size = plan.forward.splits * p.batch;
    const bool backward = p.dim <= kWidestBackward;
    sums.max = scratch->Take<float>(sums_size);
    sums.sum_exp = scratch->Take<float>(sums_size);
    sums.sum_shifted = scratch->Take<float>(p.options.label_smoothing != 0 ? sums_size : 0);
    label_logits = scratch->Take<float>(p.batch);
    rows.base = scratch->Take<float>(backward ? p.batch : 0);
    rows.factor = scratch->Take<float>(backward ? p.batch : 0);
    rows.shift = scratch->Take<float>(backward ? p.batch : 0);
    rows.target = scratch->Take<float>(backward ? p.batch : 0);
    rows.labels = labels;
    rows.largest = scratch->Take<uint32_t>(1);
    const bool parts = backward && plan.backward.row_splits > 1;
    d_hidden_parts = scratch->Take<float>(parts ? plan.backward.row_splits * p.batch * p.dim : 0);
  }
};

template <typename T>
Status Prepare(const LossProblem<T>& p, const Plan& plan, const Pieces<T>& pieces,
               const Stream& stream) {
  if (plan.padded_weights != 0) {
    FASTW2V_RETURN_IF_ERROR(Launch(PadWeightsKernel<T>, NumBlocks(p.classes, kPrepareWarps),
                                   kPrepareThreads, 0, stream, p.weights, p.classes, p.dim,
                                   plan.weights_pitch, pieces.weights));
  }
  return Launch(PrepareKernel<T>, NumBlocks(p.batch, kPrepareWarps), kPrepareThreads, 0, stream,
                p.hidden, p.ids, p.hidden_rows, p.labels, p.options.ignored, p.first_class,
                p.all_classes(), p.batch, p.classes, p.dim, plan.padded_dim, pieces.hidden,
                pieces.labels);
}

template <typename T>
const T* Weights(const LossProblem<T>& p, const Plan& plan, const Pieces<T>& pieces) {
  return plan.padded_weights == 0 ? p.weights : pieces.weights;
}

}  // namespace

template <typename T>
bool SupportsForward(const LossProblem<T>& p, const Device& device) {
  const auto aligned = [](const T* data) { return reinterpret_cast<uintptr_t>(data) % 4 == 0; };
  constexpr int64_t kMost = int64_t{1} << 30;  // rows and columns are counted in int
  return device.arch == 90 && device.shared_bytes >= kShared && p.candidates == Candidates::kAll &&
         p.options.link == Link::kSoftmax && p.num_true == 1 && p.options.logit_softcap == 0 &&
         p.options.margin == 0 && p.options.compute_dtype == ComputeDtype::kAccumulator &&
         p.dim >= 2 && p.dim < kMost && p.dim % 2 == 0 && p.classes > 1 && p.classes < kMost &&
         p.batch < kMost && aligned(p.hidden) && aligned(p.weights) &&
         PaddedWeights(p) <= device.logit_bytes / static_cast<int64_t>(sizeof(T));
}

template <typename T>
bool SupportsBackward(const LossProblem<T>& p, const Device& device) {
  return SupportsForward(p, device) && p.dim <= kWidestBackward;
}

template <typename T>
bool SupportsStoredGradients(const LossProblem<T>& p, const Device& device) {
  const bool rounds = std::is_same_v<T, Half> && p.options.compute_dtype == ComputeDtype::kBFloat16;
  return device.arch == 90 && device.shared_bytes >= kShared && !rounds && p.options.margin == 0;
}

template <typename T>
std::size_t ExactLossScratchBytes(const LossProblem<T>& problem, const Device&) {
  Scratch scratch;
  Pieces<T>(problem, Plan(problem), &scratch);
  return scratch.used();
}

namespace {

// run(a prepared ForwardPass).
template <typename T, typename Run>
Status WithForwardPass(const LossProblem<T>& p, const Stream& stream, void* memory, Run run) {
  if (p.batch == 0) return Status();
  Scratch scratch(memory);
  const Plan plan(p);
  const Pieces<T> pieces(p, plan, &scratch);
  FASTW2V_RETURN_IF_ERROR(Prepare(p, plan, pieces, stream));
  return run(ForwardPass<T>{p, plan.forward, pieces.hidden, Weights(p, plan, pieces),
                            plan.weights_pitch, pieces.labels, pieces.sums, pieces.label_logits});
}

}  // namespace

template <typename T>
Status ExactLossForward(const LossProblem<T>& p, const Stream& stream, void* memory, float* loss,
                        const Normalizer<float>& normalizer) {
  return WithForwardPass(p, stream, memory, [&](const ForwardPass<T>& pass) {
    return RunForward(pass, stream, loss, normalizer);
  });
}

template <typename T>
Status SoftmaxPartForward(const LossProblem<T>& p, const Stream& stream, void* memory,
                          const SoftmaxPart<float>& part) {
  return WithForwardPass(p, stream, memory,
                         [&](const ForwardPass<T>& pass) { return RunPart(pass, stream, part); });
}

template <typename T>
Status ExactLossBackward(const LossProblem<T>& p, const float* d_loss,
                         const Normalizer<const float>& normalizer, const Stream& stream,
                         void* memory, float* d_hidden, T* d_weights, T* d_biases) {
  if (p.batch == 0) {
    if (d_weights != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Zero(d_weights, p.classes * p.dim * sizeof(T), stream));
    }
    return d_biases == nullptr ? Status() : Zero(d_biases, p.classes * sizeof(T), stream);
  }
  Scratch scratch(memory);
  const Plan plan(p);
  const Pieces<T> pieces(p, plan, &scratch);
  FASTW2V_RETURN_IF_ERROR(Prepare(p, plan, pieces, stream));
  const BackwardPass<T> pass = {p,
                                plan.backward,
                                pieces.hidden,
                                Weights(p, plan, pieces),
                                plan.weights_pitch,
                                pieces.rows,
                                pieces.d_hidden_parts};
  return RunBackward(pass, d_loss, normalizer, stream, d_hidden, d_weights, d_biases);
}

#define FASTW2V_INSTANTIATE(T)                                                                    \
  template bool SupportsForward(const LossProblem<T>&, const Device&);                            \
  template bool SupportsBackward(const LossProblem<T>&, const Device&);                           \
  template bool SupportsStoredGradients(const LossProblem<T>&, const Device&);                    \
  template std::size_t ExactLossScratchBytes(const LossProblem<T>&, const Device&);               \
  template Status ExactLossForward(const LossProblem<T>&, const Stream&, void*, float*,           \
                                   const Normalizer<float>&);                                     \
  template Status SoftmaxPartForward(const LossProblem<T>&, const Stream&, void*,                 \
                                     const SoftmaxPart<float>&);                                  \
  template Status ExactLossBackward(const LossProblem<T>&, const float*,                          \
                                    const Normalizer<const float>&, const Stream&, void*, float*, \
                                    T*, T*);
FASTW2V_INSTANTIATE(BFloat16)
FASTW2V_INSTANTIATE(Half)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda::hopper
