#include <algorithm>

#include "csrc/cuda/loss/partial_softmax.h"
#include "csrc/cuda/loss/sampled/shared_candidates.h"

namespace fastw2v::cuda {

namespace {

constexpr int kTile = 64;  // examples, and classes
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

// Warps share a tile of logits as 4 x 2 pieces of 16 x 32, and one of gradients as 2 rows of
// pieces, 32 x (16 pairs).
constexpr int kLogitPairs = 2;
constexpr int kGradientColumns = 4;  // pieces in a row

// Blocks that keep a large GPU busy, and parts whose sums are worth their memory. Numbers of the
// library, not of the device: the parts decide the order of sums.
constexpr int64_t kBusyBlocks = 264;
constexpr int64_t kMaxParts = 16;

template <typename A, typename E>
__device__ __forceinline__ Logit<A> FinishLogit(const SharedProblem<E>& p, A product, A bias,
                                                A log_q) {
  return MakeLogit(product, bias, log_q, p.scale, p.softcap);
}

// What a block knows of its tiles besides operands.
template <typename A>
struct TileNumbers {
  A biases[kTile], log_q[kTile];     // by class
  LogitGradient<A> gradient[kTile];  // by example; backward alone
  uint64_t absent[kTile];            // by example: bit c is set where class c does not compete
};

template <typename E>
__device__ __forceinline__ void LoadClasses(const SharedProblem<E>& p, int64_t first,
                                            TileNumbers<Accumulator<E>>* numbers) {
  const int i = threadIdx.x;
  if (i >= kTile) return;
  const bool is_class = first + i < p.classes;
  numbers->biases[i] = is_class ? p.biases[first + i] : 0;
  numbers->log_q[i] = is_class ? p.log_q[first + i] : 0;
}

template <typename E>
__device__ __forceinline__ void LoadExamples(const SharedProblem<E>& p, int64_t first,
                                             const LogitGradient<Accumulator<E>>* gradient,
                                             TileNumbers<Accumulator<E>>* numbers) {
  const int i = threadIdx.x;
  if (i < kTile && first + i < p.batch) numbers->gradient[i] = gradient[first + i];
}

// Which pairs do not compete: examples from the batch's end on and inactive ones, classes from the
// end of the list on, and accidental hits. Thread i decides for example i.
template <typename E>
__device__ __forceinline__ void FindAbsent(const SharedProblem<E>& p, int64_t first_example,
                                           int64_t first_class,
                                           const LogitGradient<Accumulator<E>>* gradient,
                                           TileNumbers<Accumulator<E>>* numbers) {
  const int i = threadIdx.x;
  if (i >= kTile) return;
  const int64_t b = first_example + i;
  constexpr uint64_t kAll = ~uint64_t{0};
  uint64_t absent = kAll;
  if (b < p.batch && (gradient == nullptr || gradient[b].active != 0)) {
    const int64_t present = p.classes - first_class;
    absent = present >= kTile ? 0 : kAll << present;
    for (int64_t j = 0; p.hits != nullptr && j < p.num_true; ++j) {
      const int32_t* hits = p.hits + 2 * (b * p.num_true + j);
      const int64_t begin = hits[0] - first_class, end = hits[1] - first_class;
      if (begin >= kTile || end <= 0 || begin >= end) continue;
      const uint64_t from = begin <= 0 ? kAll : kAll << begin;
      const uint64_t to = end >= kTile ? 0 : kAll << end;
      absent |= from & ~to;
    }
  }
  numbers->absent[i] = absent;
}

// Shared memory of a block: the tile that stays, the one that changes, gradients of logits.
template <typename E>
struct TileMemory {
  E *own, *other, *d_logits;
  int stride;
  static constexpr int kLogitStride = PaddedStride<E>(kTile);

