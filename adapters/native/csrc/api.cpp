#include "api.h"

#include <pthread.h>

#include "core/placement.h"
#include "core/read_memory.h"

#include "core/threads.h"
#include "kernels/kernels.h"
#include "model/adapter.h"
#include "model/batch.h"
#include "model/cache.h"
#include "model/program.h"
#include "model/step.h"
#include "model/workspace.h"
#include "weights/pack.h"

struct litgpt_model {
  litgpt::Program program;
  litgpt::Workspace workspace;
  litgpt::Batch batch;
  // Of the workspace, the batch, and sequences while a step computes them.
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  int32_t references = 1;  // the caller's, and one of each sequence and adapter
};

struct litgpt_adapter {
  litgpt_adapter(litgpt_model* owner) : model(owner) {}

  litgpt_model* model;
  litgpt::Adapter updates;
};

struct litgpt_sequence {
  litgpt_sequence(litgpt_model* owner)
      : model(owner),
        tokens(owner->program.caches.data(), static_cast<int32_t>(owner->program.caches.size()),
               owner->program.states.data(), static_cast<int32_t>(owner->program.states.size())) {}

  litgpt_model* model;
  litgpt::Sequence tokens;
};

namespace litgpt {
namespace {

int32_t code(Status status) { return status.ok ? 0 : -1; }

template <class T, class... Arguments>
Status make(T** out, Arguments... arguments) {
  void* memory = calloc(1, sizeof(T));
  LITGPT_REQUIRE(memory != nullptr, "Out of memory.");
  *out = new (memory) T(arguments...);
  return kOk;
}

template <class T>
void destroy(T* object) {
  object->~T();
  free(object);
}

void release(litgpt_model* model) {
  if (__atomic_sub_fetch(&model->references, 1, __ATOMIC_ACQ_REL) == 0) destroy(model);
}

Status find_kernels(const Kernels** kernels) {
  *kernels = select_kernels();
  LITGPT_REQUIRE(*kernels != nullptr, "LITGPT_NATIVE_ISA names an instruction set that this processor or build lacks.");
  return kOk;
}

Status pack(int32_t format, int64_t rows, int64_t cols, void* data, int64_t bytes, int32_t source,
            const void* source_rows, int64_t source_bytes, int64_t first_row, int64_t count) {
  const Matrix matrix{static_cast<Format>(format), rows, cols, static_cast<const uint8_t*>(data)};
  LITGPT_TRY(check_matrix(matrix));
  LITGPT_REQUIRE(data != nullptr && bytes == matrix.bytes(), "The packed matrix has the wrong number of bytes.");
  LITGPT_REQUIRE(source >= 0 && source < kSourceFormatCount, "Source format %d does not exist.", source);
  LITGPT_REQUIRE(count > 0 && first_row >= 0 && count <= rows && first_row <= rows - count,
                 "The rows are outside the matrix.");
  const int64_t row_bytes = source_row_bytes(static_cast<SourceFormat>(source), cols);
  LITGPT_REQUIRE(row_bytes > 0, "Source format %d cannot have %lld columns.", source, static_cast<long long>(cols));
  LITGPT_REQUIRE(source_rows != nullptr && source_bytes == count * row_bytes,
                 "The rows have the wrong number of bytes.");
  const auto pack_part = [&](int64_t first, int64_t end) {
    const auto* from = static_cast<const uint8_t*>(source_rows) + (first - first_row) * row_bytes;
    return pack_rows(matrix, static_cast<uint8_t*>(data), static_cast<SourceFormat>(source), from, first, end - first);
  };
  const int64_t end_row = first_row + count;
  const int64_t first_tile = first_row / kTileRows;
  bool failed = false;
  auto body = [&](Worker& worker) {
    worker.each((end_row + kTileRows - 1) / kTileRows - first_tile, 4, [&](int64_t first, int64_t last) {
      const int64_t begin = (first_tile + first) * kTileRows;
      const int64_t end = (first_tile + last) * kTileRows;
      if (!pack_part(begin > first_row ? begin : first_row, end < end_row ? end : end_row).ok) {
        __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
      }
    });
  };
  LITGPT_TRY(run_parallel(body));
  // The message of an error is that of the thread in which it occurred.
  return failed ? pack_part(first_row, end_row) : kOk;
}

Status read_matrix(const litgpt_tensor& tensor, Matrix* matrix) {
  *matrix = {static_cast<Format>(tensor.format), tensor.rows, tensor.cols, static_cast<const uint8_t*>(tensor.data)};
  LITGPT_TRY(check_matrix(*matrix));
  LITGPT_REQUIRE(tensor.data != nullptr && tensor.bytes == matrix->bytes(),
                 "The matrix has the wrong number of bytes.");
  return kOk;
}

Status multiply(const litgpt_tensor& tensor, const float* x, int64_t tokens, float* y) {
  Matrix weight{};
  LITGPT_TRY(read_matrix(tensor, &weight));
  LITGPT_REQUIRE(tokens > 0 && tokens < (int64_t{1} << 31), "The number of tokens is invalid.");
  const Kernels* kernels = nullptr;
  LITGPT_TRY(find_kernels(&kernels));
  const int64_t cols = round_up(weight.cols, kGroup);
  const int64_t stride = round_up(weight.rows, kTileRows);
  PreparedRows rows;
  Array<float> padded;
  LITGPT_TRY(rows.reserve(tokens, cols));
  LITGPT_TRY(padded.resize(tokens * stride));
  const Prepared prepared = rows.view(tokens, cols);
  auto body = [&](Worker& worker) {
    worker.each(tokens, 1, [&](int64_t first, int64_t last) {
      kernels->prepare(weight.format, x, weight.cols, weight.cols, first, last, prepared);
    });
    worker.each(weight.tiles(), 4, [&](int64_t first, int64_t last) {
      kernels->matmul(weight, prepared, first, last, 0, tokens, nullptr, padded.data(), stride, false, 1.0f);
    });
  };
  LITGPT_TRY(run_parallel(body));
  for (int64_t token = 0; token < tokens; ++token) {
    memcpy(y + token * weight.rows, padded.data() + token * stride, static_cast<size_t>(weight.rows) * sizeof(float));
  }
  return kOk;
}

Status new_sequence(litgpt_model* model, litgpt_sequence** sequence) {
  litgpt_sequence* made = nullptr;
  LITGPT_TRY(make(&made, model));
  if (!made->tokens.allocate().ok) {
    destroy(made);
    return {false};
  }
  __atomic_add_fetch(&model->references, 1, __ATOMIC_ACQ_REL);
  *sequence = made;
  return kOk;
}

// Only linear instructions add the updates of an adapter.
Status check_linear(const Program& program, int32_t tensor) {
  for (int64_t at = 0; at < program.instructions.size(); ++at) {
    const litgpt_instruction& it = program.instructions[at];
    if (it.opcode == kLinear && it.operands[2] == tensor) return kOk;
  }
  return fail("Tensor %d, which an adapter changes, is not the matrix of a linear layer.", tensor);
}

Status new_adapter(litgpt_model* model, int32_t count, const litgpt_update* updates, litgpt_adapter** adapter) {
  litgpt_adapter* made = nullptr;
  LITGPT_TRY(make(&made, model));
  bool is_valid = read_adapter(model->program, count, updates, &made->updates).ok;
  for (int32_t at = 0; is_valid && at < count; ++at) is_valid = check_linear(model->program, updates[at].tensor).ok;
  if (!is_valid) {
    destroy(made);
    return {false};
  }
  __atomic_add_fetch(&model->references, 1, __ATOMIC_ACQ_REL);
  *adapter = made;
  return kOk;
}

Status check_batch(const litgpt_model& model, int32_t num_sequences, litgpt_sequence* const* sequences,
                   litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens, int32_t num_rows,
                   const int32_t* rows) {
  const Program& program = model.program;
  LITGPT_REQUIRE(num_sequences > 0 && num_rows >= 0, "The step is empty.");
  int64_t total = 0;
  for (int32_t at = 0; at < num_sequences; ++at) {
    LITGPT_REQUIRE(sequences[at] != nullptr && sequences[at]->model == &model, "Sequence %d is of another model.", at);
    for (int32_t other = 0; other < at; ++other) {
      LITGPT_REQUIRE(sequences[other] != sequences[at], "Sequence %d occurs twice.", at);
    }
    LITGPT_REQUIRE(adapters[at] == nullptr || adapters[at]->model == &model,
                   "The adapter of sequence %d is of another model.", at);
    LITGPT_REQUIRE(counts[at] > 0 && counts[at] <= program.context_length - sequences[at]->tokens.length(),
                   "Sequence %d would exceed the context length.", at);
    total += counts[at];
  }
  LITGPT_REQUIRE(total <= INT32_MAX, "The step has too many tokens.");
  for (int64_t at = 0; at < total; ++at) {
    LITGPT_REQUIRE(tokens[at] >= 0 && tokens[at] < program.vocab_size, "Token id %d is outside the vocabulary.",
                   tokens[at]);
  }
  LITGPT_REQUIRE(num_rows <= total, "The step has more rows of output than tokens.");
  for (int32_t at = 0; at < num_rows; ++at) {
    LITGPT_REQUIRE(rows[at] >= 0 && rows[at] < total, "A row of the output is not a token of the step.");
  }
  return kOk;
}

Status step(litgpt_model& model, int32_t num_sequences, litgpt_sequence* const* sequences,
            litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens, int32_t num_rows,
            const int32_t* rows, Output output) {
  LITGPT_TRY(check_batch(model, num_sequences, sequences, adapters, counts, tokens, num_rows, rows));
  LITGPT_REQUIRE(output.logits != nullptr || output.hidden != nullptr || output.scores != nullptr,
                 "The output is a null pointer.");
  const Kernels* kernels = nullptr;
  LITGPT_TRY(find_kernels(&kernels));
  Array<Sequence*> all;
  Array<const Adapter*> own_adapters;
  LITGPT_TRY(all.resize(num_sequences));
  LITGPT_TRY(own_adapters.resize(num_sequences));
  for (int32_t at = 0; at < num_sequences; ++at) {
    all[at] = &sequences[at]->tokens;
    own_adapters[at] = adapters[at] == nullptr ? nullptr : &adapters[at]->updates;
    LITGPT_TRY(all[at]->reserve(counts[at]));
  }
  Batch& batch = model.batch;
  LITGPT_TRY(batch.fill(all.data(), own_adapters.data(), num_sequences, counts, tokens));
  batch.rows = num_rows;
  batch.output_rows = rows;
  const int64_t num_logits = output.logits == nullptr ? 0 : num_rows;
  const int64_t num_scores = output.scores == nullptr ? 0 : num_rows;
  LITGPT_TRY(model.workspace.reserve(model.program, batch, num_logits, num_scores));
  auto body = [&](Worker& worker) { run_step(model.program, *kernels, batch, model.workspace, output, worker); };
  LITGPT_TRY(run_parallel(body));
  for (int32_t at = 0; at < num_sequences; ++at) all[at]->advance(counts[at]);
  return kOk;
}

// The same while no other thread computes a step.
int32_t locked_step(litgpt_model* model, int32_t num_sequences, litgpt_sequence* const* sequences,
                    litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens, int32_t num_rows,
                    const int32_t* rows, Output output) {
  pthread_mutex_lock(&model->lock);
  const Status status = step(*model, num_sequences, sequences, adapters, counts, tokens, num_rows, rows, output);
  pthread_mutex_unlock(&model->lock);
  return code(status);
}

}  // namespace
}  // namespace litgpt

