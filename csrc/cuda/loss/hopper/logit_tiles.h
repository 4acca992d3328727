// Logits of 128 or 256 hidden rows and a range of classes, 128 of these at a time, on Hopper: what
// the sums of the forward pass and the stored gradients have in common. What becomes of a tile of
// logits, in the accumulators of those who multiply, is theirs.
//
// Rows up to a width of 512 stay in shared memory, wider ones come again with every tile of
// classes.
#ifndef FASTW2V_CUDA_LOSS_HOPPER_LOGIT_TILES_H_
#define FASTW2V_CUDA_LOSS_HOPPER_LOGIT_TILES_H_

#include <algorithm>

#include "csrc/cuda/device/hopper_tiles.h"

namespace fastw2v::cuda::hopper {

constexpr int kTileClasses = 128;
constexpr int kStageBytes = kTileClasses * kChunkRowBytes;
constexpr int kBiasSlots = 4;
constexpr int kStayingChunks = 8;
constexpr int kBiasBytes = kBiasSlots * kTileClasses * static_cast<int>(sizeof(float));

template <typename T>
struct LogitTiles {
  Source hidden, weights;
  const T* biases;
  int classes;
  int chunks;  // of 64 columns, in a row
  int class_tiles, stages;
  float logit_scale;
};

// Barriers of the rings of stages and of biases.
struct LogitBarriers {
  Barrier full[kMaxStages], empty[kMaxStages];
  Barrier bias_full[kBiasSlots], bias_empty[kBiasSlots];
  Barrier resident;
};

// One block of a kernel. kTiles: of 64 rows, for each of the two warpgroups that multiply. kStays:
// the hidden rows are brought once; otherwise in every stage, after the weights.
template <typename T, int kTiles, bool kStays>
struct LogitBlock {
  static constexpr int kRows = 2 * 64 * kTiles, kOwnBytes = kRows * kChunkRowBytes;
  static constexpr int kMovingBytes = kStays ? 0 : kOwnBytes;
  static constexpr int kStageStride = kStageBytes + kMovingBytes;

  const LogitTiles<T>& p;
  unsigned char *own, *stages;
  float* biases;
  LogitBarriers* barriers;  // what comes after them belongs to the kernel
  int own_row;
  int first, last;  // tiles of classes

  __device__ __forceinline__ explicit LogitBlock(const LogitTiles<T>& tiles) : p(tiles) {
    own = SharedMemory();
    stages = own + (kStays ? p.chunks * kOwnBytes : 0);
    biases = reinterpret_cast<float*>(stages + p.stages * kStageStride);
    barriers = reinterpret_cast<LogitBarriers*>(biases + kBiasSlots * kTileClasses);
    own_row = static_cast<int>(blockIdx.x) * kRows;
    const int split = static_cast<int>(blockIdx.y), splits = static_cast<int>(gridDim.y);
    first = static_cast<int>(int64_t{p.class_tiles} * split / splits);
    last = static_cast<int>(int64_t{p.class_tiles} * (split + 1) / splits);
  }

  // By all threads, before anything else.
  __device__ __forceinline__ void Start() const {
    if (threadIdx.x == 0) {
      for (int i = 0; i < p.stages; ++i) {
        Init(&barriers->full[i], 1);
        Init(&barriers->empty[i], kConsumerWarps);
      }
      for (int i = 0; i < kBiasSlots; ++i) {
        Init(&barriers->bias_full[i], kWarp);
        Init(&barriers->bias_empty[i], kConsumerWarps);
      }
      Init(&barriers->resident, 1);
      FenceInit();
    }
    __syncthreads();
  }

  // What warpgroup 0 does: one of its threads brings the tiles, one of its warps the biases.
  __device__ __forceinline__ void Produce() const {
    const int warp = threadIdx.x % kWarpgroup / kWarp, lane = threadIdx.x % kWarp;
    if (warp == 0 && lane == 0) {
      if constexpr (kStays) {
        ArriveExpecting(&barriers->resident, p.chunks * kOwnBytes);
        for (int c = 0; c < p.chunks; ++c) {
          LoadChunk(own + c * kOwnBytes, p.hidden, own_row, kRows, c * kChunkColumns,
                    &barriers->resident);
        }
      }
      Turn turn;
      for (int tile = first; tile < last; ++tile) {
        for (int c = 0; c < p.chunks; ++c, turn.Next(p.stages)) {
          Barrier* const full = &barriers->full[turn.stage];
          unsigned char* const stage = stages + turn.stage * kStageStride;
          Wait(&barriers->empty[turn.stage], turn.parity ^ 1);
          ArriveExpecting(full, kStageStride);
          if constexpr (!kStays) {
            LoadChunk(stage + kStageBytes, p.hidden, own_row, kRows, c * kChunkColumns, full);
          }
          LoadChunk(stage, p.weights, tile * kTileClasses, kTileClasses, c * kChunkColumns, full);
        }
      }
    } else if (warp == 1) {
      Turn turn;
      for (int tile = first; tile < last; ++tile, turn.Next(kBiasSlots)) {
        Wait(&barriers->bias_empty[turn.stage], turn.parity ^ 1);
        for (int i = lane; i < kTileClasses; i += kWarp) {
          const int c = tile * kTileClasses + i;
          float bias = p.biases == nullptr || c >= p.classes ? 0 : ToFloat(p.biases[c]);
          if (c >= p.classes) bias = -INFINITY;  // does not compete
          biases[turn.stage * kTileClasses + i] = bias;
        }
        Arrive(&barriers->bias_full[turn.stage]);
      }
    }
  }

