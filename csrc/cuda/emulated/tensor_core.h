// How tensor cores sum, on the processor. A group of exact products and the number that they are
// added to are aligned to the largest exponent among them, cut there, and added up; the sum is cut
// to a float. Each cut is towards zero, so that long sums become too small, which rounding to
// nearest would not show. After the bit-accurate models of Xie et al. (MMA-Sim, arXiv 2511.10909)
// and Khattak and Mikaitis (arXiv 2512.07004).
#ifndef FASTW2V_CUDA_EMULATED_TENSOR_CORE_H_
#define FASTW2V_CUDA_EMULATED_TENSOR_CORE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace fastw2v::cuda::emulated {

struct TensorCore {
  int group;          // products that are added at once, a power of two
  int fraction_bits;  // that are kept of the largest addend; a float has 23
};

// mma.sync on an A100 (and all of compute capability 8): half the depth of an instruction at a
// time, with a bit more than a float has. Hopper's is the more exact one.
constexpr TensorCore kAmpere16{8, 24};
// wgmma.
constexpr TensorCore kHopper16{16, 25};

// A factor of a product with its exponent, which of a number below `min_exponent` (that of the
// smallest normal number of its type) and of zero is that.
struct Factor {
  double value;
  int exponent;
};

inline int Exponent(float x, int min_exponent) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return std::max(static_cast<int>(bits >> 23 & 0xFF) - 127, min_exponent);
}

constexpr int kFloatMinExponent = -126;

inline Factor ToFactor(float x, int min_exponent) { return {x, Exponent(x, min_exponent)}; }

inline double PowerOfTwo(int exponent) {
  const uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The float next to x towards zero.
inline float CutToFloat(double x) {
  if (std::abs(x) < 0x1p-126) return static_cast<float>(std::trunc(x * 0x1p149) * 0x1p-149);
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= ~((uint64_t{1} << 29) - 1);
  std::memcpy(&x, &bits, sizeof x);
  return static_cast<float>(x);
}

// sum + the sum over k of a[k] b[k], for k below `depth`, a multiple of core.group.
inline float AddProducts(TensorCore core, float sum, const Factor* a, const Factor* b, int depth) {
  for (int begin = 0; begin < depth; begin += core.group) {
    int largest = Exponent(sum, kFloatMinExponent);
    bool finite = largest < 128;
    for (int k = begin; k < begin + core.group; ++k) {
      const int x = a[k].exponent, y = b[k].exponent;
      finite = finite && x < 128 && y < 128;
      largest = std::max(largest, x + y);
    }
    if (!finite) {
      double plain = sum;
      for (int k = begin; k < begin + core.group; ++k) {
        plain += a[k].value * b[k].value;
      }
      sum = static_cast<float>(plain);
      continue;
    }
    // Every addend becomes a whole number of at most fraction_bits + 2 bits.
    const double scale = PowerOfTwo(core.fraction_bits - largest);
    int64_t total = static_cast<int64_t>(sum * scale);
    for (int k = begin; k < begin + core.group; ++k) {
      total += static_cast<int64_t>(a[k].value * b[k].value * scale);
    }
    sum = CutToFloat(static_cast<double>(total) * PowerOfTwo(largest - core.fraction_bits));
  }
  return sum;
}

}  // namespace fastw2v::cuda::emulated

#endif  // FASTW2V_CUDA_EMULATED_TENSOR_CORE_H_
