"""The weights of a network, to be written: by Hugging Face's names and by our own."""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import attrs
from torch import Tensor, nn

from litgpt.adapters.pytorch.pieces import theirs
from litgpt.domain.tensors import TensorInfo
from litgpt.domain.weights import Join, Use, uses

_STORED_AS = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


@attrs.frozen
class ModelWeights:
    """What a network's weights are now. Nothing is copied until it is read, and then one tensor at a time."""

    _state: Mapping[str, Tensor] = attrs.field(repr=False)
    _uses: Mapping[str, tuple[Use, ...]] = attrs.field(repr=False)

    @classmethod
    def of(cls, model: nn.Module, joins: Sequence[Join]) -> "ModelWeights":
        """Return those of a network.

        Args:
            model: The network.
            joins: How their tensors are made of ours.

        """
        return cls(model.state_dict(), uses(joins))

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor, by Hugging Face's name."""
        return {name: self._info(those) for name, those in self._uses.items()}

    def read(self, name: str) -> Tensor:
        """Return a tensor of theirs, on the CPU."""
        return theirs(self._uses[name], lambda ours: self._state[ours].detach().cpu()).contiguous()

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors by our own names, on the CPU; a head that is the embedding is not told twice."""
        for name in dict.fromkeys(use.parameter.name for those in self._uses.values() for use in those):
            yield name, self._state[name].detach().cpu()

    def _info(self, those: Sequence[Use]) -> TensorInfo:
        ours, shape = self._state[those[0].parameter.name], those[0].piece.shape
        dtype = str(ours.dtype).removeprefix("torch.")
        return TensorInfo(shape, _STORED_AS[dtype], prod(shape) * ours.element_size())
