// Scratch memory comes from the caller. A kernel describes what it needs in one function that takes
// memory from a Scratch; run on an empty Scratch that function measures, run on real memory it
// hands out the same pieces.
#ifndef FASTW2V_CORE_SCRATCH_H_
#define FASTW2V_CORE_SCRATCH_H_

#include <cstddef>
#include <cstdint>

namespace fastw2v {

class Scratch {
 public:
  static constexpr std::size_t kAlignment = 64;

  Scratch() = default;  // measures only
  explicit Scratch(void* memory) : base_(static_cast<char*>(memory)) {}

  template <typename T>
  T* Take(int64_t count) {
    const std::size_t offset = used_;
    used_ +=
        (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + offset);
  }

  std::size_t used() const { return used_; }

 private:
  char* base_ = nullptr;  // aligned to kAlignment by the caller
  std::size_t used_ = 0;
};

}  // namespace fastw2v

#endif  // FASTW2V_CORE_SCRATCH_H_
