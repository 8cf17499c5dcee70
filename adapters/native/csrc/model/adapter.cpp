#include "model/adapter.h"

#include "weights/pack.h"

namespace litgpt {
namespace {

Status read_factor(const litgpt_tensor& tensor, int64_t rows, int64_t cols, Matrix* matrix) {
  LITGPT_REQUIRE(tensor.format == kF32 && tensor.rows == rows && tensor.cols == cols,
                 "A factor of a low-rank update has the wrong shape.");
  *matrix = {kF32, rows, cols, static_cast<const uint8_t*>(tensor.data)};
  LITGPT_TRY(check_matrix(*matrix));
  LITGPT_REQUIRE(tensor.data != nullptr && tensor.bytes == matrix->bytes(),
                 "A factor of a low-rank update has the wrong number of bytes.");
  return kOk;
}

Status read_update(const Program& program, const litgpt_update& source, LowRankUpdate* update) {
  LITGPT_REQUIRE(
      source.tensor >= 0 && source.tensor < program.tensors.size() && program.tensors[source.tensor].format != kVector,
      "Tensor %d, which an adapter changes, is not a matrix.", source.tensor);
  const litgpt_tensor& changed = program.tensors[source.tensor];
  LITGPT_REQUIRE(source.down.rows > 0 && source.down.rows < int64_t{1} << 31, "The rank of an update is invalid.");
  LITGPT_TRY(read_factor(source.down, source.down.rows, changed.cols, &update->down));
  LITGPT_TRY(read_factor(source.up, changed.rows, source.down.rows, &update->up));
  update->bias = static_cast<const float*>(source.bias.data);
  LITGPT_REQUIRE(update->bias == nullptr ||
                     (source.bias.format == kVector && source.bias.bytes == round_up(changed.rows, kTileRows) * 4),
                 "The bias of a low-rank update has the wrong size.");
  return kOk;
}

}  // namespace

Status read_adapter(const Program& program, int32_t count, const litgpt_update* updates, Adapter* adapter) {
  LITGPT_REQUIRE(count > 0 && count <= program.tensors.size(), "The adapter has an invalid number of updates.");
  LITGPT_TRY(adapter->updates.resize(count));
  LITGPT_TRY(adapter->update_of.resize(program.tensors.size()));
  for (int64_t at = 0; at < program.tensors.size(); ++at) adapter->update_of[at] = -1;
  for (int32_t at = 0; at < count; ++at) {
    LITGPT_TRY(read_update(program, updates[at], &adapter->updates[at]));
    int32_t& own = adapter->update_of[updates[at].tensor];
    LITGPT_REQUIRE(own < 0, "An adapter changes tensor %d twice.", updates[at].tensor);
    own = at;
    const int64_t rank = round_up(updates[at].down.rows, kGroup);
    if (rank > adapter->rank) adapter->rank = rank;
  }
  return kOk;
}

}  // namespace litgpt