using litgpt::code;

int32_t litgpt_api_version(void) { return LITGPT_API_VERSION; }

const char* litgpt_last_error(void) { return litgpt::last_error(); }

const char* litgpt_instruction_set(void) {
  const litgpt::Kernels* kernels = litgpt::select_kernels();
  return kernels == nullptr ? "" : kernels->name;
}

int32_t litgpt_set_threads(int32_t count) { return code(litgpt::set_thread_count(count)); }

int32_t litgpt_threads(void) { return litgpt::thread_count(); }

int64_t litgpt_packed_bytes(int32_t format, int64_t rows, int64_t cols) {
  const litgpt::Matrix matrix{static_cast<litgpt::Format>(format), rows, cols, nullptr};
  return litgpt::check_matrix(matrix).ok ? matrix.bytes() : -1;
}

int32_t litgpt_pack(int32_t format, int64_t rows, int64_t cols, void* data, int64_t bytes, int32_t source,
                    const void* source_rows, int64_t source_bytes, int64_t first_row, int64_t count) {
  return code(litgpt::pack(format, rows, cols, data, bytes, source, source_rows, source_bytes, first_row, count));
}

int32_t litgpt_unpack(const litgpt_tensor* tensor, int64_t first_row, int64_t count, float* out, int64_t out_count) {
  litgpt::Matrix matrix{};
  if (!litgpt::read_matrix(*tensor, &matrix).ok) return -1;
  if (count <= 0 || first_row < 0 || count > matrix.rows || first_row > matrix.rows - count ||
      out_count != count * matrix.cols) {
    return code(litgpt::fail("The rows are outside the matrix, or the output has the wrong size."));
  }
  litgpt::unpack_rows(matrix, first_row, count, out);
  return 0;
}

