// Which positions a token sees.
#pragma once

#include <stdint.h>

#include "core/inline.h"

namespace litgpt {

// The first position that the token at `position` sees. `window` 0: all; `chunked`: from the start of its chunk of
// `window` positions, instead of the last `window` positions, itself included.
LITGPT_INLINE int64_t first_visible(int64_t position, int64_t window, bool chunked) {
  if (window <= 0) return 0;
  if (chunked) return position / window * window;
  return position < window ? 0 : position - window + 1;
}

}  // namespace litgpt
