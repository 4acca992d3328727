#include "csrc/core/gather.h"

#include <algorithm>
#include <utility>

#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/kernels/prefetch.h"
#include "csrc/cpu/rows/row_keys.h"

namespace fastw2v {

namespace {

constexpr int64_t kRowsPerTask = 256;

// Calls body(first, last) for blocks that cover [0, rows); `cost` is that of a row, in CPU cycles.
template <typename Body>
void ForRows(const Parallel& parallel, int64_t rows, int64_t cost, const Body& body) {
  const int64_t num_tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  parallel.For(num_tasks, std::min(rows, kRowsPerTask) * cost, [&](int64_t task, int) {
    body(task * kRowsPerTask, std::min(rows, (task + 1) * kRowsPerTask));
  });
}

// To fetch a row of a large table, and a few cycles for each of its cache lines.
template <typename T>
int64_t RowCost(int64_t dim) {
  return 100 + dim * static_cast<int64_t>(sizeof(T)) / 8;
}

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

// Sums of rows times coefficients from 0 on: the first of a sum is written, the others are added.
template <typename A>
class RowSum {
 public:
  // `converts`: the rows to add are not of type A.
  RowSum(int64_t dim, bool converts) : dim_(dim), buffer_(converts ? dim : 0) {}

  void Begin(A* sum) {
    sum_ = sum;
    empty_ = true;
  }

  template <typename T>
  void Add(A coefficient, const T* row) {
    const A* x = AsAccumulator(row, dim_, buffer_.data());
    if (!empty_) {
      kernels_.axpy(coefficient, x, sum_, dim_);
      return;
    }
    for (int64_t i = 0; i < dim_; ++i) sum_[i] = A{0} + coefficient * x[i];  // never -0
    empty_ = false;
  }

 private:
  const cpu::KernelsFor<A>& kernels_ = cpu::Kernels<A>();
  int64_t dim_;
  std::vector<A> buffer_;
  A* sum_ = nullptr;
  bool empty_ = true;
};

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
  const int64_t dim = embeddings.dim();
  const int64_t distance = cpu::PrefetchDistance<T>(dim);
  const int64_t ids_per_bag = bags.batch == 0 ? 0 : (bags.num_ids + bags.batch - 1) / bags.batch;
  ForRows(parallel, bags.batch, ids_per_bag * RowCost<T>(dim), [&](int64_t first, int64_t last) {
    const int64_t end = bags.End(last - 1);
    const auto prefetch = [&](int64_t i) {
      if (i < end && !IsPadding(bags, bags.ids[i])) {
        cpu::PrefetchRow(embeddings.Row(bags.ids[i]), dim);
      }
    };
    for (int64_t i = 0; i < distance; ++i) prefetch(bags.Begin(first) + i);
    RowSum<A> sum(dim, !std::is_same_v<T, A>);
    for (int64_t b = first; b < last; ++b) {
      A* out = hidden + b * dim;
      if (bags.row_splits == nullptr && bags.width == 1) {
        prefetch(b + distance);
        cpu::ConvertRow(embeddings.Row(bags.ids[b]), out, dim);
        continue;
      }
      const A coefficient = BagCoefficient<A>(bags, b);
      sum.Begin(out);
      for (int64_t i = bags.Begin(b); i < bags.End(b); ++i) {
        prefetch(i + distance);
        if (!IsPadding(bags, bags.ids[i])) sum.Add(coefficient, embeddings.Row(bags.ids[i]));
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
  const int64_t count = static_cast<int64_t>(terms.size());
  std::vector<cpu::RowKey> keys(count);
  for (int64_t i = 0; i < count; ++i) {
    keys[i] = {terms[i].row, i};
  }
  cpu::SortKeys(&keys);

  RowGradient<A> gradient;
  gradient.terms.reserve(count);
  gradient.begins.reserve(count + 1);
  for (int64_t i = 0; i < count; ++i) {
    if (i == 0 || keys[i].row != keys[i - 1].row) gradient.begins.push_back(i);
    gradient.terms.push_back(terms[keys[i].place]);
  }
  gradient.begins.push_back(count);
  return gradient;
}

template <typename T>
void SumTerms(const RowGradient<Accumulator<T>>& gradient, int64_t first, int64_t last, int64_t dim,
              const Parallel& parallel, T* values) {
  using A = Accumulator<T>;
  if (first >= last) return;
  const int64_t distance = cpu::PrefetchDistance<A>(dim);
  const int64_t num_terms = gradient.begins[last] - gradient.begins[first];
  const int64_t terms_per_row = (num_terms + last - first - 1) / (last - first);
  const int64_t cost = terms_per_row * RowCost<A>(dim);
  ForRows(parallel, last - first, cost, [&](int64_t begin, int64_t end) {
    const int64_t* begins = gradient.begins.data() + first;
    const auto prefetch = [&](int64_t i) {
      if (i < begins[end]) cpu::PrefetchRow(gradient.terms[i].source, dim);
    };
    for (int64_t i = 0; i < distance; ++i) prefetch(begins[begin] + i);
    // Where the values are of the accumulator's type, sums grow in place.
    std::vector<A> buffer(std::is_same_v<T, A> ? 0 : dim);
    RowSum<A> sum(dim, false);
    for (int64_t u = begin; u < end; ++u) {
      T* out = values + u * dim;
      if constexpr (std::is_same_v<T, A>) {
        sum.Begin(out);
      } else {
        sum.Begin(buffer.data());
      }
      for (int64_t i = begins[u]; i < begins[u + 1]; ++i) {
        prefetch(i + distance);
        sum.Add(gradient.terms[i].coefficient, gradient.terms[i].source);
      }
      if constexpr (!std::is_same_v<T, A>) cpu::ConvertRow(buffer.data(), out, dim);
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
  ForRows(parallel, count, dim / 2, [&](int64_t first, int64_t last) {
    cpu::ConvertRow(from + first * dim, to + first * dim, (last - first) * dim);
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