int32_t litgpt_matmul(const litgpt_tensor* weight, const float* x, int64_t tokens, float* y) {
  return code(litgpt::multiply(*weight, x, tokens, y));
}

int32_t litgpt_read_memory(const void* data, int64_t bytes) { return code(litgpt::read_memory(data, bytes)); }

int32_t litgpt_model_new(const litgpt_program* program, litgpt_model** model) {
  if (!litgpt::make(model).ok) return -1;
  if (litgpt::read_program(*program, &(*model)->program).ok) return 0;
  litgpt::destroy(*model);
  *model = nullptr;
  return -1;
}

void litgpt_model_free(litgpt_model* model) {
  if (model != nullptr) litgpt::release(model);
}

int32_t litgpt_adapter_new(litgpt_model* model, int32_t count, const litgpt_update* updates, litgpt_adapter** adapter) {
  return code(litgpt::new_adapter(model, count, updates, adapter));
}

void litgpt_adapter_free(litgpt_adapter* adapter) {
  if (adapter == nullptr) return;
  litgpt_model* model = adapter->model;
  litgpt::destroy(adapter);
  litgpt::release(model);
}

int32_t litgpt_sequence_new(litgpt_model* model, litgpt_sequence** sequence) {
  return code(litgpt::new_sequence(model, sequence));
}

