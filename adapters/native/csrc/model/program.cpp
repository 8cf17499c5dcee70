#include "model/program.h"

#include "model/checks.h"

namespace litgpt {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 31;  // of a dimension, a width or a count
constexpr int32_t kMaxItems = 1 << 20;

Status read_tensor(int32_t index, const litgpt_tensor& tensor) {
  LITGPT_REQUIRE(tensor.rows > 0 && tensor.rows < kMaxSize && tensor.cols > 0 && tensor.cols < kMaxSize,
                 "Tensor %d has an invalid shape.", index);
  LITGPT_REQUIRE(tensor.data != nullptr, "Tensor %d has no data.", index);
  if (tensor.format == kVector) {
    LITGPT_REQUIRE(tensor.bytes == tensor.rows * tensor.cols * 4, "Tensor %d has the wrong number of bytes.", index);
    return kOk;
  }
  LITGPT_REQUIRE(tensor.format >= 0 && tensor.format < kFormatCount, "Tensor %d has an unknown format.", index);
  const Matrix matrix{static_cast<Format>(tensor.format), tensor.rows, tensor.cols, nullptr};
  LITGPT_REQUIRE(tensor.bytes == matrix.bytes(), "Tensor %d has the wrong number of bytes.", index);
  return kOk;
}

Status read_cache(int32_t index, const litgpt_cache_shape& source, CacheShape* shape) {
  const bool sizes = source.kv_heads >= 0 && source.kv_heads < kMaxItems && source.k_dim >= 0 &&
                     source.k_dim <= kMaxHeadDim && source.v_dim >= 0 && source.v_dim <= kMaxHeadDim &&
                     (source.kv_heads == 0 || (source.k_dim > 0 && source.v_dim > 0));
  LITGPT_REQUIRE(sizes, "Cache %d has an invalid size.", index);
  const bool is_known = source.element == kF32 || source.element == kBF16 || source.element == kQ8;
  LITGPT_REQUIRE(is_known, "Cache %d has an unknown format.", index);
  LITGPT_REQUIRE(source.window >= 0, "Cache %d has an invalid window.", index);
  *shape = {source.kv_heads, source.k_dim,       source.v_dim, static_cast<Format>(source.element),
            source.window,   source.chunked != 0};
  return kOk;
}

Status read_state(int32_t index, const litgpt_state_shape& source, StateShape* shape) {
  // Without heads, the state is that of a convolution alone.
  const bool heads = source.heads > 0 && source.heads < kMaxItems && source.k_dim > 0 && source.k_dim <= kMaxHeadDim &&
                     source.v_dim > 0 && source.v_dim <= kMaxHeadDim;
  const bool no_heads = source.heads == 0 && source.k_dim == 0 && source.v_dim == 0 && source.conv_columns > 0;
  const bool sizes = (heads || no_heads) && source.conv_columns >= 0 && source.conv_columns <= kMaxConvColumns &&
                     source.conv_channels > 0 && source.conv_channels < kMaxSize;
  LITGPT_REQUIRE(sizes, "State %d has an invalid size.", index);
  *shape = {source.heads, source.k_dim, source.v_dim, source.conv_columns, source.conv_channels};
  LITGPT_REQUIRE(shape->bytes() <= kMaxStateBytes, "State %d is too large.", index);
  return kOk;
}

}  // namespace

Status read_program(const litgpt_program& source, Program* program) {
  LITGPT_REQUIRE(source.vocab_size > 0 && source.vocab_size < kMaxSize, "The vocabulary size is invalid.");
  LITGPT_REQUIRE(source.context_length > 0 && source.context_length < kMaxSize, "The context length is invalid.");
  const bool counts = source.num_buffers > 0 && source.num_buffers < kMaxItems && source.num_tensors > 0 &&
                      source.num_tensors < kMaxItems && source.num_instructions > 0 &&
                      source.num_instructions < kMaxItems && source.num_layers >= 0 && source.num_layers < kMaxItems &&
                      source.num_states >= 0 && source.num_states < kMaxItems;
  LITGPT_REQUIRE(counts, "The program has an invalid number of parts.");
  program->vocab_size = source.vocab_size;
  program->context_length = source.context_length;
  LITGPT_TRY(program->widths.resize(source.num_buffers));
  for (int32_t at = 0; at < source.num_buffers; ++at) {
    LITGPT_REQUIRE(source.buffer_widths[at] > 0 && source.buffer_widths[at] < kMaxSize,
                   "Buffer %d has an invalid width.", at);
    program->widths[at] = source.buffer_widths[at];
  }
  LITGPT_TRY(program->tensors.resize(source.num_tensors));
  program->max_cols = 0;
  for (int32_t at = 0; at < source.num_tensors; ++at) {
    LITGPT_TRY(read_tensor(at, source.tensors[at]));
    program->tensors[at] = source.tensors[at];
    const int64_t cols = round_up(source.tensors[at].cols, kGroup);
    if (source.tensors[at].format != kVector && cols > program->max_cols) program->max_cols = cols;
  }
  LITGPT_TRY(program->caches.resize(source.num_layers));
  for (int32_t at = 0; at < source.num_layers; ++at) {
    LITGPT_TRY(read_cache(at, source.caches[at], &program->caches[at]));
  }
  LITGPT_TRY(program->states.resize(source.num_states));
  for (int32_t at = 0; at < source.num_states; ++at) {
    LITGPT_TRY(read_state(at, source.states[at], &program->states[at]));
  }
  LITGPT_TRY(program->instructions.resize(source.num_instructions));
  for (int32_t at = 0; at < source.num_instructions; ++at) {
    const litgpt_instruction& instruction = source.instructions[at];
    program->instructions[at] = instruction;
    LITGPT_TRY(check_instruction(*program, at, instruction));
    if (instruction.opcode == kRopeTable) {
      LITGPT_TRY(program->rope_tables.resize(program->rope_tables.size() + 1));
      program->rope_tables[program->rope_tables.size() - 1] = instruction;
    }
  }
  LITGPT_REQUIRE(source.instructions[source.num_instructions - 1].opcode == kHead,
                 "The last instruction is not the head.");
  return kOk;
}

}  // namespace litgpt
