// The exact softmax loss by products of tiles of 128 hidden rows and 128 classes, whose logits
// exist in registers alone.
//
//   forward    logit_tiles.cu. A block owns a tile of rows and a run of class tiles. Every thread
//              keeps the maximum and the sum of exponentials of the columns it holds; they are
//              joined at the end of the run, and by FinishLoss over the runs of a row.
//   backward   Narrow 16-bit tables (fused_gradient.cu): the logits again, twice, and their
//              gradient P from shared memory into the products P W (d_hidden) and P^T X
//              (d_weights). Others (gradient_products.cu): a chunk of classes at a time, P into
//              scratch of bounded size and from there into the products.
//
// Sums are cut by the problem alone, never by the device, and joined in a fixed order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/loss/exact/fused_gradient.h"
#include "csrc/cuda/loss/exact/gradient_products.h"
#include "csrc/cuda/loss/exact/logit_tiles.h"
#include "csrc/cuda/loss/exact_logits.h"
#include "csrc/cuda/loss/hopper/exact_loss.h"
#include "csrc/cuda/loss/hopper/logit_gradients.h"
#include "csrc/cuda/loss/hopper/products.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/partial_softmax.h"

namespace fastw2v::cuda {

namespace {

// Blocks that have work at the same time, more than any device runs: ends of runs overlap.
constexpr int64_t kManyBlocks = 4096;
constexpr int64_t kGradientBlocks = 512;
constexpr int64_t kChunkBytes = int64_t{64} << 20;  // of P; one tile of classes at least
// Where Hopper's products take P, whose tiles are larger: as many as keep all multiprocessors busy.
constexpr int64_t kHopperChunkBytes = int64_t{256} << 20;
constexpr int64_t kHopperBlocks = 132;

// ---- before and after the products

// The labels of a problem, [batch, num_true].
struct Labels {
  const int64_t* all;
  int64_t classes;  // in [0, classes) or ignored
  IgnoredLabel ignored;
  // Of a part of the classes, for the kernels that follow: what number a label has in the part,
  // below 0 or above the last where it is not there. Null: `all` are these numbers.
  int64_t* here;
  int64_t first_class;
};

// hidden[r, :] = row r, rounded if so asked; 0 where there is none. counts[r] is how many labels
// are not ignored, or -1 where an id or label is out of range.
template <typename Products>
__global__ void __launch_bounds__(kThreads)
    PrepareRows(Operands<Products> operands, Labels labels, const typename Products::Element* rows,
                const int64_t* ids, int64_t num_rows, ComputeDtype compute_dtype,
                typename Products::Element* hidden, int32_t* counts) {
  using T = typename Products::Element;
  using A = typename Products::Sum;
  const int64_t r = blockIdx.x;
  int64_t row = r;
  bool valid = r < operands.batch;
  if (valid && ids != nullptr) {
    row = ids[r];
    valid = row >= 0 && row < num_rows;
  }
  if (threadIdx.x == 0) {
    int32_t count = valid ? 0 : -1;
    for (int64_t j = 0; r < operands.batch && j < operands.num_true; ++j) {
      const int64_t i = r * operands.num_true + j, label = labels.all[i];
      const bool ignored = labels.ignored.Is(label);
      const bool exists = label >= 0 && label < labels.classes;
      if (labels.here != nullptr) {
        labels.here[i] = exists && !ignored ? label - labels.first_class : -1;
      }
      if (!ignored && count >= 0) count = exists ? count + 1 : -1;
    }
    counts[r] = count;
  }
  T* const to = hidden + r * operands.hidden.pitch;
  for (int64_t d = threadIdx.x; d < operands.hidden.pitch; d += kThreads) {
    T x = T{};
    if (valid && d < operands.dim) {
      x = rows[row * operands.dim + d];
      if (compute_dtype == ComputeDtype::kBFloat16) {
        const float whole = static_cast<float>(ToFloat(x));
        x = Round<T>(static_cast<A>(ToFloat(Round<BFloat16>(whole))));
      }
    }
    to[d] = x;
  }
}

// The sums of row b over all runs.
template <typename A>
__device__ __forceinline__ PartialSoftmax<A> JoinRuns(const PartialSoftmax<A>* partial,
                                                      int64_t runs, int64_t rows, int64_t b) {
  PartialSoftmax<A> sums = partial[b];
  for (int64_t run = 1; run < runs; ++run) sums = Join(sums, partial[run * rows + b]);
  return sums;
}

template <typename Products>
__global__ void __launch_bounds__(kThreads)
    FinishLoss(Operands<Products> operands, LossNumbers<typename Products::Sum> numbers,
               const int32_t* counts, const PartialSoftmax<typename Products::Sum>* partial,
               int64_t runs, const typename Products::Sum* label_logits,
               typename Products::Sum* loss, Normalizer<typename Products::Sum> normalizer) {
  using A = typename Products::Sum;
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= operands.batch) return;
  const int32_t count = counts[b];
  normalizer.max[b] = normalizer.log_sum[b] = 0;
  loss[b] = 0;
  if (count < 0) loss[b] = std::numeric_limits<A>::quiet_NaN();
  if (count <= 0) return;
  const PartialSoftmax<A> sums = JoinRuns(partial, runs, operands.hidden.rows, b);
  const A log_sum = log(sums.sum_exp);
  normalizer.max[b] = sums.max;
  normalizer.log_sum[b] = log_sum;
  A below_max = 0;
  for (int64_t i = b * operands.num_true; i < (b + 1) * operands.num_true; ++i) {
    if (!operands.ignored.Is(operands.labels[i])) below_max += sums.max - label_logits[i];
  }
  below_max /= static_cast<A>(count);
  loss[b] = SoftmaxLoss(numbers, sums.max, log_sum, below_max, sums.sum_shifted);
}

template <typename Products>
__global__ void __launch_bounds__(kThreads)
    FinishPart(Operands<Products> operands, const int32_t* counts,
               const PartialSoftmax<typename Products::Sum>* partial, int64_t runs,
               const typename Products::Sum* label_logits,
               SoftmaxPart<typename Products::Sum> part) {
  using A = typename Products::Sum;
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= operands.batch) return;
  if (counts[b] < 0) {
    StoreNaN(part, b);
    return;
  }
  const PartialSoftmax<A> sums = JoinRuns(partial, runs, operands.hidden.rows, b);
  A below_max = 0;
  for (int64_t i = b * operands.num_true; i < (b + 1) * operands.num_true; ++i) {
    const int64_t label = operands.labels[i];
    if (label < 0 || label >= operands.classes || operands.ignored.Is(label)) continue;
    below_max += BelowMax(sums, label_logits[i]);
  }
  StorePart(part, b, sums, below_max);
}

