// How the core runs work on the caller's threads. TensorFlow passes its own pool; tests pass plain
// threads. The core cuts work into tasks whose number depends on the problem alone, never on the
// number of workers, and combines their results in task order: same bits for any thread count.
#ifndef FASTW2V_CORE_PARALLEL_H_
#define FASTW2V_CORE_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace fastw2v {

class Parallel {
 public:
  virtual ~Parallel() = default;

  // Worker numbers passed to tasks are in [0, num_workers()); two tasks that run at the same time
  // have different ones, so they index scratch memory.
  virtual int num_workers() const = 0;

  // Calls task(i, worker) once for every i in [0, num_tasks), in any order, and returns when all
  // are done. `cost` is the rough cost of one task in CPU cycles.
  virtual void For(int64_t num_tasks, int64_t cost,
                   const std::function<void(int64_t task, int worker)>& task) const = 0;
};

class Serial final : public Parallel {
 public:
  int num_workers() const override { return 1; }
  void For(int64_t num_tasks, int64_t /*cost*/,
           const std::function<void(int64_t, int)>& task) const override {
    for (int64_t i = 0; i < num_tasks; ++i) task(i, 0);
  }
};

}  // namespace fastw2v

#endif  // FASTW2V_CORE_PARALLEL_H_
