// Micro-kernels, written once with vector types of the compiler and compiled once per instruction
// set: FASTW2V_ISA is the name of that set and of the namespace, so that no two compilations share
// a symbol. For the same reason nothing here uses an inline function of the standard library: the
// linker could keep the copy that was built for instructions which the processor lacks.
#include "csrc/cpu/kernels/kernels.h"

#include <math.h>

#include "csrc/core/loss_formulas.h"
#include "csrc/cpu/isa/transpose.h"
#include "csrc/cpu/isa/vectors.h"

#define FASTW2V_STRING_(x) #x
#define FASTW2V_STRING(x) FASTW2V_STRING_(x)

namespace fastw2v::cpu::FASTW2V_ISA {
namespace {

// Rows of a tile of the matrix product: as many sums as registers hold, beside the operands. On
// AArch64 GCC loads the operands of all rows first, and with 12 rows would spill sums.
#if defined(__AVX512F__)
constexpr int kTileRows = 12;
#elif defined(__aarch64__)
constexpr int kTileRows = 8;
#elif defined(__AVX2__)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif

constexpr int kCacheLine = 64;
constexpr int kVectorsOfLine = kCacheLine > kVectorBytes ? kCacheLine / kVectorBytes : 1;

template <int rows>
struct Rows {
  static constexpr int kValue = rows;
};

// ---- Matrix product ---------------------------------------------------------------------------

// Columns that lie side by side are copied; rows that do are transposed square by square.
template <typename A>
void Pack(const A* x, int64_t stride_k, int64_t stride_n, int64_t k, int64_t n, A* packed) {
  constexpr int panel = kPanel<A>;
  for (int64_t first = 0; first < n; first += panel) {
    const int64_t columns = n - first < panel ? n - first : panel;
    const A* source = x + first * stride_n;
    int64_t done = 0;  // of k
    if (stride_n == 1 && columns == panel) {
      for (; done < k; ++done) {
        __builtin_memcpy(packed + done * panel, source + done * stride_k, panel * sizeof(A));
      }
    }
#ifdef FASTW2V_HAVE_SHUFFLE
    if (stride_k == 1 && columns == panel) {
      constexpr int lanes = kLanes<A>;
      for (; done + lanes <= k; done += lanes) {
        for (int j = 0; j < panel; j += lanes) {
          TransposeSquare<A>([&](int i) { return source + done + (j + i) * stride_n; },
                             packed + done * panel + j, panel);
        }
      }
    }
#endif
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t p = done; p < k; ++p) {
        packed[p * panel + j] = source[p * stride_k + j * stride_n];
      }
    }
    for (int64_t p = done; p < k; ++p) {
      for (int64_t j = columns; j < panel; ++j) packed[p * panel + j] = 0;
    }
    packed += panel * k;
  }
}

// One tile of c: kRows rows and kVectors vectors of columns, a panel or half of one, stay in
// registers; `columns`, of the last vector, are written. `left` holds either rows (element (i, p)
// at [i * left_stride + p]) or columns ([p * left_stride + i]).
template <typename A, bool kLeftRows, int kRows, int kVectors>
inline void MultiplyTile(int64_t k, const A* left, int64_t left_stride, const A* right,
                         int64_t right_stride, A* c, int64_t stride, int64_t columns,
                         bool accumulate) {
  constexpr int lanes = kLanes<A>;
  constexpr int last = kVectors - 1;
  Vector<A> sum[kRows][kVectors];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    // The result arrives from a distant cache while the sums are made.
    for (int v = 0; v < kVectors; v += kVectorsOfLine) {
      __builtin_prefetch(c + i * stride + v * lanes, 1);
    }
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Vector<A>{};
  }
  for (int64_t p = 0; p < k; ++p) {
    Vector<A> x[kVectors];
    for (int v = 0; v < kVectors; ++v) x[v] = Load<A>(right + v * lanes);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const A y = kLeftRows ? left[i * left_stride] : left[i];
      for (int v = 0; v < kVectors; ++v) sum[i][v] += y * x[v];
    }
    left += kLeftRows ? 1 : left_stride;
    right += right_stride;
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {  // unrolled, so that sums need no address
    A* row = c + i * stride;
    if (accumulate) {
      for (int v = 0; v < last; ++v) sum[i][v] += Load<A>(row + v * lanes);
      sum[i][last] += LoadFirst<A>(row + last * lanes, columns);
    }
    for (int v = 0; v < last; ++v) Store<A>(row + v * lanes, sum[i][v]);
    StoreFirst<A>(row + last * lanes, sum[i][last], columns);
  }
}