  static std::size_t Bytes(int64_t chunk, bool backward, int buffers) {
    const std::size_t rows = (1 + buffers) * kTile * PaddedStride<E>(static_cast<int>(chunk));
    return (rows + (backward ? kTile * kLogitStride : 0)) * sizeof(E);
  }
  __device__ TileMemory(int chunk, int buffers)
      : own(reinterpret_cast<E*>(SharedMemory())), stride(PaddedStride<E>(chunk)) {
    other = own + kTile * stride;
    d_logits = other + buffers * kTile * stride;
  }
};

// A matrix whose tiles are multiplied with those of another one. Numbers of rows fit into an int
// (SharedForward and SharedBackward see to it), which spares registers.
template <typename E>
struct Side {
  const E* rows;
  int count;
};

// Which tiles of the other side a block processes, one after the other.
struct TileRun {
  int begin, end, at;
};

// Products of the rows of the own tile and of tile `run.at` of the other side, 16 x 32 of them for
// each warp. Chunk `last` of the columns comes last and stays in memory: the rows of the other tile
// that are returned. Where one chunk holds all columns, the own tile is loaded once, and with two
// buffers the next of the other tiles comes while this one is used.
template <typename E>
__device__ __forceinline__ const E* TileProducts(
    const Side<E>& own, int own_first, const Side<E>& other, const TileRun& run, int width,
    int chunk, int last, int buffers, bool one_pass, const TileMemory<E>& memory,
    Accumulator<E> (&products)[1][2 * kLogitPairs][4]) {
  const int warp = threadIdx.x / kWarp;
  const int num_chunks = (width + chunk - 1) / chunk;
#pragma unroll
  for (int n = 0; n < 2 * kLogitPairs; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) products[0][n][i] = 0;
  }
  E* tile = memory.other;
  for (int step = 1; step <= num_chunks; ++step) {
    const int at = (last + step) % num_chunks;
    const int column = at * chunk, columns = Smaller(chunk, width - column);
    const auto load = [&](const Side<E>& side, int first, E* to) {
      CopyRows(side.rows + int64_t{first} * width + column, width, kTile, side.count - first,
               columns, to, memory.stride);
    };
    __syncthreads();  // nobody reads what was there before
    if (num_chunks > 1 || run.at == run.begin) load(own, own_first, memory.own);
    if (buffers == 1) {
      load(other, run.at, tile);
      CommitCopies();
      WaitForCopies<0>();
    } else {
      const int turn = (run.at - run.begin) / kTile % 2, next = run.at + kTile;
      tile = memory.other + turn * kTile * memory.stride;
      if (run.at == run.begin) load(other, run.at, tile);
      CommitCopies();
      if (next < run.end) load(other, next, memory.other + (1 - turn) * kTile * memory.stride);
      CommitCopies();
      WaitForCopies<1>();
    }
    __syncthreads();
    WarpProduct<E, 1, kLogitPairs, true>(memory.own + warp / 2 * 16 * memory.stride, memory.stride,
                                         tile + warp % 2 * 32 * memory.stride, memory.stride,
                                         columns, kLogitPairs, one_pass, products);
  }
  return tile;
}

template <typename A>
__device__ __forceinline__ RowSums<A> Combine(const RowSums<A>& x, const RowSums<A>& y, Link link) {
  if (link == Link::kLogistic) return {0, x.sum + y.sum};
  const PartialSoftmax<A> both = Join(x.Softmax(), y.Softmax());
  return {both.max, both.sum_exp};
}

// Block (x, y): tile x of the examples against part y of the classes.
template <typename E>
__global__ void __launch_bounds__(kThreads, 2)
    ForwardKernel(SharedProblem<E> p, int chunk, int tiles_per_part,
                  RowSums<Accumulator<E>>* sums) {
  using A = Accumulator<E>;
  __shared__ TileNumbers<A> numbers;
  __shared__ RowSums<A> halves[kTile];
  const TileMemory<E> memory(chunk, 1);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int g = lane / 4, t = lane % 4;
  const int batch = static_cast<int>(p.batch), classes = static_cast<int>(p.classes);
  const int first_example = static_cast<int>(blockIdx.x) * kTile;
  const int begin = static_cast<int>(blockIdx.y) * tiles_per_part * kTile;
  const int end = Smaller(classes, begin + tiles_per_part * kTile);
  const A none = -INFINITY;
  RowSums<A> mine[2] = {{none, 0}, {none, 0}};  // of examples g and g + 8 of the warp's piece

  for (int first_class = begin; first_class < end; first_class += kTile) {
    A products[1][2 * kLogitPairs][4];
    __syncthreads();
    LoadClasses(p, first_class, &numbers);
    FindAbsent(p, first_example, first_class, static_cast<LogitGradient<A>*>(nullptr), &numbers);
    TileProducts({p.hidden, batch}, first_example, {p.weights, classes},
                 TileRun{begin, end, first_class}, static_cast<int>(p.width), chunk, 0, 1,
                 p.one_pass, memory, products);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint64_t absent = numbers.absent[warp / 2 * 16 + g + 8 * half];
      RowSums<A>& sum = mine[half];
      A largest = sum.max;
#pragma unroll
      for (int n = 0; n < 2 * kLogitPairs; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int c = warp % 2 * 32 + 8 * n + 2 * t + i;
          A& z = products[0][n][2 * half + i];
          z = FinishLogit(p, z, numbers.biases[c], numbers.log_q[c]).z;
          if (absent >> c & 1) z = none;
          largest = z > largest ? z : largest;
        }
      }
      if (p.link == Link::kLogistic) {
#pragma unroll
        for (int n = 0; n < 2 * kLogitPairs; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) sum.sum += Softplus(products[0][n][2 * half + i]);
        }
        continue;
      }
      const A reference = largest == none ? A{0} : largest;
      A total = RelativeTo(reference, sum.Softmax()).sum_exp;
#pragma unroll
      for (int n = 0; n < 2 * kLogitPairs; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) total += Exp(products[0][n][2 * half + i] - reference);
      }
      sum = {largest, total};
    }
  }

  // The four lanes, then the two warps that share a row.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    for (int bits = 1; bits <= 2; bits *= 2) {
      const RowSums<A> other = {__shfl_xor_sync(kAllLanes, mine[half].max, bits),
                                __shfl_xor_sync(kAllLanes, mine[half].sum, bits)};
      // The same order on both sides.
      mine[half] = (lane & bits) == 0 ? Combine(mine[half], other, p.link)
                                      : Combine(other, mine[half], p.link);
    }
    if (warp % 2 == 1 && t == 0) halves[warp / 2 * 16 + g + 8 * half] = mine[half];
  }
  __syncthreads();
  if (warp % 2 == 1 || t != 0) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp / 2 * 16 + g + 8 * half;
    if (first_example + row >= p.batch) continue;
    sums[blockIdx.y * p.batch + first_example + row] = Combine(mine[half], halves[row], p.link);
  }
}

