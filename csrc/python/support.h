// What the NumPy bindings share: arrays, threads, aligned memory, errors.
#ifndef FASTW2V_PYTHON_SUPPORT_H_
#define FASTW2V_PYTHON_SUPPORT_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "csrc/core/parallel.h"
#include "csrc/core/scratch.h"
#include "csrc/core/status.h"
#include "csrc/core/task_list.h"
#include "csrc/core/types.h"

namespace fastw2v {

template <typename T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

// The element type of the NumPy array that carries a table of T.
template <typename T>
struct Carrier {
  using type = T;
};
template <>
struct Carrier<Half> {
  using type = uint16_t;
};
template <>
struct Carrier<BFloat16> {
  using type = uint16_t;
};
template <typename T>
using CarrierOf = typename Carrier<T>::type;

inline void CheckRank(const pybind11::array& array, const char* name, int64_t rank) {
  if (array.ndim() == rank) return;
  throw pybind11::value_error(std::string(name) + " must have rank " + std::to_string(rank));
}

inline void ThrowIfError(const Status& status) {
  if (status.ok()) return;
  if (status.code() == StatusCode::kInvalidArgument) {
    throw pybind11::value_error(status.message());
  }
  throw std::runtime_error(status.message());
}

// Fresh threads for every call: enough for tests, and any number of them.
class PlainThreads final : public Parallel {
 public:
  explicit PlainThreads(int num_threads) : num_threads_(num_threads) {
    if (num_threads < 1) throw pybind11::value_error("num_threads must be at least 1");
  }

  int num_workers() const override { return num_threads_; }

  void For(int64_t num_tasks, int64_t /*cost*/, TaskRef task) const override {
    TaskList list(num_tasks, task);
    std::vector<std::thread> threads;
    try {
      for (int worker = 1; worker < std::min<int64_t>(num_tasks, num_threads_); ++worker) {
        threads.emplace_back([&list, worker] { list.Work(worker); });
      }
    } catch (const std::bad_alloc&) {
    } catch (const std::system_error&) {  // a limit on threads: those that have started do the work
    }
    list.Work(0);
    for (std::thread& thread : threads) thread.join();
    list.Wait();
  }

 private:
  const int num_threads_;
};

// Memory aligned as kernels expect their scratch.
class AlignedMemory {
 public:
  explicit AlignedMemory(std::size_t bytes) : storage_(new char[bytes + Scratch::kAlignment]) {
    data_ = storage_.get();
    std::size_t space = bytes + Scratch::kAlignment;
    std::align(Scratch::kAlignment, bytes, data_, space);
  }

  void* data() const { return data_; }

 private:
  std::unique_ptr<char[]> storage_;
  void* data_;
};

}  // namespace fastw2v

#endif  // FASTW2V_PYTHON_SUPPORT_H_
