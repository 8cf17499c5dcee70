"""Map checkpoint tensors to LitGPT's parameters, for reading and writing."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from math import prod

import attrs

from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model import Architecture, ParameterSpec
from litgpt.domain.weights.tensor_info import TensorInfo
from litgpt.domain.weights.tensor_view import TensorView

HEAD_MODULES = ("lm_head", "embed_out")
"""The names of the output head in Hugging Face models."""


@attrs.frozen
class SourceSlice:
    """One of several equal parts of the rows of a checkpoint tensor.

    The parts may be interleaved row by row (`interleaved`), head by head (`per_head`), or in `num_runs` runs.
    """

    name: str
    index: int
    num_parts: int
    interleaved: bool = False
    per_head: bool = False
    num_runs: int = 1


@attrs.frozen
class WeightMapping:
    """How a parameter is assembled from checkpoint tensors; applied in reverse, it writes a checkpoint.

    In names, `{}` is the index of a layer or expert on both sides, and `{piece}` the index of a piece. If a
    layer of the checkpoint has several of LitGPT's layers, `{sublayer}` is the index among them.

    Attributes:
        name: LitGPT's parameter name.
        hf_names: Names in a Hugging Face checkpoint: one per piece, concatenated along the first dimension,
            or one for the whole parameter.
        pieces_per_source: Number of pieces that each checkpoint tensor holds; empty means one each, or all in
            one.
        grouped_qkv: Whether the pieces are interleaved by key-value group in one checkpoint tensor, as
            queries, keys and values are in GPT-NeoX and Falcon.
        stacked_experts: Whether the checkpoint tensor stacks all experts along an additional first dimension.
        vector_as_matrix: Whether the checkpoint tensor is a matrix whose rows are the pieces of a vector.
        unit_dims: Numbers of dimensions of size 1 that the checkpoint tensor has before and after those of
            the parameter.
        scalar: Whether the checkpoint tensor is a scalar, which is stored as a vector of one element.
        sublayers: Number of LitGPT's layers in one of the checkpoint's.
        condition: Predicate of the architectures to which the rule applies; None applies it to all.
    """

    name: str
    hf_names: tuple[str | SourceSlice, ...]
    pieces_per_source: tuple[int, ...] = ()
    grouped_qkv: bool = False
    transposed: bool = False
    stacked_experts: bool = False
    vector_as_matrix: bool = False
    unit_dims: tuple[int, int] = (0, 0)
    scalar: bool = False
    sublayers: int = 1
    condition: Callable[[Architecture], bool] | None = None

    __repr__ = brief_repr


@attrs.frozen
class ParameterSource:
    """A parameter and the checkpoint pieces that are concatenated to it along the first dimension."""

    parameter: ParameterSpec
    views: tuple[TensorView, ...]

    __repr__ = brief_repr

    @property
    def hf_names(self) -> tuple[str, ...]:
        return tuple(piece.name for piece in self.views)


def map_parameters(
    architecture: Architecture, mappings: Sequence[WeightMapping]
) -> Iterator[ParameterSource]:
    """Yield the checkpoint pieces of each parameter according to the family's rules."""
    by_ours: dict[str, WeightMapping] = {}
    for rule in mappings:
        if rule.condition is None or rule.condition(architecture):
            by_ours.setdefault(rule.name, rule)
    for parameter in architecture.parameters():
        generic, numbers = _split_indices(parameter.name)
        yield ParameterSource(parameter, tuple(_views(by_ours[generic], parameter, numbers)))


_MAX_MISSING = 5000
"""Number of missing tensors at which checking stops."""


def validate_mapping(
    name: str,
    architecture: Architecture,
    mappings: Sequence[WeightMapping],
    tensors: Mapping[str, TensorInfo],
    *,
    unused: Sequence[str] = (),
) -> tuple[ParameterSource, ...]:
    """Return the checkpoint pieces of each parameter after checking all names and shapes.

    `unused` has patterns of tensor names to ignore, such as `*.rotary_emb.inv_freq`.

    Raises:
        CheckpointMismatch: Tensors are missing, unexpected or of the wrong shape. The error lists all of
            them, or the first 5,000 missing ones.
    """
    planned: list[ParameterSource] = []
    expected: dict[str, tuple[int, ...]] = {}
    absent: dict[str, None] = {}
    for join in map_parameters(architecture, mappings):
        planned.append(join)
        expected |= {piece.name: piece.shape for piece in join.views}
        absent |= {piece.name: None for piece in join.views if piece.name not in tensors}
        if len(absent) > _MAX_MISSING:  # the config is wrong and may imply millions of tensors
            raise CheckpointMismatch(name, tuple(absent))
    missing = tuple(absent)
    misshapen = tuple(
        f"{tensor} is {list(tensors[tensor].shape)}, expected {list(shape)}"
        for tensor, shape in expected.items()
        if tensor in tensors and tensors[tensor].shape != shape
    )
    unread = tuple(
        tensor
        for tensor in tensors
        if tensor not in expected and not any(fnmatchcase(tensor, pattern) for pattern in unused)
    )
    if missing or unread or misshapen:
        raise CheckpointMismatch(name, missing, unread, misshapen)
    return tuple(planned)


