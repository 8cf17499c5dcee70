#include "model/workspace.h"

#include "core/placement.h"

namespace litgpt {

Workspace::~Workspace() {
  for (int64_t at = 0; at < num_buffers_; ++at) buffers_[at].~Array<float>();
  free(buffers_);
}

Status Workspace::reserve(const Program& program, const Batch& batch, int64_t logits, int64_t scores) {
  const int64_t tokens = batch.tokens;
  if (buffers_ == nullptr) {
    const int64_t count = program.widths.size();
    buffers_ = static_cast<Array<float>*>(malloc(static_cast<size_t>(count) * sizeof(Array<float>)));
    LITGPT_REQUIRE(buffers_ != nullptr, "Out of memory.");
    for (; num_buffers_ < count; ++num_buffers_) new (buffers_ + num_buffers_) Array<float>();
    LITGPT_TRY(strides_.resize(count));
    for (int64_t at = 0; at < count; ++at) strides_[at] = round_up(program.widths[at], kTileRows);
  }
  for (int64_t at = 0; at < num_buffers_; ++at) LITGPT_TRY(buffers_[at].at_least(tokens * strides_[at]));

  LITGPT_TRY(reserve_experts(program, tokens));
  LITGPT_TRY(reserve_partials(program, tokens, batch.spans));
  int64_t rows = tokens;
  if (experts_.token_of.size() > rows) rows = experts_.token_of.size();
  int64_t rank = 0;
  for (int64_t at = 0; at < batch.runs.size(); ++at) {
    if (batch.runs[at].adapter->rank > rank) rank = batch.runs[at].adapter->rank;
  }
  LITGPT_TRY(low_rank_.at_least(tokens * rank));
  LITGPT_TRY(prepared_.reserve(rows, program.max_cols > rank ? program.max_cols : rank));

  int64_t pairs = 0;
  for (int64_t at = 0; at < program.rope_tables.size(); ++at) {
    pairs += program.rope_pairs(at);
  }
  LITGPT_TRY(rope_values_.at_least(2 * pairs * tokens));
  LITGPT_TRY(ropes_.resize(program.rope_tables.size()));
  float* next = rope_values_.data();
  for (int64_t at = 0; at < program.rope_tables.size(); ++at) {
    const int64_t own = program.rope_pairs(at);
    ropes_[at] = {own, next, next + own * tokens};
    next += 2 * own * tokens;
  }
  const litgpt_instruction& head = program.instructions[program.instructions.size() - 1];
  LITGPT_TRY(head_input_.at_least((logits + scores) * strides_[head.operands[0]]));
  LITGPT_TRY(exp_sums_.at_least(scores * vocabulary_parts(program.vocab_size)));
  return head_output_.at_least(logits * round_up(program.vocab_size, kTileRows));
}

Status Workspace::reserve_partials(const Program& program, int64_t tokens, int64_t spans) {
  for (int64_t at = 0; spans > 1 && at < program.instructions.size(); ++at) {
    const litgpt_instruction& instruction = program.instructions[at];
    if (instruction.opcode != kAttend) continue;
    const int32_t* o = instruction.operands;
    LITGPT_TRY(partials_.at_least(spans * partial_values(tokens * o[8], program.caches[o[6]].v_dim)));
  }
  return kOk;
}

Status Workspace::reserve_experts(const Program& program, int64_t tokens) {
  for (int64_t at = 0; at < program.instructions.size(); ++at) {
    const litgpt_instruction& instruction = program.instructions[at];
    if (instruction.opcode != kExperts) continue;
    const int32_t* o = instruction.operands;
    const int64_t rows = tokens * o[5];
    const int64_t width = round_up(o[6], kTileRows);
    LITGPT_TRY(experts_.first.at_least(o[4] + 1));
    LITGPT_TRY(experts_.active.at_least(o[4]));
    LITGPT_TRY(experts_.row_of.at_least(rows));
    LITGPT_TRY(experts_.token_of.at_least(rows));
    LITGPT_TRY(experts_.weight_of.at_least(rows));
    LITGPT_TRY(experts_.x.at_least(rows * strides_[o[0]]));
    LITGPT_TRY(experts_.gate.at_least(rows * width));
    LITGPT_TRY(experts_.up.at_least(rows * width));
  }
  return kOk;
}

}  // namespace litgpt
