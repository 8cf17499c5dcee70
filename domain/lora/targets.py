"""Modules and parameters that LoRA can adapt: transformers' names and the corresponding rows in LitGPT."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import groupby
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.lora.config import ALL_LINEAR, LoraConfig, TargetModules
from litgpt.domain.weights.mapping import ParameterSource, TensorTarget, invert_mapping
from litgpt.domain.weights.tensor_view import TensorView

TargetKind: TypeAlias = Literal["linear", "head", "embedding", "parameter", "expert"]
"""Kind of a target.

`linear` is a linear layer included in `all-linear`; a `head` or `embedding` is targeted only by name. A
`parameter` belongs to a router or to all experts of a layer and is targeted by `target_parameters`. An
`expert` is a linear layer of one expert, as in transformers 4, whose saved adapters can be loaded.
"""

_WEIGHT = ".weight"
# LitGPT's layers that compute queries and values, or their latents; state space models have one for all.
_QUERY_LAYERS = (
    "attn.qkv",
    "attention.qkv",
    "attn.qkvz",
    "attn.in_proj",
    "attn.q_proj",
    "attn.q_b_proj",
    "attn.q_gate_proj",
)
_VALUE_LAYERS = ("attn.qkv", "attention.qkv", "attn.kv_b_proj", "attn.v_proj")
_NOT_ADAPTED = {
    "falcon_h1": ("out_proj",),
    "falcon_mamba": ("dt_proj", "out_proj"),
    "jamba": ("dt_proj",),
    "mamba": ("dt_proj", "out_proj"),
    "mamba2": ("out_proj",),
    "nemotron_h": ("out_proj",),
}
"""Linear layers whose weights transformers reads without an adapter (PEFT refuses most of them)."""
_EXPECTED = (
    "a linear layer, an embedding or the LM head; use target_parameters for experts and routers. There are"
)


@attrs.frozen
class TargetRows:
    """The rows of a fused layer, such as `transformer.h.0.attn.qkv`, of one Hugging Face tensor.

    `views` are views of B (out, rank), in the order of LitGPT's rows.
    """

    layer: str
    start: int
    stop: int
    views: tuple[TensorView, ...]

    def views_for_rank(self, rank: int) -> tuple[TensorView, ...]:
        return tuple(attrs.evolve(piece, shape=(piece.shape[0], rank)) for piece in self.views)


@attrs.frozen
class LoraTarget:
    """A module or parameter of transformers that LoRA can adapt; one expert of a stacked parameter.

    Attributes:
        name: Name in transformers: `model.layers.0.self_attn.q_proj`,
            `model.layers.0.mlp.experts.down_proj`.
        transposed: Whether the weight is stored as (in, out).
        swaps_a_and_b: Whether PEFT's A and B are the transposes of LitGPT's B and A, as for embeddings.
        num_experts: Number of experts that share one pair of LoRA matrices in PEFT.
        parameter: Name of the parameter for `target_parameters`.
        legacy_name: Name of the module in transformers 4, if it differs.
    """

    name: str
    out_features: int
    in_features: int
    transposed: bool
    rows: tuple[TargetRows, ...]
    kind: TargetKind = "linear"
    swaps_a_and_b: bool = False
    expert_index: int = 0
    num_experts: int = 1
    parameter: str | None = None
    legacy_name: str | None = None

    __repr__ = brief_repr

    @property
    def leaf(self) -> str:
        return self.name.rpartition(".")[2]

    def matches(self, target: str) -> bool:
        """Return whether a target matches the name or a dotted suffix of it."""
        return matches_name(self.parameter or self.name, target)

    def shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of PEFT's A and B."""
        inputs, outputs = (
            (self.out_features, self.in_features)
            if self.swaps_a_and_b
            else (self.in_features, self.out_features)
        )
        return (rank * self.num_experts, inputs), (outputs, rank * self.num_experts)

    @property
    def magnitude_size(self) -> int:
        """Number of DoRA norms: one per row, or per column of an embedding."""
        return self.in_features if self.kind == "embedding" else self.out_features


def matches_name(name: str, target: str) -> bool:
    """Return whether a target equals a name or a dotted suffix of it."""
    return name == target or name.endswith(f".{target}")


def find_targets(
    sources: Sequence[ParameterSource],
    linear_layers: Collection[str],
    embeddings: Collection[str] = (),
    *,
    head: str = "lm_head",
    model_type: str = "",
    module_name: Callable[[str], str] = str,
) -> tuple[LoraTarget, ...]:
    """Return the adaptable modules, without parameters of experts and routers.

    `head` is the LM head. `module_name` returns the name in transformers of a module of the checkpoint.
    """
    modules = []
    for name, uses in invert_mapping(sources).items():
        piece = uses[0].view
        layers = {use.parameter.name.removesuffix(_WEIGHT) for use in uses}
        fits = name.endswith(_WEIGHT) and len(piece.shape) == 2 and piece.expert_index is None
        if name.removesuffix(_WEIGHT).endswith(_NOT_ADAPTED.get(model_type, ())):
            continue
        if fits and layers <= {*linear_layers, *embeddings}:
            outputs, inputs = piece.shape[::-1] if piece.transposed else piece.shape
            kind = _kind(layers, embeddings, head)
            module = name.removesuffix(_WEIGHT)
            renamed = module_name(module)
            modules.append(
                LoraTarget(
                    renamed,
                    outputs,
                    inputs,
                    piece.transposed,
                    target_rows(uses),
                    kind,
                    swaps_a_and_b=kind == "embedding",
                    legacy_name=None if renamed == module else module,
                )
            )
    return tuple(modules)