template <typename A, bool kLeftRows, int kVectors>
void MultiplyVectors(int64_t m, int64_t k, const A* left, int64_t left_stride, const A* right,
                     int64_t right_stride, A* c, int64_t stride, int64_t columns, bool accumulate) {
  int64_t i = 0;
  const auto tile = [&](auto rows) {
    constexpr int kRows = decltype(rows)::kValue;
    for (; i + kRows <= m; i += kRows) {
      MultiplyTile<A, kLeftRows, kRows, kVectors>(k, left + i * (kLeftRows ? left_stride : 1),
                                                  left_stride, right, right_stride, c + i * stride,
                                                  stride, columns, accumulate);
    }
  };
  tile(Rows<kTileRows>{});
  tile(Rows<4>{});
  tile(Rows<2>{});
  tile(Rows<1>{});
}

// `columns` of one panel.
template <typename A, bool kLeftRows>
void MultiplyPanel(int64_t m, int64_t k, const A* left, int64_t left_stride, const A* right,
                   int64_t right_stride, A* c, int64_t stride, int64_t columns, bool accumulate) {
  constexpr int lanes = kLanes<A>;
  if (columns > lanes) {
    MultiplyVectors<A, kLeftRows, 2>(m, k, left, left_stride, right, right_stride, c, stride,
                                     columns - lanes, accumulate);
  } else {
    MultiplyVectors<A, kLeftRows, 1>(m, k, left, left_stride, right, right_stride, c, stride,
                                     columns, accumulate);
  }
}

template <typename A>
void Multiply(int64_t m, int64_t n, int64_t k, const LeftOperand<A>& left,
              const RightOperand<A>& right, A* c, int64_t stride, bool accumulate) {
  const auto product = left.by_rows ? MultiplyPanel<A, true> : MultiplyPanel<A, false>;
  // A panel stays in the first-level cache while all rows pass. Where the whole right operand does,
  // rows are finished one after the other, so that `left` and `c` are read in the order of memory.
  constexpr int64_t kCacheBytes = 16 << 10;
  const int64_t step = k * n * static_cast<int64_t>(sizeof(A)) <= kCacheBytes ? kTileRows : m;
  for (int64_t i = 0; i < m; i += step) {
    const int64_t rows = m - i < step ? m - i : step;
    const A* const first = left.data + i * (left.by_rows ? left.stride : 1);
    for (int64_t j = 0; j < n; j += kPanel<A>) {
      const int64_t columns = n - j < kPanel<A> ? n - j : kPanel<A>;
      const A* panel = right.data + j / kPanel<A> * right.panel_stride;
      product(rows, k, first, left.stride, panel, right.stride, c + i * stride + j, stride, columns,
              accumulate);
    }
  }
}

// ---- Vectors ----------------------------------------------------------------------------------

template <typename A>
A Dot(const A* x, const A* y, int64_t n) {
  // Four sums, so that an addition need not wait for the one before it.
  constexpr int64_t lanes = kLanes<A>;
  Vector<A> sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) sum[j] += Load<A>(x + i + j * lanes) * Load<A>(y + i + j * lanes);
  }
  for (; i + lanes <= n; i += lanes) sum[0] += Load<A>(x + i) * Load<A>(y + i);
  A total = Sum<A>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; i < n; ++i) total += x[i] * y[i];
  return total;
}

