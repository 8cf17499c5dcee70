#include "model/batch.h"

namespace litgpt {
namespace {

// Enough queries to share the load of a page, few enough for several blocks per worker.
constexpr int32_t kBlockTokens = 16;
// With more tokens, there is enough work without dividing the context.
constexpr int64_t kMaxTokensInParts = 4;

}  // namespace

Status Batch::fill(Sequence* const* all, const Adapter* const* adapters, int32_t num_sequences, const int32_t* counts,
                   const int32_t* token_ids) {
  ids = token_ids;
  sequences = all;
  tokens = 0;
  int64_t num_blocks = 0;
  for (int32_t at = 0; at < num_sequences; ++at) {
    tokens += counts[at];
    num_blocks += (counts[at] + kBlockTokens - 1) / kBlockTokens;
  }
  LITGPT_TRY(positions.resize(tokens));
  LITGPT_TRY(sequence_of.resize(tokens));
  LITGPT_TRY(first_of.resize(num_sequences + 1));
  LITGPT_TRY(blocks.resize(num_blocks));
  LITGPT_TRY(runs.resize(0));
  int64_t token = 0;
  int64_t block = 0;
  for (int32_t at = 0; at < num_sequences; ++at) {
    const int64_t start = all[at]->length();
    first_of[at] = token;
    if (const Adapter* adapter = adapters[at]; adapter != nullptr) {
      const int64_t last = runs.size() - 1;
      if (last < 0 || runs[last].adapter != adapter || runs[last].last != token) {
        LITGPT_TRY(runs.resize(last + 2));
        runs[last + 1] = {adapter, token, token};
      }
      runs[runs.size() - 1].last = token + counts[at];
    }
    for (int32_t done = 0; done < counts[at]; done += kBlockTokens) {
      const int32_t rest = counts[at] - done;
      blocks[block++] = {at, rest < kBlockTokens ? rest : kBlockTokens, token + done, start + done};
    }
    for (int32_t done = 0; done < counts[at]; ++done, ++token) {
      positions[token] = start + done;
      sequence_of[token] = at;
    }
  }
  first_of[num_sequences] = token;
  spans = 1;
  for (int64_t at = 0; tokens <= kMaxTokensInParts && at < tokens; ++at) {
    const int64_t own = positions[at] / kSpanPositions + 1;
    if (own > spans) spans = own;
  }
  return kOk;
}

}  // namespace litgpt
