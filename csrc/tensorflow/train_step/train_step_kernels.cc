// A loss and the optimizer's step on its tables in one op: the gradients go from the core's loss to
// the core's updates without ever being tensors.
#include <vector>

#include "csrc/core/gather.h"
#include "csrc/core/loss.h"
#include "csrc/core/optimizer.h"
#include "csrc/tensorflow/loss/loss_call.h"
#include "csrc/tensorflow/support/adapter.h"
#include "csrc/tensorflow/support/scratch_memory.h"
#include "csrc/tensorflow/train_step/train_step_call.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace fastw2v {
namespace {

template <typename T, bool kSampled>
class TrainStepOp final : public TrainStepOpBase<T, Call<T, kSampled>> {
  using Base = TrainStepOpBase<T, Call<T, kSampled>>;
  using Base::Base;
  using typename Base::A, typename Base::Core, typename Base::Tables;

  absl::Status Step(OpKernelContext* context, Call<T, kSampled>* call, const Tables& tables,
                    const Tensor& coefficients, A* losses) const override {
    const TrainedTables& trained = this->trained();
    const LossProblem<Core>& problem = call->problem;
    const TensorFlowParallel parallel(context);
    TF_RETURN_IF_ERROR(ApplyPendingToRowsRead(*call, tables, parallel));
    Tensor hidden_memory, d_hidden_memory;
    TF_RETURN_IF_ERROR(call->Gather(context, parallel, &hidden_memory));
    std::vector<A> d_loss, max(problem.batch), log_sum(problem.batch);
    TF_RETURN_IF_ERROR(ReadPerExample("coefficients", coefficients, problem.batch, &d_loss));
    A* d_hidden = nullptr;
    if (trained.embeddings || !call->gathers()) {
      TF_RETURN_IF_ERROR(call->AllocateHidden(context, &d_hidden_memory, &d_hidden));
    }
    ScratchMemory scratch;
    TF_RETURN_IF_ERROR(scratch.Allocate(context, LossWithGradientsScratchBytes(problem, parallel)));
    const Normalizer<A> normalizer = {max.data(), log_sum.data()};
    // Gradients are finite where these are.
    const auto check = [&] {
      FASTW2V_RETURN_IF_ERROR(CheckFinite("loss", losses, problem.batch, 1));
      FASTW2V_RETURN_IF_ERROR(CheckFinite("weight of loss", d_loss.data(), problem.batch, 1));
      if (d_hidden == nullptr) return Status();
      return CheckFinite("gradient of inputs", d_hidden, problem.batch, problem.dim());
    };
    PlannedUpdate to_weights, to_biases, to_embeddings;
    RowGradient<A> rows, embeddings_rows;
    Tensor weights_memory, biases_memory;
    if constexpr (kSampled) {
      rows = SampledLossWithGradients(problem, d_loss.data(), parallel, scratch.data(), losses,
                                      normalizer, d_hidden);
      TF_RETURN_IF_ERROR(ToTensorFlow(check()));
      if (trained.weights) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(PlanRows(tables.weights, rows, false, parallel, &to_weights)));
      }
      if (trained.biases) {
        TF_RETURN_IF_ERROR(ToTensorFlow(PlanRows(tables.biases, rows, true, parallel, &to_biases)));
      }
    } else {
      Table<Core> d_weights, d_biases;
      TF_RETURN_IF_ERROR(
          Allocate(context, trained.weights, tables.weights, &weights_memory, &d_weights));
      TF_RETURN_IF_ERROR(
          Allocate(context, trained.biases, tables.biases, &biases_memory, &d_biases));
      ExactLossWithGradients(problem, d_loss.data(), parallel, scratch.data(), losses, normalizer,
                             d_hidden, d_weights, d_biases);
      TF_RETURN_IF_ERROR(ToTensorFlow(check()));
      if (trained.weights) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(PlanAll(tables.weights, d_weights.Row(0), parallel, &to_weights)));
      }
      if (trained.biases) {
        TF_RETURN_IF_ERROR(
            ToTensorFlow(PlanAll(tables.biases, d_biases.Row(0), parallel, &to_biases)));
      }
    }
    if (!call->gathers()) {
      TF_RETURN_IF_ERROR(WriteActivations(context, problem, d_hidden, parallel));
    } else if (trained.embeddings) {
      embeddings_rows = SortTerms(BagTerms(call->bags, d_hidden, problem.dim()));
      TF_RETURN_IF_ERROR(ToTensorFlow(
          PlanRows(tables.embeddings, embeddings_rows, false, parallel, &to_embeddings)));
    }
    // From here on nothing fails.
    for (const PlannedUpdate* update : {&to_weights, &to_biases, &to_embeddings}) update->Make();
    return absl::OkStatus();
  }

  // Under the lock: since the optimizer applied the pending updates of these rows another thread
  // may have made a step.
  absl::Status ApplyPendingToRowsRead(const Call<T, kSampled>& call, const Tables& tables,
                                      const Parallel& parallel) const {
    const TrainedTables& trained = this->trained();
    const LossProblem<Core>& p = call.problem;
    const auto rows = [&](const OptimizedTable<Core>& table, const int64_t* ids, int64_t count) {
      if (table.lazy) return absl::OkStatus();
      return ToTensorFlow(ApplyPending(table, ids, count, parallel));
    };
    const auto classes = [&](const OptimizedTable<Core>& table) {
      if constexpr (!kSampled) return rows(table, nullptr, 0);
      const int64_t lists = p.candidates == Candidates::kPerExample ? p.batch : 1;
      TF_RETURN_IF_ERROR(rows(table, p.labels, p.batch * p.num_true));
      return rows(table, p.sampled, lists * p.num_sampled);
    };
    if (trained.embeddings) {
      TF_RETURN_IF_ERROR(rows(tables.embeddings, call.bags.ids, call.bags.num_ids));
    }
    if (trained.weights) TF_RETURN_IF_ERROR(classes(tables.weights));
    return trained.biases ? classes(tables.biases) : absl::OkStatus();
  }

  static absl::Status Allocate(OpKernelContext* context, bool trained,
                               const OptimizedTable<Core>& table, Tensor* memory,
                               Table<Core>* gradient) {
    if (!trained) return absl::OkStatus();
    TF_RETURN_IF_ERROR(AllocateTensor(context, DataTypeToEnum<T>::value,
                                      TensorShape({table.rows, table.dim}), memory));
    *gradient = Table<Core>(CoreData<Core>(memory->flat<T>().data()), table.rows, table.dim);
    return absl::OkStatus();
  }

  static absl::Status WriteActivations(OpKernelContext* context, const LossProblem<Core>& problem,
                                       const A* d_hidden, const Parallel& parallel) {
    Tensor* d_inputs;
    TF_RETURN_IF_ERROR(
        context->allocate_output(1, TensorShape({problem.batch, problem.dim()}), &d_inputs));
    RoundRows(d_hidden, problem.batch, problem.dim(), parallel,
              CoreData<Core>(d_inputs->flat<T>().data()));
    return absl::OkStatus();
  }
};

#define FASTW2V_REGISTER(T)                                                              \
  REGISTER_KERNEL_BUILDER(                                                               \
      Name("Fastw2v>SoftmaxStep").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      TrainStepOp<T, false>);                                                            \
  REGISTER_KERNEL_BUILDER(                                                               \
      Name("Fastw2v>SampledStep").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
      TrainStepOp<T, true>);
FASTW2V_REGISTER(float)
FASTW2V_REGISTER(double)
FASTW2V_REGISTER(Eigen::half)
FASTW2V_REGISTER(Eigen::bfloat16)
#undef FASTW2V_REGISTER

}  // namespace
}  // namespace fastw2v