int32_t litgpt_sequence_fork(const litgpt_sequence* source, litgpt_sequence** sequence) {
  if (!litgpt::new_sequence(source->model, sequence).ok) return -1;
  pthread_mutex_lock(&source->model->lock);  // a step changes states in place
  const bool is_shared = (*sequence)->tokens.share(source->tokens).ok;
  pthread_mutex_unlock(&source->model->lock);
  if (is_shared) return 0;
  litgpt_sequence_free(*sequence);
  *sequence = nullptr;
  return -1;
}

int32_t litgpt_sequence_set_rope(litgpt_sequence* sequence, const float* values, int64_t count) {
  if (count != sequence->model->program.rope_values()) {
    return code(litgpt::fail("The RoPE tables have another number of frequencies."));
  }
  return code(sequence->tokens.set_rope(values, count));
}

int32_t litgpt_sequence_truncate(litgpt_sequence* sequence, int64_t length) {
  if (length < 0 || length > sequence->tokens.length()) return code(litgpt::fail("The sequence is shorter."));
  return code(sequence->tokens.truncate(length));
}

int64_t litgpt_sequence_length(const litgpt_sequence* sequence) { return sequence->tokens.length(); }

void litgpt_sequence_free(litgpt_sequence* sequence) {
  if (sequence == nullptr) return;
  litgpt_model* model = sequence->model;
  litgpt::destroy(sequence);
  litgpt::release(model);
}

int64_t litgpt_cache_bytes(void) { return litgpt::cache_bytes(); }

int32_t litgpt_step(litgpt_model* model, int32_t num_sequences, litgpt_sequence* const* sequences,
                    litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens, int32_t num_logits,
                    const int32_t* logit_rows, float* logits) {
  return litgpt::locked_step(model, num_sequences, sequences, adapters, counts, tokens, num_logits, logit_rows,
                             {logits, nullptr, nullptr});
}

int32_t litgpt_step_hidden(litgpt_model* model, int32_t num_sequences, litgpt_sequence* const* sequences,
                           litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens,
                           int32_t num_rows, const int32_t* rows, float* hidden, int64_t count) {
  if (num_rows < 0 || count != num_rows * model->program.head().cols) {
    return code(litgpt::fail("The hidden states have the wrong size."));
  }
  return litgpt::locked_step(model, num_sequences, sequences, adapters, counts, tokens, num_rows, rows,
                             {nullptr, hidden, nullptr});
}

int32_t litgpt_step_scores(litgpt_model* model, int32_t num_sequences, litgpt_sequence* const* sequences,
                           litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens,
                           int32_t num_rows, const int32_t* rows, const int32_t* targets, double* logprobs,
                           int32_t* greedy) {
  for (int32_t at = 0; at < num_rows; ++at) {
    if (targets[at] < 0 || targets[at] >= model->program.vocab_size) {
      return code(litgpt::fail("Token id %d is outside the vocabulary.", targets[at]));
    }
  }
  const litgpt::Scores scores{targets, logprobs, greedy};
  return litgpt::locked_step(model, num_sequences, sequences, adapters, counts, tokens, num_rows, rows,
                             {nullptr, nullptr, &scores});
}
