// Fastw2v>GiveRows, Fastw2v>FindRows and Fastw2v>RenewRows: csrc/core/id_table.h as TensorFlow ops.
// A table of ids is three variables: records, slots and counters, and a fourth, candidates, where
// ids are counted before they get a row.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "csrc/core/id_table.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/kernel.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace fastw2v {
namespace {

using tensorflow::DataType;
using tensorflow::DataTypeToEnum;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::Var;
using tensorflow::shape_inference::InferenceContext;

absl::Status RowsShape(InferenceContext* c) {
  c->set_output(0, c->input(0));
  return absl::OkStatus();
}

REGISTER_OP("Fastw2v>GiveRows")
    .Input("ids: int64")
    .Input("table: resource")
    .Input("records: resource")
    .Input("slots: resource")
    .Input("counters: resource")
    .Input("candidates: num_candidates * resource")
    .Output("rows: int64")
    .Attr("T: {float, double, half, bfloat16}")
    .Attr("num_candidates: int >= 0")
    .Attr("min_count: int >= 1")
    .Attr("max_rows: int >= 1")
    .Attr("expire_after: int >= 0")
    .Attr("zero_is_padding: bool")
    .Attr("low: float")
    .Attr("high: float")
    .SetIsStateful()
    .SetShapeFn(RowsShape)
    .Doc(R"doc(
A step of a table that grows: ids that have no row get one where the rules say so.

table: [capacity, dim]; with the table of ids it grows where there are more rows than memory.
rows: Of the ids, 0 where they have none.
)doc");

REGISTER_OP("Fastw2v>FindRows")
    .Input("ids: int64")
    .Input("records: resource")
    .Input("slots: resource")
    .Input("counters: resource")
    .Output("rows: int64")
    .SetIsStateful()
    .SetShapeFn(RowsShape)
    .Doc(R"doc(
Rows of ids, 0 where they have none.
)doc");

REGISTER_OP("Fastw2v>RenewRows")
    .Input("records: resource")
    .Input("births: resource")
    .Input("slots: num_slots * resource")
    .Input("history: num_history * resource")
    .Input("rows: num_rows * int64")
    .Output("parted: int64")
    .Attr("fills: list(float)")
    .Attr("num_slots: int >= 0")
    .Attr("num_history: int >= 0")
    .Attr("num_rows: int >= 0")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->Vector(c->UnknownDim()));
      return absl::OkStatus();
    })
    .Doc(R"doc(
What an optimizer keeps of a table that grows follows it: its slots get as many rows, and rows that
were given to another id begin anew.

births: int64 [capacity], of the rows that the slots are of.
slots: [capacity, ...] each.
history: row_updates [capacity] and entries, where updates may be pending: new rows have none.
fills: What each slot begins with.
rows: Those that are looked at; none: all.
parted: All rows that there were before, where there are others now; otherwise none.
)doc");

// Variables of an op in the order in which they were found.
class Variables {
 public:
  absl::Status Find(OpKernelContext* context, const char* name) {
    tensorflow::OpInputList handles;
    TF_RETURN_IF_ERROR(context->input_list(name, &handles));
    for (const Tensor& handle : handles) {
      found_.emplace_back();
      TF_RETURN_IF_ERROR(FindVariable(context, handle, name, &found_.back()));
    }
    return absl::OkStatus();
  }
  int size() const { return static_cast<int>(found_.size()); }
  Var* operator[](int i) const { return found_[i].get(); }
  std::vector<Var*> all() const {
    std::vector<Var*> all;
    for (const auto& each : found_) all.push_back(each.get());
    return all;
  }

 private:
  std::vector<tensorflow::core::RefCountPtr<Var>> found_;
};

int64_t Rows(const Tensor& tensor) { return tensor.dims() == 0 ? 1 : tensor.dim_size(0); }

