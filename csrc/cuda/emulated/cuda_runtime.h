// The part of CUDA that csrc/cuda uses, on the processor: kernels run as they are written, a block
// at a time, each of its threads on a stack of its own. It stands in for the toolkit's header of
// the same name where the tests run kernels without a GPU (FASTW2V_CUDA=EMULATED). Memory of the
// device is memory of the process, so that AddressSanitizer sees what a kernel does.
//
// What it cannot show: time, and races that no order of the threads in one of its schedules brings
// out (FASTW2V_EMULATED_ORDER chooses the order, see emulated.cc).
#ifndef FASTW2V_CUDA_EMULATED_CUDA_RUNTIME_H_
#define FASTW2V_CUDA_EMULATED_CUDA_RUNTIME_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

// What is emulated: 12.5 was the first to have all that is used.
#define CUDART_VERSION 12050

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
// Blocks run one after another.
#define __shared__ static
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

namespace fastw2v::cuda::emulated {

// Of the thread that runs. Kernels run one by one, so this is not by threads of the process, which
// AddressSanitizer asks for at each access.
extern dim3 thread_index, block_index, block_size, grid_size;

// Runs kernel() for every thread of every block. The message of a failure, or an empty string.
std::string Run(dim3 grid, dim3 block, std::size_t shared_bytes,
                const std::function<void()>& kernel);

// Writes the kernel's place in its library to the file that FASTW2V_EMULATED_LOG names, the first
// time: tools/write_kernels_page.py says which kernels have run.
void NoteKernel(const void* kernel);

unsigned char* SharedMemory();
int Lane();
int ThreadNumber();  // its number in the block

// Waits until `count` threads of the block are at barrier `id`: 0 is that of __syncthreads, where
// count is the number of threads that have not returned.
void Barrier(int id, int count);
// Counts at barrier `id` without waiting.
void ArriveAtBarrier(int id, int count);

// All lanes of `mask` synchronize: each brings a record, the last one to come gets all of them
// (null for a lane that is not in the mask), and all go on when it has done `work`.
void MeetLanes(unsigned mask, void* record, const std::function<void(void** records)>& work);

// All threads of a warpgroup (128 that follow one another) synchronize in the same way.
void MeetWarpgroup(void* record, const std::function<void(void** records)>& work);

// Lets other threads run: what a thread does that polls memory for another one's write.
void Yield();
// Something that a thread may poll for has come.
void CountProgress();

template <typename T>
T Shuffle(unsigned mask, T value, int source) {
  struct Record {
    T value, result;
    int source;
  } record{value, value, source};
  MeetLanes(mask, &record, [](void** records) {
    for (int lane = 0; lane < 32; ++lane) {
      if (records[lane] == nullptr) continue;
      auto* mine = static_cast<Record*>(records[lane]);
      if (mine->source < 0 || mine->source > 31) continue;  // keeps its own value
      if (records[mine->source] == nullptr) continue;
      mine->result = static_cast<Record*>(records[mine->source])->value;
    }
  });
  return record.result;
}

}  // namespace fastw2v::cuda::emulated

#define threadIdx (::fastw2v::cuda::emulated::thread_index)
#define blockIdx (::fastw2v::cuda::emulated::block_index)
#define blockDim (::fastw2v::cuda::emulated::block_size)
#define gridDim (::fastw2v::cuda::emulated::grid_size)

inline void __syncthreads() { ::fastw2v::cuda::emulated::Barrier(0, 0); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFF) {
  ::fastw2v::cuda::emulated::MeetLanes(mask, &mask, [](void**) {});
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) { ::fastw2v::cuda::emulated::Yield(); }

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = ::fastw2v::cuda::emulated::Lane();
  return ::fastw2v::cuda::emulated::Shuffle(mask, value, lane / width * width + source % width);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return ::fastw2v::cuda::emulated::Shuffle(mask, value, ::fastw2v::cuda::emulated::Lane() ^ bits);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta) {
  return ::fastw2v::cuda::emulated::Shuffle(mask, value, ::fastw2v::cuda::emulated::Lane() - delta);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int delta) {
  return ::fastw2v::cuda::emulated::Shuffle(mask, value, ::fastw2v::cuda::emulated::Lane() + delta);
}
inline unsigned __ballot_sync(unsigned mask, bool predicate) {
  struct Record {
    bool predicate;
    unsigned result;
  } record{predicate, 0};
  ::fastw2v::cuda::emulated::MeetLanes(mask, &record, [](void** records) {
    unsigned result = 0;
    for (int lane = 0; lane < 32; ++lane) {
      if (records[lane] != nullptr && static_cast<Record*>(records[lane])->predicate) {
        result |= 1u << lane;
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      if (records[lane] != nullptr) static_cast<Record*>(records[lane])->result = result;
    }
  });
  return record.result;
}
inline int __any_sync(unsigned mask, bool predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, bool predicate) {
  return __ballot_sync(mask, !predicate) == 0;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(x); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(x); }

template <typename T>
T __ldg(const T* p) {
  return *p;
}

inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
inline long long __double_as_longlong(double x) {
  long long bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline double __longlong_as_double(long long bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Rounded on its own, never part of a multiply-add.
inline float __fmul_rn(float x, float y) { return x * y; }

// One thread runs at a time, so that no instruction is needed to be atomic.
template <typename T, typename U>
T atomicAdd(T* p, U value) {
  const T old = *p;
  *p = static_cast<T>(old + value);
  return old;
}
template <typename T, typename U>
T atomicMax(T* p, U value) {
  const T old = *p;
  *p = std::max(old, static_cast<T>(value));
  return old;
}
template <typename T, typename U>
T atomicMin(T* p, U value) {
  const T old = *p;
  *p = std::min(old, static_cast<T>(value));
  return old;
}
template <typename T, typename U>
T atomicOr(T* p, U value) {
  const T old = *p;
  *p = old | static_cast<T>(value);
  return old;
}
template <typename T, typename U>
T atomicExch(T* p, U value) {
  const T old = *p;
  *p = static_cast<T>(value);
  return old;
}
template <typename T, typename U, typename V>
T atomicCAS(T* p, U compare, V value) {
  const T old = *p;
  if (old == static_cast<T>(compare)) *p = static_cast<T>(value);
  return old;
}

// The host's side: everything is done at once, in order.
using cudaStream_t = struct FastW2vEmulatedStream*;
enum cudaError_t { cudaSuccess = 0, cudaErrorLaunchFailure = 719 };

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int /*kind*/,
                                   cudaStream_t) {
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t) {
  if (bytes > 0) std::memset(p, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
enum { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };

#endif  // FASTW2V_CUDA_EMULATED_CUDA_RUNTIME_H_
