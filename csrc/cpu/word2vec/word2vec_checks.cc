#include <algorithm>
#include <cmath>

#include "csrc/core/skipgram.h"
#include "csrc/core/word2vec.h"

namespace fastw2v {
namespace {

constexpr int64_t kMaxClasses = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxWindow = SkipGramProblem::kMaxWindow;
constexpr int64_t kMaxDraws = 4096;  // of a group

Status CheckBags(const Word2VecProblem& problem) {
  const WordBags& bags = problem.bags;
  if (bags.splits == nullptr) return Status();
  if (problem.documents != nullptr) {
    return InvalidArgument("words that are bags of rows are not trained with documents");
  }
  if (bags.table_rows > kMaxClasses) {
    return InvalidArgument("embeddings has ", bags.table_rows, " rows, expected at most ",
                           kMaxClasses);
  }
  if (bags.splits[0] != 0 || bags.splits[problem.classes] != bags.num_rows) {
    return InvalidArgument("bag_splits goes from ", bags.splits[0], " to ",
                           bags.splits[problem.classes], ", expected 0 to ", bags.num_rows,
                           ", the number of bag_rows");
  }
  for (int64_t k = 0; k < problem.classes; ++k) {
    if (bags.splits[k] < bags.splits[k + 1]) continue;
    return InvalidArgument("bag_splits[", k + 1, "] = ", bags.splits[k + 1],
                           " is not above the one before, ", bags.splits[k]);
  }
  for (int64_t i = 0; i < bags.num_rows; ++i) {
    if (bags.rows[i] >= 0 && bags.rows[i] < bags.table_rows) continue;
    return InvalidArgument("bag_rows[", i, "] = ", bags.rows[i], " is not in [0, ", bags.table_rows,
                           "), the rows of the embeddings");
  }
  return Status();
}

Status CheckDocuments(const Word2VecProblem& problem) {
  if (problem.num_documents > kMaxClasses - problem.classes) {
    return InvalidArgument("the number of documents = ", problem.num_documents,
                           " and of words = ", problem.classes, " are together above ",
                           kMaxClasses);
  }
  if (MostDocuments(problem.ids, problem.size) > problem.most_documents ||
      problem.most_documents > kMaxDraws) {
    return InvalidArgument("a sentence is of more than ",
                           std::min(problem.most_documents, kMaxDraws), " documents");
  }
  for (int64_t i = 0; i < problem.size; ++i) {
    if (-2 - int64_t{problem.ids[i]} >= problem.num_documents) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is document ",
                             -2 - int64_t{problem.ids[i]}, ", which is not below ",
                             problem.num_documents, ", the rows of the documents");
    }
  }
  return Status();
}

}  // namespace

Status CheckWord2Vec(const Word2VecProblem& problem) {
  const auto in_range = [](const char* name, int64_t value, int64_t most) {
    return value >= 1 && value <= most
               ? Status()
               : InvalidArgument(name, " = ", value, " is not in [1, ", most, "]");
  };
  FASTW2V_RETURN_IF_ERROR(in_range("window", problem.window, kMaxWindow));
  FASTW2V_RETURN_IF_ERROR(in_range("negative", problem.negative, kMaxDraws));
  FASTW2V_RETURN_IF_ERROR(in_range("group", problem.group, kMaxDraws));
  FASTW2V_RETURN_IF_ERROR(in_range("shared", problem.shared, kMaxDraws));
  if (problem.size > 0) {
    FASTW2V_RETURN_IF_ERROR(in_range("the number of words", problem.classes, kMaxClasses));
  }
  if (problem.tree.splits != nullptr) {
    FASTW2V_RETURN_IF_ERROR(in_range("the longest way in the tree", problem.tree.longest + 1,
                                     std::max<int64_t>(1, problem.classes)));
  }
  FASTW2V_RETURN_IF_ERROR(CheckBags(problem));
  const auto finite = [](const char* name, double value) {
    return std::isfinite(value) ? Status() : InvalidArgument(name, " = ", value, " is not finite");
  };
  FASTW2V_RETURN_IF_ERROR(finite("start_alpha", problem.start_alpha));
  FASTW2V_RETURN_IF_ERROR(finite("end_alpha", problem.end_alpha));
  for (int64_t i = 0; i < problem.size; ++i) {
    if (problem.ids[i] >= problem.classes) {
      return InvalidArgument("ids[", i, "] = ", problem.ids[i], " is not below ", problem.classes,
                             ", the rows of the tables");
    }
  }
  return problem.documents == nullptr ? Status() : CheckDocuments(problem);
}

int64_t MostDocuments(const int32_t* ids, int64_t size) {
  int64_t most = 0, here = 0;
  for (int64_t i = 0; i < size; ++i) {
    here = ids[i] < -1 ? here + 1 : 0;
    most = std::max(most, here);
  }
  return most;
}

}  // namespace fastw2v