// An error that names the variable, unless it has `rows` rows (negative: any number) of `width`.
absl::Status CheckVariable(const char* name, Var* variable, DataType dtype, int64_t rows,
                           int64_t width) {
  const Tensor& tensor = *variable->tensor();
  if (variable->is_initialized && tensor.dtype() == dtype && (rows < 0 || Rows(tensor) == rows) &&
      tensor.NumElements() == Rows(tensor) * width) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(name, " has shape ", tensor.shape().DebugString(), " and dtype ",
                   tensorflow::DataTypeString(tensor.dtype()), ", expected ",
                   tensorflow::DataTypeString(dtype), " [", rows < 0 ? "rows" : absl::StrCat(rows),
                   ",", width, "]: variables of one table belong together"));
}

constexpr int64_t kRecordWidth = sizeof(IdRecord) / sizeof(int64_t);
constexpr int64_t kSlotWidth = sizeof(IdSlot) / sizeof(int64_t);
constexpr int64_t kCandidateWidth = sizeof(IdCandidate) / sizeof(int64_t);
constexpr int64_t kNumCounters = sizeof(IdCounters) / sizeof(int64_t);

// The variables as the core has them, locked.
absl::Status ReadIdTable(Var* records, Var* slots, Var* counters, Var* candidates, IdTable* table) {
  const auto data = [](Var* variable) { return variable->tensor()->flat<int64_t>().data(); };
  TF_RETURN_IF_ERROR(CheckVariable("records", records, tensorflow::DT_INT64, -1, kRecordWidth));
  TF_RETURN_IF_ERROR(CheckVariable("slots", slots, tensorflow::DT_INT64, -1, kSlotWidth));
  TF_RETURN_IF_ERROR(CheckVariable("counters", counters, tensorflow::DT_INT64, kNumCounters, 1));
  table->capacity = Rows(*records->tensor());
  table->records = reinterpret_cast<IdRecord*>(data(records));
  table->num_slots = Rows(*slots->tensor());
  table->slots = reinterpret_cast<IdSlot*>(data(slots));
  table->counters = reinterpret_cast<IdCounters*>(data(counters));
  if (candidates != nullptr) {
    TF_RETURN_IF_ERROR(CheckVariable("candidates", candidates, tensorflow::DT_INT64,
                                     IdTable::kCandidates, kCandidateWidth));
    table->candidates = reinterpret_cast<IdCandidate*>(data(candidates));
  }
  return ToTensorFlow(CheckIdTable(*table));
}

// A tensor like another, with more rows or fewer, which hold the same as far as there are as many.
absl::Status Resized(OpKernelContext* context, const Tensor& from, int64_t rows, Tensor* to) {
  TensorShape shape = from.shape();
  shape.set_dim(0, rows);
  TF_RETURN_IF_ERROR(AllocateTensor(context, from.dtype(), shape, to));
  std::memcpy(to->data(), from.data(), std::min(from.TotalBytes(), to->TotalBytes()));
  return absl::OkStatus();
}

