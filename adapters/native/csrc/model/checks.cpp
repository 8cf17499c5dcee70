#include "model/checks.h"

#include <math.h>

#include "model/routing.h"

namespace litgpt {
namespace {

class Checker {
 public:
  Checker(const Program& program, int32_t index, const litgpt_instruction& instruction)
      : program_(program), index_(index), operands_(instruction.operands), parameters_(instruction.parameters) {}

  // `size` values of a buffer from `offset` on exist.
  Status range(int32_t buffer, int64_t offset, int64_t size) const {
    LITGPT_REQUIRE(buffer >= 0 && buffer < program_.widths.size(), "Instruction %d: buffer %d does not exist.", index_,
                   buffer);
    LITGPT_REQUIRE(offset >= 0 && size > 0 && offset + size <= program_.widths[buffer],
                   "Instruction %d: buffer %d is too narrow.", index_, buffer);
    return kOk;
  }

  Status matrix(int32_t tensor) const {
    LITGPT_REQUIRE(tensor >= 0 && tensor < program_.tensors.size() && program_.tensors[tensor].format != kVector,
                   "Instruction %d: tensor %d is not a matrix.", index_, tensor);
    return kOk;
  }

  Status vector(int32_t tensor, int64_t size, bool optional) const {
    if (tensor == -1 && optional) return kOk;
    LITGPT_REQUIRE(tensor >= 0 && tensor < program_.tensors.size() && program_.tensors[tensor].format == kVector,
                   "Instruction %d: tensor %d is not a vector.", index_, tensor);
    const litgpt_tensor& it = program_.tensors[tensor];
    LITGPT_REQUIRE(it.rows * it.cols >= size, "Instruction %d: tensor %d is too short.", index_, tensor);
    return kOk;
  }

  Status at_most(int32_t operand, int64_t limit) const {
    LITGPT_REQUIRE(operands_[operand] >= 0 && operands_[operand] <= limit,
                   "Instruction %d: operand %d is out of range.", index_, operand);
    return kOk;
  }

  Status finite(int count) const {
    for (int at = 0; at < count; ++at) {
      LITGPT_REQUIRE(isfinite(parameters_[at]), "Instruction %d: parameter %d is not finite.", index_, at);
    }
    return kOk;
  }

  // The columns of a bias are padded as the rows of the result are.
  Status product(int32_t src, int32_t weight, int32_t bias) const {
    LITGPT_TRY(matrix(weight));
    const litgpt_tensor& it = program_.tensors[weight];
    LITGPT_TRY(range(src, 0, it.cols));
    return vector(bias, round_up(it.rows, kTileRows), true);
  }

  Status linear() const {
    LITGPT_TRY(finite(1));
    LITGPT_TRY(product(operands_[1], operands_[2], operands_[3]));
    return range(operands_[0], 0, program_.tensors[operands_[2]].rows);
  }

  Status norm() const {
    LITGPT_TRY(finite(1));
    LITGPT_TRY(at_most(4, kLayer));
    LITGPT_REQUIRE(operands_[5] > 0 && operands_[6] > 0, "Instruction %d: the norm is empty.", index_);
    const int64_t size = operands_[5];
    const int64_t total = size * operands_[6];
    LITGPT_TRY(range(operands_[0], operands_[8], total));
    LITGPT_TRY(range(operands_[1], operands_[7], total));
    LITGPT_TRY(vector(operands_[2], operands_[10] != 0 ? total : size, true));
    return vector(operands_[3], operands_[10] != 0 ? total : size, true);
  }

  Status rope() const {
    LITGPT_TRY(at_most(4, program_.rope_tables.size() - 1));
    const litgpt_tensor& table = program_.tensors[program_.rope_tables[operands_[4]].operands[0]];
    LITGPT_REQUIRE(operands_[2] > 0 && 2 * table.rows * table.cols <= operands_[3],
                   "Instruction %d: the heads are smaller than the rotary table.", index_);
    // After the last head, only what is rotated has to exist.
    const int64_t rotated = 2 * table.rows * table.cols;
    return range(operands_[0], operands_[1], int64_t{operands_[2] - 1} * operands_[3] + rotated);
  }