// Of a part without a class. Other parts report that an example is out of range.
template <typename A>
__global__ void __launch_bounds__(kThreads) FinishEmptyPart(int64_t batch, SoftmaxPart<A> part) {
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b < batch) StorePart(part, b, NoClasses<A>(), A{0});
}

template <typename Products>
__global__ void __launch_bounds__(kThreads)
    PrepareGradient(Operands<Products> operands, LossNumbers<typename Products::Sum> numbers,
                    const int32_t* counts, const typename Products::Sum* d_loss,
                    Normalizer<const typename Products::Sum> normalizer,
                    RowGradientTerms<typename Products::Sum>* terms, uint8_t* active,
                    uint32_t* largest) {
  using A = typename Products::Sum;
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= operands.hidden.rows) return;
  RowGradientTerms<A> row = {0, 0, 0, 0};
  active[b] = counts[b] > 0;
  if (counts[b] > 0) {
    const A d = d_loss[b], max = normalizer.max[b], log_sum = normalizer.log_sum[b];
    const auto gradient = MakeGradientTerms(numbers, d, max, log_sum, counts[b]);
    row.max = max;
    row.factor = gradient.scale * static_cast<A>(exp(-log_sum));
    row.shift = gradient.shift;
    row.target = gradient.target;
    const float bound = static_cast<float>(fabs(gradient.scale) + fabs(row.shift) +
                                           fabs(row.target) * static_cast<A>(operands.num_true));
    const uint32_t bits = __float_as_uint(bound);
    if (bits < 0x7F800000) atomicMax(largest, bits);
  }
  terms[b] = row;
}

