// The candidate samplers of csrc/core/sampler.h on a GPU, without the host: the same draws, of the
// same functions of the same random bits.
//
// Uniform and unigram draws are made of integers and of comparisons of exact numbers: they are
// those of the CPU, bit for bit. A log-uniform draw is exp(u log(V + 1)) - 1 rounded down, in
// double precision: where the two machines' exp differs in its last bit, so may a draw that lies
// within that of an integer, about one in 2^50 / V. Expected counts agree within a relative error
// of 1e-6.
//
// A list without repeats is filled in rounds of draws: those that repeat a class are left out, in
// the order of the draws, and num_tries is that of the CPU. What cannot be refused here: a class of
// true_classes that is out of range has the expected count NaN; a list that is not full after
// MaxSampledTries() draws is filled with -1, which losses take for a class out of range.
#ifndef FASTW2V_CUDA_SAMPLER_SAMPLER_H_
#define FASTW2V_CUDA_SAMPLER_SAMPLER_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/sampler.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// Draws after which a unique list is given up.
int64_t MaxSampledTries(const SamplerProblem& problem);

std::size_t SamplerScratchBytes(const SamplerProblem& problem);

// As fastw2v::SampleCandidates. All arrays, and the table of a unigram distribution, are memory of
// the device; the seeds are the host's.
Status SampleCandidates(const SamplerProblem& problem, const int64_t* seed,
                        const int64_t* true_classes, const Stream& stream, void* scratch,
                        int64_t* sampled, float* true_expected_count, float* sampled_expected_count,
                        int64_t* num_tries);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_SAMPLER_SAMPLER_H_
