"""Export the weights of a model under their Hugging Face names."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod

import attrs
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.merge import merged_weights
from litgpt.adapters.pytorch.ops.dtypes import TORCH_DTYPES
from litgpt.adapters.pytorch.ops.tensor_views import to_hf_tensor
from litgpt.adapters.pytorch.quantization.bnb import Bnb4Linear
from litgpt.adapters.pytorch.quantization.export import StoredTensor, quantization_config, stored_tensors
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.adapters.pytorch.quantization.registry import quantized_layers
from litgpt.domain.weights.mapping import ParameterSource, TensorTarget, invert_mapping
from litgpt.domain.weights.tensor_info import STORAGE_FORMATS, TensorInfo

_STORAGE_FORMATS = {TORCH_DTYPES[dtype]: STORAGE_FORMATS[dtype] for dtype in TORCH_DTYPES}


@attrs.frozen(slots=False)
class ModelExporter:
    """The current weights of a model, converted one tensor at a time when they are read."""

    _state: Mapping[str, Tensor] = attrs.field(repr=False)
    _targets: Mapping[str, tuple[TensorTarget, ...]] = attrs.field(repr=False)
    _quantized_layers: Mapping[str, QuantizedLinear] = attrs.field(repr=False, factory=dict)
    _merged_weights: Mapping[str, Callable[[], Tensor]] = attrs.field(repr=False, factory=dict)
    _read_full: Callable[[str], Tensor] | None = attrs.field(repr=False, default=None)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        sources: Sequence[ParameterSource],
        *,
        read_full: Callable[[str], Tensor] | None = None,
    ) -> "ModelExporter":
        """Return an exporter of a model, with its active LoRA adapter merged.

        `read_full` gathers a parameter on the CPU, for a model that holds only a shard.
        """
        return cls(
            model.state_dict(),
            invert_mapping(sources),
            quantized_layers(model),
            merged_weights(model),
            read_full,
        )

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by Hugging Face name; for a quantized weight, the tensors that represent it."""
        return {name: part.info for name, part in self._stored_tensors.items()}

    @property
    def quantization(self) -> Mapping[str, object] | None:
        if not self._quantized_layers:
            return None
        method = next(iter(self._quantized_layers.values())).quantization
        plain = [
            name
            for name, part in self._stored_tensors.items()
            if name in self._targets
            and len(part.info.shape) > 1
            and part.info.storage_format in STORAGE_FORMATS.values()
        ]
        return quantization_config(method, plain)

    @property
    def notes(self) -> tuple[str, ...]:
        """A notice about quantized weights that are stored in float32 because of bitsandbytes' blocks."""
        layers = {
            name: self._quantized_layers.get(targets[0].parameter.name)
            for name, targets in self._targets.items()
        }
        methods = {
            name: layer.quantization for name, layer in layers.items() if isinstance(layer, Bnb4Linear)
        }
        plain = [name for name in methods if self._stored_tensors[name].info.storage_format == "F32"]
        if not plain:
            return ()
        method = methods[plain[0]].removesuffix("-dq")
        note = (
            f"{len(plain)} of {len(methods)} quantized weights are written in float32, because they are not "
            f"aligned with bitsandbytes blocks. Load them with quantize={method!r} to get the same values."
        )
        return (note,)

    def read(self, name: str) -> Tensor:
        return self._stored_tensors[name].read()

    @cached_property
    def _stored_tensors(self) -> dict[str, StoredTensor]:
        parts: dict[str, StoredTensor] = {}
        for name, targets in self._targets.items():
            if targets[0].parameter.name in self._quantized_layers:
                parts |= stored_tensors(
                    name, targets, self._quantized_layers, self._state["lm_head.weight"].dtype
                )
            else:
                parts[name] = self._full_precision_tensor(targets)
        return parts

    def _full_precision_tensor(self, targets: Sequence[TensorTarget]) -> StoredTensor:
        tensor, shape = self._state[targets[0].parameter.name], targets[0].view.shape
        info = TensorInfo(shape, _STORAGE_FORMATS[tensor.dtype], prod(shape) * tensor.element_size())
        return StoredTensor(info, lambda: to_hf_tensor(targets, self._read_parameter).contiguous())

    def _read_parameter(self, name: str) -> Tensor:
        if self._read_full is not None:
            return self._read_full(name)
        tensor = self._merged_weights[name]() if name in self._merged_weights else self._state[name].detach()
        return tensor.cpu()
