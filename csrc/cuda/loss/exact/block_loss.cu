#include <algorithm>
#include <type_traits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/device/gemm.h"
#include "csrc/cuda/device/vectors.h"
#include "csrc/cuda/loss/add_parts.h"
#include "csrc/cuda/loss/exact/block_loss.h"
#include "csrc/cuda/loss/exact/examples.h"
#include "csrc/cuda/loss/exact/stored_logits.h"
#include "csrc/cuda/loss/hopper/exact_loss.h"
#include "csrc/cuda/loss/hopper/logit_gradients.h"

namespace fastw2v::cuda {

namespace {

int64_t Divide(int64_t x, int64_t y) { return (x + y - 1) / y; }
int64_t RoundUp(int64_t x, int64_t y) { return Divide(x, y) * y; }

// Rows of a block from which on it pays to keep logits: for each block weights are read, and their
// gradient is read and written, once more. With M bytes and F operations a second that is 16 V D /
// M for floats, while computing R rows of logits again would take 2 R V D / F: more from R = 8 F /
// M on. By the data sheets of an A100 and an H100 that is 600 to 1200 rows for TF32, and 80 to 160
// for plain products of floats. Not measured.
constexpr int64_t kFewestRows = 1024, kFewestRowsOfPlainProducts = 128;

// Does Hopper's kernel make P?
template <typename T>
bool HopperGradients(const LossProblem<T>& p, const Device& device) {
  if constexpr (sizeof(T) == 2) return hopper::SupportsStoredGradients(p, device);
  return false;
}
template <typename T>
bool HopperForward(const LossProblem<T>& p, const Device& device) {
  if constexpr (sizeof(T) == 2) return hopper::SupportsForward(p, device);
  return false;
}

// How logits are cut into blocks: the only place where it is decided. E: the type of operands.
template <typename T, typename E>
struct BlockPlan {
  using A = Accumulator<T>;

  // P is another array than the logits where its elements are smaller.
  static constexpr bool kApart = sizeof(E) != sizeof(A);
  // The gradient of weights comes as sums where the library cannot round to T or, in float16, must
  // not round before the unit of P is taken out.
  static constexpr bool kWeightSums = std::is_same_v<T, Half>;

  bool hopper;          // P comes from Hopper's kernel
  bool stores_logits;   // not where nothing but that kernel and Hopper's forward pass is used
  bool copies_weights;  // as operands: rounded, or in rows that are aligned
  int64_t hidden_rows, hidden_pitch, weights_pitch;  // of operands

  int64_t rows, classes;  // of a block
  int64_t pitch;          // of its logits
  bool keeps;             // blocks have all classes: sums and gradients in one go
  SumRuns sum_runs;

  // one_call: forward and backward together.
  BlockPlan(const LossProblem<T>& p, const Device& device, bool one_call) {
    constexpr int64_t kAligned = 16 / sizeof(E);
    hopper = HopperGradients(p, device);
    stores_logits = !hopper || !HopperForward(p, device);
    copies_weights = RoundsOperands(p) || p.dim % kAligned != 0 || p.dim == 0 ||
                     reinterpret_cast<std::uintptr_t>(p.weights) % 16 != 0;
    const int64_t width = RoundUp(std::max<int64_t>(p.dim, 1), kAligned);
    weights_pitch = copies_weights ? width : p.dim;
    hidden_rows = hopper ? RoundUp(p.batch, kPitchColumns) : p.batch;
    hidden_pitch = RoundUp(width, hopper ? 64 : kAligned);

    // Bytes of kBiasRows logits, with P and the sum for biases; and of a class beside its logits.
    const int64_t logits = kBiasRows * static_cast<int64_t>((stores_logits ? sizeof(A) : 0) +
                                                            (kApart ? sizeof(E) : 0)) +
                           static_cast<int64_t>(sizeof(A));
    const int64_t of_class = (copies_weights ? width * static_cast<int64_t>(sizeof(E)) : 0) +
                             (kWeightSums ? p.dim * static_cast<int64_t>(sizeof(A)) : 0);
    const int64_t tiles = Divide(p.classes, kPitchColumns);
    // All rows, and as many classes as fit: one tile at least.
    rows = p.batch;
    const int64_t tile_bytes = kPitchColumns * (Divide(rows * logits, kBiasRows) + of_class);
    const int64_t chunks = Divide(tiles, std::max<int64_t>(device.logit_bytes / tile_bytes, 1));
    classes = std::min(Divide(tiles, chunks) * kPitchColumns, p.classes);
    keeps = one_call && chunks == 1;
    // Or all classes, and as many rows as fit: not where gradients of weights, to which each block
    // adds, are rounded.
    const int64_t all = tiles * kPitchColumns;
    const int64_t most = (device.logit_bytes - all * of_class) * kBiasRows / (all * logits);
    const bool plain = std::is_same_v<E, double> || (std::is_same_v<E, float> && !p.allow_tf32);
    if (one_call && !keeps && std::is_same_v<T, A> &&
        most >= (plain ? kFewestRowsOfPlainProducts : kFewestRows)) {
      rows = Divide(p.batch, Divide(p.batch, most));
      classes = p.classes;
      keeps = true;
    }
    pitch = RoundUp(classes, kPitchColumns);
    sum_runs = SumRuns(rows, classes);
  }