// Where the blocks of a backward launch work: first those that own examples, then those that own
// classes; blockIdx.y is the chunk of columns whose gradient they compute.
struct BackwardGrid {
  int example_blocks;  // 0 where d_hidden is not wanted
  int example_tiles, example_parts, class_tiles, class_parts;
  int buffers;  // of tiles of the other kind
};

// Block `block` of those that own classes, or of those that own examples: what is known when the
// kernel is compiled takes no registers.
template <bool kByClass, typename E, int kPairs>
__device__ __forceinline__ void BackwardBlock(const SharedProblem<E>& p, int chunk,
                                              const BackwardGrid& grid, int block,
                                              const LogitGradient<Accumulator<E>>* gradient,
                                              const SharedGradients<Accumulator<E>>& gradients,
                                              TileNumbers<Accumulator<E>>* numbers,
                                              Accumulator<E> (&halves)[kTile]) {
  using A = Accumulator<E>;
  const TileMemory<E> memory(chunk, grid.buffers);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int g = lane / 4, t = lane % 4;
  const int tiles = kByClass ? grid.class_tiles : grid.example_tiles;
  const int other_tiles = kByClass ? grid.example_tiles : grid.class_tiles;
  const int parts = kByClass ? grid.class_parts : grid.example_parts;
  const int own_first = block % tiles * kTile, part = block / tiles;
  const int per_part = (other_tiles + parts - 1) / parts;
  const Side<E> examples = {p.hidden, static_cast<int>(p.batch)};
  const Side<E> classes = {p.weights, static_cast<int>(p.classes)};
  const Side<E> own = kByClass ? classes : examples, other = kByClass ? examples : classes;
  const int begin = part * per_part * kTile;
  const int end = Smaller(other.count, begin + per_part * kTile);
  const int width = static_cast<int>(p.width), column = static_cast<int>(blockIdx.y) * chunk;
  const int columns = Smaller(chunk, width - column);
  // This warp's piece of the gradient of the own tile.
  const int piece = warp % kGradientColumns * kPairs * kPairColumns;
  const int piece_row = warp / kGradientColumns * 32;
  const int pairs = (columns - piece + kPairColumns - 1) / kPairColumns;

  A sums[2][2 * kPairs][4];
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 2 * kPairs; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[m][n][i] = 0;
    }
  }
  A d_bias[2] = {0, 0};  // of rows g and g + 8 of the warp's piece of logits

  if constexpr (kByClass) {
    LoadClasses(p, own_first, numbers);
  } else {
    LoadExamples(p, own_first, gradient, numbers);
  }
  for (int other_first = begin; other_first < end; other_first += kTile) {
    A d_logits[1][2 * kLogitPairs][4];
    __syncthreads();
    if constexpr (kByClass) {
      LoadExamples(p, other_first, gradient, numbers);
      FindAbsent(p, other_first, own_first, gradient, numbers);
    } else {
      LoadClasses(p, other_first, numbers);
      FindAbsent(p, own_first, other_first, gradient, numbers);
    }
    const E* other_rows =
        TileProducts(own, own_first, other, TileRun{begin, end, other_first}, width, chunk,
                     static_cast<int>(blockIdx.y), grid.buffers, p.one_pass, memory, d_logits);
#pragma unroll
    for (int n = 0; n < 2 * kLogitPairs; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int m = warp / 2 * 16 + g + i / 2 * 8;
        const int at = warp % 2 * 32 + 8 * n + 2 * t + i % 2;
        const int e = kByClass ? at : m, c = kByClass ? m : at;
        A d_logit = 0;
        if ((numbers->absent[e] >> c & 1) == 0) {
          const LogitGradient<A> of = numbers->gradient[e];
          const Logit<A> logit =
              FinishLogit(p, d_logits[0][n][i], numbers->biases[c], numbers->log_q[c]);
          d_logit = of.scale * (p.link == Link::kLogistic ? Sigmoid(logit.z)
                                                          : Exp(logit.z - of.max - of.log_sum));
          d_logit *= logit.slope;
        }
        d_bias[i / 2] += d_logit;
        memory.d_logits[m * memory.kLogitStride + at] = Round<E>(d_logit);
      }
    }
    __syncthreads();
    WarpProduct<E, 2, kPairs, false>(memory.d_logits + piece_row * memory.kLogitStride,
                                     memory.kLogitStride, other_rows + piece, memory.stride, kTile,
                                     pairs, p.one_pass, sums);
  }

  A* to = kByClass ? gradients.d_weights : gradients.d_hidden;
  const bool adds = !kByClass && parts == 1;
  if (!adds && !kByClass) to = gradients.d_hidden_parts;
  to += int64_t{part} * own.count * p.dim;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 2 * kPairs; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = own_first + piece_row + 16 * m + g + i / 2 * 8;
        const int in_chunk = piece + 8 * n + 2 * t + i % 2;
        if (row >= own.count || in_chunk >= columns || column + in_chunk >= p.dim) continue;
        A* x = to + int64_t{row} * p.dim + column + in_chunk;
        *x = p.scale * sums[m][n][i] + (adds ? *x : A{0});
      }
    }
  }
  if constexpr (!kByClass) return;
  if (blockIdx.y > 0) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    d_bias[half] = WarpSum(d_bias[half], 4);
    if (warp % 2 == 1 && t == 0) halves[warp / 2 * 16 + g + 8 * half] = d_bias[half];
  }
  __syncthreads();
  if (warp % 2 == 1 || t != 0) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp / 2 * 16 + g + 8 * half;
    if (own_first + row >= p.classes) continue;
    gradients.d_biases[int64_t{part} * p.classes + own_first + row] = d_bias[half] + halves[row];
  }
}

