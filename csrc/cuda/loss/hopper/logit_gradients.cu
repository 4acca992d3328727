// A block owns 128 or 256 hidden rows and passes over a range of classes, as in the forward pass;
// while one of the warpgroups that multiply turns its logits into gradients and stores them, the
// other has the tensor cores.
//
// For all classes that is 2 B V D operations and 2 B V bytes, D operations for a byte: at D = 300
// as many as an H100 does while its memory takes one (989 TFLOP/s, 3.35 TB/s), at 4096 14 times
// that.
#include "csrc/cuda/loss/hopper/exact_rows.h"
#include "csrc/cuda/loss/hopper/logit_gradients.h"
#include "csrc/cuda/loss/hopper/logit_tiles.h"

namespace fastw2v::cuda::hopper {

namespace {

constexpr int kConsumers = 2, kWarps = kWarpgroup / kWarp;

template <typename T>
struct Arguments {
  LogitTiles<T> logits;
  const int64_t* labels;
  int64_t num_true, first_class;
  IgnoredLabel ignored;
  int batch, rows;
  float softcap;
  const RowGradientTerms<float>* terms;
  const uint8_t* active;
  const uint32_t* largest;
  T* p;
  int64_t pitch;
  float* bias_sums;

  // Where label number j of a row is among the classes of the part; -1 where it is not.
  __device__ __forceinline__ int Column(int row, int64_t j) const {
    const int64_t label = labels[row * num_true + j];
    if (ignored.Is(label)) return -1;
    const int64_t column = label - first_class;
    return column >= 0 && column < logits.classes ? static_cast<int>(column) : -1;
  }
};

// Lane t of four has word t of each of four pieces; it gets the four words of piece t.
__device__ __forceinline__ void TransposeQuad(uint32_t (&words)[4]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int bits = 1; bits <= 2; bits *= 2) {
    const bool upper = (lane & bits) != 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((i & bits) != 0) continue;
      const uint32_t other = __shfl_xor_sync(kAllLanes, upper ? words[i] : words[i + bits], bits);
      words[i] = upper ? other : words[i];
      words[i + bits] = upper ? words[i + bits] : other;
    }
  }
}

// The sums of x[i] over the eight groups of four lanes; group g gets those of 4 g to 4 g + 3.
template <int kBits = 16>
__device__ __forceinline__ void SumGroups(float (&x)[32]) {
  const bool upper = (threadIdx.x & kBits) != 0;
#pragma unroll
  for (int i = 0; i < kBits; ++i) {
    const float other = __shfl_xor_sync(kAllLanes, upper ? x[i] : x[i + kBits], kBits);
    x[i] = (upper ? x[i + kBits] : x[i]) + other;
  }
  if constexpr (kBits > 4) SumGroups<kBits / 2>(x);
}

