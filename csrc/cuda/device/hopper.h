// What kernels for Hopper (sm_90a) are made of beside device.h: barriers in shared memory, tiles
// that the copy engine (TMA) brings, products of a warpgroup (wgmma). As there,
// instructions are functions of hopper_ptx.h, or of csrc/cuda/emulated/hopper.h.
//
// Tiles. A tile of 16-bit numbers lies in shared memory as chunks of 64 columns, each chunk
// [rows][128 bytes], aligned to 1024 bytes; in row r the 16 bytes number u are where number
// u ^ (r % 8) would be ("128-byte swizzle"). wgmma reads such a chunk in both directions: the
// columns as what is summed over ("K-major"), or the rows ("MN-major").
#ifndef FASTW2V_CUDA_DEVICE_HOPPER_H_
#define FASTW2V_CUDA_DEVICE_HOPPER_H_

#include <cstdint>

#include "csrc/cuda/device/device.h"

namespace fastw2v::cuda::hopper {

constexpr int kWarpgroup = 128;
constexpr int kChunkColumns = 64;
constexpr int kChunkRowBytes = 128;

// A tile is copied in boxes of that many rows of a chunk.
constexpr int kBoxRows = 64;
constexpr int kBoxBytes = kBoxRows * kChunkRowBytes;

// Where the 16 bytes number `unit` of row `row` of a chunk are.
__device__ __forceinline__ int SwizzledOffset(int row, int unit) {
  return row * kChunkRowBytes + ((unit ^ (row & 7)) << 4);
}

// Can the engine read rows of that many 16-bit numbers at this address?
constexpr int64_t kMapColumns = 8;
inline bool CanMap(const void* data, int64_t columns) {
  return columns % kMapColumns == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

// ---- products of a warpgroup: d[64, n] (+)= a[64, 16] b[16, n]
//
// Warp w of the warpgroup has rows 16w to 16w + 15 of d and, in registers, of a, laid out as those
// of Mma16816 (device.h) with d's columns in groups of 8: d[4j + i] is entry i of group j.
//
// Products run in the background: FenceProducts() once the registers are written, products,
// CommitProducts(), then WaitForProducts(). Until then neither registers nor tiles may change.
enum class Major {
  kDepth = 0,   // what is summed over lies along the rows of a chunk
  kLength = 1,  // it goes from row to row
};

// Names an operand that starts at `shared` and continues, where it is more than 8 rows of a chunk,
// `rows_apart` bytes further for the next 8 rows, and, for more than 64 columns of kLength,
// `chunks_apart` bytes further. (The manual's stride and leading byte offsets.)
__device__ __forceinline__ uint64_t Operand(const void* shared, int rows_apart = 1024,
                                            int chunks_apart = 16) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | static_cast<uint64_t>((SharedAddress(shared) & 0x3FFFF) >> 4) |
         static_cast<uint64_t>(chunks_apart >> 4) << 16 |
         static_cast<uint64_t>(rows_apart >> 4) << 32;
}

// The same operand, so many bytes further. Addresses never carry into what lies above them, so that
// an addition of 32 bits is enough.
__device__ __forceinline__ uint64_t Advance(uint64_t operand, int bytes) {
  const uint32_t low = static_cast<uint32_t>(operand) + static_cast<uint32_t>(bytes >> 4);
  return (operand >> 32) << 32 | low;
}

// Of the thread's warpgroup, as a number that the compiler knows to be the same for a whole warp:
// what follows from it needs no vector registers.
__device__ __forceinline__ int WarpgroupNumber() {
  return __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
}

}  // namespace fastw2v::cuda::hopper

#if defined(FASTW2V_CUDA_EMULATED)
#include "csrc/cuda/emulated/hopper.h"
#else
#include "csrc/cuda/device/hopper_ptx.h"
#endif

#endif  // FASTW2V_CUDA_DEVICE_HOPPER_H_