// sum[i] = unit * (parts[i] + parts[stride + i] + ...), over `count` parts.
template <typename Products, typename T>
__global__ void __launch_bounds__(kThreads)
    AddParts(const typename Products::Sum* parts, int64_t count, int64_t stride, int64_t size,
             const uint32_t* largest, T* sum) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= size) return;
  typename Products::Sum total = 0;
  for (int64_t part = 0; part < count; ++part) total += parts[part * stride + i];
  if (largest != nullptr)
    total *= GradientUnit<typename Products::Element>(largest, /*inverse=*/true);
  sum[i] = Round<T>(total);
}

// ---- the calls

// Do Hopper's kernels make P, and do their products take it?
template <typename T>
bool HopperProducts(const LossProblem<T>& p, const Device& device) {
  if constexpr (sizeof(T) == 2) return hopper::SupportsStoredGradients(p, device);
  return false;
}

// How the work is cut: by the problem and by what fits into a multiprocessor's shared memory.
template <typename T>
struct Sizes {
  int64_t rows, width;  // of padded hidden rows
  int64_t row_tiles, class_tiles;
  int64_t run_tiles, runs;  // class tiles of a block of the forward pass
  int fused_panels = 0;     // of FusedGradient, or 0: P goes through memory
  int64_t chunk_tiles;      // class tiles of which P is kept at a time
  int64_t chunk_run;        // class tiles of a block that computes P
  // Gradients are summed in parts where they have too few tiles to keep a device busy: steps of k
  // (or tiles of the others) in a part, and parts.
  int64_t hidden_part, hidden_parts;
  int64_t weight_part, weight_parts;
  int64_t bias_parts;  // of a chunk

  bool hopper = false;  // Hopper's kernels make P, and their products take it

  Sizes(const LossProblem<T>& p, const Device& device) {
    constexpr int64_t kWidth = kPanelWidth<T>;
    row_tiles = Divide(p.batch, kTile);
    rows = row_tiles * kTile;
    width = Divide(p.dim, kWidth) * kWidth;
    class_tiles = Divide(p.classes, kTile);
    run_tiles = Divide(class_tiles * row_tiles, kManyBlocks);
    runs = Divide(class_tiles, run_tiles);

    const bool plain =
        (std::is_same_v<T, Half> && p.options.compute_dtype == ComputeDtype::kBFloat16) ||
        p.options.margin != 0;
    for (const int panels : {4, 2, 1}) {
      if (sizeof(T) == 2 && !plain && width <= panels * kWidth &&
          FusedSharedBytes(panels) <= device.shared_bytes) {
        fused_panels = panels;
      }
    }
    if (fused_panels > 0) {
      chunk_tiles = chunk_run = 0;
      Cut(Divide(p.classes, kOthers), row_tiles, 8, &hidden_part, &hidden_parts);
      Cut(Divide(p.batch, kOthers), class_tiles, 8, &weight_part, &weight_parts);
      return;
    }
    hopper = HopperProducts(p, device);
    bias_parts = hopper ? rows / ::fastw2v::cuda::hopper::kBiasRows : row_tiles;
    const int64_t chunk_bytes = hopper ? kHopperChunkBytes : kChunkBytes;
    const int64_t fitting = chunk_bytes / static_cast<int64_t>(rows * kTile * sizeof(T));
    const int64_t chunks = Divide(class_tiles, std::max<int64_t>(fitting, 1));
    chunk_tiles = Divide(class_tiles, chunks);
    chunk_run = std::min<int64_t>(8, Divide(chunk_tiles * row_tiles, kManyBlocks / 4));
    if (hopper) {
      const int64_t columns = Divide(p.dim, ::fastw2v::cuda::hopper::ProductTileColumns(p.dim));
      const int64_t blocks = row_tiles * columns;
      hidden_parts = std::clamp<int64_t>(kHopperBlocks / blocks, 1, Divide(chunk_tiles, 8));
      hidden_part = Divide(chunk_tiles * kTile / kWidth, hidden_parts);
      weight_part = rows / kWidth;
      weight_parts = 1;
      return;
    }
    const int64_t columns = Divide(p.dim, kTile);
    Cut(chunk_tiles * kTile / kWidth, row_tiles * columns, 32, &hidden_part, &hidden_parts);
    Cut(rows / kWidth, chunk_tiles * columns, 32, &weight_part, &weight_parts);
  }

