// A block fills a list. A round of draws goes into a hash table that keeps, for each class, the
// first draw of it; once all threads have been there, a draw is new where the table holds
// itself. How threads race for places in the table changes nothing of that.
#include <algorithm>

#include "csrc/core/scratch.h"
#include "csrc/cuda/device/device.h"
#include "csrc/cuda/sampler/sampler.h"

namespace fastw2v::cuda {

namespace {

constexpr int kThreads = 256;  // of kernels with a thread for each number
constexpr int kMaxListThreads = 1024;
constexpr int kMaxDraws = 4;  // of a thread in a round
constexpr int64_t kMaxListBlocks = 264;
constexpr std::size_t kSharedTableBytes = 64 << 10;

struct Slot {
  unsigned long long key;    // class + 1; 0 marks a free place
  unsigned long long first;  // draw
};

// How lists without repeats are filled.
struct ListPlan {
  int threads, draws;  // of a block; of a thread in a round
  int64_t blocks;
  int64_t slots;      // of a table, a power of 2
  bool shared_table;  // in shared memory
};

ListPlan MakePlan(const SamplerProblem& p) {
  ListPlan plan;
  plan.threads = kWarp;
  while (plan.threads < kMaxListThreads && plan.threads < p.num_sampled) plan.threads *= 2;
  plan.draws = static_cast<int>(std::clamp<int64_t>(p.num_sampled / plan.threads, 1, kMaxDraws));
  plan.blocks = std::min(p.num_lists(), kMaxListBlocks);
  // At most half full after the last round.
  plan.slots = 2;
  while (plan.slots < 2 * (p.num_sampled + int64_t{plan.threads} * plan.draws)) plan.slots *= 2;
  plan.shared_table = static_cast<std::size_t>(plan.slots) * sizeof(Slot) <= kSharedTableBytes;
  return plan;
}

// Where the class is in the table, of which `mask` + 1 slots a power of 2.
__device__ __forceinline__ Slot* Insert(Slot* table, uint64_t mask, int64_t k, int64_t draw) {
  const auto key = static_cast<unsigned long long>(k) + 1;
  // Fibonacci hashing: the high bits of the product with 2^64 / golden ratio.
  uint64_t at = (key * 0x9E3779B97F4A7C15ull >> 32) & mask;
  while (true) {
    const unsigned long long before = atomicCAS(&table[at].key, 0ull, key);
    if (before == 0 || before == key) break;
    at = (at + 1) & mask;
  }
  atomicMin(&table[at].first, static_cast<unsigned long long>(draw));
  return table + at;
}

// The sum of `count` over the threads before this one, and over all. `warp_counts` has room for 33.
struct Scan {
  int before, all;
};
__device__ __forceinline__ Scan ScanBlock(int count, int* warp_counts) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int num_warps = static_cast<int>(blockDim.x) / kWarp;
  int sum = count;
  for (int bits = 1; bits < kWarp; bits *= 2) {
    const int other = __shfl_up_sync(kAllLanes, sum, bits);
    if (lane >= bits) sum += other;
  }
  __syncthreads();
  if (lane == kWarp - 1) warp_counts[warp] = sum;
  __syncthreads();
  Scan scan = {sum - count, 0};
  for (int w = 0; w < num_warps; ++w) {
    if (w == warp) scan.before += scan.all;
    scan.all += warp_counts[w];
  }
  return scan;
}

__global__ void __launch_bounds__(kMaxListThreads, 1)
    FillListsKernel(SamplerProblem p, ListPlan plan, int64_t most_tries, int64_t seed0,
                    int64_t seed1, Slot* tables, int64_t* sampled, int64_t* num_tries) {
  __shared__ int warp_counts[kWarp];
  __shared__ long long last_try;
  Slot* const table = plan.shared_table ? reinterpret_cast<Slot*>(SharedMemory())
                                        : tables + blockIdx.x * plan.slots;
  const auto mask = static_cast<uint64_t>(plan.slots - 1);
  const int64_t num_lists = p.per_example ? p.batch : 1;
  const int64_t round = int64_t{blockDim.x} * plan.draws;
  for (int64_t list = blockIdx.x; list < num_lists; list += gridDim.x) {
    const RandomStream stream(seed0, seed1, list);
    int64_t* const to = sampled + list * p.num_sampled;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < plan.slots; i += blockDim.x) table[i] = {0, ~0ull};
    if (threadIdx.x == 0) last_try = 0;
    int64_t found = 0, tries = 0;
    while (found < p.num_sampled && tries < most_tries) {
      __syncthreads();
      const int64_t first = tries + int64_t{threadIdx.x} * plan.draws;
      int64_t classes[kMaxDraws];
      Slot* slots[kMaxDraws];
#pragma unroll
      for (int i = 0; i < kMaxDraws; ++i) {
        if (i >= plan.draws) continue;
        classes[i] = p.distribution.Draw(stream[first + i]);
        slots[i] = Insert(table, mask, classes[i], first + i);
      }
      __syncthreads();
      int is_new = 0;  // a bit for each draw
#pragma unroll
      for (int i = 0; i < kMaxDraws; ++i) {
        if (i >= plan.draws) continue;
        if (slots[i]->first == static_cast<unsigned long long>(first + i)) is_new |= 1 << i;
      }
      const Scan scan = ScanBlock(__popc(static_cast<unsigned>(is_new)), warp_counts);
      int64_t at = found + scan.before;
#pragma unroll
      for (int i = 0; i < kMaxDraws; ++i) {
        if ((is_new >> i & 1) == 0) continue;
        if (at < p.num_sampled) to[at] = classes[i];
        if (at == p.num_sampled - 1) last_try = first + i + 1;
        ++at;
      }
      found += scan.all;
      tries += round;
    }
    // Draws came too often that repeat a class.
    for (int64_t i = found + threadIdx.x; i < p.num_sampled; i += blockDim.x) to[i] = -1;
    __syncthreads();
    if (threadIdx.x == 0) num_tries[list] = found < p.num_sampled ? tries : last_try;
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    DrawKernel(SamplerProblem p, int64_t seed0, int64_t seed1, int64_t* sampled,
               int64_t* num_tries) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= (p.per_example ? p.batch : 1) * p.num_sampled) return;
  const int64_t list = i / p.num_sampled, draw = i % p.num_sampled;
  sampled[i] = p.distribution.Draw(RandomStream(seed0, seed1, list)[draw]);
  if (draw == 0) num_tries[list] = p.num_sampled;
}