template <typename E, int kPairs>
__global__ void __launch_bounds__(kThreads, kPairs > 2 || sizeof(E) > 2 ? 1 : 2)
    BackwardKernel(SharedProblem<E> p, int chunk, BackwardGrid grid,
                   const LogitGradient<Accumulator<E>>* gradient,
                   SharedGradients<Accumulator<E>> gradients) {
  using A = Accumulator<E>;
  __shared__ TileNumbers<A> numbers;
  __shared__ A halves[kTile];
  const int block = static_cast<int>(blockIdx.x) - grid.example_blocks;
  if (block >= 0) {
    BackwardBlock<true, E, kPairs>(p, chunk, grid, block, gradient, gradients, &numbers, halves);
  } else {
    BackwardBlock<false, E, kPairs>(p, chunk, grid, static_cast<int>(blockIdx.x), gradient,
                                    gradients, &numbers, halves);
  }
}

// d_hidden += its parts, in order.
template <typename A>
__global__ void __launch_bounds__(kThreads, 2)
    AddPartsKernel(int64_t size, int64_t parts, const A* from, A* to) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= size) return;
  A sum = to[i];
  for (int64_t part = 0; part < parts; ++part) sum += from[part * size + i];
  to[i] = sum;
}

int64_t Tiles(int64_t count) { return (count + kTile - 1) / kTile; }

