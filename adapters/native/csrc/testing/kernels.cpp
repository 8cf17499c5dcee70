// Gives the tests the functions that api.h does not export. Not part of the library.
#include "api.h"
#include "kernels/kernels.h"

#include "core/threads.h"

using namespace litgpt;

extern "C" {

LITGPT_API const char* test_kernels_name() {
  const Kernels* kernels = select_kernels();
  return kernels == nullptr ? "" : kernels->name;
}

LITGPT_API void test_norm(int32_t kind, const float* x, int64_t size, float eps, const float* weight, const float* bias,
                          int32_t unit_offset, float* out) {
  select_kernels()->norm(static_cast<NormKind>(kind), x, size, eps, weight, bias, unit_offset != 0, out);
}

LITGPT_API void test_rope(float* x, int64_t heads, int64_t stride, int64_t pairs, const float* cos, const float* sin,
                          int32_t interleaved) {
  select_kernels()->rope(x, heads, stride, pairs, cos, sin, interleaved != 0);
}

LITGPT_API void test_activate(int32_t kind, const float* gate, const float* up, int64_t size, float* out) {
  select_kernels()->activate(static_cast<Activation>(kind), gate, up, size, out);
}

LITGPT_API void test_add(const float* x, int64_t size, float alpha, float* y) {
  select_kernels()->add(x, size, alpha, y);
}

LITGPT_API ExpSum test_exp_sum(const float* x, int64_t size) { return select_kernels()->exp_sum(x, size); }

LITGPT_API void test_store_kv(int32_t element, const float* k, const float* v, int64_t k_dim, int64_t v_dim,
                              int64_t slot, uint8_t* k_page, uint8_t* v_page) {
  select_kernels()->store_kv(static_cast<Format>(element), k, v, k_dim, v_dim, slot, k_page, v_page);
}

LITGPT_API int64_t test_attention_bytes() { return sizeof(Attention); }

LITGPT_API void test_attend(const Attention* attention) { select_kernels()->attend(*attention); }

// The same as test_attend, in parts.
LITGPT_API void test_attend_parts(const Attention* attention, int64_t spans, float* partials) {
  const Kernels* kernels = select_kernels();
  const int64_t rows = int64_t{attention->tokens} * attention->heads;
  for (int64_t index = spans; index-- > 0;) {
    kernels->attend_part(*attention, index, partials + index * partial_values(rows, attention->v_dim));
  }
  kernels->merge_parts(*attention, spans, partials);
}

LITGPT_API int64_t test_causal_conv_bytes() { return sizeof(CausalConv); }

LITGPT_API void test_causal_conv(const CausalConv* job) { select_kernels()->causal_conv(*job); }

LITGPT_API int64_t test_delta_rule_bytes() { return sizeof(DeltaRule); }

LITGPT_API void test_delta_rule(const DeltaRule* job) { select_kernels()->delta_rule(*job); }

// Computes attention `repeats` times on all threads, in blocks of one token, for measurements.
LITGPT_API void test_attend_many(const Attention* jobs, int64_t count, int64_t repeats) {
  const Kernels* kernels = select_kernels();
  auto body = [&](Worker& worker) {
    for (int64_t i = 0; i < repeats; ++i) {
      worker.each(count, 1, [&](int64_t first, int64_t last) {
        for (; first < last; ++first) kernels->attend(jobs[first]);
      });
    }
  };
  (void)run_parallel(body);
}

}  // extern "C"