  // Of the others, the first of the thread's rows; its others are 8 and multiples of 64 further.
  __device__ __forceinline__ int ThreadRow() const {
    const int consumer = static_cast<int>(threadIdx.x) / kWarpgroup - 1, lane = threadIdx.x % kWarp;
    return own_row + consumer * 64 * kTiles + threadIdx.x % kWarpgroup / kWarp * 16 + lane / 4;
  }

  // What warpgroups 1 and 2 do: they multiply. use(tile, z) takes the logits of each tile of
  // classes, -inf where there is no class; z[r][4 j + 2 half + i] is that of row ThreadRow() + 64 r
  // + 8 half and class 8 j + 2 (lane % 4) + i of the tile.
  template <typename Use>
  __device__ __forceinline__ void ForEachTile(Use use) const {
    const int consumer = WarpgroupNumber() - 1, lane = threadIdx.x % kWarp;
    const uint64_t left =
        Operand((kStays ? own : stages + kStageBytes) + consumer * kTiles * 64 * kChunkRowBytes);
    const uint64_t right = Operand(stages);
    if (kStays) Wait(&barriers->resident, 0);

    // The warpgroups multiply in turns: barrier 1 + i is the turn of number i. The first one then
    // needs all chunks of a tile before the other gives a stage back, and two more stages bring
    // what comes next. Where there are not so many, both go on together and number 1 starts some
    // chunks later.
    const bool in_turns = p.stages >= p.chunks + 2;
    const int later = p.chunks / 2 < p.stages - 2 ? p.chunks / 2 : p.stages - 3;
    if (in_turns && consumer == 1) NamedArrive(1, 2 * kWarpgroup);
    Turn turn, bias_turn;
    for (int tile = first; tile < last; ++tile) {
      float z[kTiles][64];
      if (in_turns || (consumer == 1 && tile == first)) NamedBarrier(1 + consumer, 2 * kWarpgroup);
      int before = 0;
      for (int c = 0; c < p.chunks; ++c) {
        const int chunk = kStays ? c * kOwnBytes : turn.stage * kStageStride;
        Wait(&barriers->full[turn.stage], turn.parity);
        FenceProducts();
#pragma unroll
        for (int k = 0; k < 4; ++k) {
#pragma unroll
          for (int r = 0; r < kTiles; ++r) {
            Multiply<T, Major::kDepth, Major::kDepth>(
                z[r], Advance(left, chunk + r * 64 * kChunkRowBytes + k * 32),
                Advance(right, turn.stage * kStageStride + k * 32), c + k > 0);
          }
        }
        CommitProducts();
        if (!in_turns && consumer == 0 && tile == first && c == later) {
          NamedArrive(2, 2 * kWarpgroup);
        }
        if (c > 0) {
          WaitForProducts<1>();
          ArriveWarp(&barriers->empty[before]);
        }
        before = turn.stage;
        turn.Next(p.stages);
      }
      if (in_turns && (consumer == 0 || tile + 1 < last)) {
        NamedArrive(2 - consumer, 2 * kWarpgroup);
      }
      WaitForProducts<0>();
      ArriveWarp(&barriers->empty[before]);
#pragma unroll
      for (int r = 0; r < kTiles; ++r) TakeProducts(z[r]);

      Wait(&barriers->bias_full[bias_turn.stage], bias_turn.parity);
      const auto* const bias =
          reinterpret_cast<const float2*>(biases + bias_turn.stage * kTileClasses) + lane % 4;
#pragma unroll
      for (int j = 0; j < kTileClasses / 8; ++j) {
        const float2 pair = bias[4 * j];
#pragma unroll
        for (int r = 0; r < kTiles; ++r) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            z[r][4 * j + i] = fmaf(z[r][4 * j + i], p.logit_scale, i % 2 == 0 ? pair.x : pair.y);
          }
        }
      }
      ArriveWarp(&barriers->bias_empty[bias_turn.stage]);
      bias_turn.Next(kBiasSlots);
      use(tile, z);
    }
  }
};

// How the logits of a problem are cut into blocks.
struct LogitPlan {
  int chunks;
  bool stays;
  int tiles_per_warpgroup;  // rows of a block are 128 times as many
  int64_t blocks, class_tiles;
  int splits;

  LogitPlan(int64_t rows, int64_t classes, int64_t dim) {
    chunks = Chunks(dim);
    stays = chunks <= kStayingChunks;
    tiles_per_warpgroup = (chunks <= 4 || !stays) && rows > 128 ? 2 : 1;
    blocks = NumBlocks(rows, 128 * tiles_per_warpgroup);
    class_tiles = NumBlocks(classes, kTileClasses);
    splits = Splits(blocks, class_tiles);
  }

  // As many stages as there is room for beside `more` bytes of the kernel's own. Returns the bytes
  // of shared memory.
  template <typename T>
  int Fill(int more, LogitTiles<T>* tiles) const {
    const int row_bytes = 128 * tiles_per_warpgroup * kChunkRowBytes;
    const int stage_bytes = kStageBytes + (stays ? 0 : row_bytes);
    const int fixed = (stays ? chunks * row_bytes : 0) + kBiasBytes +
                      static_cast<int>(sizeof(LogitBarriers)) + more;
    tiles->chunks = chunks;
    tiles->class_tiles = static_cast<int>(class_tiles);
    tiles->stages = std::min(kMaxStages, (kShared - fixed) / stage_bytes);
    return fixed + tiles->stages * stage_bytes;
  }

  dim3 Grid() const { return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(splits)); }
};

}  // namespace fastw2v::cuda::hopper

#endif  // FASTW2V_CUDA_LOSS_HOPPER_LOGIT_TILES_H_
