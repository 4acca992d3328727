// Sampled losses: with a list for each example (own_list.h) or one for the whole batch
// (shared_list.h). In both cases the gradient of the weights is made of terms (weight_terms.h).
#include <type_traits>

#include "csrc/core/scratch.h"
#include "csrc/cuda/loss/loss.h"
#include "csrc/cuda/loss/sampled/own_list.h"
#include "csrc/cuda/loss/sampled/sampled_call.h"
#include "csrc/cuda/loss/sampled/shared_list.h"

namespace fastw2v::cuda {

namespace {

// use(call) with the call that the problem asks for.
template <typename T, typename Use>
auto WithCall(const LossProblem<T>& p, Passes passes, const Device& device, Scratch* scratch,
              Use use) {
  if (p.candidates != Candidates::kShared) return use(OwnListCall<T>(p, passes, device, scratch));
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, Half>) {
    if (p.options.compute_dtype == ComputeDtype::kBFloat16) {
      return use(SharedListCall<T, BFloat16>(p, passes, device, scratch));
    }
  }
  return use(SharedListCall<T, T>(p, passes, device, scratch));
}

template <typename T>
Status Run(const LossProblem<T>& p, Passes passes, const SampledResults<T>& results,
           const Stream& stream, void* memory) {
  if (p.batch == 0 && passes == Passes::kForward) return Status();
  Scratch scratch(memory);
  return WithCall(p, passes, stream.device, &scratch,
                  [&](auto&& call) { return call.Run(passes, results, stream); });
}

}  // namespace

template <typename T>
std::size_t SampledLossScratchBytes(const LossProblem<T>& problem, const Device& device) {
  Scratch scratch;
  WithCall(problem, Passes::kBoth, device, &scratch, [](auto&&) { return 0; });
  return scratch.used();
}

template <typename T>
Status SampledLossForward(const LossProblem<T>& problem, const Stream& stream, void* scratch,
                          Accumulator<T>* loss, const Normalizer<Accumulator<T>>& normalizer) {
  SampledResults<T> results;
  results.loss = loss;
  results.output = normalizer;
  return Run(problem, Passes::kForward, results, stream, scratch);
}

template <typename T>
Status SampledLossBackward(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                           const Normalizer<const Accumulator<T>>& normalizer, const Stream& stream,
                           void* scratch, Accumulator<T>* d_hidden,
                           const RowGradient<T>& d_weights) {
  SampledResults<T> results;
  results.d_loss = d_loss;
  results.input = normalizer;
  results.d_hidden = d_hidden;
  results.d_weights = d_weights;
  return Run(problem, Passes::kBackward, results, stream, scratch);
}

template <typename T>
Status SampledLossWithGradients(const LossProblem<T>& problem, const Accumulator<T>* d_loss,
                                const Stream& stream, void* scratch, Accumulator<T>* loss,
                                const Normalizer<Accumulator<T>>& normalizer,
                                Accumulator<T>* d_hidden, const RowGradient<T>& d_weights) {
  SampledResults<T> results;
  results.d_loss = d_loss;
  results.loss = loss;
  results.output = normalizer;
  results.input = {normalizer.max, normalizer.log_sum};
  results.d_hidden = d_hidden;
  results.d_weights = d_weights;
  return Run(problem, Passes::kBoth, results, stream, scratch);
}

#define FASTW2V_INSTANTIATE(T)                                                                   \
  template std::size_t SampledLossScratchBytes<T>(const LossProblem<T>&, const Device&);         \
  template Status SampledLossForward<T>(const LossProblem<T>&, const Stream&, void*,             \
                                        Accumulator<T>*, const Normalizer<Accumulator<T>>&);     \
  template Status SampledLossBackward<T>(const LossProblem<T>&, const Accumulator<T>*,           \
                                         const Normalizer<const Accumulator<T>>&, const Stream&, \
                                         void*, Accumulator<T>*, const RowGradient<T>&);         \
  template Status SampledLossWithGradients<T>(                                                   \
      const LossProblem<T>&, const Accumulator<T>*, const Stream&, void*, Accumulator<T>*,       \
      const Normalizer<Accumulator<T>>&, Accumulator<T>*, const RowGradient<T>&);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v::cuda
