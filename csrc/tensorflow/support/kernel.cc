#include "csrc/tensorflow/support/kernel.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>

namespace fastw2v {
namespace {

// Of the exception that is being handled.
absl::Status Describe() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::length_error&) {
    return absl::ResourceExhaustedError("more memory asked for than there can be");
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(error.what());
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  } catch (...) {
    return absl::InternalError("an exception of unknown type");
  }
}

}  // namespace

void Kernel::Compute(tensorflow::OpKernelContext* context) {
  absl::Status status;
  try {
    status = Run(context);
  } catch (...) {
    try {
      status = Describe();
    } catch (const std::bad_alloc&) {  // not even for the sentence
      status = absl::Status(absl::StatusCode::kResourceExhausted, "");
    }
  }
  OP_REQUIRES_OK(context, status);
}

}  // namespace fastw2v
