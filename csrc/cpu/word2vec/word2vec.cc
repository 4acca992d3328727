#include "csrc/core/word2vec.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "csrc/core/scratch.h"
#include "csrc/cpu/kernels/kernels.h"
#include "csrc/cpu/word2vec/word2vec_bags.h"
#include "csrc/cpu/word2vec/word2vec_worker.h"

namespace fastw2v {
namespace {

constexpr int64_t kTokensPerTask = 2048;
constexpr int64_t kMaxTasksOfRound = 16;
constexpr int64_t kWordsPerTaskOfRound = 64;

int64_t NumTasks(const Word2VecProblem& problem) {
  return (problem.size + kTokensPerTask - 1) / kTokensPerTask;
}

int64_t BeginOfTask(const Word2VecProblem& problem, int64_t task) {
  return std::min(problem.size, task * kTokensPerTask);
}

// Tasks that are trained on side by side where training is deterministic. They do not see each
// other's updates: if most words were in all of them, steps would be too long.
int64_t TasksOfRound(const Word2VecProblem& problem) {
  return std::clamp<int64_t>(problem.classes / kWordsPerTaskOfRound, 1, kMaxTasksOfRound);
}

// A number for each row of the tables.
int64_t CurvatureMemory(const Word2VecProblem& problem) {
  return NumInputs(problem) + problem.classes;
}

// Numbers of the updates of a round, and of the curvatures of the tables' rows.
int64_t RoundMemory(const Word2VecProblem& problem) {
  const Sizes sizes(problem);
  return TasksOfRound(problem) * sizes.updates() * sizes.stride + CurvatureMemory(problem);
}

// Of the updates, in their order, those of every `parts`-th row of the tables from `part` on. The
// curvatures, as CurvatureMemory counts them, are zeros between two calls.
Shortening Apply(const Word2VecProblem& problem, const std::vector<Updates>& round, int64_t stride,
                 int64_t part, int64_t parts, float* curvatures) {
  const auto axpy = cpu::Kernels<float>().axpy;
  float *const of_embeddings = curvatures, *const of_weights = curvatures + NumInputs(problem);
  // Calls body(i, row) for the rows of this part that update i adds to.
  const auto for_embeddings = [&](const Updates& u, const auto& body) {
    for (std::size_t i = 0; i < u.embeddings.size(); ++i) {
      ForRows(problem, u.embeddings[i], [&](int32_t row) {
        if (row % parts == part) body(i, row);
      });
    }
  };
  const auto for_weights = [&](const Updates& u, const auto& body) {
    for (std::size_t i = 0; i < u.weights.size(); ++i) {
      if (u.weights[i] % parts == part) body(i, u.weights[i]);
    }
  };
  for (const Updates& u : round) {
    for_embeddings(
        u, [&](std::size_t i, int32_t id) { of_embeddings[id] += u.embedding_curvatures[i]; });
    for_weights(u, [&](std::size_t i, int32_t id) { of_weights[id] += u.weight_curvatures[i]; });
  }
  for (const Updates& u : round) {
    const auto add_to = [&](const auto& row_of, const float* curvature, const float* rows) {
      return [=, &problem](std::size_t i, int32_t id) {
        axpy(StepFactor(curvature[id]), rows + static_cast<int64_t>(i) * stride, row_of(id),
             problem.dim);
      };
    };
    const auto input = [&](int64_t id) { return InputRow(problem, id); };
    const auto weight = [&](int64_t id) { return problem.weights + id * problem.dim; };
    for_embeddings(u, add_to(input, of_embeddings, u.rows));
    const float* of_classes = u.rows + static_cast<int64_t>(u.embeddings.size()) * stride;
    for_weights(u, add_to(weight, of_weights, of_classes));
  }
  Shortening steps;
  const auto count = [&](float* curvature, float share) {
    steps.Add(share * *curvature, share * std::min(*curvature, kMostCurvature));
    *curvature = 0;
  };
  const float share = ShareOfRow(problem);
  for (const Updates& u : round) {
    for_embeddings(u, [&](std::size_t, int32_t id) { count(of_embeddings + id, share); });
    for_weights(u, [&](std::size_t, int32_t id) { count(of_weights + id, 1); });
  }
  return steps;
}

void TrainInRounds(const Word2VecProblem& problem, const Parallel& parallel,
                   std::vector<Worker>* workers, float* rows, Word2VecResult* results) {
  const Sizes sizes(problem);
  const int64_t num_tasks = NumTasks(problem), parts = parallel.num_workers();
  const int64_t cost = problem.CentersOfGroup() * problem.dim * 100;
  const int64_t tasks_of_round = TasksOfRound(problem);
  float* const curvatures = rows + tasks_of_round * sizes.updates() * sizes.stride;
  std::fill_n(curvatures, CurvatureMemory(problem), 0.0f);
  GroupLength length(problem);
  std::vector<Shortening> steps(parts);
  for (int64_t first = 0; first < num_tasks; first += tasks_of_round) {
    const int64_t count = std::min(tasks_of_round, num_tasks - first);
    std::vector<std::unique_ptr<Part>> texts(count);
    std::vector<Updates> round(count);
    parallel.For(count, kTokensPerTask * 100, [&](int64_t i, int) {
      texts[i] = std::make_unique<Part>(problem, BeginOfTask(problem, first + i),
                                        BeginOfTask(problem, first + i + 1), length.value());
      round[i].rows = rows + i * sizes.updates() * sizes.stride;
    });
    for (;;) {
      bool done = true;
      for (const std::unique_ptr<Part>& text : texts) done &= text->done();
      if (done) break;
      parallel.For(count, cost, [&](int64_t i, int worker) {
        round[i].embeddings.clear();
        round[i].weights.clear();
        if (texts[i]->done()) return;
        texts[i]->Train(&(*workers)[worker], length.value(), &round[i], nullptr,
                        &results[first + i]);
      });
      parallel.For(parts, count * cost / (20 * parts), [&](int64_t part, int) {
        steps[part] = Apply(problem, round, sizes.stride, part, parts, curvatures);
      });
      Shortening all;
      for (const Shortening& of_part : steps) all.Add(of_part);
      length.Adapt(all);
    }
    for (int64_t i = 0; i < count; ++i) results[first + i].words = texts[i]->words();
  }
}

// How many of `workers` groups hold a row that one of them holds, on average, by how often the
// words of the text stay.
void FindCrowds(const Word2VecProblem& p, int workers, float* of_embeddings, float* of_weights) {
  std::fill_n(of_embeddings, NumInputs(p), 0.0f);
  std::fill_n(of_weights, p.classes, 0.0f);
  std::vector<float> times(p.classes);  // that a word stays
  double words = 0;
  int64_t first_document = 0, last_document = 0;
  for (int64_t i = 0; i < p.size; ++i) {
    const int32_t word = p.ids[i];
    if (word < 0) {
      if (p.documents == nullptr) continue;
      if (word == -1 || i == 0 || p.ids[i - 1] >= -1) first_document = i;
      last_document = word == -1 ? i : i + 1;
      continue;
    }
    const float stays = p.keep_probability == nullptr ? 1.0f : p.keep_probability[word];
    times[word] += stays;
    words += stays;
    ForDocuments(p, first_document, last_document, [&](int32_t id) { of_embeddings[id] += stays; });
  }
  for (int64_t k = 0; k < p.classes; ++k) {
    if (times[k] == 0) continue;
    const int32_t word = static_cast<int32_t>(k);
    ForRows(p, word, [&](int32_t row) { of_embeddings[row] += times[k]; });
    if (p.tree.splits == nullptr) {
      of_weights[k] = times[k];
    } else {
      ForNodes(p, word, [&](int32_t node, float) { of_weights[node] += times[k]; });
    }
  }
  const int64_t centers = p.CentersOfGroup();
  const auto finish = [&](float* of_rows, int64_t num_rows, int64_t rows_of_group) {
    const float share =
        static_cast<float>(static_cast<double>(rows_of_group) / std::max(words, 1.));
    for (int64_t k = 0; k < num_rows; ++k) {
      of_rows[k] = 1 + static_cast<float>(workers - 1) * std::min(1.0f, of_rows[k] * share);
    }
  };
  finish(of_embeddings, NumInputs(p), centers + p.window);
  finish(of_weights, p.classes, p.tree.splits == nullptr ? centers + p.shared : centers);
}

// Threads that train at the same time.
int Workers(const Word2VecProblem& problem, const Parallel& parallel) {
  const int64_t all = parallel.num_workers();
  const bool limited = problem.workers > 0 && !problem.deterministic;
  return static_cast<int>(limited ? std::min(problem.workers, all) : all);
}

// Each worker takes the next task when it is done with one.
void TrainAtOnce(const Word2VecProblem& problem, const Parallel& parallel,
                 std::vector<Worker>* workers, Word2VecResult* results) {
  const int64_t num_tasks = NumTasks(problem);
  std::atomic<int64_t> next{0};
  const int64_t cost = kTokensPerTask * problem.dim * 100;
  const int64_t parts = static_cast<int64_t>(workers->size());
  parallel.For(parts, cost * (num_tasks / parts + 1), [&](int64_t i, int) {
    GroupLength length(problem);
    for (int64_t task = next++; task < num_tasks; task = next++) {
      Part part(problem, BeginOfTask(problem, task), BeginOfTask(problem, task + 1),
                length.value());
      while (!part.done()) {
        Shortening steps;
        part.Train(&(*workers)[i], length.value(), nullptr, &steps, &results[task]);
        length.Adapt(steps);
      }
      results[task].words = part.words();
    }
  });
}

// What TrainOn takes.
void TakeScratch(const Word2VecProblem& problem, const Parallel& parallel, Scratch* scratch) {
  for (int i = 0; i < Workers(problem, parallel); ++i) Worker(problem, scratch);
  scratch->Take<float>(problem.deterministic ? RoundMemory(problem) : CurvatureMemory(problem));
}

void TrainOn(const Word2VecProblem& problem, const Parallel& parallel, Scratch* scratch,
             Word2VecResult* result) {
  const int num_workers = Workers(problem, parallel);
  std::vector<Worker> workers;
  for (int i = 0; i < num_workers; ++i) workers.emplace_back(problem, scratch);
  std::vector<Word2VecResult> results(NumTasks(problem));
  if (problem.deterministic) {
    float* rows = scratch->Take<float>(RoundMemory(problem));
    for (Worker& worker : workers) worker.Start(Crowds());
    TrainInRounds(problem, parallel, &workers, rows, results.data());
  } else {
    float* const of_inputs = scratch->Take<float>(CurvatureMemory(problem));
    float* const of_weights = of_inputs + NumInputs(problem);
    if (num_workers > 1) FindCrowds(problem, num_workers, of_inputs, of_weights);
    for (Worker& worker : workers) {
      worker.Start(num_workers > 1 ? Crowds{of_inputs, of_weights} : Crowds());
    }
    TrainAtOnce(problem, parallel, &workers, results.data());
  }
  *result = Word2VecResult();
  for (const Word2VecResult& part : results) {
    result->loss += part.loss;
    result->examples += part.examples;
    result->words += part.words;
  }
}

}  // namespace

std::size_t Word2VecScratchBytes(const Word2VecProblem& problem, const Parallel& parallel) {
  Scratch scratch;
  if (problem.bags.splits == nullptr) {
    TakeScratch(problem, parallel, &scratch);
  } else {
    const UsedRows used(problem);
    scratch.Take<float>(used.size() * EmbeddingStride(problem));
    TakeScratch(used.Of(problem, nullptr), parallel, &scratch);
  }
  return scratch.used();
}

Status TrainWord2Vec(const Word2VecProblem& problem, const Parallel& parallel, void* memory,
                     Word2VecResult* result) {
  FASTW2V_RETURN_IF_ERROR(CheckWord2Vec(problem));
  Scratch scratch(memory);
  if (problem.bags.splits == nullptr) {
    TrainOn(problem, parallel, &scratch, result);
  } else {
    const UsedRows used(problem);
    float* const table = scratch.Take<float>(used.size() * EmbeddingStride(problem));
    used.Copy(problem, table, false, parallel);
    TrainOn(used.Of(problem, table), parallel, &scratch, result);
    used.Copy(problem, table, true, parallel);
  }
  return Status();
}

}  // namespace fastw2v