  Status attend() const {
    LITGPT_TRY(finite(3));
    LITGPT_TRY(at_most(6, program_.caches.size() - 1));
    const CacheShape& cache = program_.caches[operands_[6]];
    const int64_t heads = operands_[8];
    LITGPT_REQUIRE(cache.kv_heads > 0 && heads > 0 && heads % cache.kv_heads == 0,
                   "Instruction %d: the heads do not match the cache.", index_);
    LITGPT_TRY(range(operands_[0], 0, heads * cache.v_dim));
    LITGPT_TRY(range(operands_[1], operands_[3], heads * cache.k_dim));
    if (operands_[7] != 0) {
      LITGPT_TRY(range(operands_[2], operands_[4], int64_t{cache.kv_heads} * cache.k_dim));
      LITGPT_TRY(range(operands_[2], operands_[5], int64_t{cache.kv_heads} * cache.v_dim));
    }
    LITGPT_TRY(vector(operands_[9], heads, true));
    return vector(operands_[10], heads, true);
  }

  Status activate() const {
    LITGPT_TRY(at_most(3, kIdentity));
    LITGPT_TRY(range(operands_[0], 0, operands_[4]));
    LITGPT_TRY(range(operands_[1], operands_[5], operands_[4]));
    return operands_[2] == -1 ? kOk : range(operands_[2], operands_[6], operands_[4]);
  }

  Status embed(int64_t rows, bool is_vector) const {
    LITGPT_TRY(is_vector ? vector(operands_[1], 1, false) : matrix(operands_[1]));
    const litgpt_tensor& table = program_.tensors[operands_[1]];
    LITGPT_REQUIRE(table.rows >= rows, "Instruction %d: the embedding has too few rows.", index_);
    return range(operands_[0], 0, table.cols);
  }

  Status route() const {
    LITGPT_TRY(finite(2));
    const int64_t experts = operands_[2];
    const int64_t top_k = operands_[3];
    const int64_t groups = operands_[6];
    LITGPT_REQUIRE(experts > 0 && experts <= kMaxExperts && top_k > 0 && top_k <= experts,
                   "Instruction %d: the number of experts is invalid.", index_);
    LITGPT_REQUIRE(groups > 0 && experts % groups == 0 && operands_[7] > 0 && operands_[7] <= groups &&
                       operands_[8] > 0 && operands_[7] * (experts / groups) >= top_k,
                   "Instruction %d: the groups of experts are invalid.", index_);
    LITGPT_TRY(at_most(4, kSigmoidAfterTopK));
    LITGPT_TRY(range(operands_[0], 0, 2 * top_k));
    LITGPT_TRY(range(operands_[1], 0, experts));
    LITGPT_TRY(vector(operands_[9], experts, true));
    return vector(operands_[10], experts, true);
  }

