/* The C interface of the engine. `adapters/native/library.py` mirrors it. All functions that return int32_t return 0
 * on success and -1 after an error, whose message is `litgpt_last_error()` of the same thread. Pointers stay owned by
 * the caller unless stated otherwise. */
#pragma once

#include <stdint.h>

#ifdef _WIN32
#define LITGPT_API __declspec(dllexport)
#else
#define LITGPT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { LITGPT_API_VERSION = 7 };

/* A packed matrix (rows > 1 or a weight format), or a vector of float32 (format -1). `data` must outlive the model. */
typedef struct {
  int32_t format;
  int32_t reserved;
  int64_t rows;
  int64_t cols;
  const void* data;
  int64_t bytes;
} litgpt_tensor;

/* One instruction of a program; the operands of each opcode are listed in model/program.h. */
typedef struct {
  int32_t opcode;
  int32_t operands[15];
  double parameters[6];
} litgpt_instruction;

/* The KV cache of one layer; kv_heads is 0 if it has none. */
typedef struct {
  int32_t kv_heads;
  int32_t k_dim;
  int32_t v_dim;
  int32_t element;
  int64_t window;
  int32_t chunked;
  int32_t reserved;
} litgpt_cache_shape;

/* The state of a gated delta network: of each head, and the last inputs of its convolution. */
typedef struct {
  int32_t heads;
  int32_t k_dim;
  int32_t v_dim;
  int32_t conv_columns; /* 1 less than the size of the kernel */
  int64_t conv_channels;
} litgpt_state_shape;

typedef struct {
  int64_t vocab_size;
  int64_t context_length;
  int32_t num_buffers;
  int32_t num_tensors;
  int32_t num_instructions;
  int32_t num_layers;           /* caches */
  const int64_t* buffer_widths; /* float32 values per token */
  const litgpt_tensor* tensors;
  const litgpt_instruction* instructions;
  const litgpt_cache_shape* caches;
  int32_t num_states;
  int32_t reserved;
  const litgpt_state_shape* states;
} litgpt_program;

/* A low-rank update of a matrix: its product with x becomes W x + up (down x) + bias. `down` (R x in) and `up` (out x
 * R) are float32 matrices; `bias` is a vector of out values, padded to a multiple of 16, or its data is null. */
typedef struct {
  int32_t tensor; /* the number of the matrix among the tensors of the program */
  int32_t reserved;
  litgpt_tensor down;
  litgpt_tensor up;
  litgpt_tensor bias;
} litgpt_update;

typedef struct litgpt_model litgpt_model;
typedef struct litgpt_adapter litgpt_adapter;
typedef struct litgpt_sequence litgpt_sequence;

LITGPT_API int32_t litgpt_api_version(void);
LITGPT_API const char* litgpt_last_error(void);
/* Name of the selected instruction set, such as "avx2". */
LITGPT_API const char* litgpt_instruction_set(void);
LITGPT_API int32_t litgpt_set_threads(int32_t count);
LITGPT_API int32_t litgpt_threads(void);

/* Bytes of a packed matrix; -1 on error. */
LITGPT_API int64_t litgpt_packed_bytes(int32_t format, int64_t rows, int64_t cols);
/* Packs rows into zeroed memory; see weights/pack.h. */
LITGPT_API int32_t litgpt_pack(int32_t format, int64_t rows, int64_t cols, void* data, int64_t bytes, int32_t source,
                               const void* source_rows, int64_t source_bytes, int64_t first_row, int64_t count);
/* Writes rows as float32 (count x cols). */
LITGPT_API int32_t litgpt_unpack(const litgpt_tensor* tensor, int64_t first_row, int64_t count, float* out,
                                 int64_t out_count);
/* y (tokens x rows) = x (tokens x cols) times the matrix, transposed; for tests and benchmarks. */
LITGPT_API int32_t litgpt_matmul(const litgpt_tensor* weight, const float* x, int64_t tokens, float* y);

/* Reads memory (aligned to 8 bytes) with all threads; for measurements of its bandwidth. */
LITGPT_API int32_t litgpt_read_memory(const void* data, int64_t bytes);

/* Checks and copies the program, but not the tensors. */
LITGPT_API int32_t litgpt_model_new(const litgpt_program* program, litgpt_model** model);
LITGPT_API void litgpt_model_free(litgpt_model* model);

/* An adapter: updates of matrices of linear instructions. Checks and copies them, but not their tensors, which must
 * outlive it. */
LITGPT_API int32_t litgpt_adapter_new(litgpt_model* model, int32_t count, const litgpt_update* updates,
                                      litgpt_adapter** adapter);
LITGPT_API void litgpt_adapter_free(litgpt_adapter* adapter);

LITGPT_API int32_t litgpt_sequence_new(litgpt_model* model, litgpt_sequence** sequence);
/* A sequence with the same tokens, whose cache pages and states are shared until one of them changes. */
LITGPT_API int32_t litgpt_sequence_fork(const litgpt_sequence* source, litgpt_sequence** sequence);
/* Replaces the frequencies of all RoPE tables for this sequence, which must be empty. For each table of the program, in
 * order, `values` has the inverse frequencies and the factor. */
LITGPT_API int32_t litgpt_sequence_set_rope(litgpt_sequence* sequence, const float* values, int64_t count);
/* A sequence with states can only be truncated to 0 tokens. */
LITGPT_API int32_t litgpt_sequence_truncate(litgpt_sequence* sequence, int64_t length);
LITGPT_API int64_t litgpt_sequence_length(const litgpt_sequence* sequence);
LITGPT_API void litgpt_sequence_free(litgpt_sequence* sequence);
LITGPT_API int64_t litgpt_cache_bytes(void);

/* Appends counts[i] tokens to sequences[i] and writes the logits of `num_logits` tokens (num_logits x vocab_size).
 * adapters[i] is the adapter of sequences[i], or null; it must exist until the step has ended. `tokens` has the tokens
 * of all sequences one after another; `logit_rows` are indices into it. After an error, no sequence has
 * changed. A step is the fastest if sequences with the same adapter are adjacent. */
LITGPT_API int32_t litgpt_step(litgpt_model* model, int32_t num_sequences, litgpt_sequence* const* sequences,
                               litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens,
                               int32_t num_logits, const int32_t* logit_rows, float* logits);
/* The same step without the head: writes the hidden states before it, after the final norm, of `num_rows` tokens.
 * `count` is the number of values: num_rows x the hidden size. */
LITGPT_API int32_t litgpt_step_hidden(litgpt_model* model, int32_t num_sequences, litgpt_sequence* const* sequences,
                                      litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens,
                                      int32_t num_rows, const int32_t* rows, float* hidden, int64_t count);
/* The same step without logits in memory: writes the log-probability of token `targets[i]` after each of `num_rows`
 * tokens, and 1 to `greedy` if no other token is likelier, else 0. A log-probability is NaN if logits are NaN or
 * infinite. */
LITGPT_API int32_t litgpt_step_scores(litgpt_model* model, int32_t num_sequences, litgpt_sequence* const* sequences,
                                      litgpt_adapter* const* adapters, const int32_t* counts, const int32_t* tokens,
                                      int32_t num_rows, const int32_t* rows, const int32_t* targets, double* logprobs,
                                      int32_t* greedy);

#ifdef __cplusplus
}
#endif
