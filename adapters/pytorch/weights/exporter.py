"""The weights of a network under their Hugging Face names, to be saved."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod

import attrs
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.merge import merged_weights
from litgpt.adapters.pytorch.ops.dtypes import SAFETENSORS_DTYPES, TORCH_DTYPES
from litgpt.adapters.pytorch.ops.tensor_views import to_hf_tensor
from litgpt.adapters.pytorch.quantization.bnb import Bnb4Linear
from litgpt.adapters.pytorch.quantization.export import StoredTensor, quantization_config, stored_tensors
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.adapters.pytorch.quantization.registry import quantized_layers
from litgpt.domain.weights.mapping import ParameterSource, TensorTarget, invert_mapping
from litgpt.domain.weights.tensor_info import TensorInfo

_STORAGE_FORMATS = {TORCH_DTYPES[ours]: theirs for ours, theirs in SAFETENSORS_DTYPES.items()}


@attrs.frozen(slots=False)
class ModelExporter:
    """What a network's weights are now. Nothing is copied until it is read, and then one tensor at a time."""

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
        """Return those of a network, with what its active adapter adds to them.

        Args:
            model: The network.
            sources: How their tensors are made of ours.
            read_full: Returns a tensor of ours, on the CPU, if the network has only parts of them.

        Raises:
            OutOfReach: An adapter is active and the weights are quantized.

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
        """Every tensor, by Hugging Face's name; of a quantized weight, those that are stored in its place."""
        return {name: part.info for name, part in self._stored_tensors.items()}

    @property
    def quantization(self) -> Mapping[str, object] | None:
        """What `config.json` says of how they are quantized; None if they are not."""
        if not self._quantized_layers:
            return None
        how = next(iter(self._quantized_layers.values())).quantization
        plain = [
            name
            for name, part in self._stored_tensors.items()
            if name in self._targets
            and len(part.info.shape) > 1
            and part.info.storage_format in SAFETENSORS_DTYPES.values()
        ]
        return quantization_config(how, plain)

    @property
    def notes(self) -> tuple[str, ...]:
        """How many quantized weights are stored in float32, because bitsandbytes's blocks do not fit them."""
        ours = {
            name: self._quantized_layers.get(those[0].parameter.name) for name, those in self._targets.items()
        }
        fours = {name: layer.quantization for name, layer in ours.items() if isinstance(layer, Bnb4Linear)}
        plain = [name for name in fours if self._stored_tensors[name].info.storage_format == "F32"]
        if not plain:
            return ()
        how = fours[plain[0]].removesuffix("-dq")
        note = (
            f"{len(plain)} of {len(fours)} quantized weights are written in float32: blocks of bitsandbytes "
            f"do not begin and end where these weights do. quantize={how!r} makes the same numbers of them."
        )
        return (note,)

    def read(self, name: str) -> Tensor:
        """Return a tensor of theirs, on the CPU."""
        return self._stored_tensors[name].read()

    @cached_property
    def _stored_tensors(self) -> dict[str, StoredTensor]:
        parts: dict[str, StoredTensor] = {}
        for name, those in self._targets.items():
            if those[0].parameter.name in self._quantized_layers:
                parts |= stored_tensors(
                    name, those, self._quantized_layers, self._state["lm_head.weight"].dtype
                )
            else:
                parts[name] = self._full_precision_tensor(those)
        return parts

    def _full_precision_tensor(self, targets: Sequence[TensorTarget]) -> StoredTensor:
        ours, shape = self._state[targets[0].parameter.name], targets[0].view.shape
        info = TensorInfo(shape, _STORAGE_FORMATS[ours.dtype], prod(shape) * ours.element_size())
        return StoredTensor(info, lambda: to_hf_tensor(targets, self._read_parameter).contiguous())

    def _read_parameter(self, name: str) -> Tensor:
        if self._read_full is not None:
            return self._read_full(name)
        tensor = self._merged_weights[name]() if name in self._merged_weights else self._state[name].detach()
        return tensor.cpu()