template <typename E>
Status CheckSizes(const SharedProblem<E>& p) {
  constexpr int64_t kMost = (int64_t{1} << 31) - kTile;
  if (p.batch <= kMost && p.classes <= kMost && p.width <= kMost) return Status();
  return InvalidArgument("a batch of ", p.batch, " with ", p.classes, " sampled classes of width ",
                         p.dim, " is not in [0, ", kMost, "] each, as a GPU takes it");
}

// The widest chunk whose gradients fit into registers.
template <typename E>
constexpr int64_t kMaxChunk = sizeof(E) == 2   ? 512
                              : sizeof(E) == 4 ? 320
                                               : 128;

}  // namespace

template <typename E>
SharedPlan MakeSharedPlan(int64_t batch, int64_t classes, int64_t dim, const Device& device) {
  const int64_t width = PaddedWidth<E>(dim);
  const auto chunk_of = [&](int64_t chunks) {
    return PaddedWidth<E>((width + chunks - 1) / chunks);
  };
  constexpr std::size_t kStatic = 4096;  // TileNumbers and the like, generously
  const std::size_t most = static_cast<std::size_t>(device.shared_bytes) - kStatic;
  int64_t chunks = (width + kMaxChunk<E> - 1) / kMaxChunk<E>;
  while (TileMemory<E>::Bytes(chunk_of(chunks), true, 1) > most && chunk_of(chunks) > kDepth) {
    ++chunks;
  }
  SharedPlan plan;
  plan.chunk = chunk_of(chunks);
  plan.buffers = chunks == 1 && TileMemory<E>::Bytes(plan.chunk, true, 2) <= most ? 2 : 1;
  const int64_t rows = std::max<int64_t>(Tiles(batch), 1),
                columns = std::max<int64_t>(Tiles(classes), 1);
  const auto parts = [](int64_t blocks, int64_t tiles, int64_t other_tiles, int64_t most_parts) {
    return std::clamp<int64_t>(blocks / tiles, 1, std::min(other_tiles, most_parts));
  };
  plan.forward_parts = parts(kBusyBlocks, rows, columns, kMaxParts);
  plan.hidden_parts = parts(kBusyBlocks / 2, rows, columns, kMaxParts);
  plan.weights_parts = parts(kBusyBlocks / 2, columns, rows, kMaxParts);
  return plan;
}