 private:
  static int64_t Divide(int64_t x, int64_t y) { return (x + y - 1) / y; }

  // So many parts of `steps` that, with `tiles` blocks each, a device is busy, if each has some
  // work.
  static void Cut(int64_t steps, int64_t tiles, int64_t fewest, int64_t* part, int64_t* parts) {
    *part = Divide(steps, std::clamp<int64_t>(kGradientBlocks / tiles, 1, Divide(steps, fewest)));
    *parts = Divide(steps, *part);
  }
};

template <typename T>
struct ExactScratch {
  using A = Accumulator<T>;

  T* hidden;
  int64_t* labels;  // of a part, see Labels
  int32_t* counts;
  PartialSoftmax<A>* sums;
  A* label_logits;
  RowGradientTerms<A>* terms;
  uint8_t* active;
  uint32_t* largest;
  T* p;
  A* bias_sums;
  A* hidden_sums;
  A* weight_sums;

  ExactScratch(const LossProblem<T>& problem, const Sizes<T>& sizes, Scratch* scratch)
      : hidden(scratch->Take<T>(sizes.rows * sizes.width)),
        labels(problem.part_of == 0 ? nullptr
                                    : scratch->Take<int64_t>(problem.batch * problem.num_true)),
        counts(scratch->Take<int32_t>(sizes.rows)),
        sums(scratch->Take<PartialSoftmax<A>>(sizes.runs * sizes.rows)),
        label_logits(scratch->Take<A>(problem.batch * problem.num_true)),
        terms(scratch->Take<RowGradientTerms<A>>(sizes.rows)),
        active(scratch->Take<uint8_t>(sizes.rows)),
        largest(scratch->Take<uint32_t>(1)),
        p(scratch->Take<T>(sizes.rows * sizes.chunk_tiles * kTile)),
        bias_sums(scratch->Take<A>(sizes.fused_panels > 0
                                       ? sizes.weight_parts * problem.classes
                                       : sizes.bias_parts * sizes.chunk_tiles * kTile)),
        hidden_sums(scratch->Take<A>(
            sizes.hidden_parts > 1 ? sizes.hidden_parts * problem.batch * problem.dim : 0)),
        weight_sums(scratch->Take<A>(
            sizes.weight_parts > 1 ? sizes.weight_parts * WeightRows(problem, sizes) * problem.dim
                                   : 0)) {}

  // Of the gradient that are summed at a time.
  static int64_t WeightRows(const LossProblem<T>& problem, const Sizes<T>& sizes) {
    return sizes.fused_panels > 0 ? problem.classes
                                  : std::min(sizes.chunk_tiles * kTile, problem.classes);
  }
};

// A call on a problem that is not empty, with the products that suit it.
template <typename Products>
class ExactLoss {
  using T = typename Products::Element;
  using A = typename Products::Sum;

 public:
  ExactLoss(const LossProblem<T>& problem, Products products, const Stream& stream, void* memory)
      : p_(problem),
        sizes_(problem, stream.device),
        stream_(stream),
        memory_(memory),
        scratch_(problem, sizes_, &memory_) {
    const LossOptions& options = p_.options;
    operands_.products = products;
    operands_.hidden = MakeMatrix<T>(scratch_.hidden, sizes_.rows, sizes_.width, sizes_.width);
    operands_.weights = MakeMatrix<T>(p_.weights, p_.classes, p_.dim, p_.dim);
    operands_.biases = p_.biases;
    operands_.labels = p_.labels;
    operands_.active = scratch_.active;
    operands_.batch = p_.batch;
    operands_.classes = p_.classes;
    operands_.dim = p_.dim;
    operands_.num_true = p_.num_true;
    operands_.ignored = options.ignored;
    if (scratch_.labels != nullptr) {  // of a part
      operands_.labels = scratch_.labels;
      operands_.ignored = {};
    }
    operands_.logits = MakeLogitNumbers<A>(options);
    numbers_ = MakeLossNumbers<A>(options, p_.all_classes());
  }