  Status experts() const {
    LITGPT_TRY(finite(3));
    LITGPT_TRY(at_most(7, kIdentity));
    const int64_t count = operands_[4];
    LITGPT_REQUIRE(count > 0 && count <= kMaxExperts && operands_[5] > 0 && operands_[5] <= count && operands_[6] > 0,
                   "Instruction %d: the number of experts is invalid.", index_);
    LITGPT_TRY(range(operands_[2], 0, 2 * int64_t{operands_[5]}));
    for (int32_t at = 0; at < 3 * count; ++at) {
      LITGPT_REQUIRE(operands_[3] >= 0 && operands_[3] <= INT32_MAX - 3 * count,
                     "Instruction %d: the matrices do not exist.", index_);
      LITGPT_TRY(matrix(operands_[3] + at));
      const litgpt_tensor& it = program_.tensors[operands_[3] + at];
      const litgpt_tensor& same = program_.tensors[operands_[3] + at % 3];
      LITGPT_REQUIRE(it.format == same.format && it.rows == same.rows && it.cols == same.cols,
                     "Instruction %d: the experts differ in shape or format.", index_);
      if (operands_[8] >= 0) LITGPT_TRY(vector(operands_[8] + at, round_up(it.rows, kTileRows), false));
    }
    const litgpt_tensor& gate = program_.tensors[operands_[3]];
    const litgpt_tensor& up = program_.tensors[operands_[3] + 1];
    const litgpt_tensor& out = program_.tensors[operands_[3] + 2];
    LITGPT_REQUIRE(gate.rows == operands_[6] && up.rows == gate.rows && up.cols == gate.cols &&
                       up.format == gate.format && out.cols == operands_[6] && out.rows == gate.cols,
                   "Instruction %d: the matrices of an expert do not fit together.", index_);
    LITGPT_TRY(range(operands_[1], 0, gate.cols));
    return range(operands_[0], 0, out.rows);
  }

  Status state(int32_t state) const {
    LITGPT_REQUIRE(state >= 0 && state < program_.states.size(), "Instruction %d: state %d does not exist.", index_,
                   state);
    return kOk;
  }

  Status causal_conv() const {
    LITGPT_TRY(state(operands_[3]));
    LITGPT_TRY(at_most(4, kIdentity));
    const StateShape& shape = program_.states[operands_[3]];
    LITGPT_REQUIRE(operands_[0] != operands_[1], "Instruction %d: the convolution cannot be in place.", index_);
    for (int at = 0; at < 2; ++at) LITGPT_TRY(range(operands_[at], 0, shape.conv_channels));
    LITGPT_TRY(vector(operands_[2], (shape.conv_columns + 1) * shape.conv_channels, false));
    return vector(operands_[5], shape.conv_channels, true);
  }

  Status gated_delta() const {
    LITGPT_TRY(state(operands_[7]));
    const StateShape& shape = program_.states[operands_[7]];
    const int64_t heads = shape.heads;
    const int64_t key_heads = operands_[6];
    LITGPT_REQUIRE(heads > 0 && key_heads > 0 && heads % key_heads == 0,
                   "Instruction %d: the heads do not match the state.", index_);
    LITGPT_REQUIRE(operands_[0] != operands_[1] && operands_[0] != operands_[2] && operands_[1] != operands_[2],
                   "Instruction %d: the gated delta rule cannot be in place.", index_);
    LITGPT_TRY(range(operands_[0], 0, heads * shape.v_dim));
    LITGPT_TRY(range(operands_[1], operands_[3], key_heads * shape.k_dim));
    LITGPT_TRY(range(operands_[1], operands_[4], key_heads * shape.k_dim));
    LITGPT_TRY(range(operands_[1], operands_[5], heads * shape.v_dim));
    LITGPT_TRY(range(operands_[2], 0, 2 * heads));
    LITGPT_TRY(vector(operands_[8], heads, false));
    return vector(operands_[9], heads, false);
  }

  Status copy() const {
    LITGPT_TRY(finite(1));
    const int64_t count = operands_[5] == 0 ? 1 : operands_[5];
    LITGPT_REQUIRE(count > 0 && operands_[6] >= 0 && (count == 1 || operands_[7] >= operands_[2]),
                   "Instruction %d: the copies overlap.", index_);
    LITGPT_TRY(range(operands_[0], operands_[4], (count - 1) * operands_[7] + operands_[2]));
    return range(operands_[1], operands_[3], (count - 1) * operands_[6] + operands_[2]);
  }

