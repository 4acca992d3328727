#include "csrc/tensorflow/support/scratch_memory.h"

#include <cstdint>
#include <deque>
#include <mutex>
#include <new>
#include <utility>

#include "csrc/core/scratch.h"
#include "csrc/tensorflow/support/huge_pages.h"

namespace fastw2v {
namespace {

using tensorflow::Tensor;

constexpr std::size_t kSmall = std::size_t{1} << 20;  // the allocator itself keeps these
constexpr std::size_t kKept = std::size_t{64} << 20;

// Blocks that no call uses, the oldest first.
class FreeBlocks {
 public:
  // Returns an empty tensor where no block is large enough.
  Tensor Take(std::size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      if (block->TotalBytes() < bytes) continue;
      Tensor taken = std::move(*block);
      blocks_.erase(std::next(block).base());
      kept_ -= taken.TotalBytes();
      return taken;
    }
    return Tensor();
  }

  void Keep(Tensor block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    kept_ += block.TotalBytes();
    blocks_.push_back(std::move(block));
    while (kept_ > kKept) {
      kept_ -= blocks_.front().TotalBytes();
      blocks_.pop_front();
    }
  }

 private:
  std::mutex mutex_;
  std::deque<Tensor> blocks_;
  std::size_t kept_ = 0;
};

FreeBlocks& Free() {
  static auto* const blocks = new FreeBlocks;  // outlives every thread of TensorFlow
  return *blocks;
}

}  // namespace

absl::Status ScratchMemory::Allocate(tensorflow::OpKernelContext* context, std::size_t bytes) {
  // TensorFlow aligns tensors to EIGEN_MAX_ALIGN_BYTES, which may be less than the core asks for.
  const std::size_t alignment = Scratch::kAlignment;
  bytes += alignment;
  if (bytes >= kSmall) tensor_ = Free().Take(bytes);
  if (tensor_.TotalBytes() == 0) {
    const tensorflow::TensorShape shape({static_cast<int64_t>(bytes)});
    tensorflow::AllocatorAttributes on_host;  // also of an op that is placed on a GPU
    on_host.set_on_host(true);
    TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_INT8, shape, &tensor_, on_host));
    PreferHugePages(tensor_);
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(tensor_.data());
  data_ = reinterpret_cast<void*>((begin + alignment - 1) / alignment * alignment);
  return absl::OkStatus();
}

ScratchMemory::~ScratchMemory() {
  if (tensor_.TotalBytes() < kSmall) return;
  try {
    Free().Keep(std::move(tensor_));
  } catch (const std::bad_alloc&) {  // then it is not kept
  }
}

}  // namespace fastw2v