  // Fills the padded copy of hidden rows and the labels of a part, for all that follows.
  Status Prepare() {
    const Labels labels = {p_.labels, p_.all_classes(), p_.options.ignored, scratch_.labels,
                           p_.first_class};
    return Launch(PrepareRows<Products>, dim3(sizes_.rows), dim3(kThreads), 0, stream_, operands_,
                  labels, p_.hidden, p_.ids, p_.hidden_rows, p_.options.compute_dtype,
                  scratch_.hidden, scratch_.counts);
  }

  Status Forward(A* loss, const Normalizer<A>& normalizer) {
    FASTW2V_RETURN_IF_ERROR(SumLogits());
    return Launch(FinishLoss<Products>, dim3(NumBlocks(p_.batch, kThreads)), dim3(kThreads), 0,
                  stream_, operands_, numbers_, scratch_.counts, scratch_.sums, sizes_.runs,
                  scratch_.label_logits, loss, normalizer);
  }

  Status ForwardPart(const SoftmaxPart<A>& part) {
    FASTW2V_RETURN_IF_ERROR(SumLogits());
    return Launch(FinishPart<Products>, dim3(NumBlocks(p_.batch, kThreads)), dim3(kThreads), 0,
                  stream_, operands_, scratch_.counts, scratch_.sums, sizes_.runs,
                  scratch_.label_logits, part);
  }

  Status Backward(const A* d_loss, const Normalizer<const A>& normalizer, A* d_hidden, T* d_weights,
                  T* d_biases) {
    if (d_hidden == nullptr && d_weights == nullptr && d_biases == nullptr) return Status();
    FASTW2V_RETURN_IF_ERROR(Zero(scratch_.largest, sizeof(uint32_t), stream_));
    FASTW2V_RETURN_IF_ERROR(Launch(PrepareGradient<Products>,
                                   dim3(NumBlocks(sizes_.rows, kThreads)), dim3(kThreads), 0,
                                   stream_, operands_, numbers_, scratch_.counts, d_loss,
                                   normalizer, scratch_.terms, scratch_.active, scratch_.largest));
    if constexpr (sizeof(T) == 2 && std::is_same_v<Products, Products16<T>>) {
      if (sizes_.fused_panels > 0) {
        FASTW2V_RETURN_IF_ERROR(Fused(d_hidden, d_weights, d_biases));
      }
    }
    for (int64_t first = 0; sizes_.chunk_tiles > 0 && first < sizes_.class_tiles;
         first += sizes_.chunk_tiles) {
      const int64_t last = std::min(first + sizes_.chunk_tiles, sizes_.class_tiles);
      FASTW2V_RETURN_IF_ERROR(Chunk(first, last, d_hidden, d_weights, d_biases));
    }
    if (d_hidden == nullptr || sizes_.hidden_parts == 1) return Status();
    const int64_t size = p_.batch * p_.dim;
    return Add(scratch_.hidden_sums, sizes_.hidden_parts, size, size, nullptr, d_hidden);
  }

 private:
  Status SumLogits() {
    LogitResults<Products> results = {};
    results.sums = scratch_.sums;
    results.label_logits = scratch_.label_logits;
    results.smoothing = p_.options.label_smoothing != 0;
    return LaunchLogits<Products, false>(operands_, results, 0, sizes_.class_tiles,
                                         sizes_.run_tiles, stream_);
  }

  ProductResults<Products> HiddenProduct(A* d_hidden) const {
    ProductResults<Products> product = {};
    product.rows = p_.batch;
    product.columns = p_.dim;
    product.factor = static_cast<A>(p_.options.logit_scale);
    product.largest = scratch_.largest;
    product.sums = sizes_.hidden_parts > 1 ? scratch_.hidden_sums : d_hidden;
    product.first = true;
    product.part = sizes_.hidden_part;
    return product;
  }

