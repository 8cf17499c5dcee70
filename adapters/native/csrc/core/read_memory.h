// Reads memory with all threads, as a matrix product does, for measurements of its bandwidth.
#pragma once

#include <stdint.h>

#include "core/status.h"

namespace litgpt {

// `data` is aligned to 8 bytes.
Status read_memory(const void* data, int64_t bytes);

}  // namespace litgpt
