// Ops that the CPU computes, for a GPU too: what they take and give is in the host's memory there,
// and TensorFlow copies what comes from the device or goes to it. So they can be placed on a GPU
// with everything around them. They make tables once, or outputs whose size depends on the values,
// for which a GPU would have to wait as well.
#ifndef FASTW2V_TENSORFLOW_SUPPORT_HOST_KERNEL_H_
#define FASTW2V_TENSORFLOW_SUPPORT_HOST_KERNEL_H_

#include "tensorflow/core/framework/op_kernel.h"

// `on_host`: HostMemory("...") of every input and output, one after the other.
#define FASTW2V_REGISTER_HOST_KERNEL(name, kernel, on_host)                     \
  REGISTER_KERNEL_BUILDER(Name(name).Device(::tensorflow::DEVICE_CPU), kernel); \
  REGISTER_KERNEL_BUILDER(Name(name).Device(::tensorflow::DEVICE_GPU).on_host, kernel)

#endif  // FASTW2V_TENSORFLOW_SUPPORT_HOST_KERNEL_H_
