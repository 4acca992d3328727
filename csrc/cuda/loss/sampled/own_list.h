// A sampled loss in which each example has a list of its own: a warp computes the logits one after
// the other.
#ifndef FASTW2V_CUDA_LOSS_SAMPLED_OWN_LIST_H_
#define FASTW2V_CUDA_LOSS_SAMPLED_OWN_LIST_H_

#include "csrc/core/scratch.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/sampled/sampled_call.h"
#include "csrc/cuda/rows/rows.h"

namespace fastw2v::cuda {

template <typename T>
class OwnListCall {
  using A = Accumulator<T>;

 public:
  OwnListCall(const LossProblem<T>& p, Passes, const Device&, Scratch* scratch)
      : p_(p),
        sorter_(SampledRowCapacity(p), p.classes, scratch),
        d_logits_(scratch->Take<A>(SampledRowCapacity(p))) {}

  Status Run(Passes passes, const SampledResults<T>& results, const Stream& stream) const;

 private:
  Status Launch(bool wants_loss, bool wants_gradient, const SampledResults<T>& results,
                const Stream& stream) const;

  const LossProblem<T>& p_;
  RowSorter sorter_;
  A* d_logits_;
};

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_LOSS_SAMPLED_OWN_LIST_H_
