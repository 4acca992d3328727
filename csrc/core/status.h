// The result of a core call: success, or one sentence for the user.
#ifndef FASTW2V_CORE_STATUS_H_
#define FASTW2V_CORE_STATUS_H_

#include <sstream>
#include <string>
#include <utility>

namespace fastw2v {

enum class StatusCode { kOk, kInvalidArgument, kResourceExhausted, kInternal };

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// Joins the parts into the sentence: InvalidArgument("labels[", i, "] = ", value, " is ...").
template <typename... Parts>
Status InvalidArgument(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  return Status(StatusCode::kInvalidArgument, message.str());
}

template <typename... Parts>
Status ResourceExhausted(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  return Status(StatusCode::kResourceExhausted, message.str());
}

#define FASTW2V_RETURN_IF_ERROR(expression)                                      \
  do {                                                                           \
    if (::fastw2v::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

}  // namespace fastw2v

#endif  // FASTW2V_CORE_STATUS_H_
