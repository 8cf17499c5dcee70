"""LitGPT's tensors, handed out as Hugging Face's: the rules by which ours are read, read backwards.

LitGPT's names are ours. Up to 0.5.3 it wrote the joined projection as `attn.attn`, and its rows group by
group: a group's queries, its key, its value.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import attrs

from litgpt.domain.errors import CorruptFile
from litgpt.domain.families import FAMILIES
from litgpt.domain.model import Architecture
from litgpt.domain.weights.mapping import TensorTarget, invert_mapping, map_parameters
from litgpt.domain.weights.parameters import ParameterSpec
from litgpt.domain.weights.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch

STORAGE_FORMATS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


@attrs.frozen
class LitGptTensors:
    """Hugging Face's tensors, each made of LitGPT's when it is read. One unknown to us keeps its name.

    Attributes:
        weights: LitGPT's.
        targets: What each of Hugging Face's is made of; nothing for one that is unknown.

    """

    weights: Mapping[str, "torch.Tensor"] = attrs.field(repr=False)
    targets: Mapping[str, tuple[TensorTarget, ...]] = attrs.field(repr=False)

    @classmethod
    def from_weights(
        cls, location: str, weights: Mapping[str, "torch.Tensor"], architecture: Architecture
    ) -> "LitGptTensors":
        """Return those of a file. One of Hugging Face's that would need what is not there is not there.

        Args:
            location: The file, for errors.
            weights: What it holds.
            architecture: What the settings beside it describe.

        Raises:
            CorruptFile: A tensor has not the shape that the settings ask for.

        """
        rules = FAMILIES[architecture.family].weights
        found: dict[str, tuple[TensorTarget, ...]] = {}
        known: set[str] = set()
        for theirs, those in invert_mapping(tuple(map_parameters(architecture, rules))).items():
            sources = [(use.parameter, _stored_name(use.parameter, weights)) for use in those]
            known.update(source for _, source in sources)
            if all(source in weights for _, source in sources):
                for parameter, source in sources:
                    _check_shape(location, source, weights[source], parameter)
                found[theirs] = those
        return cls(weights, found | {name: () for name in weights if name not in known})

    def info(self, name: str) -> TensorInfo:
        """Return the shape and the dtype of a tensor of theirs."""
        those = self.targets[name]
        ours = self.weights[_stored_name(those[0].parameter, self.weights) if those else name]
        shape = those[0].view.shape if those else tuple(ours.shape)
        dtype = str(ours.dtype).removeprefix("torch.")
        return TensorInfo(shape, STORAGE_FORMATS.get(dtype, dtype), prod(shape) * ours.element_size())

    def read(self, name: str) -> "torch.Tensor":
        """Return a tensor of theirs: where it is rows of one of LitGPT's, a view of the file."""
        those = self.targets[name]
        if not those:
            return self.weights[name]
        parameter, piece = those[0].parameter, those[0].view
        if len(those) == 1 and piece.is_full:
            return self._rows(parameter, those[0].start, piece.num_rows)
        if _is_unchanged(those):
            return self._rows(parameter, 0, piece.shape[0])
        made: torch.Tensor | None = None
        for use in those:
            rows = self._rows(use.parameter, use.start, use.view.num_rows)
            made = rows.new_empty(piece.shape) if made is None else made
            sizes, strides, offset = use.view.strided_layout
            made.as_strided(sizes, strides, offset).copy_(rows.unflatten(0, (use.view.num_blocks, -1)))
        assert made is not None  # noqa: S101 - there is a use
        return made

    def _rows(self, parameter: ParameterSpec, start: int, rows: int) -> "torch.Tensor":
        """Return rows of one of ours, from `start` on."""
        name = _stored_name(parameter, self.weights)
        whole = self.weights[name]
        if name != parameter.name:
            return _ungroup_qkv(whole, parameter, start, rows)
        return whole if rows == whole.shape[0] else whole[start : start + rows]


def _stored_name(parameter: ParameterSpec, weights: Mapping[str, object]) -> str:
    """Return what LitGPT's file calls a parameter: its name, or the one it had up to 0.5.3."""
    name = parameter.name
    older = name.replace(".attn.qkv.", ".attn.attn.")
    return older if older in weights and name not in weights else name


def _is_unchanged(targets: Sequence[TensorTarget]) -> bool:
    """Whether a tensor of theirs is one of ours, although their pieces are told apart."""
    return len({use.parameter.name for use in targets}) == 1 and all(
        use.start == use.view.start
        and use.view.num_blocks == 1
        and use.view.expert_index is None
        and not use.view.transposed
        for use in targets
    )


def _ungroup_qkv(grouped: "torch.Tensor", parameter: ParameterSpec, start: int, rows: int) -> "torch.Tensor":
    """Return rows of a projection that is laid group by group, as Q, then K, then V has them.

    Args:
        grouped: The projection.
        parameter: What it is of ours.
        start: The first of the rows that are wanted: the first of Q, K or V.
        rows: How many: all of one of them, or of several.

    """
    import torch

    by_group = grouped.unflatten(0, (parameter.num_groups, -1))
    found, row, reached = [], 0, 0
    for count in parameter.split_sizes:
        share = count // parameter.num_groups
        if start <= row < start + rows:
            found.append(by_group[:, reached : reached + share].flatten(0, 1))
        row, reached = row + count, reached + share
    return found[0] if len(found) == 1 else torch.cat(found)


def _check_shape(location: str, source: str, tensor: "torch.Tensor", parameter: ParameterSpec) -> None:
    if tuple(tensor.shape) != parameter.shape:
        has, expected = list(tensor.shape), list(parameter.shape)
        raise CorruptFile(location, f"{source} is {has}, and model_config.yaml asks for {expected}.")
