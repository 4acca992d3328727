// Vectors of new documents: each is trained on its own text, by a worker of its own.
#include <algorithm>
#include <vector>

#include "csrc/core/scratch.h"
#include "csrc/core/word2vec.h"
#include "csrc/cpu/word2vec/word2vec_worker.h"

namespace fastw2v {
namespace {

// A document with its text, as a problem of its own, for the worker that takes it next.
struct Inferred {
  Word2VecProblem problem;
  std::vector<int32_t> ids;

  // No text has more than `longest` ids.
  Inferred(const Word2VecProblem& all, int64_t longest) : problem(all) {
    problem.size = longest + 1;
    problem.num_documents = problem.most_documents = 1;
    problem.frozen = true;
    problem.deterministic = false;
  }

  void Take(const Word2VecProblem& all, int64_t document, int64_t begin, int64_t end) {
    ids.assign(1, -2);
    ids.insert(ids.end(), all.ids + begin, all.ids + end);
    problem.ids = ids.data();
    problem.size = static_cast<int64_t>(ids.size());
    problem.documents = all.documents + document * all.dim;
  }

  void TakeEpoch(const Word2VecProblem& all, int64_t epoch, int64_t epochs) {
    const auto rate = [&](int64_t e) {
      const double done = static_cast<double>(e) / static_cast<double>(epochs);
      return all.start_alpha + (all.end_alpha - all.start_alpha) * done;
    };
    problem.start_alpha = rate(epoch);
    problem.end_alpha = rate(epoch + 1);
    problem.seed[1] =
        static_cast<int64_t>(static_cast<uint64_t>(all.seed[1]) + static_cast<uint64_t>(epoch));
  }
};

}  // namespace

std::size_t InferScratchBytes(const Word2VecProblem& problem, const Parallel& parallel) {
  const Inferred inferred(problem, problem.size);
  Scratch scratch;
  for (int i = 0; i < parallel.num_workers(); ++i) Worker(inferred.problem, &scratch);
  return scratch.used();
}

Status InferDocuments(const Word2VecProblem& problem, int64_t epochs, const Parallel& parallel,
                      void* memory) {
  FASTW2V_RETURN_IF_ERROR(CheckWord2Vec(problem));
  std::vector<int64_t> begins(1, 0);
  for (int64_t i = 0; i < problem.size; ++i) {
    if (problem.ids[i] < -1) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is below -1, the end of a text");
    }
    if (problem.ids[i] == -1) begins.push_back(i + 1);
  }
  const int64_t texts = static_cast<int64_t>(begins.size()) - 1;
  if (texts != problem.num_documents || begins.back() != problem.size) {
    return InvalidArgument("ids has ", texts, " texts, each ended by -1, expected ",
                           problem.num_documents, ", the number of documents");
  }
  Scratch scratch(memory);
  const int num_workers = parallel.num_workers();
  std::vector<Inferred> inferred(num_workers, Inferred(problem, problem.size));
  std::vector<Worker> workers;
  for (const Inferred& each : inferred) {
    workers.emplace_back(each.problem, &scratch);
    workers.back().Start(Crowds());
  }
  const int64_t cost = std::min<int64_t>(epochs, 100) * problem.dim * 100 *
                       (problem.size / std::max<int64_t>(1, texts) + 1);
  parallel.For(texts, cost, [&](int64_t d, int worker) {
    Inferred& mine = inferred[worker];
    mine.Take(problem, d, begins[d], begins[d + 1]);
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      mine.TakeEpoch(problem, epoch, epochs);
      GroupLength length(mine.problem);
      Part part(mine.problem, 0, mine.problem.size, length.value());
      while (!part.done()) {
        Shortening steps;
        Word2VecResult result;
        part.Train(&workers[worker], length.value(), nullptr, &steps, &result);
        length.Adapt(steps);
      }
    }
  });
  return Status();
}

}  // namespace fastw2v