  int64_t blocks_of_classes(const LossProblem<T>& p) const { return Divide(p.classes, classes); }
};

template <typename T, typename E>
class BlockLoss {
  using A = Accumulator<T>;
  using Plan = BlockPlan<T, E>;

 public:
  BlockLoss(const LossProblem<T>& problem, const Plan& plan, const Stream& stream, Scratch* scratch)
      : p_(problem),
        plan_(plan),
        stream_(stream),
        examples_(p_, plan_.hidden_rows, plan_.blocks_of_classes(p_) * plan_.sum_runs.runs,
                  scratch),
        hidden_(scratch->Take<E>(plan_.hidden_rows * plan_.hidden_pitch)),
        weights_(scratch->Take<E>(plan_.copies_weights ? plan_.classes * plan_.weights_pitch : 0)),
        logits_(scratch->Take<A>(plan_.stores_logits ? plan_.rows * plan_.pitch : 0)),
        apart_(scratch->Take<E>(Plan::kApart ? BlockRows() * plan_.pitch : 0)),
        bias_sums_(scratch->Take<A>(Divide(BlockRows(), kBiasRows) * plan_.pitch)),
        weight_sums_(scratch->Take<A>(Plan::kWeightSums ? plan_.classes * p_.dim : 0)) {}

  Status Prepare() { return PrepareExamples(p_, examples_, stream_, hidden_, plan_.hidden_pitch); }

  Status Forward() {
    for (int64_t class0 = 0; class0 < p_.classes; class0 += plan_.classes) {
      const StoredLogits<T> block = Block(0, class0);
      FASTW2V_RETURN_IF_ERROR(TakeWeights(block));
      FASTW2V_RETURN_IF_ERROR(Multiply(block));
      FASTW2V_RETURN_IF_ERROR(Sum(block));
    }
    return Status();
  }
  Status Finish(A* loss, const Normalizer<A>& normalizer) {
    return FinishLoss(p_, examples_, {0, p_.batch}, stream_, loss, normalizer);
  }
  Status Finish(const SoftmaxPart<A>& part) { return FinishPart(p_, examples_, stream_, part); }

  Status Backward(const A* d_loss, const Normalizer<const A>& normalizer, A* d_hidden, T* d_weights,
                  T* d_biases) {
    if (d_hidden == nullptr && d_weights == nullptr && d_biases == nullptr) return Status();
    FASTW2V_RETURN_IF_ERROR(
        PrepareGradient(p_, examples_, {0, examples_.rows}, d_loss, normalizer, stream_));
    for (int64_t class0 = 0; class0 < p_.classes; class0 += plan_.classes) {
      const StoredLogits<T> block = Block(0, class0);
      FASTW2V_RETURN_IF_ERROR(TakeWeights(block));
      if (!plan_.hopper) FASTW2V_RETURN_IF_ERROR(Multiply(block));
      FASTW2V_RETURN_IF_ERROR(Differentiate(block, plan_.hopper, d_hidden, d_weights, d_biases));
    }
    return TakeOutUnit(d_hidden);
  }

