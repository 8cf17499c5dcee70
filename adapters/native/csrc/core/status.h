// The result of an operation that can fail. The library uses neither exceptions nor the C++ standard library, so
// that it needs no C++ runtime at the user's machine.
#pragma once

namespace litgpt {

struct Status {
  bool ok;
};

inline constexpr Status kOk{true};

// Stores a message, formatted as by printf, for `litgpt_last_error` of the calling thread.
Status fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

const char* last_error();

}  // namespace litgpt

#define LITGPT_TRY(expression)                     \
  do {                                             \
    const ::litgpt::Status status_ = (expression); \
    if (!status_.ok) return status_;               \
  } while (false)

#define LITGPT_REQUIRE(condition, ...)                    \
  do {                                                    \
    if (!(condition)) return ::litgpt::fail(__VA_ARGS__); \
  } while (false)
