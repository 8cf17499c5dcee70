#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>

namespace litgpt {

namespace {
thread_local char message[512];
}  // namespace

Status fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  return Status{false};
}

const char* last_error() { return message; }

}  // namespace litgpt