  Status streams(bool is_mix) const {
    LITGPT_TRY(finite(1));
    const int64_t count = operands_[3];
    LITGPT_REQUIRE(count > 0 && operands_[4] > 0, "Instruction %d: there are no streams.", index_);
    LITGPT_REQUIRE(operands_[0] != operands_[1], "Instruction %d: the streams cannot be mixed in place.", index_);
    LITGPT_TRY(range(operands_[0], 0, count * operands_[4]));
    LITGPT_TRY(range(operands_[1], 0, is_mix ? count * operands_[4] : operands_[4]));
    return range(operands_[2], 0, is_mix ? count * count : count);
  }

  Status three_buffers(int64_t size) const {
    LITGPT_TRY(finite(3));
    for (int at = 0; at < 3; ++at) LITGPT_TRY(range(operands_[at], 0, size));
    return kOk;
  }

 private:
  const Program& program_;
  int32_t index_;
  const int32_t* operands_;
  const double* parameters_;
};

}  // namespace

Status check_instruction(const Program& program, int32_t index, const litgpt_instruction& instruction) {
  const Checker check(program, index, instruction);
  const int32_t* operands = instruction.operands;
  switch (instruction.opcode) {
    case kEmbed: LITGPT_TRY(check.finite(1)); return check.embed(operands[2] != 0 ? 1 : program.vocab_size, false);
    case kEmbedPosition:
      LITGPT_TRY(check.at_most(2, INT32_MAX - program.context_length));
      return check.embed(operands[2] + program.context_length, true);
    case kNorm: return check.norm();
    case kLinear: return check.linear();
    case kRope: return check.rope();
    case kClamp: LITGPT_TRY(check.finite(2)); return check.range(operands[0], operands[1], operands[2]);
    case kTemperature:
      LITGPT_TRY(check.finite(3));
      LITGPT_REQUIRE(instruction.parameters[1] > 0, "Instruction %d: the scale is not positive.", index);
      return check.range(operands[0], operands[1], operands[2]);
    case kAttend: return check.attend();
    case kActivate: return check.activate();
    case kAdd:
      LITGPT_TRY(check.finite(1));
      LITGPT_TRY(check.range(operands[0], operands[4], operands[2]));
      return check.range(operands[1], operands[3], operands[2]);
    case kCopy: return check.copy();
    case kScale:
      LITGPT_TRY(check.vector(operands[2], operands[3] != 0 ? operands[1] : 1, false));
      return check.range(operands[0], 0, operands[1]);
    case kTanh: return check.range(operands[0], 0, operands[1]);
    case kXielu:
      for (int at = 2; at < 6; ++at) LITGPT_TRY(check.vector(operands[at], 1, false));
      return check.range(operands[0], 0, operands[1]);
    case kSparsify: LITGPT_TRY(check.finite(1)); return check.range(operands[0], 0, operands[1]);
    case kMatchRms:
      LITGPT_TRY(check.finite(1));
      LITGPT_REQUIRE(instruction.parameters[0] > 0, "Instruction %d: the floor is not positive.", index);
      LITGPT_TRY(check.range(operands[0], 0, operands[2]));
      return check.range(operands[1], 0, operands[2]);
    case kMix:
    case kSpread: return check.streams(instruction.opcode == kMix);
    case kSwiglu: return check.three_buffers(operands[3]);
    case kGate: LITGPT_TRY(check.range(operands[1], 0, 1)); return check.range(operands[0], 0, operands[2]);
    case kCausalConv: return check.causal_conv();
    case kGatedDelta: return check.gated_delta();
    case kRoute: return check.route();
    case kExperts: return check.experts();
    case kHead:
      LITGPT_TRY(check.finite(2));
      LITGPT_TRY(check.product(operands[0], operands[1], operands[2]));
      LITGPT_REQUIRE(program.tensors[operands[1]].rows == program.vocab_size,
                     "Instruction %d: the head does not have the size of the vocabulary.", index);
      return kOk;
    case kRopeTable: LITGPT_TRY(check.finite(1)); return check.vector(operands[0], 1, false);
    default: return fail("Instruction %d: opcode %d does not exist.", index, instruction.opcode);
  }
}

}  // namespace litgpt