template <typename T, int kTiles, bool kStays>
__global__ void __launch_bounds__(kThreads, 1)
    LogitGradientsKernel(const __grid_constant__ Arguments<T> p) {
  const LogitBlock<T, kTiles, kStays> block(p.logits);
  block.Start();
  if (threadIdx.x / kWarpgroup == 0) {
    ShrinkRegisters<kProducerRegisters>();
    block.Produce();
  } else {
    GrowRegisters<kConsumerRegisters>();
    const int consumer = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
    const int thread = threadIdx.x % kWarpgroup, lane = thread % kWarp;
    const int row = block.ThreadRow();
    // [warps][classes of a tile], one for each warpgroup.
    float* const column_sums =
        reinterpret_cast<float*>(block.barriers + 1) + consumer * kWarps * kTileClasses;
    const float unit = GradientUnit<T>(p.largest, /*inverse=*/false);
    RowGradientTerms<float> terms[kTiles][2];
    bool active[kTiles][2];
    int label[kTiles][2];
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int b = row + 64 * r + 8 * half;
        active[r][half] = b < p.batch && p.active[b] != 0;
        label[r][half] = active[r][half] ? p.Column(b, 0) : -1;
        RowGradientTerms<float> own = {0, 0, 0, 0};
        if (active[r][half]) own = p.terms[b];
        terms[r][half] = {own.max, unit * own.factor, unit * own.shift, unit * own.target};
      }
    }
    block.ForEachTile([&](int tile, float (&z)[kTiles][64]) {
      const int class0 = tile * kTileClasses;
#pragma unroll
      for (int r = 0; r < kTiles; ++r) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int b = row + 64 * r + 8 * half;
          const RowGradientTerms<float>& own = terms[r][half];
          const auto at = [&](int i) -> float& { return z[r][i / 2 * 4 + 2 * half + i % 2]; };
          const auto differentiate = [&] {
#pragma unroll
            for (int i = 0; i < 32; ++i) {
              const float share = FastExp2((at(i) - own.max) * kLog2E);
              // A row without a gradient has none whatever the weights hold.
              at(i) = active[r][half] ? fmaf(own.factor, share, -own.shift) : 0;
            }
            const auto subtract = [&](int column) {
              column -= class0;
              if (static_cast<unsigned>(column) >= kTileClasses) return;
              if (column % 8 / 2 != lane % 4) return;
#pragma unroll
              for (int i = 0; i < 32; ++i) {
                if (i == column / 8 * 2 + column % 2) at(i) -= own.target;
              }
            };
            subtract(label[r][half]);
            if (!active[r][half]) return;
            for (int64_t j = 1; j < p.num_true; ++j) subtract(p.Column(b, j));
          };
          if (p.softcap == 0) {
            differentiate();
          } else {
            float slopes[32];
#pragma unroll
            for (int i = 0; i < 32; ++i) {
              const Logit<float> capped = CapLogit(at(i), p.softcap);
              at(i) = capped.z;
              slopes[i] = capped.slope;
            }
            differentiate();
#pragma unroll
            for (int i = 0; i < 32; ++i) at(i) *= slopes[i];
          }
          if (class0 + kTileClasses > p.logits.classes) {
#pragma unroll
            for (int i = 0; i < 32; ++i) {
              if (class0 + i / 2 * 8 + 2 * (lane % 4) + i % 2 >= p.logits.classes) at(i) = 0;
            }
          }
          if (p.p == nullptr) continue;
          // 8 neighbors of a row, 16 bytes, from each thread: four threads write 64 bytes.
          T* const to = p.p + int64_t{b} * p.pitch + class0 + 8 * (lane % 4);
#pragma unroll
          for (int j = 0; j < kTileClasses / 8; j += 4) {
            uint32_t words[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              words[i] = RoundPair<T>(at(2 * (j + i)), at(2 * (j + i) + 1));
            }
            TransposeQuad(words);
            if (b >= p.rows) continue;
            *reinterpret_cast<uint4*>(to + 8 * j) =
                make_uint4(words[0], words[1], words[2], words[3]);
          }
        }
        if (p.bias_sums == nullptr) continue;
        float sums[32];
#pragma unroll
        for (int i = 0; i < 32; ++i)
          sums[i] = z[r][i / 2 * 4 + i % 2] + z[r][i / 2 * 4 + 2 + i % 2];
        SumGroups(sums);
        NamedBarrier(3 + consumer, kWarpgroup);  // what was there has been read
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = (4 * (lane / 4) + i) / 2 * 8 + 2 * (lane % 4) + i % 2;
          column_sums[thread / kWarp * kTileClasses + column] = sums[i];
        }
        NamedBarrier(3 + consumer, kWarpgroup);
        float sum = 0;
        for (int w = 0; w < kWarps; ++w) sum += column_sums[w * kTileClasses + thread];
        const int rows = block.own_row + (consumer * kTiles + r) * kBiasRows;
        if (rows < p.rows) {
          p.bias_sums[int64_t{rows} / kBiasRows * p.pitch + class0 + thread] = sum;
        }
      }
    });
  }
}

}  // namespace

template <typename T>
Status StoreLogitGradients(const LogitGradients<T>& gradients, const Stream& stream) {
  static_assert(kTileClasses == kWarpgroup);  // a thread for each column's sum
  const LogitPlan plan(gradients.rows, gradients.classes, gradients.dim);
  Arguments<T> arguments = {};
  LogitTiles<T>& logits = arguments.logits;
  FASTW2V_RETURN_IF_ERROR(
      MakeSource(gradients.hidden, gradients.rows, gradients.width, &logits.hidden));
  FASTW2V_RETURN_IF_ERROR(
      MakeSource(gradients.weights, gradients.classes, gradients.dim, &logits.weights));
  logits.biases = gradients.biases;
  logits.classes = static_cast<int>(gradients.classes);
  logits.logit_scale = gradients.scale;
  arguments.labels = gradients.labels;
  arguments.num_true = gradients.num_true;
  arguments.first_class = gradients.first_class;
  arguments.ignored = gradients.ignored;
  arguments.batch = static_cast<int>(gradients.batch);
  arguments.rows = static_cast<int>(gradients.rows);
  arguments.softcap = gradients.softcap;
  arguments.terms = gradients.terms;
  arguments.active = gradients.active;
  arguments.largest = gradients.largest;
  arguments.p = gradients.p;
  arguments.pitch = gradients.pitch;
  arguments.bias_sums = gradients.bias_sums;
  constexpr int kSumBytes = kConsumers * kWarps * kTileClasses * static_cast<int>(sizeof(float));
  const int shared = plan.Fill(kSumBytes, &logits);
  const auto launch = [&](auto kernel) {
    return Launch(kernel, plan.Grid(), kThreads, shared, stream, arguments);
  };
  if (plan.stays) {
    return plan.tiles_per_warpgroup == 2 ? launch(LogitGradientsKernel<T, 2, true>)
                                         : launch(LogitGradientsKernel<T, 1, true>);
  }
  return plan.tiles_per_warpgroup == 2 ? launch(LogitGradientsKernel<T, 2, false>)
                                       : launch(LogitGradientsKernel<T, 1, false>);
}

template Status StoreLogitGradients(const LogitGradients<BFloat16>&, const Stream&);
template Status StoreLogitGradients(const LogitGradients<Half>&, const Stream&);

}  // namespace fastw2v::cuda::hopper
