// A sampled loss with one list for the whole batch: its rows are gathered and multiplied with
// blocks of examples (shared_candidates.h), labels by a warp for each example.
#ifndef FASTW2V_CUDA_LOSS_SAMPLED_SHARED_LIST_H_
#define FASTW2V_CUDA_LOSS_SAMPLED_SHARED_LIST_H_

#include <cstdint>

#include "csrc/core/scratch.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/sampled/sampled_call.h"
#include "csrc/cuda/loss/sampled/shared_candidates.h"
#include "csrc/cuda/rows/rows.h"

namespace fastw2v::cuda {

// Of the shared list, in the order in which its classes are gathered: ascending where accidental
// hits are looked for, else as it came.
struct SharedList {
  int64_t* rows = nullptr;    // [num_sampled]; the number of classes where it is out of range
  int32_t* places = nullptr;  // where it was
  int* bad = nullptr;         // whether a class is out of range
};

// What is kept of the labels' logits between kernels, [batch, num_true].
template <typename A>
struct LabelLogits {
  A *z = nullptr, *slope = nullptr;
};

// E: of the operands of products.
template <typename T, typename E>
class SharedListCall {
  using A = Accumulator<T>;

 public:
  SharedListCall(const LossProblem<T>& p, Passes passes, const Device& device, Scratch* scratch);

  Status Run(Passes passes, const SampledResults<T>& results, const Stream& stream);

 private:
  Status MakeList(const Stream& stream) const;

  const LossProblem<T>& p_;
  const SharedBlocks<E> blocks_;
  SharedList list_;
  LabelLogits<A> logits_;
  int64_t* unsorted_rows_ = nullptr;
  int32_t* unsorted_places_ = nullptr;
  SortMemory sort_memory_;
  RowSorter sorter_;
  A* d_logits_ = nullptr;
};

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SAMPLED_SHARED_LIST_H_