template <typename T>
class GiveRowsOp final : public Kernel {
 public:
  explicit GiveRowsOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("min_count", &rules_.min_count));
    OP_REQUIRES_OK(context, context->GetAttr("max_rows", &rules_.max_rows));
    OP_REQUIRES_OK(context, context->GetAttr("expire_after", &rules_.expire_after));
    OP_REQUIRES_OK(context, context->GetAttr("zero_is_padding", &rules_.zero_is_padding));
    OP_REQUIRES_OK(context, context->GetAttr("low", &low_));
    OP_REQUIRES_OK(context, context->GetAttr("high", &high_));
    rules_.max_rows = std::min(rules_.max_rows, IdTable::kMaxCapacity - 1);
  }

 private:
  using Core = typename CoreType<T>::type;

  absl::Status Run(OpKernelContext* context) const override {
    Variables variables;
    for (const char* name : {"table", "records", "slots", "counters", "candidates"}) {
      TF_RETURN_IF_ERROR(variables.Find(context, name));
    }
    const WriteLock lock(variables.all());
    for (Var* variable : variables.all()) {
      TF_RETURN_IF_ERROR(MakeWritable(context, variable));
    }
    Var* candidates = variables.size() > 4 ? variables[4] : nullptr;
    if (candidates == nullptr && rules_.min_count > 1) {
      return absl::InvalidArgumentError("candidates is empty, expected a variable for min_count");
    }
    IdTable ids;
    TF_RETURN_IF_ERROR(ReadIdTable(variables[1], variables[2], variables[3], candidates, &ids));
    const int64_t dim =
        variables[0]->tensor()->dims() == 2 ? variables[0]->tensor()->dim_size(1) : 0;
    TF_RETURN_IF_ERROR(
        CheckVariable("table", variables[0], DataTypeToEnum<T>::value, ids.capacity, dim));

    const TensorFlowParallel parallel(context);
    const Tensor* given;
    TF_RETURN_IF_ERROR(context->input("ids", &given));
    const int64_t count = given->NumElements();
    const int64_t* data = given->flat<int64_t>().data();
    Tensor* rows;
    TF_RETURN_IF_ERROR(context->allocate_output(0, given->shape(), &rows));
    int64_t* row_data = rows->flat<int64_t>().data();
    int64_t missing = FindRows(ids, data, count, parallel, row_data);
    // Padding and ids that occur several times are counted once where it matters.
    if (missing > ids.capacity - ids.counters->rows) {
      missing = NumNewIds(data, row_data, count, rules_);
    }
    std::vector<int64_t> born;
    born.reserve(missing);
    TF_RETURN_IF_ERROR(Grow(context, variables, missing, &ids));
    GiveRows(ids, data, count, rules_, parallel, row_data, &born);

    Core* weights = CoreData<Core>(variables[0]->tensor()->template flat<T>().data());
    parallel.For(static_cast<int64_t>(born.size()), /*cost=*/100 + 10 * dim, [&](int64_t i, int) {
      DrawRow<Core>(ids.counters->seed, ids.records[born[i]].id, low_, high_, dim,
                    weights + born[i] * dim);
    });
    return absl::OkStatus();
  }

  // Memory for so many rows more; twice what there was, as growing again takes longer each time.
  absl::Status Grow(OpKernelContext* context, const Variables& variables, int64_t missing,
                    IdTable* ids) const {
    const int64_t most = rules_.max_rows + 1;
    const int64_t needed = std::min(most, ids->counters->rows + missing);
    if (needed <= ids->capacity) return absl::OkStatus();
    constexpr int64_t kFirst = 1024;
    IdTable larger = *ids;
    larger.capacity = std::min(most, std::max({needed, 2 * ids->capacity, kFirst}));
    larger.num_slots = IdTable::NumSlots(larger.capacity);
    Tensor table, records, slots;
    TF_RETURN_IF_ERROR(Resized(context, *variables[0]->tensor(), larger.capacity, &table));
    TF_RETURN_IF_ERROR(AllocateTensor(context, tensorflow::DT_INT64,
                                      TensorShape({larger.capacity, kRecordWidth}), &records));
    TF_RETURN_IF_ERROR(AllocateTensor(context, tensorflow::DT_INT64,
                                      TensorShape({larger.num_slots, kSlotWidth}), &slots));
    const int64_t old_bytes = variables[0]->tensor()->TotalBytes();
    std::memset(static_cast<char*>(table.data()) + old_bytes, 0, table.TotalBytes() - old_bytes);
    larger.records = reinterpret_cast<IdRecord*>(records.flat<int64_t>().data());
    larger.slots = reinterpret_cast<IdSlot*>(slots.flat<int64_t>().data());
    CopyIdTable(*ids, larger);
    *ids = larger;
    *variables[0]->tensor() = std::move(table);
    *variables[1]->tensor() = std::move(records);
    *variables[2]->tensor() = std::move(slots);
    return absl::OkStatus();
  }

  IdRules rules_;
  float low_, high_;
};

