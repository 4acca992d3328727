#include "csrc/core/gather.h"

#include <algorithm>
#include <utility>

#include "csrc/cpu/kernels.h"

namespace fastw2v {

namespace {

constexpr int64_t kRowsPerTask = 64;

int64_t NumTasks(int64_t rows) { return (rows + kRowsPerTask - 1) / kRowsPerTask; }

bool IsPadding(const Bags& bags, int64_t id) { return bags.padded && id < 0; }

int64_t BagSize(const Bags& bags, int64_t b) {
  int64_t size = 0;
  for (int64_t i = bags.Begin(b); i < bags.End(b); ++i) size += !IsPadding(bags, bags.ids[i]);
  return size;
}

template <typename A>
A BagCoefficient(const Bags& bags, int64_t b) {
  return bags.combiner == Combiner::kMean ? A{1} / static_cast<A>(BagSize(bags, b)) : A{1};
}

// The row itself where it is of the accumulator's type, else a converted copy in `buffer`.
const float* AsAccumulator(const float* row, int64_t, float*) { return row; }
const double* AsAccumulator(const double* row, int64_t, double*) { return row; }
template <typename T>
const float* AsAccumulator(const T* row, int64_t dim, float* buffer) {
  cpu::ConvertRow(row, buffer, dim);
  return buffer;
}

}  // namespace

Status CheckBags(const Bags& bags, int64_t rows) {
  if (bags.row_splits != nullptr) {
    const int64_t* splits = bags.row_splits;
    if (splits[0] != 0 || splits[bags.batch] != bags.num_ids) {
      return InvalidArgument("inputs: row_splits go from ", splits[0], " to ", splits[bags.batch],
                             ", not from 0 to the number of ids, ", bags.num_ids);
    }
    for (int64_t b = 0; b < bags.batch; ++b) {
      if (splits[b] > splits[b + 1]) {
        return InvalidArgument("inputs: row_splits[", b + 1, "] = ", splits[b + 1],
                               " is below row_splits[", b, "] = ", splits[b]);
      }
    }
  }
  for (int64_t i = 0; i < bags.num_ids; ++i) {
    const int64_t id = bags.ids[i];
    if (IsPadding(bags, id)) continue;
    FASTW2V_RETURN_IF_ERROR(CheckId("inputs", i, id, rows));
  }
  if (bags.padded || bags.row_splits != nullptr) {
    for (int64_t b = 0; b < bags.batch; ++b) {
      if (BagSize(bags, b) == 0) {
        return InvalidArgument("inputs[", b, "] is an empty bag; each bag needs at least one id");
      }
    }
  }
  return Status();
}

template <typename T>
void GatherBags(const Table<const T>& embeddings, const Bags& bags, const Parallel& parallel,
                Accumulator<T>* hidden) {
  using A = Accumulator<T>;
  const auto& kernels = cpu::Kernels<A>();
  const int64_t dim = embeddings.dim();
  parallel.For(NumTasks(bags.batch), kRowsPerTask * dim, [&](int64_t task, int) {
    std::vector<A> buffer(std::is_same_v<T, A> ? 0 : dim);
    const int64_t last = std::min(bags.batch, (task + 1) * kRowsPerTask);
    for (int64_t b = task * kRowsPerTask; b < last; ++b) {
      A* out = hidden + b * dim;
      if (bags.row_splits == nullptr && bags.width == 1) {
        cpu::ConvertRow(embeddings.Row(bags.ids[b]), out, dim);
        continue;
      }
      std::fill(out, out + dim, A{0});
      const A coefficient = BagCoefficient<A>(bags, b);
      for (int64_t i = bags.Begin(b); i < bags.End(b); ++i) {
        if (IsPadding(bags, bags.ids[i])) continue;
        const T* row = embeddings.Row(bags.ids[i]);
        kernels.axpy(coefficient, AsAccumulator(row, dim, buffer.data()), out, dim);
      }
    }
  });
}

template <typename A>
std::vector<RowTerm<A>> BagTerms(const Bags& bags, const A* d_hidden, int64_t dim) {
  std::vector<RowTerm<A>> terms;
  terms.reserve(bags.num_ids);
  for (int64_t b = 0; b < bags.batch; ++b) {
    const A coefficient = BagCoefficient<A>(bags, b);
    for (int64_t i = bags.Begin(b); i < bags.End(b); ++i) {
      if (IsPadding(bags, bags.ids[i])) continue;
      terms.push_back({bags.ids[i], i, coefficient, A{0}, d_hidden + b * dim});
    }
  }
  return terms;
}

template <typename A>
RowGradient<A> SortTerms(std::vector<RowTerm<A>> terms) {
  std::sort(terms.begin(), terms.end(), [](const RowTerm<A>& x, const RowTerm<A>& y) {
    return x.row != y.row ? x.row < y.row : x.order < y.order;
  });
  RowGradient<A> gradient;
  const int64_t count = static_cast<int64_t>(terms.size());
  for (int64_t i = 0; i < count; ++i) {
    if (i == 0 || terms[i].row != terms[i - 1].row) gradient.begins.push_back(i);
  }
  gradient.begins.push_back(count);
  gradient.terms = std::move(terms);
  return gradient;
}

template <typename T>
void SumTerms(const RowGradient<Accumulator<T>>& gradient, int64_t first, int64_t last, int64_t dim,
              const Parallel& parallel, T* values) {
  using A = Accumulator<T>;
  const auto& kernels = cpu::Kernels<A>();
  parallel.For(NumTasks(last - first), kRowsPerTask * dim, [&](int64_t task, int) {
    std::vector<A> sum(dim);
    const int64_t end = std::min(last, first + (task + 1) * kRowsPerTask);
    for (int64_t u = first + task * kRowsPerTask; u < end; ++u) {
      std::fill(sum.begin(), sum.end(), A{0});
      for (int64_t i = gradient.begins[u]; i < gradient.begins[u + 1]; ++i) {
        const RowTerm<A>& term = gradient.terms[i];
        kernels.axpy(term.coefficient, term.source, sum.data(), dim);
      }
      cpu::ConvertRow(sum.data(), values + (u - first) * dim, dim);
    }
  });
}

template <typename T>
void SumBiasTerms(const RowGradient<Accumulator<T>>& gradient, int64_t first, int64_t last,
                  T* biases) {
  for (int64_t u = first; u < last; ++u) {
    Accumulator<T> sum = 0;
    for (int64_t i = gradient.begins[u]; i < gradient.begins[u + 1]; ++i) {
      sum += gradient.terms[i].bias;
    }
    cpu::ConvertRow(&sum, biases + (u - first), 1);
  }
}

template <typename From, typename To>
void ConvertRows(const From* from, int64_t count, int64_t dim, const Parallel& parallel, To* to) {
  parallel.For(NumTasks(count), kRowsPerTask * dim, [&](int64_t task, int) {
    const int64_t first = task * kRowsPerTask * dim;
    const int64_t last = std::min(count, (task + 1) * kRowsPerTask) * dim;
    cpu::ConvertRow(from + first, to + first, last - first);
  });
}

template <typename T>
void WidenRows(const T* rows, int64_t count, int64_t dim, const Parallel& parallel,
               Accumulator<T>* wide) {
  ConvertRows(rows, count, dim, parallel, wide);
}

template <typename T>
void RoundRows(const Accumulator<T>* wide, int64_t count, int64_t dim, const Parallel& parallel,
               T* rows) {
  ConvertRows(wide, count, dim, parallel, rows);
}

#define FASTW2V_INSTANTIATE(T)                                                              \
  template void GatherBags<T>(const Table<const T>&, const Bags&, const Parallel&,          \
                              Accumulator<T>*);                                             \
  template void SumTerms<T>(const RowGradient<Accumulator<T>>&, int64_t, int64_t, int64_t,  \
                            const Parallel&, T*);                                           \
  template void SumBiasTerms<T>(const RowGradient<Accumulator<T>>&, int64_t, int64_t, T*);  \
  template void WidenRows<T>(const T*, int64_t, int64_t, const Parallel&, Accumulator<T>*); \
  template void RoundRows<T>(const Accumulator<T>*, int64_t, int64_t, const Parallel&, T*);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
FASTW2V_INSTANTIATE(Half)
FASTW2V_INSTANTIATE(BFloat16)
#undef FASTW2V_INSTANTIATE

#define FASTW2V_INSTANTIATE(A)                                                  \
  template std::vector<RowTerm<A>> BagTerms<A>(const Bags&, const A*, int64_t); \
  template RowGradient<A> SortTerms<A>(std::vector<RowTerm<A>>);
FASTW2V_INSTANTIATE(float)
FASTW2V_INSTANTIATE(double)
#undef FASTW2V_INSTANTIATE

}  // namespace fastw2v
