// A block owns 128 rows and 256 or 320 columns of the result and goes along what is summed over, 64
// at a time; of the two warpgroups that multiply each has 64 rows, in 128 or 160 accumulators a
// thread.
#include <algorithm>

#include "csrc/cuda/device/hopper_tiles.h"
#include "csrc/cuda/loss/exact_logits.h"
#include "csrc/cuda/loss/hopper/products.h"

namespace fastw2v::cuda::hopper {

namespace {

constexpr int kRows = 128;  // of a tile of the result
constexpr int kDepth = 64;  // of a stage
constexpr int kTogether = 16;
constexpr int kLeftBytes = kRows * kChunkRowBytes;

template <typename T>
struct Arguments {
  Source<T> left, right;  // P, and the other operand
  int rows, columns;      // of the result
  int steps;              // of kDepth, in all
  int stages;
  float factor;
  const uint32_t* largest;
  float* sums;
  bool first;
  T* rounded;
};

struct Ring {
  Barrier full[kMaxStages], empty[kMaxStages];
};

// kOfHidden: P W, where rows of P lie along what is summed over; otherwise P^T X.
template <typename T, int kColumns, bool kOfHidden>
__device__ __forceinline__ void Produce(const Arguments<T>& p, unsigned char* stages, Ring* ring,
                                        int row, int column, int first, int last) {
  constexpr int kStageBytes = kLeftBytes + kColumns * kChunkRowBytes;
  const int thread = threadIdx.x % kWarpgroup;
  if (p.right.mapped && thread != 0) return;
  constexpr int kAhead = 1;
  int under_way = 0, oldest = 0;
  const auto publish = [&] {
    FenceAsyncProxy();
    Arrive(&ring->full[oldest]);
    if (++oldest == p.stages) oldest = 0;
    --under_way;
  };
  Turn turn;
  for (int step = first; step < last; ++step, turn.Next(p.stages)) {
    unsigned char* const left = stages + turn.stage * kStageBytes;
    unsigned char* const right = left + kLeftBytes;
    Barrier* const full = &ring->full[turn.stage];
    Wait(&ring->empty[turn.stage], turn.parity ^ 1);
    if (thread == 0) {
      ArriveExpecting(full, p.right.mapped ? kStageBytes : kLeftBytes);
      for (int i = 0; i < kRows / 64; ++i) {
        if constexpr (kOfHidden) {
          LoadBox(left + i * kBoxBytes, &p.left.map, row + 64 * i, step * kDepth, full);
        } else {
          LoadBox(left + i * kBoxBytes, &p.left.map, step * kDepth, row + 64 * i, full);
        }
      }
    }
    if (p.right.mapped) {
      for (int i = 0; i < kColumns / 64; ++i) {
        LoadBox(right + i * kBoxBytes, &p.right.map, step * kDepth, column + 64 * i, full);
      }
      continue;
    }
    for (int i = 0; i < kColumns / 64; ++i) {
      CopyChunk(right + i * kBoxBytes, p.right, step * kDepth, kDepth, column + 64 * i);
    }
    CommitCopies();
    if (++under_way <= kAhead) continue;
    WaitForCopies<kAhead>();
    publish();
  }
  WaitForCopies<0>();
  while (under_way > 0) publish();
}

template <typename T, int kColumns, bool kOfHidden>
__global__ void __launch_bounds__(kThreads, 1)
    MultiplyKernel(const __grid_constant__ Arguments<T> p) {
  constexpr int kStageBytes = kLeftBytes + kColumns * kChunkRowBytes;
  constexpr int kPairs = kColumns / 128, kSingles = kColumns % 128 / 64;
  unsigned char* const stages = SharedMemory();
  auto* const ring = reinterpret_cast<Ring*>(stages + p.stages * kStageBytes);
  const int warpgroup = threadIdx.x / kWarpgroup;
  // Blocks of near numbers run at the same time and share what they read: numbers go along
  // kTogether rows of tiles and through all columns before the next kTogether rows.
  const int number = static_cast<int>(blockIdx.y * gridDim.x + blockIdx.x);
  const int columns = static_cast<int>(gridDim.y), group = number / (kTogether * columns);
  const int left = static_cast<int>(gridDim.x) - group * kTogether;
  const int tiles = left < kTogether ? left : kTogether;
  const int place = number - group * kTogether * columns;
  const int row0 = (group * kTogether + place % tiles) * kRows;
  const int column0 = place / tiles * kColumns;
  const int part = static_cast<int>(blockIdx.z), parts = static_cast<int>(gridDim.z);
  const int first = static_cast<int>(int64_t{p.steps} * part / parts);
  const int last = static_cast<int>(int64_t{p.steps} * (part + 1) / parts);
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      Init(&ring->full[i], p.right.mapped ? 1 : 1 + kWarpgroup);
      Init(&ring->empty[i], kConsumerWarps);
    }
    FenceInit();
  }
  __syncthreads();

  if (warpgroup == 0) {
    ShrinkRegisters<kProducerRegisters>();
    Produce<T, kColumns, kOfHidden>(p, stages, ring, row0, column0, first, last);
  } else {
    GrowRegisters<kConsumerRegisters>();
    constexpr Major kLeft = kOfHidden ? Major::kDepth : Major::kLength;
    const int consumer = warpgroup - 1, lane = threadIdx.x % kWarp;
    const uint64_t left = Operand(stages + consumer * kBoxBytes);
    const uint64_t right = Operand(stages + kLeftBytes, 1024, kBoxBytes);
    float pairs[kPairs][64], single[32];
#pragma unroll
    for (int i = 0; i < 64; ++i) {
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) pairs[pair][i] = 0;
    }
#pragma unroll
    for (int i = 0; i < 32; ++i) single[i] = 0;