  // Of `rows` rows from d_weights on.
  ProductResults<Products> WeightProduct(int64_t rows, T* d_weights) const {
    ProductResults<Products> product = {};
    product.rows = rows;
    product.columns = p_.dim;
    product.factor = operands_.logits.scale;
    product.largest = scratch_.largest;
    product.rounded = sizes_.weight_parts > 1 ? nullptr : d_weights;
    product.sums = scratch_.weight_sums;
    product.first = true;
    product.part = sizes_.weight_part;
    return product;
  }

  template <typename R>
  Status Add(const A* parts, int64_t count, int64_t stride, int64_t size, const uint32_t* largest,
             R* sum) const {
    return Launch(AddParts<Products, R>, dim3(NumBlocks(size, kThreads)), dim3(kThreads), 0,
                  stream_, parts, count, stride, size, largest, sum);
  }

  Status Fused(A* d_hidden, T* d_weights, T* d_biases) {
    if (d_hidden != nullptr) {
      FusedResults<Products> results = {};
      results.product = HiddenProduct(d_hidden);
      results.multiply = true;
      FASTW2V_RETURN_IF_ERROR((LaunchFusedGradient<T, true>(
          sizes_.fused_panels, operands_, scratch_.terms, results, sizes_.hidden_parts, stream_)));
    }
    if (d_weights == nullptr && d_biases == nullptr) return Status();
    const bool in_parts = sizes_.weight_parts > 1;
    FusedResults<Products> results = {};
    results.product = WeightProduct(p_.classes, d_weights);
    results.multiply = d_weights != nullptr;
    results.bias_sums = d_biases != nullptr && in_parts ? scratch_.bias_sums : nullptr;
    results.biases = in_parts ? nullptr : d_biases;
    FASTW2V_RETURN_IF_ERROR((LaunchFusedGradient<T, false>(
        sizes_.fused_panels, operands_, scratch_.terms, results, sizes_.weight_parts, stream_)));
    if (!in_parts) return Status();
    const int64_t parts = sizes_.weight_parts, size = p_.classes * p_.dim;
    if (d_weights != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Add(scratch_.weight_sums, parts, size, size, nullptr, d_weights));
    }
    if (d_biases == nullptr) return Status();
    return Add(scratch_.bias_sums, parts, p_.classes, p_.classes, nullptr, d_biases);
  }

  // Class tiles [first, last).
  Status Chunk(int64_t first, int64_t last, A* d_hidden, T* d_weights, T* d_biases) {
    LogitResults<Products> results = {};
    results.terms = scratch_.terms;
    results.largest = scratch_.largest;
    results.p = d_hidden != nullptr || d_weights != nullptr ? scratch_.p : nullptr;
    results.pitch = sizes_.chunk_tiles * kTile;
    results.bias_sums = d_biases == nullptr ? nullptr : scratch_.bias_sums;
    const int64_t class0 = first * kTile;
    const int64_t classes = std::min(last * kTile, p_.classes) - class0;
    if (sizes_.hopper) {
      FASTW2V_RETURN_IF_ERROR(HopperLogits(results, class0, classes));
    } else {
      FASTW2V_RETURN_IF_ERROR((LaunchLogits<Products, true>(operands_, results, first, last,
                                                            sizes_.chunk_run, stream_)));
    }

    if (d_biases != nullptr) {
      FASTW2V_RETURN_IF_ERROR(Add(scratch_.bias_sums, sizes_.bias_parts, results.pitch, classes,
                                  scratch_.largest, d_biases + class0));
    }
    const Matrix<T> p = MakeMatrix<T>(scratch_.p, sizes_.rows, results.pitch, results.pitch);
    if constexpr (sizeof(T) == 2) {
      if (sizes_.hopper) return HopperChunk(class0, classes, d_hidden, d_weights);
    }
    if (d_hidden != nullptr) {
      const T* const weights = p_.weights + class0 * p_.dim;
      ProductResults<Products> product = HiddenProduct(d_hidden);
      product.first = first == 0;
      FASTW2V_RETURN_IF_ERROR((LaunchMultiplyGradient<Products, true>(
          operands_.products, p, MakeMatrix<T>(weights, classes, p_.dim, p_.dim), product,
          sizes_.hidden_parts, stream_)));
    }
    if (d_weights == nullptr) return Status();
    T* const to = d_weights + class0 * p_.dim;
    FASTW2V_RETURN_IF_ERROR((LaunchMultiplyGradient<Products, false>(
        operands_.products, p, operands_.hidden, WeightProduct(classes, to), sizes_.weight_parts,
        stream_)));
    if (sizes_.weight_parts == 1) return Status();
    const int64_t size = classes * p_.dim;
    return Add(scratch_.weight_sums, sizes_.weight_parts, size, size, nullptr, to);
  }

  // P of `classes` classes from class0 on.
  Status HopperLogits(const LogitResults<Products>& results, int64_t class0, int64_t classes) {
    if constexpr (sizeof(T) == 2) {
      hopper::LogitGradients<T> gradients;
      gradients.hidden = scratch_.hidden;
      gradients.batch = p_.batch;
      gradients.rows = sizes_.rows;
      gradients.width = sizes_.width;
      gradients.weights = p_.weights + class0 * p_.dim;
      gradients.biases = p_.biases == nullptr ? nullptr : p_.biases + class0;
      gradients.classes = classes;
      gradients.dim = p_.dim;
      gradients.first_class = class0;
      gradients.labels = operands_.labels;
      gradients.num_true = p_.num_true;
      gradients.ignored = operands_.ignored;
      gradients.scale = operands_.logits.scale;
      gradients.softcap = operands_.logits.softcap;
      gradients.terms = results.terms;
      gradients.active = scratch_.active;
      gradients.largest = results.largest;
      gradients.p = results.p;
      gradients.pitch = results.pitch;
      gradients.bias_sums = results.bias_sums;
      return hopper::StoreLogitGradients(gradients, stream_);
    }
    return Status();
  }

  // The products of P with `classes` classes from class0 on.
  Status HopperChunk(int64_t class0, int64_t classes, A* d_hidden, T* d_weights) {
    hopper::GradientProduct<T> product;
    product.p = scratch_.p;
    product.p_rows = sizes_.rows;
    product.pitch = sizes_.chunk_tiles * kTile;
    product.columns = p_.dim;
    product.largest = scratch_.largest;
    if (d_hidden != nullptr) {
      product.other = p_.weights + class0 * p_.dim;
      product.other_rows = classes;
      product.other_columns = p_.dim;
      product.rows = p_.batch;
      product.factor = static_cast<float>(p_.options.logit_scale);
      product.sums = sizes_.hidden_parts > 1 ? scratch_.hidden_sums : d_hidden;
      product.parts = sizes_.hidden_parts;
      product.first = class0 == 0;
      FASTW2V_RETURN_IF_ERROR(hopper::MultiplyGradient(product, stream_));
    }
    if (d_weights == nullptr) return Status();
    product.other = scratch_.hidden;
    product.other_rows = sizes_.rows;
    product.other_columns = sizes_.width;
    product.rows = classes;
    product.factor = operands_.logits.scale;
    product.sums = nullptr;
    product.rounded = d_weights + class0 * p_.dim;
    return hopper::MultiplyGradient(product, stream_);
  }

  const LossProblem<T>& p_;
  const Sizes<T> sizes_;
  const Stream& stream_;
  Scratch memory_;
  const ExactScratch<T> scratch_;
  Operands<Products> operands_ = {};
  LossNumbers<A> numbers_;
};

