// What the losses' callers do to whole arrays of the device, besides the losses.
#ifndef FASTW2V_CUDA_ROWS_ELEMENTWISE_H_
#define FASTW2V_CUDA_ROWS_ELEMENTWISE_H_

#include <cstdint>

#include "csrc/core/types.h"
#include "csrc/cuda/device/runtime.h"

namespace fastw2v::cuda {

// to[i] = from[i], to nearest.
template <typename T>
Status RoundArray(const Accumulator<T>* from, int64_t count, const Stream& stream, T* to);

// to[i] = from[i].
template <typename T>
Status WidenArray(const T* from, int64_t count, const Stream& stream, Accumulator<T>* to);

// to[i] = *number, a number of the device.
template <typename A>
Status FillArray(const A* number, int64_t count, const Stream& stream, A* to);

// The one number by which d_loss[b] is coefficients[b * stride], up to rounding, for every b; 1
// where it is 1 within rounding or all coefficients are 0, NaN where there is no such number.
// stride is 0 or 1.
template <typename A>
Status CommonFactor(const A* d_loss, const A* coefficients, int64_t stride, int64_t batch,
                    const Stream& stream, A* factor);

// to[i] = *factor * from[i]; `to` may be `from`, and then a factor of 1 costs nothing.
template <typename T>
Status ScaleArray(const Accumulator<T>* factor, const T* from, int64_t count, const Stream& stream,
                  T* to);

}  // namespace fastw2v::cuda

#endif  // FASTW2V_CUDA_ROWS_ELEMENTWISE_H_
