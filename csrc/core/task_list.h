// What those who implement Parallel have in common.
#ifndef FASTW2V_CORE_TASK_LIST_H_
#define FASTW2V_CORE_TASK_LIST_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>

#include "csrc/core/parallel.h"

namespace fastw2v {

// Tasks that threads take one by one. A thread that comes late finds none left, and nobody waits
// for it. An exception ends in the thread that waits, wherever it was thrown.
class TaskList {
 public:
  TaskList(int64_t num_tasks, TaskRef task) : num_tasks_(num_tasks), task_(task) {}

  // Each thread has a worker number of its own.
  void Work(int worker) noexcept {
    for (int64_t i = next_++; i < num_tasks_; i = next_++) {
      // Whoever waits does so for every task, so the function is still there.
      try {
        if (!failed_) task_(i, worker);
      } catch (...) {
        if (!failed_.exchange(true)) exception_ = std::current_exception();
      }
      if (++done_ == num_tasks_) {
        const std::lock_guard<std::mutex> lock(mutex_);
        all_done_.notify_one();
      }
    }
  }

  // Returns when all tasks are done, or throws the first exception of one.
  void Wait() {
    // Others are at their last tasks; to sleep takes longer than most of these.
    for (int i = 0; i < 2000 && done_ != num_tasks_; ++i)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    {
      std::unique_lock<std::mutex> lock(mutex_);
      all_done_.wait(lock, [this] { return done_ == num_tasks_; });
    }
    if (exception_ != nullptr) std::rethrow_exception(exception_);
  }

 private:
  const int64_t num_tasks_;
  const TaskRef task_;
  std::atomic<int64_t> next_{0}, done_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr exception_;  // written before the task that threw it counts as done
  std::mutex mutex_;
  std::condition_variable all_done_;
};

}  // namespace fastw2v

#endif  // FASTW2V_CORE_TASK_LIST_H_