// use(an ExactLoss with the products that suit the problem).
template <typename T, typename Use>
Status WithProducts(const LossProblem<T>& problem, const Stream& stream, void* memory, Use use) {
  const ComputeDtype compute_dtype = problem.options.compute_dtype;
  const bool rounded = compute_dtype == ComputeDtype::kBFloat16;
  const auto run = [&](auto products) {
    ExactLoss<decltype(products)> loss(problem, products, stream, memory);
    FASTW2V_RETURN_IF_ERROR(loss.Prepare());
    return use(loss);
  };
  if constexpr (std::is_same_v<T, double>) {
    return run(PlainProducts<double>{compute_dtype});
  } else if constexpr (std::is_same_v<T, float>) {
    if (rounded || problem.allow_tf32) return run(ProductsTf32<false>{compute_dtype});
    return run(ProductsTf32<true>{});
  } else {
    if constexpr (std::is_same_v<T, Half>) {
      if (rounded) return run(PlainProducts<Half>{compute_dtype});
    }
    return run(Products16<T>{});
  }
}

// Hopper has kernels of its own for many problems.
template <typename T>
bool HopperForward(const LossProblem<T>& problem, const Device& device) {
  if constexpr (sizeof(T) == 2) return hopper::SupportsForward(problem, device);
  return false;
}
template <typename T>
bool HopperBackward(const LossProblem<T>& problem, const Device& device) {
  if constexpr (sizeof(T) == 2) return hopper::SupportsBackward(problem, device);
  return false;
}

}  // namespace