template <typename E>
Status SharedForward(const SharedProblem<E>& p, const SharedPlan& plan, const Stream& stream,
                     RowSums<Accumulator<E>>* sums) {
  FASTW2V_RETURN_IF_ERROR(CheckSizes(p));
  const int64_t tiles = Tiles(p.classes);
  const dim3 grid(static_cast<unsigned>(Tiles(p.batch)), static_cast<unsigned>(plan.forward_parts));
  return Launch(ForwardKernel<E>, grid, kThreads, TileMemory<E>::Bytes(plan.chunk, false, 1),
                stream, p, static_cast<int>(plan.chunk),
                static_cast<int>((tiles + plan.forward_parts - 1) / plan.forward_parts), sums);
}

template <typename E>
Status SharedBackward(const SharedProblem<E>& p, const SharedPlan& plan,
                      const LogitGradient<Accumulator<E>>* gradient, const Stream& stream,
                      const SharedGradients<Accumulator<E>>& gradients) {
  using A = Accumulator<E>;
  FASTW2V_RETURN_IF_ERROR(CheckSizes(p));
  BackwardGrid tiles;
  tiles.example_tiles = static_cast<int>(Tiles(p.batch));
  tiles.example_parts = static_cast<int>(plan.hidden_parts);
  tiles.example_blocks =
      gradients.d_hidden == nullptr ? 0 : tiles.example_tiles * tiles.example_parts;
  tiles.class_tiles = static_cast<int>(Tiles(p.classes));
  tiles.class_parts = static_cast<int>(plan.weights_parts);
  tiles.buffers = plan.buffers;
  const int blocks = tiles.example_blocks + tiles.class_tiles * tiles.class_parts;
  const dim3 grid(static_cast<unsigned>(blocks), NumBlocks(p.width, plan.chunk));
  const auto launch = [&](auto kernel) {
    return Launch(kernel, grid, kThreads, TileMemory<E>::Bytes(plan.chunk, true, plan.buffers),
                  stream, p, static_cast<int>(plan.chunk), tiles, gradient, gradients);
  };
  constexpr int64_t kPieces = kGradientColumns * kPairColumns;
  const auto run = [&]() -> Status {
    if (plan.chunk <= 2 * kPieces) return launch(BackwardKernel<E, 2>);
    if constexpr (sizeof(E) <= 4) {
      if (plan.chunk <= 5 * kPieces) return launch(BackwardKernel<E, 5>);
    }
    if constexpr (sizeof(E) == 2) return launch(BackwardKernel<E, 8>);
    return Status(StatusCode::kInternal, "a chunk of columns that is too wide");
  };
  FASTW2V_RETURN_IF_ERROR(run());
  if (gradients.d_hidden == nullptr || plan.hidden_parts == 1) return Status();
  const int64_t size = p.batch * p.dim;
  return Launch(AddPartsKernel<A>, NumBlocks(size, kThreads), kThreads, 0, stream, size,
                plan.hidden_parts, gradients.d_hidden_parts, gradients.d_hidden);
}

#define FASTW2V_INSTANTIATE(E)                                                                \
  template SharedPlan MakeSharedPlan<E>(int64_t, int64_t, int64_t, const Device&);            \
  template Status SharedForward<E>(const SharedProblem<E>&, const SharedPlan&, const Stream&, \
                                   RowSums<Accumulator<E>>*);                                 \
  template Status SharedBackward<E>(const SharedProblem<E>&, const SharedPlan&,               \
                                    const LogitGradient<Accumulator<E>>*, const Stream&,      \
                                    const SharedGradients<Accumulator<E>>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