def select_modules(available: Sequence[LoraTarget], targets: TargetModules) -> tuple[LoraTarget, ...]:
    """Return the modules that match the targets; each target must match one."""
    linear = [module for module in available if module.kind == "linear"]
    if targets == ALL_LINEAR:
        return tuple(linear)
    if targets is None:
        found = tuple(_query_and_value_targets(linear))
        if not found:
            there = ", ".join(dict.fromkeys(module.leaf for module in linear))
            raise InvalidArgument("targets", None, f"{_EXPECTED} {there}")
        return found
    modules = [module for module in available if module.kind in ("linear", "head", "embedding")]
    for target in targets:
        if not any(module.matches(target) for module in modules):
            leaves = list(dict.fromkeys(module.leaf for module in modules))
            similar = get_close_matches(target.rpartition(".")[2], leaves, n=1)
            raise InvalidArgument("targets", target, f"{_EXPECTED} {', '.join(leaves)}", similar)
    return tuple(module for module in modules if any(module.matches(target) for target in targets))


def select_parameters(available: Sequence[LoraTarget], targets: Sequence[str]) -> tuple[LoraTarget, ...]:
    """Return the parameters of experts and routers that match the targets; each target must match one."""
    parameters = [module for module in available if module.parameter is not None]
    for target in targets:
        if not any(module.matches(target) for module in parameters):
            names = ", ".join(dict.fromkeys(map(_parameter_leaf, parameters))) or "none in this model"
            raise InvalidArgument(
                "target_parameters", target, f"a parameter of experts or a router. There are {names}"
            )
    return tuple(module for module in parameters if any(module.matches(target) for target in targets))


def select_targets(available: Sequence[LoraTarget], config: LoraConfig) -> tuple[LoraTarget, ...]:
    """Return the modules and parameters that a configuration adapts, without fully trained modules.

    A target that does not match raises InvalidArgument; the message lists the modules or parameters.
    """
    parameters = select_parameters(available, config.target_parameters)
    if config.targets is None and parameters:
        return parameters
    modules = select_modules(available, config.targets)
    return (
        *(module for module in modules if not is_inside(module.name, config.modules_to_save)),
        *parameters,
    )


def is_inside(module: str, names: Iterable[str]) -> bool:
    """Return whether a module is inside one of `names`; as in PEFT, any suffix of a name matches."""
    parts = module.split(".")
    paths = [".".join(parts[: at + 1]) for at in range(len(parts))]
    return any(path.endswith(name) for name in names for path in paths)


def target_modules(selected: Iterable[LoraTarget], available: Iterable[LoraTarget]) -> tuple[str, ...]:
    """Return targets that match only `selected`: last name parts if unambiguous, else full names."""
    names = dict.fromkeys(module.name for module in selected)
    ambiguous = {module.leaf for module in available if module.name not in names and module.kind != "expert"}
    leaves = {name: name.rpartition(".")[2] for name in names}
    ambiguous |= {leaf for leaf in leaves.values() if leaf.isdigit()}  # an index would match whole layers
    return tuple(dict.fromkeys(name if leaf in ambiguous else leaf for name, leaf in leaves.items()))


def target_rows(tensor_targets: Sequence[TensorTarget]) -> tuple[TargetRows, ...]:
    """Return the rows in LitGPT's layers of a checkpoint tensor."""
    by_parameter = groupby(tensor_targets, lambda target: target.parameter.name)
    return tuple(_rows(name.removesuffix(_WEIGHT), list(targets)) for name, targets in by_parameter)


def _kind(layers: set[str], embeddings: Collection[str], head: str) -> TargetKind:
    if layers == {head}:
        return "head"
    if any(".experts." in layer for layer in layers):
        return "expert"
    return "embedding" if {*layers} <= {*embeddings} else "linear"


def _parameter_leaf(target: LoraTarget) -> str:
    return ".".join((target.parameter or target.name).split(".")[-2:])


def _rows(layer: str, tensor_targets: list[TensorTarget]) -> TargetRows:
    pieces = tuple(_untransposed(use.view) for use in tensor_targets)
    stop = tensor_targets[-1].start + tensor_targets[-1].view.num_rows
    assert stop - tensor_targets[0].start == sum(piece.num_rows for piece in pieces)  # noqa: S101 - pieces lie end to end
    return TargetRows(layer, tensor_targets[0].start, stop, pieces)


def _untransposed(view: TensorView) -> TensorView:
    """Return a piece as rows of an untransposed, unstacked (out, in) tensor."""
    shape = view.shape if view.expert_index is None else view.shape[1:]
    shape = shape[::-1] if view.transposed else shape
    return attrs.evolve(view, shape=shape, transposed=False, expert_index=None)


def _query_and_value_targets(available: Sequence[LoraTarget]) -> Iterator[LoraTarget]:
    for module in available:
        first, last = module.rows[0], module.rows[-1]
        queries = first.layer.endswith(_QUERY_LAYERS) and first.start == 0
        if queries or (last.layer.endswith(_VALUE_LAYERS) and _is_last(last, available)):
            yield module


def _is_last(rows: TargetRows, available: Sequence[LoraTarget]) -> bool:
    ends = (own.stop for module in available for own in module.rows if own.layer == rows.layer)
    return rows.stop == max(ends)
