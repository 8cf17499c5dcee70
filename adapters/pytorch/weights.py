"""The weights of a network under their Hugging Face names, to be saved."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod

import attrs
from torch import Tensor, nn

from litgpt.adapters.pytorch.dtypes import STORED_AS, TORCH
from litgpt.adapters.pytorch.lora.merging import changed_weights
from litgpt.adapters.pytorch.pieces import theirs
from litgpt.adapters.pytorch.quantised.choosing import quantised_layers
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.adapters.pytorch.quantised.of_bitsandbytes import Bnb4Linear
from litgpt.adapters.pytorch.quantised.saving import Part, parts_of, quantization_config
from litgpt.domain.tensors import TensorInfo
from litgpt.domain.weights import Join, Use, uses

_STORED_AS = {TORCH[ours]: theirs for ours, theirs in STORED_AS.items()}


@attrs.frozen(slots=False)
class ModelWeights:
    """What a network's weights are now. Nothing is copied until it is read, and then one tensor at a time."""

    _state: Mapping[str, Tensor] = attrs.field(repr=False)
    _uses: Mapping[str, tuple[Use, ...]] = attrs.field(repr=False)
    _layers: Mapping[str, QuantisedLinear] = attrs.field(repr=False, factory=dict)
    _changed: Mapping[str, Callable[[], Tensor]] = attrs.field(repr=False, factory=dict)
    _gathered: Callable[[str], Tensor] | None = attrs.field(repr=False, default=None)

    @classmethod
    def of(
        cls, model: nn.Module, joins: Sequence[Join], *, gathered: Callable[[str], Tensor] | None = None
    ) -> "ModelWeights":
        """Return those of a network, with what its active adapter adds to them.

        Args:
            model: The network.
            joins: How their tensors are made of ours.
            gathered: Returns a tensor of ours, on the CPU, if the network has only parts of them.

        Raises:
            OutOfReach: An adapter is active and the weights are quantised.

        """
        return cls(model.state_dict(), uses(joins), quantised_layers(model), changed_weights(model), gathered)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor, by Hugging Face's name; of a quantised weight, those that are stored in its place."""
        return {name: part.info for name, part in self._parts.items()}

    @property
    def quantization(self) -> Mapping[str, object] | None:
        """What `config.json` says of how they are quantised; None if they are not."""
        if not self._layers:
            return None
        how = next(iter(self._layers.values())).how
        plain = [
            name
            for name, part in self._parts.items()
            if name in self._uses and len(part.info.shape) > 1 and part.info.stored_as in STORED_AS.values()
        ]
        return quantization_config(how, plain)

    @property
    def notes(self) -> tuple[str, ...]:
        """How many quantised weights are stored in float32, because bitsandbytes's blocks do not fit them."""
        ours = {name: self._layers.get(those[0].parameter.name) for name, those in self._uses.items()}
        fours = {name: layer.how for name, layer in ours.items() if isinstance(layer, Bnb4Linear)}
        plain = [name for name in fours if self._parts[name].info.stored_as == "F32"]
        if not plain:
            return ()
        how = fours[plain[0]].removesuffix("-dq")
        note = (
            f"{len(plain)} of {len(fours)} quantised weights are written in float32: blocks of bitsandbytes "
            f"do not begin and end where these weights do. quantize={how!r} makes the same numbers of them."
        )
        return (note,)

    def read(self, name: str) -> Tensor:
        """Return a tensor of theirs, on the CPU."""
        return self._parts[name].read()

    @cached_property
    def _parts(self) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        for name, those in self._uses.items():
            if those[0].parameter.name in self._layers:
                parts |= parts_of(name, those, self._layers, self._state["lm_head.weight"].dtype)
            else:
                parts[name] = self._plain(those)
        return parts

    def _plain(self, those: Sequence[Use]) -> Part:
        ours, shape = self._state[those[0].parameter.name], those[0].piece.shape
        info = TensorInfo(shape, _STORED_AS[ours.dtype], prod(shape) * ours.element_size())
        return Part(info, lambda: theirs(those, self._ours).contiguous())

    def _ours(self, name: str) -> Tensor:
        if self._gathered is not None:
            return self._gathered(name)
        tensor = self._changed[name]() if name in self._changed else self._state[name].detach()
        return tensor.cpu()
