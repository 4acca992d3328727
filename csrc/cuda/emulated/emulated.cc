// Threads of a block take turns on one thread of the process: each runs until it has to wait for
// others. FASTW2V_EMULATED_ORDER decides who is next: "forward" (by their numbers, the default),
// "reverse", or the seed of a random order.
#include <dlfcn.h>
#include <ucontext.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "csrc/cuda/emulated/cuda_runtime.h"

namespace fastw2v::cuda::emulated {

dim3 thread_index, block_index, block_size, grid_size;

namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 18;
constexpr int kBarriers = 16;
constexpr int kWarpgroup = 128;

struct Meeting {
  int arrived = 0;
  int64_t generation = 0;
};

// Threads take turns many times in each kernel. The compiler's own jump is a few instructions; of
// each longjmp AddressSanitizer makes system calls in search of a stack that it knows, which took
// nine tenths of a kernel's time. For the same reason functions that jump are not instrumented.
using Place = void* [5];
#define FASTW2V_JUMPS __attribute__((noinline, no_sanitize_address))

struct Thread {
  char* stack = nullptr;
  ucontext_t start;
  Place resume;
  dim3 index;
  int number = 0;
  bool started = false, finished = false;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<int> order;
  std::vector<Meeting> warps;
  std::vector<void*> records;  // by thread
  std::vector<Meeting> warpgroups;
  std::vector<void*> warpgroup_records;  // by thread
  Meeting barriers[kBarriers];
  std::vector<unsigned char> shared_memory;
  unsigned char* shared = nullptr;
  const std::function<void()>* kernel = nullptr;
  Thread* running = nullptr;
  int live = 0;
  int64_t progress = 0;  // meetings that were completed, threads that came to an end, polls
  Place scheduler;
};

Block* block = nullptr;

// By thread, kept for the next kernel: new ones would be memory that the system has to clear.
std::vector<std::unique_ptr<char[]>> stacks;

FASTW2V_JUMPS void JumpTo(void** place) { __builtin_longjmp(place, 1); }

FASTW2V_JUMPS void SwitchToScheduler() {
  if (__builtin_setjmp(block->running->resume) == 0) JumpTo(block->scheduler);
}

FASTW2V_JUMPS void Start() {
  (*block->kernel)();
  block->running->finished = true;
  --block->live;
  ++block->progress;
  JumpTo(block->scheduler);
}

FASTW2V_JUMPS void Resume(Thread* thread) {
  block->running = thread;
  thread_index = thread->index;
  if (__builtin_setjmp(block->scheduler) != 0) return;  // the thread waits, or is at its end
  if (thread->started) JumpTo(thread->resume);
  thread->started = true;
  getcontext(&thread->start);
  thread->start.uc_stack.ss_sp = thread->stack;
  thread->start.uc_stack.ss_size = kStackBytes;
  thread->start.uc_link = nullptr;
  makecontext(&thread->start, &Start, 0);
  setcontext(&thread->start);
}

// Waits for a meeting of `count` threads, or of all that have not returned where count is 0.
template <typename Last>
void Meet(Meeting* meeting, int count, Last last) {
  ++meeting->arrived;
  const int64_t generation = meeting->generation;
  while (meeting->generation == generation) {
    if (meeting->arrived == (count > 0 ? count : block->live)) {
      last();
      meeting->arrived = 0;
      ++meeting->generation;
      ++block->progress;
    } else {
      SwitchToScheduler();
    }
  }
}

std::vector<int> Order(int count, std::mt19937_64* random) {
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  const char* chosen = std::getenv("FASTW2V_EMULATED_ORDER");
  const std::string name = chosen == nullptr ? "forward" : chosen;
  if (name == "reverse") {
    std::reverse(order.begin(), order.end());
  } else if (name != "forward") {
    random->seed(random->operator()() ^ std::strtoull(chosen, nullptr, 10));
    std::shuffle(order.begin(), order.end(), *random);
  }
  return order;
}

std::string RunBlock(std::mt19937_64* random) {
  const int count = static_cast<int>(block->threads.size());
  for (Thread& thread : block->threads) thread.started = thread.finished = false;
  for (Meeting& meeting : block->warps) meeting = Meeting();
  for (Meeting& meeting : block->warpgroups) meeting = Meeting();
  for (Meeting& meeting : block->barriers) meeting = Meeting();
  block->live = count;
  // What a kernel has not written is not zero.
  std::fill(block->shared_memory.begin(), block->shared_memory.end(), 0xCB);
  block->order = Order(count, random);
  int idle_rounds = 0;
  while (block->live > 0) {
    const int64_t before = block->progress;
    for (const int i : block->order) {
      if (!block->threads[i].finished) Resume(&block->threads[i]);
    }
    // Threads that poll count as progress only so often: what they wait for has to come.
    idle_rounds = block->progress == before ? idle_rounds + 1 : 0;
    if (idle_rounds > 1000) {
      return "deadlock in block (" + std::to_string(block_index.x) + ", " +
             std::to_string(block_index.y) + "): " + std::to_string(block->live) + " of " +
             std::to_string(count) + " threads wait for ever";
    }
  }
  return "";
}

}  // namespace

