"""The weights of a model of transformers, under the names with which transformers saves them."""

from collections.abc import Mapping
from functools import cached_property
from math import prod

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.bridge.model import BridgedModel
from litgpt.adapters.pytorch.lora.merge import merged_weights
from litgpt.domain.weights.tensor_info import TensorInfo

_STORAGE_FORMATS = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@attrs.frozen(slots=False)
class BridgedWeights:
    """Implements the port `Weights`: the current weights, with the active LoRA adapter merged."""

    model: BridgedModel

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return {
            name: TensorInfo(
                tuple(tensor.shape), _STORAGE_FORMATS[tensor.dtype], prod(tensor.shape) * tensor.itemsize
            )
            for name, tensor in self._state.items()
        }

    @property
    def quantization(self) -> None:
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def read(self, name: str) -> Tensor:
        return self._state[name].detach().cpu().contiguous()

    @cached_property
    def _state(self) -> dict[str, Tensor]:
        from transformers.core_model_loading import revert_weight_conversion

        hf_model, merged = self.model.hf_model, merged_weights(self.model)
        tied = getattr(hf_model, "all_tied_weights_keys", None) or {}
        state = {
            name: merged[name]() if name in merged else tensor
            for name, tensor in self.model.state_dict().items()
            if not _is_lora(name) and name not in tied
        }
        converted: dict[str, Tensor] = revert_weight_conversion(hf_model, state)
        return converted


def _is_lora(name: str) -> bool:
    return ".lora." in name