template <typename T>
std::size_t ExactLossScratchBytes(const LossProblem<T>& problem, const Device& device) {
  if (problem.batch == 0 || problem.classes == 0) return 0;
  std::size_t of_hopper = 0;
  if constexpr (sizeof(T) == 2) {
    if (HopperForward(problem, device)) of_hopper = hopper::ExactLossScratchBytes(problem, device);
    if (HopperBackward(problem, device)) return of_hopper;
  }
  Scratch scratch;
  ExactScratch<T>(problem, Sizes<T>(problem, device), &scratch);
  return std::max(scratch.used(), of_hopper);
}

template <typename T>
Status ExactLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  if (problem.batch == 0) return Status();
  if constexpr (sizeof(T) == 2) {
    if (HopperForward(problem, stream.device)) {
      return hopper::ExactLossForward(problem, stream, scratch, loss, normalizer);
    }
  }
  return WithProducts(problem, stream, scratch,
                      [&](auto& call) { return call.Forward(loss, normalizer); });
}

template <typename T>
Status SoftmaxPartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                          const SoftmaxPart<Accumulator<T>>& part) {
  if (problem.batch == 0) return Status();
  if (problem.classes == 0) {
    return Launch(FinishEmptyPart<Accumulator<T>>, dim3(NumBlocks(problem.batch, kThreads)),
                  dim3(kThreads), 0, stream, problem.batch, part);
  }
  if constexpr (sizeof(T) == 2) {
    if (HopperForward(problem, stream.device)) {
      return hopper::SoftmaxPartForward(problem, stream, scratch, part);
    }
  }
  return WithProducts(problem, stream, scratch, [&](auto& call) { return call.ForwardPart(part); });
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
    if (HopperBackward(problem, stream.device)) {
      return hopper::ExactLossBackward(problem, d_loss, normalizer, stream, scratch, d_hidden,
                                       d_weights, d_biases);
    }
  }
  return WithProducts(problem, stream, scratch, [&](auto& call) {
    return call.Backward(d_loss, normalizer, d_hidden, d_weights, d_biases);
  });
}

template <typename T>
Status ExactLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                              const Stream& stream, void* scratch, Accumulator<T>* loss,
                              const Normalizer<Accumulator<T>>& normalizer,
                              Accumulator<T>* d_hidden, T* d_weights, T* d_biases) {
  if (problem.batch == 0) {
    return ExactLossBackward<T>(problem, d_loss, {}, stream, scratch, d_hidden, d_weights,
                                d_biases);
  }
  if (HopperForward(problem, stream.device)) {
    FASTW2V_RETURN_IF_ERROR(ExactLossForward<T>(problem, stream, scratch, loss, normalizer));
    return ExactLossBackward<T>(problem, d_loss, {normalizer.max, normalizer.log_sum}, stream,
                                scratch, d_hidden, d_weights, d_biases);
  }
  return WithProducts(problem, stream, scratch, [&](auto& call) -> Status {
    FASTW2V_RETURN_IF_ERROR(call.Forward(loss, normalizer));
    return call.Backward(d_loss, {normalizer.max, normalizer.log_sum}, d_hidden, d_weights,
                         d_biases);
  });
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
