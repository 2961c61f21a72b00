#pragma once

// The one way in which restkv reports a failure: a value, or an error with a code and a text.
// The library never prints, exits or aborts on input; whatever a user can get wrong ends here.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace restkv {

enum class ErrorCode : std::uint8_t {
  kInvalidArgument,  // an option, request or combination that cannot be meant
  kNotFound,         // a file, model name or tensor that is not there
  kUnsupported,      // understood, but not something this build or model can do
  kCorrupt,          // bytes from outside that contradict themselves
  kIo,               // the operating system refused to read or write
  kOutOfMemory,      // an allocation was refused
  kCancelled,        // the caller asked to stop
  kInternal,         // a bug of ours that was caught at a border
};

// "invalid argument", "not found", ...: lower case, no full stop.
[[nodiscard]] constexpr std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kIo: return "input/output error";
    case ErrorCode::kOutOfMemory: return "out of memory";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kInternal: return "internal error";
  }
  return "unknown";
}

// What went wrong. The message is one line, names what and where, and ends without a full stop.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

// A value of type T, or an Error. Must be looked at.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(*-explicit-*)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok()
  [[nodiscard]] T& value() & { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }

  // REQUIRES: !ok()
  [[nodiscard]] const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}  // NOLINT(*-explicit-*)

  [[nodiscard]] bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  // REQUIRES: !ok()
  [[nodiscard]] const Error& error() const { return error_; }

 private:
  Error error_;
  bool failed_ = false;
};

// Returns from the calling function with the error of `expression`, if it has one.
#define RESTKV_TRY(expression)                                      \
  do {                                                              \
    if (auto restkv_result_ = (expression); !restkv_result_.ok()) { \
      return restkv_result_.error();                                \
    }                                                               \
  } while (false)

#define RESTKV_CONCAT_INNER_(a, b) a##b
#define RESTKV_CONCAT_(a, b) RESTKV_CONCAT_INNER_(a, b)

// RESTKV_ASSIGN(auto x, expression): x is the value, or the calling function returns the error.
#define RESTKV_ASSIGN(declaration, expression)                  \
  auto RESTKV_CONCAT_(restkv_result_, __LINE__) = (expression); \
  if (!RESTKV_CONCAT_(restkv_result_, __LINE__).ok()) {         \
    return RESTKV_CONCAT_(restkv_result_, __LINE__).error();    \
  }                                                             \
  declaration = std::move(RESTKV_CONCAT_(restkv_result_, __LINE__)).value()

}  // namespace restkv