  // Where the plan keeps logits.
  Status ForwardBackward(const A* d_loss, A* loss, const Normalizer<A>& normalizer, A* d_hidden,
                         T* d_weights, T* d_biases) {
    for (int64_t row0 = 0; row0 < p_.batch; row0 += plan_.rows) {
      const StoredLogits<T> block = Block(row0, 0);
      if (row0 == 0) FASTW2V_RETURN_IF_ERROR(TakeWeights(block));
      FASTW2V_RETURN_IF_ERROR(Multiply(block));
      FASTW2V_RETURN_IF_ERROR(Sum(block));
      const RowRange rows = {row0, row0 + block.rows};
      FASTW2V_RETURN_IF_ERROR(FinishLoss(p_, examples_, rows, stream_, loss, normalizer));
      FASTW2V_RETURN_IF_ERROR(PrepareGradient(p_, examples_, rows, d_loss,
                                              {normalizer.max, normalizer.log_sum}, stream_));
      FASTW2V_RETURN_IF_ERROR(Differentiate(block, false, d_hidden, d_weights, d_biases));
    }
    return TakeOutUnit(d_hidden);
  }

 private:
  // Of P, which Hopper's kernel writes with rows of padding.
  int64_t BlockRows() const {
    return plan_.rows == p_.batch ? std::max(plan_.rows, plan_.hidden_rows) : plan_.rows;
  }
  E* P() const {
    if constexpr (Plan::kApart) {
      return apart_;
    } else {
      return logits_;
    }
  }
  double scale() const { return p_.options.logit_scale; }
  bool tf32() const { return p_.allow_tf32 && std::is_same_v<E, float>; }

  StoredLogits<T> Block(int64_t row0, int64_t class0) const {
    StoredLogits<T> block;
    block.products = logits_;
    block.pitch = plan_.pitch;
    block.row0 = row0;
    block.rows = std::min(plan_.rows, p_.batch - row0);
    block.class0 = class0;
    block.classes = std::min(plan_.classes, p_.classes - class0);
    block.biases = p_.biases;
    block.vector_biases = InVectors(kVector, p_.biases);
    block.numbers = MakeLogitNumbers<A>(p_.options);
    return block;
  }

  RowMajor<const E> Hidden(const StoredLogits<T>& block) const {
    return {hidden_ + block.row0 * plan_.hidden_pitch, plan_.hidden_pitch};
  }
  RowMajor<const E> Weights(const StoredLogits<T>& block) const {
    if constexpr (std::is_same_v<T, E>) {
      if (!plan_.copies_weights) return {p_.weights + block.class0 * p_.dim, p_.dim};
    }
    return {weights_, plan_.weights_pitch};
  }
  Status TakeWeights(const StoredLogits<T>& block) {
    if (!plan_.copies_weights) return Status();
    return PrepareWeights(p_, block.class0, block.classes, stream_, weights_, plan_.weights_pitch);
  }

  // Over columns of padding, too, which are zeros on both sides: a width of whole 16 bytes is what
  // the library is fastest with.
  Status Multiply(const StoredLogits<T>& block) {
    return cuda::Multiply<E, A>(stream_.gemm, stream_.stream, tf32(), block.rows, block.classes,
                                plan_.weights_pitch, 1, Hidden(block), false, Weights(block), true,
                                0, {logits_, block.pitch});
  }

  Status Sum(const StoredLogits<T>& block) {
    // The last block may have fewer runs: the others are without a class.
    const int64_t first_run = block.class0 / plan_.classes * plan_.sum_runs.runs;
    return SumStoredLogits(block, examples_, plan_.sum_runs, first_run,
                           p_.options.label_smoothing != 0, stream_);
  }

