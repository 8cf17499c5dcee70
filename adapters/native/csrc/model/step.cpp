#include "model/step.h"

#include <math.h>

#include "model/elementwise.h"
#include "model/executor.h"
#include "model/experts.h"
#include "model/gated_delta.h"
#include "model/low_rank.h"
#include "model/routing.h"
#include "weights/pack.h"

namespace litgpt {
namespace {

class Step {
 public:
  Step(const Program& program, const Kernels& kernels, const Batch& batch, Workspace& workspace, Output output,
       Worker& worker)
      : executor_(kernels, workspace.prepared(), worker),
        kernels_(kernels),
        program_(program),
        batch_(batch),
        space_(workspace),
        output_(output) {}

  void run() {
    int64_t table = 0;
    int64_t first_value = 0;  // of the table, among those of all tables
    for (int64_t at = 0; at < program_.instructions.size(); ++at) {
      const litgpt_instruction& instruction = program_.instructions[at];
      const int32_t* o = instruction.operands;
      const double* p = instruction.parameters;
      switch (instruction.opcode) {
        case kEmbed: embed(o, static_cast<float>(p[0])); break;
        case kEmbedPosition: embed_position(o); break;
        case kNorm: norm(o, static_cast<float>(p[0])); break;
        case kLinear: linear(o, static_cast<float>(p[0])); break;
        case kRope: rope(o); break;
        case kAttend: attend(o, p); break;
        case kHead: run_head(instruction, program_, batch_, space_, output_, executor_); break;
        case kRoute: select_experts(o, p); break;
        case kExperts: run_experts(o, p, program_, batch_, space_, executor_); break;
        case kCausalConv: run_causal_conv(o, program_, batch_, space_, executor_); break;
        case kGatedDelta: run_gated_delta(o, program_, batch_, space_, executor_); break;
        case kRopeTable:
          rope_table(table, first_value, o[0], static_cast<float>(p[0]));
          first_value += program_.rope_pairs(table++) + 1;
          break;
        default: run_elementwise(instruction, program_, batch_, space_, executor_); break;
      }
    }
  }

 private:
  void embed(const int32_t* o, float scale) {
    const Matrix table = program_.matrix(o[1]);
    executor_.per_token(batch_.tokens, [&](int64_t token) {
      float* row = space_.row(o[0], token);
      const int32_t id = batch_.ids[token];
      unpack_rows(table, id < table.rows ? id : 0, 1, row);
      if (scale != 1.0f) {
        for (int64_t at = 0; at < table.cols; ++at) row[at] *= scale;
      }
    });
  }

  void embed_position(const int32_t* o) {
    const litgpt_tensor& table = program_.tensors[o[1]];
    executor_.per_token(batch_.tokens, [&](int64_t token) {
      const int64_t row = batch_.positions[token] + o[2];
      kernels_.add(program_.vector(o[1]) + row * table.cols, table.cols, 1.0f, space_.row(o[0], token));
    });
  }

  void rope_table(int64_t table, int64_t first_value, int32_t tensor, float common_factor) {
    const RopeRows rows = space_.rope(table);
    executor_.per_token(batch_.tokens, [&](int64_t token) {
      const float* own = batch_.sequences[batch_.sequence_of[token]]->rope();
      const float* frequencies = own == nullptr ? program_.vector(tensor) : own + first_value;
      const float factor = own == nullptr ? common_factor : frequencies[rows.pairs];
      const float position = static_cast<float>(batch_.positions[token]);
      for (int64_t pair = 0; pair < rows.pairs; ++pair) {
        const float angle = position * frequencies[pair];
        rows.cos[token * rows.pairs + pair] = cosf(angle) * factor;
        rows.sin[token * rows.pairs + pair] = sinf(angle) * factor;
      }
    });
  }

  void norm(const int32_t* o, float eps) {
    const float* weight = program_.vector(o[2]);
    const float* bias = program_.vector(o[3]);
    const int64_t size = o[5];
    const int64_t step = o[10] != 0 ? size : 0;
    executor_.per_token(batch_.tokens, [&](int64_t token) {
      const float* x = space_.row(o[1], token) + o[7];
      float* y = space_.row(o[0], token) + o[8];
      for (int64_t group = 0; group < o[6]; ++group) {
        kernels_.norm(static_cast<NormKind>(o[4]), x + group * size, size, eps,
                      weight == nullptr ? nullptr : weight + group * step,
                      bias == nullptr ? nullptr : bias + group * step, o[9] != 0, y + group * size);
      }
    });
  }

  void linear(const int32_t* o, float alpha) {
    const Matrix weight = program_.matrix(o[2]);
    if (o[5] == 0 || !executor_.is_prepared_for(weight))
      executor_.prepare(weight, space_.row(o[1], 0), space_.stride(o[1]), batch_.tokens);
    executor_.multiply(weight, program_.vector(o[3]), batch_.tokens, space_.row(o[0], 0), space_.stride(o[0]),
                       o[4] != 0, alpha);
    if (batch_.runs.size() > 0) add_low_rank(o[2], o[1], o[0], alpha, batch_, space_, executor_);
  }

