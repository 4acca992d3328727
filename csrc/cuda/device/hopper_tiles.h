// How kernels for Hopper are cut: three warpgroups a block, of which one brings tiles and two
// multiply; tables from which tiles come; rings of stages between those who bring and those who
// use.
#ifndef FASTW2V_CUDA_DEVICE_HOPPER_TILES_H_
#define FASTW2V_CUDA_DEVICE_HOPPER_TILES_H_

#include <algorithm>

#include "csrc/cuda/device/hopper.h"

namespace fastw2v::cuda::hopper {

constexpr int kThreads = 3 * kWarpgroup;
constexpr int kConsumerWarps = 2 * kWarpgroup / kWarp;
constexpr int kProducerRegisters = 56, kConsumerRegisters = 224;  // 128 * (56 + 2 * 224) = 64512
constexpr int kMaxStages = 8;
constexpr int kShared = 227 << 10;
// Of an H100. The cut of the work, and so the bits, are the same on its relatives.
constexpr int kMultiprocessors = 132;

// Of 64 columns, in a row.
inline int Chunks(int64_t dim) {
  return static_cast<int>((dim + kChunkColumns - 1) / kChunkColumns);
}

// In how many ranges `tiles` are processed, so that `blocks` times that keep all multiprocessors at
// work.
inline int Splits(int64_t blocks, int64_t tiles) {
  constexpr int64_t kStart = 4;  // what a block costs before its first tile, in tiles
  int64_t best = 1, least = INT64_MAX;
  for (int64_t splits = 1; splits <= std::min<int64_t>(tiles, kMultiprocessors); ++splits) {
    const int64_t waves = (blocks * splits + kMultiprocessors - 1) / kMultiprocessors;
    const int64_t cost = waves * ((tiles + splits - 1) / splits + kStart);
    if (cost < least) {
      best = splits;
      least = cost;
    }
  }
  return static_cast<int>(best);
}

// A table from which tiles come, by the copy engine.
struct Source {
  TensorMap map;
  int rows;
};

template <typename T>
Status MakeSource(const T* table, int64_t rows, int64_t columns, Source* source) {
  source->rows = static_cast<int>(rows);
  return MakeTensorMap(table, rows, columns, &source->map);
}

// One chunk of `rows` rows, a multiple of kBoxRows.
__device__ __forceinline__ void LoadChunk(unsigned char* chunk, const Source& source, int row,
                                          int rows, int column, Barrier* barrier) {
  for (int r = 0; r < rows; r += kBoxRows) {
    LoadBox(chunk + r * kChunkRowBytes, &source.map, row + r, column, barrier);
  }
}

// A place in a ring of stages, and the parity of the turn.
struct Turn {
  int stage = 0, parity = 0;

  __device__ __forceinline__ void Next(int stages) {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

// All lanes are done with what `barrier` guards.
__device__ __forceinline__ void ArriveWarp(Barrier* barrier) {
  __syncwarp();
  if (threadIdx.x % kWarp == 0) Arrive(barrier);
}

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_DEVICE_HOPPER_TILES_H_
