#include "model/elementwise.h"

#include <math.h>

#include "model/experts.h"

namespace litgpt {
namespace {

double mean_square(const float* x, int64_t size, double center) {
  double sum = 0;
  for (int64_t at = 0; at < size; ++at) sum += (x[at] - center) * (x[at] - center);
  return sum / static_cast<double>(size);
}

class Elementwise {
 public:
  Elementwise(const litgpt_instruction& instruction, const Program& program, const Batch& batch, Workspace& space,
              Executor& executor)
      : opcode_(instruction.opcode),
        o_(instruction.operands),
        p_(instruction.parameters),
        program_(program),
        batch_(batch),
        space_(space),
        executor_(executor) {}

  void run() {
    executor_.per_token(batch_.tokens, [&](int64_t token) {
      float* x = space_.row(o_[0], token);
      switch (opcode_) {
        case kClamp: return clamp(x + o_[1]);
        case kTemperature: return temperature(x + o_[1], token);
        case kActivate: return activate(x, token);
        case kAdd: return executor_.kernels().add(space_.row(o_[1], token) + o_[3], o_[2], parameter(0), x + o_[4]);
        case kCopy: return copy(x + o_[4], space_.row(o_[1], token) + o_[3]);
        case kSwiglu: return clamped_swiglu(space_.row(o_[1], token), space_.row(o_[2], token), o_[3], p_, x);
        case kGate: return gate(x, space_.row(o_[1], token)[0]);
        case kScale: return scale(x);
        case kTanh: return tanh_of(x);
        case kXielu: return xielu(x);
        case kSparsify: return sparsify(x);
        case kMatchRms: return match_rms(x, space_.row(o_[1], token));
        case kMix: return mix(x, space_.row(o_[1], token), space_.row(o_[2], token));
        case kSpread: return spread(x, space_.row(o_[1], token), space_.row(o_[2], token));
        default: return;  // read_program checked the opcodes
      }
    });
  }

 private:
  float parameter(int index) const { return static_cast<float>(p_[index]); }
  float value(int operand) const { return program_.vector(o_[operand])[0]; }

  void clamp(float* x) const {
    for (int64_t at = 0; at < o_[2]; ++at) x[at] = fminf(fmaxf(x[at], parameter(0)), parameter(1));
  }

  void temperature(float* x, int64_t token) const {
    const double position = static_cast<double>(batch_.positions[token]) + p_[2];
    const float factor = static_cast<float>(1.0 + p_[0] * log1p(floor(position / p_[1])));
    for (int64_t at = 0; at < o_[2]; ++at) x[at] *= factor;
  }

  void activate(float* x, int64_t token) const {
    const float* up = o_[2] < 0 ? nullptr : space_.row(o_[2], token) + o_[6];
    executor_.kernels().activate(static_cast<Activation>(o_[3]), space_.row(o_[1], token) + o_[5], up, o_[4], x);
  }

  void copy(float* y, const float* x) const {
    const float alpha = parameter(0);
    const int64_t count = o_[5] == 0 ? 1 : o_[5];
    for (int64_t piece = 0; piece < count; ++piece, x += o_[6], y += o_[7]) {
      for (int64_t at = 0; at < o_[2]; ++at) y[at] = alpha * x[at];
    }
  }

  void gate(float* x, float logit) const {
    const float factor = 1.0f / (1.0f + expf(-logit));
    for (int64_t at = 0; at < o_[2]; ++at) x[at] *= factor;
  }

  void scale(float* x) const {
    const float* factors = program_.vector(o_[2]);
    for (int64_t at = 0; at < o_[1]; ++at) x[at] *= factors[o_[3] != 0 ? at : 0];
  }

  void tanh_of(float* x) const {
    for (int64_t at = 0; at < o_[1]; ++at) x[at] = tanhf(x[at]);
  }

  void xielu(float* x) const {
    const float beta = value(4);
    const float above = log1pf(expf(value(2)));
    const float below = beta + log1pf(expf(value(3)));
    const float eps = value(5);
    for (int64_t at = 0; at < o_[1]; ++at) {
      const float it = x[at];
      x[at] = (it > 0 ? above * it * it : below * (expm1f(fminf(it, eps)) - it)) + beta * it;
    }
  }

  void sparsify(float* x) const {
    double mean = 0;
    for (int64_t at = 0; at < o_[1]; ++at) mean += x[at];
    mean /= o_[1];
    const float threshold = static_cast<float>(mean + sqrt(mean_square(x, o_[1], mean)) * p_[0]);
    for (int64_t at = 0; at < o_[1]; ++at) x[at] = fmaxf(0.0f, x[at] - threshold);
  }

  void match_rms(float* x, const float* other) const {
    const double own = mean_square(x, o_[2], 0);
    const float factor = static_cast<float>(sqrt(mean_square(other, o_[2], 0) / (own > p_[0] ? own : p_[0])));
    for (int64_t at = 0; at < o_[2]; ++at) x[at] *= factor;
  }

  void mix(float* y, const float* x, const float* coefficients) const {
    const int64_t streams = o_[3];
    const int64_t size = o_[4];
    for (int64_t to = 0; to < streams; ++to) {
      float* out = y + to * size;
      for (int64_t at = 0; at < size; ++at) out[at] = x[to * size + at];
      for (int64_t from = 0; from < streams; ++from) {
        executor_.kernels().add(x + from * size, size, coefficients[to * streams + from], out);
      }
    }
  }

  void spread(float* y, const float* x, const float* coefficients) const {
    for (int64_t to = 0; to < o_[3]; ++to) {
      executor_.kernels().add(x, o_[4], coefficients[to] + parameter(0), y + to * o_[4]);
    }
  }

  int32_t opcode_;
  const int32_t* o_;
  const double* p_;
  const Program& program_;
  const Batch& batch_;
  Workspace& space_;
  Executor& executor_;
};

}  // namespace

void run_elementwise(const litgpt_instruction& instruction, const Program& program, const Batch& batch,
                     Workspace& workspace, Executor& executor) {
  Elementwise(instruction, program, batch, workspace, executor).run();
}

}  // namespace litgpt
