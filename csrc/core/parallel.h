// How the core runs work on the caller's threads. TensorFlow passes its own pool; tests pass plain
// threads. The core cuts work into tasks whose number depends on the problem alone, never on the
// number of workers, and combines their results in task order: same bits for any thread count.
#ifndef FASTW2V_CORE_PARALLEL_H_
#define FASTW2V_CORE_PARALLEL_H_

#include <cstdint>
#include <type_traits>

namespace fastw2v {

// A function task(i, worker) that outlives the call it is passed to. Unlike std::function it takes
// no memory, so that a call of Parallel::For() has none to run out of.
class TaskRef {
 public:
  template <typename Task, typename = std::enable_if_t<!std::is_same_v<Task, TaskRef>>>
  TaskRef(const Task& task)  // NOLINT: lambdas are passed as they are
      : task_(&task), call_([](const void* t, int64_t i, int worker) {
          (*static_cast<const Task*>(t))(i, worker);
        }) {}

  void operator()(int64_t i, int worker) const { call_(task_, i, worker); }

 private:
  const void* task_;
  void (*call_)(const void* task, int64_t i, int worker);
};

class Parallel {
 public:
  virtual ~Parallel() = default;

  // Worker numbers passed to tasks are below this and below the number of tasks; two tasks that run
  // at the same time have different ones, so they index scratch memory.
  virtual int num_workers() const = 0;

  // Calls task(i, worker) once for every i in [0, num_tasks), in any order, and returns when all
  // are done. `cost` is the rough cost of one task in CPU cycles. Where threads cannot be had there
  // are fewer of them. Throws nothing but what a task throws, after all tasks have ended; those
  // that had not begun are left out then.
  virtual void For(int64_t num_tasks, int64_t cost, TaskRef task) const = 0;
};

class Serial final : public Parallel {
 public:
  int num_workers() const override { return 1; }
  void For(int64_t num_tasks, int64_t /*cost*/, TaskRef task) const override {
    for (int64_t i = 0; i < num_tasks; ++i) task(i, 0);
  }
};

}  // namespace fastw2v

#endif  // FASTW2V_CORE_PARALLEL_H_
