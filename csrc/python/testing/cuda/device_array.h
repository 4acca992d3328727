// Arrays in the memory of the device as arguments of bindings: DeviceArray<const T> is read,
// DeviceArray<T> written. They come as objects with a __cuda_array_interface__ (PyTorch, CuPy,
// Numba); in the emulated build, where memory of the device is memory of the process, as NumPy
// arrays. 16-bit types are taken by their size: NumPy has no bfloat16 of its own.
#ifndef FASTW2V_PYTHON_TESTING_CUDA_DEVICE_ARRAY_H_
#define FASTW2V_PYTHON_TESTING_CUDA_DEVICE_ARRAY_H_

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "csrc/core/types.h"
#include "csrc/cuda/device/runtime.h"
#include "csrc/python/support.h"

namespace fastw2v {

// The codes of NumPy's kinds of numbers that an array of T may have.
template <typename T>
constexpr const char* kKinds = std::is_floating_point_v<T> ? "f"
                               : std::is_signed_v<T>       ? "i"
                                                           : "u";
template <>
inline constexpr const char* kKinds<Half> = "fiuV";
template <>
inline constexpr const char* kKinds<BFloat16> = "fiuV";

template <typename T>
class DeviceArray {
 public:
  using Element = std::remove_const_t<T>;

  DeviceArray() = default;
  explicit DeviceArray(pybind11::object owner) : owner_(std::move(owner)) {
    namespace py = pybind11;
    const auto interface = owner_.attr(kInterface).cast<py::dict>();
    const auto type = interface["typestr"].cast<std::string>();  // such as "<f4"
    if (std::string(kKinds<Element>).find(type[1]) == std::string::npos ||
        type.substr(2) != std::to_string(sizeof(T))) {
      throw py::value_error("an array of type " + type + " where its elements must be of kind " +
                            kKinds<Element> + " and " + std::to_string(sizeof(T)) + " bytes");
    }
    shape_ = interface["shape"].cast<std::vector<int64_t>>();
    if (interface.contains("strides") && !interface["strides"].is_none()) {
      int64_t stride = sizeof(T);
      const auto strides = interface["strides"].cast<std::vector<int64_t>>();
      for (int64_t i = rank() - 1; i >= 0; stride *= shape_[i--]) {
        if (shape_[i] != 1 && strides[i] != stride && size() > 0) {
          throw py::value_error("an array whose elements are not contiguous, in row-major order");
        }
      }
    }
    const auto data = interface["data"].cast<py::tuple>();
    if (!std::is_const_v<T> && data[1].cast<bool>()) {
      throw py::value_error("an array that is read-only where one is written");
    }
    data_ = reinterpret_cast<T*>(data[0].cast<std::uintptr_t>());
  }

  T* data() const { return data_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t shape(int64_t i) const { return shape_[i]; }
  int64_t size() const {
    int64_t size = 1;
    for (const int64_t extent : shape_) size *= extent;
    return size;
  }

  // The same array, of which `name` says what is wrong where it has not this shape.
  const DeviceArray& Shaped(const char* name, const std::vector<int64_t>& shape) const {
    if (shape_ == shape) return *this;
    throw pybind11::value_error(std::string(name) + " has shape " + Text(shape_) + ", not " +
                                Text(shape));
  }

#if defined(FASTW2V_CUDA_EMULATED)
  static constexpr const char* kInterface = "__array_interface__";
#else
  static constexpr const char* kInterface = "__cuda_array_interface__";
#endif

 private:
  static std::string Text(const std::vector<int64_t>& shape) {
    std::string text;
    for (const int64_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
    return "[" + text + "]";
  }

  pybind11::object owner_;
  T* data_ = nullptr;
  std::vector<int64_t> shape_;
};

// Memory for a call, at least `bytes` of it.
inline void* ScratchData(const DeviceArray<uint8_t>& scratch, std::size_t bytes) {
  if (static_cast<std::size_t>(scratch.size()) >= bytes) return scratch.data();
  throw pybind11::value_error("scratch has " + std::to_string(scratch.size()) +
                              " bytes, fewer than " + std::to_string(bytes));
}

// The caller's stream, by its address (0: the default one), on the current device, with a library
// of matrix products.
cuda::Stream StreamAt(std::uintptr_t address);

// A file of bindings adds them to `_kernels.cuda` by a constant of this type.
class CudaBindings {
 public:
  using Bind = void (*)(pybind11::module_& module);

  explicit CudaBindings(Bind bind) { All().push_back(bind); }

  static std::vector<Bind>& All() {
    static std::vector<Bind> all;
    return all;
  }
};

}  // namespace fastw2v

namespace pybind11::detail {

template <typename T>
struct type_caster<fastw2v::DeviceArray<T>> {
  PYBIND11_TYPE_CASTER(fastw2v::DeviceArray<T>, const_name("DeviceArray"));

  bool load(handle source, bool /*convert*/) {
    if (!hasattr(source, fastw2v::DeviceArray<T>::kInterface)) return false;
    value = fastw2v::DeviceArray<T>(reinterpret_borrow<object>(source));
    return true;
  }
};

}  // namespace pybind11::detail

#endif  // FASTW2V_PYTHON_TESTING_CUDA_DEVICE_ARRAY_H_