// classes [count]; those of a list are `list_length` neighbors.
__global__ void __launch_bounds__(kThreads, 2)
    ExpectedCountsKernel(SamplerProblem p, const int64_t* classes, int64_t count,
                         int64_t list_length, const int64_t* num_tries, float* expected_count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const int64_t k = classes[i];
  const bool is_class = k >= 0 && k < p.distribution.range_max();
  expected_count[i] = is_class ? ExpectedCount(p.distribution.Probability(k), p.num_sampled,
                                               num_tries[i / list_length])
                               : NAN;
}

}  // namespace

int64_t MaxSampledTries(const SamplerProblem& problem) {
  return (int64_t{1} << 20) + 1024 * problem.num_sampled;
}

std::size_t SamplerScratchBytes(const SamplerProblem& problem) {
  Scratch scratch;
  if (!problem.unique) return 0;
  const ListPlan plan = MakePlan(problem);
  if (!plan.shared_table) scratch.Take<Slot>(plan.blocks * plan.slots);
  return scratch.used();
}

Status SampleCandidates(const SamplerProblem& p, const int64_t* seed, const int64_t* true_classes,
                        const Stream& stream, void* memory, int64_t* sampled,
                        float* true_expected_count, float* sampled_expected_count,
                        int64_t* num_tries) {
  FASTW2V_RETURN_IF_ERROR(ValidateSampler(p));
  const int64_t num_sampled = p.num_lists() * p.num_sampled, num_true = p.batch * p.num_true;
  if (p.unique) {
    Scratch scratch(memory);
    const ListPlan plan = MakePlan(p);
    const std::size_t bytes = static_cast<std::size_t>(plan.slots) * sizeof(Slot);
    Slot* const tables = plan.shared_table ? nullptr : scratch.Take<Slot>(plan.blocks * plan.slots);
    FASTW2V_RETURN_IF_ERROR(
        Launch(FillListsKernel, static_cast<unsigned>(plan.blocks),
               static_cast<unsigned>(plan.threads), plan.shared_table ? bytes : 0, stream, p, plan,
               MaxSampledTries(p), seed[0], seed[1], tables, sampled, num_tries));
  } else {
    FASTW2V_RETURN_IF_ERROR(Launch(DrawKernel, NumBlocks(num_sampled, kThreads), kThreads, 0,
                                   stream, p, seed[0], seed[1], sampled, num_tries));
  }
  const auto count = [&](const int64_t* classes, int64_t size, int64_t list_length, float* counts) {
    return Launch(ExpectedCountsKernel, NumBlocks(size, kThreads), kThreads, 0, stream, p, classes,
                  size, list_length, num_tries, counts);
  };
  FASTW2V_RETURN_IF_ERROR(
      count(true_classes, num_true, p.per_example ? p.num_true : num_true, true_expected_count));
  return count(sampled, num_sampled, p.num_sampled, sampled_expected_count);
}

}  // namespace fastw2v::cuda