    Turn turn;
    int before = 0;
    for (int step = first; step < last; ++step, turn.Next(p.stages)) {
      Wait(&ring->full[turn.stage], turn.parity);
      FenceProducts();
#pragma unroll
      for (int k = 0; k < kDepth / 16; ++k) {
        // 16 columns of a chunk further, or 16 of its rows.
        const uint64_t a = Advance(left, turn.stage * kStageBytes + k * (kOfHidden ? 32 : 2048));
        const uint64_t b = Advance(right, turn.stage * kStageBytes + k * 2048);
#pragma unroll
        for (int pair = 0; pair < kPairs; ++pair) {
          Multiply<T, kLeft, Major::kLength>(pairs[pair], a, Advance(b, 2 * pair * kBoxBytes),
                                             true);
        }
        if constexpr (kSingles != 0) {
          Multiply<T, kLeft, Major::kLength>(single, a, Advance(b, 2 * kPairs * kBoxBytes), true);
        }
      }
      CommitProducts();
      if (step > first) {
        WaitForProducts<1>();
        ArriveWarp(&ring->empty[before]);
      }
      before = turn.stage;
    }
    WaitForProducts<0>();
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) TakeProducts(pairs[pair]);
    TakeProducts(single);

    const float factor = p.factor * GradientUnit<T>(p.largest, /*inverse=*/true);
    const auto put = [&](int row, int column, float x, float y) {
      if (row >= p.rows || column >= p.columns) return;
      const int64_t at = static_cast<int64_t>(row) * p.columns + column;
      if constexpr (kOfHidden) {
        auto* const to =
            reinterpret_cast<float2*>(p.sums + int64_t{part} * p.rows * p.columns + at);
        const float2 old = p.first ? make_float2(0, 0) : *to;
        *to = make_float2(old.x + factor * x, old.y + factor * y);
      } else {
        *reinterpret_cast<uint32_t*>(p.rounded + at) = RoundPair<T>(factor * x, factor * y);
      }
    };
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row =
          row0 + consumer * 64 + threadIdx.x % kWarpgroup / kWarp * 16 + lane / 4 + 8 * half;
      const int column = column0 + 2 * (lane % 4);
#pragma unroll
      for (int j = 0; j < 16; ++j) {
#pragma unroll
        for (int pair = 0; pair < kPairs; ++pair) {
          put(row, column + 128 * pair + 8 * j, pairs[pair][4 * j + 2 * half],
              pairs[pair][4 * j + 2 * half + 1]);
        }
      }
      if constexpr (kSingles != 0) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          put(row, column + 128 * kPairs + 8 * j, single[4 * j + 2 * half],
              single[4 * j + 2 * half + 1]);
        }
      }
    }
  }
}

template <typename T, int kColumns, bool kOfHidden>
Status LaunchMultiply(Arguments<T> arguments, int64_t parts, const Stream& stream) {
  constexpr int kStageBytes = kLeftBytes + kColumns * kChunkRowBytes;
  arguments.stages =
      std::min<int>(kMaxStages, (kShared - static_cast<int>(sizeof(Ring))) / kStageBytes);
  const dim3 grid(NumBlocks(arguments.rows, kRows), NumBlocks(arguments.columns, kColumns),
                  static_cast<unsigned>(parts));
  return Launch(MultiplyKernel<T, kColumns, kOfHidden>, grid, kThreads,
                arguments.stages * kStageBytes + sizeof(Ring), stream, arguments);
}

template <typename T, bool kOfHidden>
Status LaunchMultiply(const Arguments<T>& arguments, int64_t parts, const Stream& stream) {
  if (ProductTileColumns(arguments.columns) == 320) {
    return LaunchMultiply<T, 320, kOfHidden>(arguments, parts, stream);
  }
  return LaunchMultiply<T, 256, kOfHidden>(arguments, parts, stream);
}

}  // namespace

bool SupportsProducts(const void* table, int64_t columns, const Device& device) {
  return device.arch == 90 && device.shared_bytes >= kShared && columns % 2 == 0 &&
         reinterpret_cast<uintptr_t>(table) % 4 == 0;
}

int64_t ProductTileColumns(int64_t columns) {
  const auto padded = [&](int64_t tile) { return (columns + tile - 1) / tile * tile; };
  return padded(320) < padded(256) ? 320 : 256;
}

template <typename T>
Status MultiplyGradient(const GradientProduct<T>& product, const Stream& stream) {
  const bool of_hidden = product.sums != nullptr;
  Arguments<T> arguments = {};
  FASTW2V_RETURN_IF_ERROR(MakeSource(product.p, product.p_rows, product.pitch, &arguments.left));
  FASTW2V_RETURN_IF_ERROR(
      MakeSource(product.other, product.other_rows, product.other_columns, &arguments.right));
  arguments.rows = static_cast<int>(product.rows);
  arguments.columns = static_cast<int>(product.columns);
  arguments.steps = static_cast<int>(NumBlocks(product.other_rows, kDepth));
  arguments.factor = product.factor;
  arguments.largest = product.largest;
  arguments.sums = product.sums;
  arguments.first = product.first;
  arguments.rounded = product.rounded;
  return of_hidden ? LaunchMultiply<T, true>(arguments, product.parts, stream)
                   : LaunchMultiply<T, false>(arguments, 1, stream);
}

template Status MultiplyGradient(const GradientProduct<BFloat16>&, const Stream&);
template Status MultiplyGradient(const GradientProduct<Half>&, const Stream&);

}  // namespace fastw2v::cuda::hopper
