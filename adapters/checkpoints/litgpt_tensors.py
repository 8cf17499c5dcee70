"""LitGPT's tensors, handed out as Hugging Face's: the rules by which ours are read, read backwards.

LitGPT's names are ours. Up to 0.5.3 it wrote the joined projection as `attn.attn`, and its rows group by
group: a group's queries, its key, its value.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import DamagedFile
from litgpt.domain.families import FAMILIES
from litgpt.domain.parameters import Parameter
from litgpt.domain.tensors import TensorInfo
from litgpt.domain.weights import Use, joins, uses

if TYPE_CHECKING:
    import torch

STORED_AS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


@attrs.frozen
class LitGptTensors:
    """Hugging Face's tensors, each made of LitGPT's when it is read. One unknown to us keeps its name.

    Attributes:
        weights: LitGPT's.
        uses: What each of Hugging Face's is made of; nothing for one that is unknown.

    """

    weights: Mapping[str, "torch.Tensor"] = attrs.field(repr=False)
    uses: Mapping[str, tuple[Use, ...]] = attrs.field(repr=False)

    @classmethod
    def of(
        cls, where: str, weights: Mapping[str, "torch.Tensor"], architecture: Architecture
    ) -> "LitGptTensors":
        """Return those of a file. One of Hugging Face's that would need what is not there is not there.

        Args:
            where: The file, for errors.
            weights: What it holds.
            architecture: What the settings beside it describe.

        Raises:
            DamagedFile: A tensor has not the shape that the settings ask for.

        """
        rules = FAMILIES[architecture.family].weights
        found: dict[str, tuple[Use, ...]] = {}
        known: set[str] = set()
        for theirs, those in uses(tuple(joins(architecture, rules))).items():
            sources = [(use.parameter, _stored_name(use.parameter, weights)) for use in those]
            known.update(source for _, source in sources)
            if all(source in weights for _, source in sources):
                for parameter, source in sources:
                    _check_shape(where, source, weights[source], parameter)
                found[theirs] = those
        return cls(weights, found | {name: () for name in weights if name not in known})

    def info(self, name: str) -> TensorInfo:
        """Return the shape and the dtype of a tensor of theirs."""
        those = self.uses[name]
        ours = self.weights[_stored_name(those[0].parameter, self.weights) if those else name]
        shape = those[0].piece.shape if those else tuple(ours.shape)
        dtype = str(ours.dtype).removeprefix("torch.")
        return TensorInfo(shape, STORED_AS.get(dtype, dtype), prod(shape) * ours.element_size())

    def read(self, name: str) -> "torch.Tensor":
        """Return a tensor of theirs: where it is rows of one of LitGPT's, a view of the file."""
        those = self.uses[name]
        if not those:
            return self.weights[name]
        parameter, piece = those[0].parameter, those[0].piece
        if len(those) == 1 and piece.whole:
            return self._rows(parameter, those[0].start, piece.rows)
        if _as_it_is(those):
            return self._rows(parameter, 0, piece.shape[0])
        made: torch.Tensor | None = None
        for use in those:
            rows = self._rows(use.parameter, use.start, use.piece.rows)
            made = rows.new_empty(piece.shape) if made is None else made
            sizes, strides, offset = use.piece.view
            made.as_strided(sizes, strides, offset).copy_(rows.unflatten(0, (use.piece.runs, -1)))
        assert made is not None  # noqa: S101 - there is a use
        return made

    def _rows(self, parameter: Parameter, start: int, rows: int) -> "torch.Tensor":
        """Return rows of one of ours, from `start` on."""
        name = _stored_name(parameter, self.weights)
        whole = self.weights[name]
        if name != parameter.name:
            return _regrouped(whole, parameter, start, rows)
        return whole if rows == whole.shape[0] else whole[start : start + rows]


def _stored_name(parameter: Parameter, weights: Mapping[str, object]) -> str:
    """Return what LitGPT's file calls a parameter: its name, or the one it had up to 0.5.3."""
    name = parameter.name
    older = name.replace(".attn.qkv.", ".attn.attn.")
    return older if older in weights and name not in weights else name


def _as_it_is(those: Sequence[Use]) -> bool:
    """Whether a tensor of theirs is one of ours, although their pieces are told apart."""
    return len({use.parameter.name for use in those}) == 1 and all(
        use.start == use.piece.start
        and use.piece.runs == 1
        and use.piece.expert is None
        and not use.piece.transposed
        for use in those
    )


def _regrouped(grouped: "torch.Tensor", parameter: Parameter, start: int, rows: int) -> "torch.Tensor":
    """Return rows of a projection that is laid group by group, as Q, then K, then V has them.

    Args:
        grouped: The projection.
        parameter: What it is of ours.
        start: The first of the rows that are wanted: the first of Q, K or V.
        rows: How many: all of one of them, or of several.

    """
    import torch

    by_group = grouped.unflatten(0, (parameter.groups, -1))
    found, row, reached = [], 0, 0
    for count in parameter.rows:
        share = count // parameter.groups
        if start <= row < start + rows:
            found.append(by_group[:, reached : reached + share].flatten(0, 1))
        row, reached = row + count, reached + share
    return found[0] if len(found) == 1 else torch.cat(found)


def _check_shape(where: str, source: str, tensor: "torch.Tensor", parameter: Parameter) -> None:
    if tuple(tensor.shape) != parameter.shape:
        has, expected = list(tensor.shape), list(parameter.shape)
        raise DamagedFile(where, f"{source} is {has}, and model_config.yaml asks for {expected}.")