  void rope(const int32_t* o) {
    const RopeRows rows = space_.rope(o[4]);
    executor_.per_token(batch_.tokens, [&](int64_t token) {
      kernels_.rope(space_.row(o[0], token) + o[1], o[2], o[3], rows.pairs, rows.cos + token * rows.pairs,
                    rows.sin + token * rows.pairs, o[5] != 0);
    });
  }

  void attend(const int32_t* o, const double* p) {
    const CacheShape& shape = program_.caches[o[6]];
    if (o[7] != 0) {
      executor_.per_token(batch_.tokens, [&](int64_t token) { store(o, shape, token); });
    }
    const int64_t units = batch_.blocks.size() * shape.kv_heads;
    if (batch_.spans > 1) return attend_in_parts(o, p, shape, units);
    executor_.worker().each(units, 1, [&](int64_t unit, int64_t last) {
      for (; unit < last; ++unit) kernels_.attend(attention(o, p, shape, unit));
    });
  }

  // One token and head has too little work for several workers, unless its context is divided.
  void attend_in_parts(const int32_t* o, const double* p, const CacheShape& shape, int64_t units) {
    const int64_t spans = batch_.spans;
    const auto partials = [&](const Attention& job, int64_t unit) {
      const int64_t token = batch_.blocks[unit / shape.kv_heads].first;
      const int64_t rows = token * o[8] + unit % shape.kv_heads * job.tokens * job.heads;
      return space_.partials() + spans * partial_values(rows, shape.v_dim);
    };
    executor_.worker().each(units * spans, 1, [&](int64_t piece, int64_t last) {
      for (; piece < last; ++piece) {
        const Attention job = attention(o, p, shape, piece / spans);
        const int64_t size = partial_values(int64_t{job.tokens} * job.heads, shape.v_dim);
        kernels_.attend_part(job, piece % spans, partials(job, piece / spans) + piece % spans * size);
      }
    });
    executor_.worker().each(units, 1, [&](int64_t unit, int64_t last) {
      for (; unit < last; ++unit) {
        const Attention job = attention(o, p, shape, unit);
        kernels_.merge_parts(job, spans, partials(job, unit));
      }
    });
  }

  void store(const int32_t* o, const CacheShape& shape, int64_t token) {
    Sequence& sequence = *batch_.sequences[batch_.sequence_of[token]];
    const int64_t position = batch_.positions[token];
    const float* row = space_.row(o[2], token);
    for (int32_t head = 0; head < shape.kv_heads; ++head) {
      kernels_.store_kv(shape.element, row + o[4] + int64_t{head} * shape.k_dim,
                        row + o[5] + int64_t{head} * shape.v_dim, shape.k_dim, shape.v_dim, position % kPagePositions,
                        sequence.k_page(o[6], head, position), sequence.v_page(o[6], head, position));
    }
  }

  // The attention of one block of tokens and the query heads of one key-value head.
  Attention attention(const int32_t* o, const double* p, const CacheShape& shape, int64_t unit) {
    const QueryBlock& block = batch_.blocks[unit / shape.kv_heads];
    const int64_t head = unit % shape.kv_heads;
    const int64_t heads = o[8] / shape.kv_heads;
    const LayerCache& cache = batch_.sequences[block.sequence]->layer(o[6]);
    const int64_t pages = cache.pages.size();
    const float* sinks = program_.vector(o[9]);
    const float* slopes = program_.vector(o[10]);
    Attention job{};
    job.q = space_.row(o[1], block.first) + o[3] + head * heads * shape.k_dim;
    job.q_stride = space_.stride(o[1]);
    job.out = space_.row(o[0], block.first) + head * heads * shape.v_dim;
    job.out_stride = space_.stride(o[0]);
    job.first_position = block.first_position;
    job.tokens = block.tokens;
    job.heads = static_cast<int32_t>(heads);
    job.k_dim = shape.k_dim;
    job.v_dim = shape.v_dim;
    job.k_pages = cache.k_pages.data() + head * pages;
    job.v_pages = cache.v_pages.data() + head * pages;
    job.element = shape.element;
    job.scale = static_cast<float>(p[0]);
    job.softcap = static_cast<float>(p[1]);
    job.rounded_slopes = static_cast<float>(p[2]);
    job.window = shape.window;
    job.chunked = shape.chunked;
    job.sinks = sinks == nullptr ? nullptr : sinks + head * heads;
    job.slopes = slopes == nullptr ? nullptr : slopes + head * heads;
    return job;
  }

  void select_experts(const int32_t* o, const double* p) {
    const Routing routing{o[2],
                          o[3],
                          static_cast<Scoring>(o[4]),
                          o[5] != 0,
                          o[6],
                          o[7],
                          o[8],
                          program_.vector(o[9]),
                          program_.vector(o[10]),
                          static_cast<float>(p[0]),
                          static_cast<float>(p[1])};
    executor_.per_token(batch_.tokens, [&](int64_t token) {
      float* out = space_.row(o[0], token);
      route(routing, space_.row(o[1], token), out, out + routing.top_k);
    });
  }

  Executor executor_;
  const Kernels& kernels_;
  const Program& program_;
  const Batch& batch_;
  Workspace& space_;
  Output output_;
};

}  // namespace

void run_step(const Program& program, const Kernels& kernels, const Batch& batch, Workspace& workspace, Output output,
              Worker& worker) {
  Step(program, kernels, batch, workspace, output, worker).run();
}

}  // namespace litgpt