void NoteKernel(const void* kernel) {
  static const char* const path = std::getenv("FASTW2V_EMULATED_LOG");
  if (path == nullptr) return;
  static std::mutex noting;
  const std::lock_guard<std::mutex> lock(noting);
  static std::set<const void*> noted;
  Dl_info library;
  if (!noted.insert(kernel).second || dladdr(kernel, &library) == 0) return;
  std::ofstream(path, std::ios::app)
      << std::hex << static_cast<const char*>(kernel) - static_cast<const char*>(library.dli_fbase)
      << '\n';
}

std::string Run(dim3 grid, dim3 size, std::size_t shared_bytes,
                const std::function<void()>& kernel) {
  // Memory that a kernel declares as shared, and all else here, is there once, and kernels of a
  // stream run one by one.
  static std::mutex running;
  const std::lock_guard<std::mutex> lock(running);
  Block storage;
  block = &storage;
  const int count = static_cast<int>(size.x * size.y * size.z);
  storage.threads = std::vector<Thread>(count);
  for (int i = 0; i < count; ++i) {
    Thread& thread = storage.threads[i];
    if (static_cast<int>(stacks.size()) == i) stacks.emplace_back(new char[kStackBytes]);
    thread.stack = stacks[i].get();
    thread.number = i;
    const unsigned x = static_cast<unsigned>(i);
    thread.index = dim3(x % size.x, x / size.x % size.y, x / (size.x * size.y));
  }
  storage.warps.resize((count + 31) / 32);
  storage.records.resize((count + 31) / 32 * 32);
  storage.warpgroups.resize(count / kWarpgroup);
  storage.warpgroup_records.resize(count);
  constexpr std::size_t kSharedAlignment = 1024;
  storage.shared_memory.resize(shared_bytes + kSharedAlignment);
  void* shared = storage.shared_memory.data();
  std::size_t space = storage.shared_memory.size();
  storage.shared =
      static_cast<unsigned char*>(std::align(kSharedAlignment, shared_bytes, shared, space));
  storage.kernel = &kernel;
  block_size = size;
  grid_size = grid;
  std::mt19937_64 random;
  std::string failure;
  const int64_t blocks = int64_t{grid.x} * grid.y * grid.z;
  for (const int i : Order(static_cast<int>(blocks), &random)) {
    const unsigned x = static_cast<unsigned>(i);
    block_index = dim3(x % grid.x, x / grid.x % grid.y, x / (grid.x * grid.y));
    failure = RunBlock(&random);
    if (!failure.empty()) break;
  }
  if (!failure.empty()) stacks.clear();  // functions that never ended left their marks there
  block = nullptr;
  return failure;
}

unsigned char* SharedMemory() { return block->shared; }

int Lane() { return block->running->number % 32; }

int ThreadNumber() { return block->running->number; }

void Barrier(int id, int count) {
  Meet(&block->barriers[id], count, [] {});
}

void ArriveAtBarrier(int id, int count) {
  Meeting* const meeting = &block->barriers[id];
  if (++meeting->arrived < count) return;
  meeting->arrived = 0;
  ++meeting->generation;
  ++block->progress;
}

void MeetLanes(unsigned mask, void* record, const std::function<void(void**)>& work) {
  const int warp = block->running->number / 32;
  const int threads = std::min(32, static_cast<int>(block->threads.size()) - 32 * warp);
  if (threads < 32) mask &= (1u << threads) - 1;
  void** records = block->records.data() + 32 * warp;
  records[Lane()] = record;
  Meet(&block->warps[warp], __builtin_popcount(mask), [&] {
    work(records);
    std::fill(records, records + 32, nullptr);
  });
}

void MeetWarpgroup(void* record, const std::function<void(void**)>& work) {
  const int group = block->running->number / kWarpgroup;
  void** records = block->warpgroup_records.data() + kWarpgroup * group;
  records[block->running->number % kWarpgroup] = record;
  Meet(&block->warpgroups[group], kWarpgroup, [&] { work(records); });
}

void Yield() { SwitchToScheduler(); }

void CountProgress() { ++block->progress; }

}  // namespace fastw2v::cuda::emulated