class FindRowsOp final : public Kernel {
 public:
  using Kernel::Kernel;

 private:
  absl::Status Run(OpKernelContext* context) const override {
    Variables variables;
    for (const char* name : {"records", "slots", "counters"}) {
      TF_RETURN_IF_ERROR(variables.Find(context, name));
    }
    const ReadLock lock(variables.all());
    IdTable table;
    TF_RETURN_IF_ERROR(ReadIdTable(variables[0], variables[1], variables[2], nullptr, &table));
    const Tensor* ids;
    TF_RETURN_IF_ERROR(context->input("ids", &ids));
    Tensor* rows;
    TF_RETURN_IF_ERROR(context->allocate_output(0, ids->shape(), &rows));
    FindRows(table, ids->flat<int64_t>().data(), ids->NumElements(), TensorFlowParallel(context),
             rows->flat<int64_t>().data());
    return absl::OkStatus();
  }
};

class RenewRowsOp final : public Kernel {
 public:
  explicit RenewRowsOp(OpKernelConstruction* context) : Kernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("fills", &fills_));
  }

 private:
  absl::Status Run(OpKernelContext* context) const override {
    Variables variables;
    for (const char* name : {"records", "births", "slots", "history"}) {
      TF_RETURN_IF_ERROR(variables.Find(context, name));
    }
    const WriteLock lock(variables.all());
    TF_RETURN_IF_ERROR(
        CheckVariable("records", variables[0], tensorflow::DT_INT64, -1, kRecordWidth));
    TF_RETURN_IF_ERROR(CheckVariable("births", variables[1], tensorflow::DT_INT64, -1, 1));
    const int64_t capacity = Rows(*variables[0]->tensor()), before = Rows(*variables[1]->tensor());
    std::vector<Followed> followed;
    TF_RETURN_IF_ERROR(Find(context, variables, before, &followed));
    tensorflow::OpInputList rows;
    TF_RETURN_IF_ERROR(context->input_list("rows", &rows));
    Tensor* parted;
    const int64_t num_parted = capacity == before ? 0 : std::min(capacity, before);
    TF_RETURN_IF_ERROR(context->allocate_output(0, TensorShape({num_parted}), &parted));
    for (int64_t row = 0; row < num_parted; ++row) parted->flat<int64_t>()(row) = row;

    if (capacity != before) {
      std::vector<Tensor> resized(followed.size());
      for (std::size_t i = 0; i < followed.size(); ++i) {
        TF_RETURN_IF_ERROR(Resized(context, *followed[i].tensor, capacity, &resized[i]));
        if (capacity > before) Fill({&resized[i], followed[i].fill}, before, capacity);
      }
      for (std::size_t i = 0; i < followed.size(); ++i) {
        *followed[i].tensor = std::move(resized[i]);
      }
    }

    const auto* records =
        reinterpret_cast<const IdRecord*>(variables[0]->tensor()->flat<int64_t>().data());
    int64_t* births = variables[1]->tensor()->flat<int64_t>().data();
    const auto renew = [&](int64_t row) {
      if (births[row] == records[row].birth) return;
      for (const Followed& each : followed) Fill(each, row, row + 1);
      births[row] = records[row].birth;
    };
    if (rows.size() == 0) {
      for (int64_t row = 0; row < capacity; ++row) renew(row);
    }
    for (const Tensor& list : rows) {
      const int64_t* data = list.flat<int64_t>().data();
      const auto is_row = [&](int64_t i) { return data[i] >= 0 && data[i] < capacity; };
      for (int64_t i = 0, count = list.NumElements(); i < count; ++i) {
        constexpr int64_t kAhead = 16;
        if (i + kAhead < count && is_row(i + kAhead)) {
          __builtin_prefetch(&records[data[i + kAhead]].birth);
          __builtin_prefetch(&births[data[i + kAhead]]);
        }
        if (is_row(i)) renew(data[i]);
      }
    }
    return absl::OkStatus();
  }

  // What has as many rows as the table, and what a row begins with.
  struct Followed {
    Tensor* tensor;
    double fill;
  };

  // Births, slots, and updates of rows, made writable.
  absl::Status Find(OpKernelContext* context, const Variables& variables, int64_t rows,
                    std::vector<Followed>* followed) const {
    tensorflow::OpInputList slots, history;
    TF_RETURN_IF_ERROR(context->input_list("slots", &slots));
    TF_RETURN_IF_ERROR(context->input_list("history", &history));
    if (static_cast<int>(fills_.size()) != slots.size() || history.size() % 2 != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("fills has ", fills_.size(), " numbers for ", slots.size(),
                       " slots, and history has ", history.size(), " variables, expected 2 or 0"));
    }
    std::vector<double> fills{0};
    fills.insert(fills.end(), fills_.begin(), fills_.end());
    if (history.size() > 0) {
      Var* entries = variables[variables.size() - 1];
      if (!entries->is_initialized || entries->tensor()->dtype() != tensorflow::DT_DOUBLE ||
          entries->tensor()->NumElements() < 1) {
        return absl::InvalidArgumentError("history[1] is not that of an optimizer");
      }
      fills.push_back(entries->tensor()->flat<double>()(0));
    }
    for (std::size_t i = 0; i < fills.size(); ++i) {
      Var* variable = variables[1 + i];
      const Tensor& tensor = *variable->tensor();
      if (!variable->is_initialized || tensor.dims() == 0 || Rows(tensor) != rows ||
          !IsFilled(tensor.dtype())) {
        return absl::InvalidArgumentError(absl::StrCat(
            "variable ", i, " of the optimizer has shape ", tensor.shape().DebugString(),
            " and dtype ", tensorflow::DataTypeString(tensor.dtype()), ", expected numbers for ",
            rows, " rows: variables of one table belong together"));
      }
      TF_RETURN_IF_ERROR(MakeWritable(context, variable));
      followed->push_back({variable->tensor(), fills[i]});
    }
    return absl::OkStatus();
  }

  static bool IsFilled(DataType dtype) {
    return dtype == tensorflow::DT_FLOAT || dtype == tensorflow::DT_DOUBLE ||
           dtype == tensorflow::DT_HALF || dtype == tensorflow::DT_BFLOAT16 ||
           dtype == tensorflow::DT_INT64;
  }

  template <typename T>
  static void FillAs(const Followed& followed, int64_t first, int64_t last) {
    const int64_t width = followed.tensor->NumElements() / Rows(*followed.tensor);
    T* data = followed.tensor->flat<T>().data();
    std::fill(data + first * width, data + last * width, static_cast<T>(followed.fill));
  }

  static void Fill(const Followed& followed, int64_t first, int64_t last) {
    switch (followed.tensor->dtype()) {
      case tensorflow::DT_FLOAT:
        return FillAs<float>(followed, first, last);
      case tensorflow::DT_DOUBLE:
        return FillAs<double>(followed, first, last);
      case tensorflow::DT_HALF:
        return FillAs<Eigen::half>(followed, first, last);
      case tensorflow::DT_BFLOAT16:
        return FillAs<Eigen::bfloat16>(followed, first, last);
      default:
        return FillAs<int64_t>(followed, first, last);
    }
  }

  std::vector<float> fills_;
};

#define FASTW2V_REGISTER(T)                                                           \
  REGISTER_KERNEL_BUILDER(                                                            \
      Name("Fastw2v>GiveRows").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      GiveRowsOp<T>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER
REGISTER_KERNEL_BUILDER(Name("Fastw2v>FindRows").Device(tensorflow::DEVICE_CPU), FindRowsOp);
REGISTER_KERNEL_BUILDER(Name("Fastw2v>RenewRows").Device(tensorflow::DEVICE_CPU), RenewRowsOp);

}  // namespace
}  // namespace fastw2v
