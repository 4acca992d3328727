// How ops that update variables are registered.
//
// `state` of a table are the handles of its slots, of its moving average, if it has one, and of its
// update history, if it has one: row_updates and entries. `hyperparameters` are the numbers that
// stay the same from step to step, in the order of kLastingNumbers (csrc/core/lasting_numbers.h).
#ifndef FASTW2V_TENSORFLOW_OPTIMIZER_UPDATE_REGISTRATION_H_
#define FASTW2V_TENSORFLOW_OPTIMIZER_UPDATE_REGISTRATION_H_

// clang-format off
#define FASTW2V_UPDATE_ATTRS                                  \
   Attr("rule: string")                                       \
  .Attr("lazy: bool = true")                                  \
  .Attr("average: bool = false")                              \
  .Attr("history: bool = false")

#define FASTW2V_UPDATE_NUMBERS                                \
   Input("learning_rate: double")                             \
  .Input("step: int64")                                       \
  .Input("hyperparameters: double")

// Of the same inputs, for kernels of a GPU.
#define FASTW2V_UPDATE_NUMBERS_ON_HOST                        \
   HostMemory("learning_rate")                                \
  .HostMemory("step")                                         \
  .HostMemory("hyperparameters")
// clang-format on

#endif  // FASTW2V_TENSORFLOW_OPTIMIZER_UPDATE_REGISTRATION_H_