template <typename A>
void Axpy(A a, const A* x, A* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes<A> <= n; i += kLanes<A>) Store<A>(y + i, Load<A>(y + i) + a * Load<A>(x + i));
  for (; i < n; ++i) y[i] += a * x[i];
}

// Of a number that is no NaN, to nearest, ties to even: the upper half is its bfloat16.
inline uint32_t RoundUpperHalf(uint32_t bits) { return bits + 0x7fff + ((bits >> 16) & 1); }

inline uint16_t BFloat16Bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  if (x != x) return static_cast<uint16_t>((bits >> 16) | 0x40);  // keep NaN a NaN
  return static_cast<uint16_t>(RoundUpperHalf(bits) >> 16);
}

inline float FromBFloat16Bits(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}

template <typename A>
void RoundBFloat16(const A* x, A* rounded, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const auto number = static_cast<float>(x[i]);
    uint32_t bits;
    __builtin_memcpy(&bits, &number, sizeof(bits));
    // In numbers of 32 bits alone, which is half the work of a step through 16.
    bits = RoundUpperHalf(bits) & 0xffff0000;
    float result;
    __builtin_memcpy(&result, &bits, sizeof(result));
    rounded[i] = number != number ? number : result;
  }
}

// ---- Softmax and logistic ---------------------------------------------------------------------

// CapLogit (csrc/core/loss_formulas.h), in vectors.
template <typename A>
void Softcap(A cap, A* z, A* slope, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes<A>) {
    const int64_t count = n - i < kLanes<A> ? n - i : kLanes<A>;
    const Vector<A> tangent = Tanh(LoadFirst<A>(z + i, count) / cap);
    StoreFirst<A>(z + i, cap * tangent, count);
    if (slope != nullptr) StoreFirst<A>(slope + i, 1 - tangent * tangent, count);
  }
}

// ---- Tiles of logits [class][row] -------------------------------------------------------------

template <typename A>
void TileMax(A* z, int64_t classes, int64_t rows, int64_t stride, const A* offset, A* max) {
  constexpr int kVectors = kPanel<A> / kLanes<A>;
  for (int64_t r = 0; r < rows; r += kPanel<A>) {
    Vector<A> most[kVectors];
    for (int i = 0; i < kVectors; ++i) most[i] = Load<A>(max + r + i * kLanes<A>);
    A* column = z + r;
    for (int64_t c = 0; c < classes; ++c, column += stride) {
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) {
        Vector<A> v = Load<A>(column + i * kLanes<A>);
        if (offset != nullptr) {
          v += offset[c];
          Store<A>(column + i * kLanes<A>, v);
        }
        most[i] = most[i] < v ? v : most[i];
      }
    }
    for (int i = 0; i < kVectors; ++i) Store<A>(max + r + i * kLanes<A>, most[i]);
  }
}

template <typename A>
void TileExp(A* z, int64_t classes, int64_t rows, int64_t stride, const A* new_max, A met,
             const SoftmaxSums<A>& sums) {
  using V = Vector<A>;
  const V zero = {};
  for (int64_t r = 0; r < rows; r += kLanes<A>) {
    const V largest = Load<A>(new_max + r);
    // Where every logit is -inf the differences would be NaN: any finite reference will do.
    const V base = largest == -static_cast<A>(INFINITY) ? zero : largest;
    V sum_exp = zero, sum_shifted = zero;  // of this tile: short sums round less
    A* column = z + r;
    for (int64_t c = 0; c < classes; ++c, column += stride) {
      const V d = Load<A>(column) - base;
      const V e = Exp(d);
      sum_exp += e;
      sum_shifted += d;
      Store<A>(column, e);
    }
    const V most = Load<A>(sums.max + r), exps = Load<A>(sums.sum_exp + r);
    const V shifted = Load<A>(sums.sum_shifted + r);
    const PartialSoftmax<V> before = RelativeTo(
        base, PartialSoftmax<V>{most, exps, shifted, zero + met}, [](V x) { return Exp(x); });
    Store<A>(sums.max + r, largest);
    Store<A>(sums.sum_exp + r, before.sum_exp + sum_exp);
    Store<A>(sums.sum_shifted + r, before.sum_shifted + sum_shifted);
  }
}

