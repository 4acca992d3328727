// The training examples of csrc/core/skipgram.h on a GPU: the same draws, the same examples in the
// same order. How many there are is known on the device alone: arrays have the capacity that the
// caller gives them, what is left of them is filled with -1, and examples that do not fit are left
// out. `count` is the number of examples there are, fitting or not.
//
// All pointers of a problem are to memory of the device, where nothing can be refused: an id that
// is not below num_classes is no word and ends its sentence, like a negative one; row_splits that
// are not as they should be put the ends of sentences elsewhere. Nothing outside an array is read.
//
// Shuffling is not offered: Fisher and Yates' shuffle takes one step after the other.
#ifndef FASTW2V_CUDA_TEXT_SKIPGRAM_H_
#define FASTW2V_CUDA_TEXT_SKIPGRAM_H_

#include <cstddef>
#include <cstdint>

#include "csrc/core/skipgram.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// What can be checked without the device: the window, and that nothing is to be shuffled.
Status CheckSkipGrams(const SkipGramProblem& problem);

// Bytes of scratch for either function: about 28 for each token, twice as many where rows are
// given.
std::size_t SkipGramScratchBytes(const SkipGramProblem& problem);

// centers, contexts [capacity], count [1], overwritten.
Status FillPairs(const SkipGramProblem& problem, int64_t capacity, const Stream& stream,
                 void* scratch, int64_t* centers, int64_t* contexts, int64_t* count);

// bags [capacity, 2 * window], labels [capacity], count [1], overwritten.
Status FillBags(const SkipGramProblem& problem, int64_t capacity, const Stream& stream,
                void* scratch, int64_t* bags, int64_t* labels, int64_t* count);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_TEXT_SKIPGRAM_H_