@attrs.frozen
class TensorTarget:
    """The rows of a parameter, from `start`, that correspond to a piece of a checkpoint tensor."""

    parameter: ParameterSpec
    start: int
    view: TensorView


def invert_mapping(sources: Sequence[ParameterSource]) -> dict[str, tuple[TensorTarget, ...]]:
    """Return the inverse mapping: the parameter rows that each checkpoint tensor consists of."""
    by_tensor: dict[str, list[TensorTarget]] = {}
    for join in sources:
        row = 0
        for piece in join.views:
            by_tensor.setdefault(piece.name, []).append(TensorTarget(join.parameter, row, piece))
            row += piece.num_rows
    return {name: tuple(rows) for name, rows in by_tensor.items()}


def _split_indices(name: str) -> tuple[str, tuple[str, ...]]:
    """Split `transformer.h.3.norm_1.weight` into `transformer.h.{}.norm_1.weight` and its indices."""
    parts = name.split(".")
    numbers = tuple(part for part in parts if part.isdigit())
    return ".".join("{}" if part.isdigit() else part for part in parts), numbers


def _with_indices(name: str, indices: Sequence[str]) -> str:
    left = iter(indices)
    return re.sub(r"\{\}", lambda _: next(left), name)


def _views(
    mapping: WeightMapping, parameter: ParameterSpec, indices: tuple[str, ...]
) -> Iterator[TensorView]:
    """Yield the checkpoint pieces of a parameter."""
    hf_names, indices = _in_sublayer(mapping, indices)
    shape: tuple[int, ...]
    if len(hf_names) == 1 and isinstance(hf_names[0], str) and "{piece}" in hf_names[0]:
        hf_names = tuple(hf_names[0].replace("{piece}", str(at)) for at in range(len(parameter.split_sizes)))
    rows = parameter.split_sizes if len(hf_names) == len(parameter.split_sizes) else (parameter.shape[0],)
    if mapping.pieces_per_source:
        left = iter(parameter.split_sizes)
        rows = tuple(sum(islice(left, span)) for span in mapping.pieces_per_source)
    if mapping.vector_as_matrix:
        shape = (len(parameter.split_sizes), parameter.split_sizes[0])
        yield TensorView(_with_indices(_hf_name(hf_names[0]), indices), shape, 0, prod(shape), flatten=True)
        return
    if any(mapping.unit_dims):
        before, after = mapping.unit_dims
        shape = (*(1,) * before, *parameter.shape, *(1,) * after)
        yield TensorView(_with_indices(_hf_name(hf_names[0]), indices), shape, 0, prod(shape), flatten=True)
        return
    if mapping.scalar:
        yield TensorView(_with_indices(_hf_name(hf_names[0]), indices), (), 0, 1, flatten=True)
        return
    if mapping.grouped_qkv:
        yield from _grouped_views(mapping, parameter, _with_indices(_hf_name(hf_names[0]), indices))
        return
    for source, count in zip(hf_names, rows, strict=True):
        if count:  # layers with K=V or a shared KV cache have no such tensor
            yield _view(mapping, parameter, source, count, indices)


def _in_sublayer(
    mapping: WeightMapping, indices: tuple[str, ...]
) -> tuple[tuple[str | SourceSlice, ...], tuple[str, ...]]:
    """Return the names and indices in the checkpoint, of which a layer may have several of LitGPT's."""
    if mapping.sublayers == 1:
        return mapping.hf_names, indices
    layer, sublayer = divmod(int(indices[0]), mapping.sublayers)
    names = (_hf_name(source).replace("{sublayer}", str(sublayer)) for source in mapping.hf_names)
    return tuple(names), (str(layer), *indices[1:])


def _view(
    mapping: WeightMapping,
    parameter: ParameterSpec,
    source: str | SourceSlice,
    count: int,
    indices: tuple[str, ...],
) -> TensorView:
    part = source if isinstance(source, SourceSlice) else SourceSlice(source, 0, 1)
    shape: tuple[int, ...] = (count * part.num_parts, *parameter.shape[1:])
    if part.interleaved or part.per_head:
        turn = parameter.head_dim if part.per_head else 1
        start, stop, runs = part.index * turn, (part.index + 1) * turn, count // turn
    else:
        turn, runs = count // part.num_runs, part.num_runs
        start, stop = part.index * turn, (part.index + 1) * turn
    if mapping.transposed:
        shape = shape[::-1]
    if mapping.stacked_experts:
        shape = (parameter.num_experts, *shape)
    return TensorView(
        _with_indices(part.name, indices),
        shape,
        start,
        stop,
        runs,
        expert_index=int(indices[-1]) if mapping.stacked_experts else None,
        transposed=mapping.transposed and len(parameter.shape) > 1,
    )


def _grouped_views(mapping: WeightMapping, parameter: ParameterSpec, name: str) -> Iterator[TensorView]:
    reached = 0
    shape = parameter.shape[::-1] if mapping.transposed else parameter.shape
    for rows in parameter.split_sizes:
        share = rows // parameter.num_groups
        yield TensorView(
            name, shape, reached, reached + share, parameter.num_groups, transposed=mapping.transposed
        )
        reached += share


def _hf_name(source: str | SourceSlice) -> str:
    return source.name if isinstance(source, SourceSlice) else source