// GradientTerms (csrc/core/loss_formulas.h), in vectors.
template <typename A>
void TileSoftmaxGradient(A* z, int64_t classes, int64_t rows, int64_t stride, const A* offset,
                         const A* max, const A* log_sum, const A* scale, const A* shift) {
  using V = Vector<A>;
  for (int64_t r = 0; r < rows; r += kLanes<A>) {
    const V m = Load<A>(max + r), l = Load<A>(log_sum + r), a = Load<A>(scale + r),
            b = Load<A>(shift + r);
    A* column = z + r;
    for (int64_t c = 0; c < classes; ++c, column += stride) {
      V v = Load<A>(column);
      if (offset != nullptr) v += offset[c];
      Store<A>(column, a * Exp((v - m) - l) - b);
    }
  }
}

// Softplus and Sigmoid of csrc/core/loss_formulas.h in vectors, which share an exponential.
template <typename A>
void TileSigmoid(A* z, int64_t classes, int64_t rows, int64_t stride, const A* offset,
                 A* sum_softplus) {
  using V = Vector<A>;
  const V zero = {}, one = zero + 1;
  for (int64_t r = 0; r < rows; r += kLanes<A>) {
    V sum = Load<A>(sum_softplus + r);
    A* column = z + r;
    for (int64_t c = 0; c < classes; ++c, column += stride) {
      V v = Load<A>(column);
      if (offset != nullptr) v += offset[c];
      // exp of a number that is never positive does not overflow.
      const V e = Exp(v < zero ? v : -v);
      sum += (v < zero ? zero : v) + Log1p(e);
      Store<A>(column, (v < zero ? e : one) / (one + e));
    }
    Store<A>(sum_softplus + r, sum);
  }
}

template <typename A>
void TileScale(const A* z, int64_t classes, int64_t rows, int64_t stride, const A* scale,
               const A* shift, A* scaled) {
  for (int64_t c = 0; c < classes; ++c, z += stride, scaled += stride) {
    for (int64_t r = 0; r < rows; r += kLanes<A>) {
      Store<A>(scaled + r, Load<A>(scale + r) * Load<A>(z + r) - Load<A>(shift + r));
    }
  }
}

template <typename A>
int64_t TileAbove(A* z, int64_t classes, int64_t rows, int64_t stride, const A* offset,
                  const A* limit, int32_t* found) {
  using Bits = typename Lanes<A>::Bits;
  constexpr int kVectors = kPanel<A> / kLanes<A>;
  constexpr int kWords = kPanel<A> * static_cast<int>(sizeof(A) / sizeof(uint32_t));
  int64_t count = 0;
  for (int64_t r = 0; r < rows; r += kPanel<A>) {
    Vector<A> most[kVectors];
    Bits above[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      most[i] = Load<A>(limit + r + i * kLanes<A>);
      above[i] = Bits{};
    }
    A* column = z + r;
    for (int64_t c = 0; c < classes; ++c, column += stride) {
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; ++i) {
        Vector<A> v = Load<A>(column + i * kLanes<A>);
        if (offset != nullptr) {
          v += offset[c];
          Store<A>(column + i * kLanes<A>, v);
        }
        above[i] |= ~(Bits)(v <= most[i]);
      }
    }
    uint32_t words[kWords];
    __builtin_memcpy(words, above, sizeof(words));
    uint32_t any = 0;
    for (int i = 0; i < kWords; ++i) any |= words[i];
    if (any == 0) continue;
    for (int i = 0; i < kPanel<A>; ++i) {
      found[count] = static_cast<int32_t>(r + i);
      count += words[i * kWords / kPanel<A>] != 0;
    }
  }
  return count;
}