  Status Differentiate(const StoredLogits<T>& block, bool by_hopper, A* d_hidden, T* d_weights,
                       T* d_biases) {
    E* const p = d_hidden == nullptr && d_weights == nullptr ? nullptr : P();
    A* const bias_sums = d_biases == nullptr ? nullptr : bias_sums_;
    int64_t bias_rows = kBiasRows;
    if (by_hopper) {
      bias_rows = hopper::kBiasRows;
      FASTW2V_RETURN_IF_ERROR(DifferentiateByHopper(block, p, bias_sums));
    } else {
      const bool rounds = RoundsOperands(p_) && std::is_same_v<T, E>;
      FASTW2V_RETURN_IF_ERROR(
          DifferentiateStoredLogits(block, examples_, rounds, p, bias_sums, stream_));
    }
    const bool first_rows = block.row0 == 0;
    if (d_biases != nullptr) {
      FASTW2V_RETURN_IF_ERROR(AddParts(bias_sums_, Divide(block.rows, bias_rows), block.pitch,
                                       block.classes, first_rows, Unit(), stream_,
                                       d_biases + block.class0));
    }
    const RowMajor<const E> gradients = {p, block.pitch};
    if (d_hidden != nullptr) {
      FASTW2V_RETURN_IF_ERROR((cuda::Multiply<E, A>(
          stream_.gemm, stream_.stream, tf32(), block.rows, p_.dim, block.classes, scale(),
          gradients, false, Weights(block), false, block.class0 == 0 ? 0 : 1,
          {d_hidden + block.row0 * p_.dim, p_.dim})));
    }
    if (d_weights == nullptr) return Status();
    T* const to = d_weights + block.class0 * p_.dim;
    const auto multiply = [&](auto* sums) {
      using C = std::remove_pointer_t<decltype(sums)>;
      return cuda::Multiply<E, C>(stream_.gemm, stream_.stream, tf32(), block.classes, p_.dim,
                                  block.rows, scale(), gradients, true, Hidden(block), false,
                                  first_rows ? 0 : 1, {sums, p_.dim});
    };
    if constexpr (Plan::kWeightSums) {
      FASTW2V_RETURN_IF_ERROR(multiply(weight_sums_));
      return AddParts(weight_sums_, 1, 0, block.classes * p_.dim, true, Unit(), stream_, to);
    } else {
      return multiply(to);
    }
  }

  Status DifferentiateByHopper(const StoredLogits<T>& block, E* p, A* bias_sums) {
    if constexpr (sizeof(T) == 2 && std::is_same_v<T, E>) {
      const RowMajor<const E> weights = Weights(block);
      hopper::LogitGradients<T> gradients;
      gradients.hidden = hidden_;
      gradients.batch = p_.batch;
      gradients.rows = plan_.hidden_rows;
      gradients.width = plan_.hidden_pitch;
      gradients.weights = weights.data;
      gradients.biases = p_.biases == nullptr ? nullptr : p_.biases + block.class0;
      gradients.classes = block.classes;
      gradients.dim = weights.pitch;  // columns of padding are zeros
      gradients.first_class = block.class0;
      gradients.labels = examples_.labels;
      gradients.num_true = p_.num_true;
      gradients.ignored = examples_.ignored;
      gradients.scale = block.numbers.scale;
      gradients.softcap = block.numbers.softcap;
      gradients.terms = examples_.terms;
      gradients.active = examples_.active;
      gradients.largest = examples_.largest;
      gradients.p = p;
      gradients.pitch = block.pitch;
      gradients.bias_sums = bias_sums;
      return hopper::StoreLogitGradients(gradients, stream_);
    } else {
      return Status();
    }
  }

  // Of P in float16, on the device; null where P is as it is.
  const uint32_t* Unit() const { return std::is_same_v<E, Half> ? examples_.largest : nullptr; }
  Status TakeOutUnit(A* d_hidden) {
    if constexpr (std::is_same_v<E, Half>) {
      if (d_hidden == nullptr) return Status();
      return AddParts(d_hidden, 1, 0, p_.batch * p_.dim, true, Unit(), stream_, d_hidden);
    }
    return Status();
  }

  const LossProblem<T>& p_;
  const Plan plan_;
  const Stream& stream_;
  const Examples<A> examples_;
  E* const hidden_;
  E* const weights_;
  A* const logits_;
  E* const apart_;
  A* const bias_sums_;
  A* const weight_sums_;
};

// use(a null pointer to the type of operands).
template <typename T, typename Use>
auto WithOperands(const LossProblem<T>& p, Use use) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, Half>) {
    if (RoundsOperands(p)) return use(static_cast<BFloat16*>(nullptr));
  }
  return use(static_cast<T*>(nullptr));
}

