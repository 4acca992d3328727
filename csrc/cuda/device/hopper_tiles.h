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

// A table from which tiles come: by the copy engine or, where its rows are not multiples of 16
// bytes, by copies of the producers, 8 or 4 bytes each.
template <typename T>
struct Source {
  TensorMap map;
  const T* rows;
  int count, columns;
  bool mapped;
  int copy_bytes;
};

template <typename T>
Status MakeSource(const T* rows, int64_t count, int64_t columns, Source<T>* source) {
  source->rows = rows;
  source->count = static_cast<int>(count);
  source->columns = static_cast<int>(columns);
  source->mapped = CanMap(rows, columns);
  source->copy_bytes = columns % 4 == 0 && reinterpret_cast<uintptr_t>(rows) % 8 == 0 ? 8 : 4;
  if (!source->mapped) return Status();
  return MakeTensorMap(rows, count, columns, &source->map);
}

// One chunk of `rows` rows, a multiple of kBoxRows, by the copy engine.
template <typename T>
__device__ __forceinline__ void LoadChunk(unsigned char* chunk, const Source<T>& source, int row,
                                          int rows, int column, Barrier* barrier) {
  for (int r = 0; r < rows; r += kBoxRows) {
    LoadBox(chunk + r * kChunkRowBytes, &source.map, row + r, column, barrier);
  }
}

template <int kBytes, typename T>
__device__ __forceinline__ void CopyPieces(unsigned char* chunk, const Source<T>& source, int row,
                                           int rows, int column) {
  constexpr int kPieces = kChunkRowBytes / kBytes;
  constexpr int kRowsAtOnce = kWarpgroup / kPieces;
  static_assert(8 % kRowsAtOnce == 0);
  // Rows that are 8 apart are swizzled alike: addresses of 8 rows, then steps.
  constexpr int kTurns = 8 / kRowsAtOnce;
  const int thread = threadIdx.x % kWarpgroup, piece = thread % kPieces;
  const int first = thread / kPieces, c = column + piece * (kBytes / 2);
  const T* from = source.rows + static_cast<int64_t>(row + first) * source.columns + c;
  int left = c < source.columns ? source.count - row - first : 0;
  unsigned char* to[kTurns];
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    to[i] =
        chunk + SwizzledOffset(first + i * kRowsAtOnce, piece * kBytes / 16) + piece * kBytes % 16;
  }
#pragma unroll 4
  for (int r = 0; r < rows; r += 8) {
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      CopyAsync<kBytes>(to[i], left > 0 ? from : source.rows, left > 0);
      to[i] += 8 * kChunkRowBytes;
      from += int64_t{kRowsAtOnce} * source.columns;
      left -= kRowsAtOnce;
    }
  }
}

// The same by all threads of a warpgroup, in the background (CommitCopies).
template <typename T>
__device__ __forceinline__ void CopyChunk(unsigned char* chunk, const Source<T>& source, int row,
                                          int rows, int column) {
  if (source.copy_bytes == 8) {
    CopyPieces<8>(chunk, source, row, rows, column);
  } else {
    CopyPieces<4>(chunk, source, row, rows, column);
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