template <typename A>
void TileClassSums(const A* z, int64_t classes, int64_t rows, int64_t stride, A* sums) {
  for (int64_t c = 0; c < classes; ++c, z += stride) {
    Vector<A> sum = {};
    int64_t r = 0;
    for (; r + kLanes<A> <= rows; r += kLanes<A>) sum += Load<A>(z + r);
    A total = Sum<A>(sum);
    for (; r < rows; ++r) total += z[r];
    sums[c] += total;
  }
}

// ---- 16-bit types -----------------------------------------------------------------------------

void HalfToFloat(const Half* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = x[i].bits;
    const uint32_t sign = (bits & 0x8000) << 16;
    const uint32_t exponent = bits & 0x7c00;
    const uint32_t magnitude = (bits & 0x7fff) << 13;
    // A subnormal m * 2^-24 is (2^-14 + m * 2^-24) - 2^-14. No step has a subnormal float, which
    // threads that flush these to zero, as TensorFlow's do, would lose.
    const uint32_t above = magnitude + 0x38800000;
    float subnormal;
    __builtin_memcpy(&subnormal, &above, sizeof(subnormal));
    subnormal -= 0x1p-14f;
    uint32_t wide;
    __builtin_memcpy(&wide, &subnormal, sizeof(wide));
    if (exponent != 0) wide = magnitude + (exponent == 0x7c00 ? 0x70000000 : 0x38000000);
    wide |= sign;
    __builtin_memcpy(&y[i], &wide, sizeof(wide));
  }
}

void FloatToHalf(const float* x, Half* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x[i], sizeof(bits));
    const uint32_t sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    uint32_t half;
    if (bits > 0x7f800000) {
      half = 0x7e00;  // NaN
    } else if (bits >= 0x477ff000) {
      half = 0x7c00;  // rounds past the largest finite value
    } else if (bits < 0x38800000) {
      // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
      float value;
      __builtin_memcpy(&value, &bits, sizeof(value));
      value += 0.5f;
      __builtin_memcpy(&half, &value, sizeof(half));
      half -= 0x3f000000;
    } else {
      half = (bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >> 13;
    }
    y[i].bits = static_cast<uint16_t>(sign | half);
  }
}

void BFloat16ToFloat(const BFloat16* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = FromBFloat16Bits(x[i].bits);
}

void FloatToBFloat16(const float* x, BFloat16* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i].bits = BFloat16Bits(x[i]);
}

template <typename A>
constexpr KernelsFor<A> MakeKernels() {
  return {kPanel<A>,        Pack<A>,      Multiply<A>,  Dot<A>,          Axpy<A>,
          RoundBFloat16<A>, Softcap<A>,   TileMax<A>,   TileExp<A>,      TileSoftmaxGradient<A>,
          TileSigmoid<A>,   TileScale<A>, TileAbove<A>, TileClassSums<A>};
}

}  // namespace

#ifdef __AVX512BF16__
extern const BFloat16Kernels kBFloat16Kernels;  // bfloat16.cc
constexpr const BFloat16Kernels* kBFloat16 = &kBFloat16Kernels;
#else
constexpr const BFloat16Kernels* kBFloat16 = nullptr;
#endif

extern const UpdateKernels<float> kUpdatesF32;  // optimizer.cc
extern const UpdateKernels<double> kUpdatesF64;
extern const Word2VecKernels kWord2VecKernels;  // word2vec.cc

extern const KernelTable kTable;
const KernelTable kTable = {FASTW2V_STRING(FASTW2V_ISA),
                            MakeKernels<float>(),
                            MakeKernels<double>(),
                            {HalfToFloat, FloatToHalf, BFloat16ToFloat, FloatToBFloat16},
                            kBFloat16,
                            &kUpdatesF32,
                            &kUpdatesF64,
                            &kWord2VecKernels};

}  // namespace fastw2v::cpu::FASTW2V_ISA