// use(a prepared BlockLoss, its plan).
template <typename T, typename Use>
Status WithBlocks(const LossProblem<T>& p, const Stream& stream, void* memory, bool one_call,
                  Use use) {
  return WithOperands(p, [&](auto* operand) -> Status {
    using E = std::remove_pointer_t<decltype(operand)>;
    const BlockPlan<T, E> plan(p, stream.device, one_call);
    Scratch scratch(memory);
    BlockLoss<T, E> loss(p, plan, stream, &scratch);
    FASTW2V_RETURN_IF_ERROR(loss.Prepare());
    return use(loss, plan);
  });
}

}  // namespace

template <typename T>
std::size_t BlockLossScratchBytes(const LossProblem<T>& problem, const Device& device) {
  return WithOperands(problem, [&](auto* operand) {
    using E = std::remove_pointer_t<decltype(operand)>;
    std::size_t most = 0;
    for (const bool one_call : {false, true}) {
      Scratch scratch;
      BlockLoss<T, E>(problem, BlockPlan<T, E>(problem, device, one_call), Stream(), &scratch);
      most = std::max(most, scratch.used());
    }
    return most;
  });
}

template <typename T>
Status BlockLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  return WithBlocks(problem, stream, scratch, false, [&](auto& call, const auto&) {
    FASTW2V_RETURN_IF_ERROR(call.Forward());
    return call.Finish(loss, normalizer);
  });
}

template <typename T>
Status BlockPartForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                        const SoftmaxPart<Accumulator<T>>& part) {
  return WithBlocks(problem, stream, scratch, false, [&](auto& call, const auto&) {
    FASTW2V_RETURN_IF_ERROR(call.Forward());
    return call.Finish(part);
  });
}

template <typename T>
Status BlockLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                         const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                         void* scratch, Accumulator<T>* d_hidden, T* d_weights, T* d_biases) {
  return WithBlocks(problem, stream, scratch, false, [&](auto& call, const auto&) {
    return call.Backward(d_loss, normalizer, d_hidden, d_weights, d_biases);
  });
}

template <typename T>
Status BlockLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                              const Stream& stream, void* scratch, Accumulator<T>* loss,
                              const Normalizer<Accumulator<T>>& normalizer,
                              Accumulator<T>* d_hidden, T* d_weights, T* d_biases) {
  return WithBlocks(problem, stream, scratch, true, [&](auto& call, const auto& plan) -> Status {
    if (plan.keeps) {
      return call.ForwardBackward(d_loss, loss, normalizer, d_hidden, d_weights, d_biases);
    }
    FASTW2V_RETURN_IF_ERROR(call.Forward());
    FASTW2V_RETURN_IF_ERROR(call.Finish(loss, normalizer));
    return call.Backward(d_loss, {normalizer.max, normalizer.log_sum}, d_hidden, d_weights,
                         d_biases);
  });
}

#define FASTW2V_INSTANTIATE(T)                                                                     \
  template std::size_t BlockLossScratchBytes(const LossProblem<T>&, const Device&);                \
  template Status BlockLossForward(const LossProblem<T>&, const Stream&, void*, Accumulator<T>*,   \
                                   const Normalizer<Accumulator<T>>&);                             \
  template Status BlockPartForward(const LossProblem<T>&, const Stream&, void*,                    \
                                   const SoftmaxPart<Accumulator<T>>&);                            \
  template Status BlockLossBackward(const LossProblem<T>&, const Accumulator<T>*,                  \
                                    const Normalizer<const Accumulator<T>>&, const Stream&, void*, \
                                    Accumulator<T>*, T*, T*);                                      \
  template Status BlockLossWithGradients(                                                          \
      const LossProblem<T>&, const Accumulator<T>*, const Stream&, void*, Accumulator<T>*,         \
      const Normalizer<Accumulator<T>>&, Accumulator<T>*, T*, T*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
