"""Parameters of experts and routers that LoRA can adapt, with the names of transformers 5.

transformers 5 stacks the experts of a layer in two parameters, `gate_up_proj` and `down_proj`, in every
family; PEFT adapts them and the routers through `target_parameters`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

import attrs

from litgpt.domain.lora_places import Place, Rows, rows_of
from litgpt.domain.pieces import Piece
from litgpt.domain.weights import Join, Use, uses

GATE_UP, DOWN = "gate_up_proj", "down_proj"
"""The stacked parameters of a layer's experts, in the order in which PEFT wraps them."""

_WEIGHT = ".weight"
# Modules whose names in transformers 5 differ from the names in checkpoints.
_RENAMED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "mixtral": (("block_sparse_moe.", "mlp."),),
    "minimax_m2": (("block_sparse_moe.", "mlp."),),
    "phimoe": (("block_sparse_moe.gate", "mlp.router"), ("block_sparse_moe.", "mlp.")),
    "granitemoe": (
        ("input_linear.weight", f"experts.{GATE_UP}"),
        ("output_linear.weight", f"experts.{DOWN}"),
        ("router.layer.", "router."),
    ),
}
INPUTS_FIRST = ("gpt_oss",)
"""Families whose experts are (in, out) and marked `is_transposed`; PEFT assumes (out, in) otherwise."""

# The projections that a parameter stacks, by their names in the network.
_PARTS = ((GATE_UP, ("fc_1", "fc_2")), (DOWN, ("proj",)))

# Names in checkpoints that store each expert separately.
_APART = {GATE_UP: (("gate_proj", "up_proj"), ("w1", "w3")), DOWN: (("down_proj",), ("w2",))}


def parameter_places(joins: Sequence[Join], routers: Collection[str], model_type: str) -> tuple[Place, ...]:
    """Return the LoRA places of a model's experts and routers."""
    renamed = _RENAMED.get(model_type, ())
    found: list[Place] = []
    fused: dict[str, list[tuple[str, tuple[Use, ...]]]] = {}
    for name, those in uses(joins).items():
        layer = those[0].parameter.name
        if layer.removesuffix(_WEIGHT) in routers and layer.endswith(_WEIGHT):
            found.append(_router(name, _renamed(name, renamed), those))
        elif ".experts." in layer and layer.endswith(_WEIGHT):
            if those[0].piece.expert is not None:
                found += _stacked(_renamed(name, renamed), those, inputs_first=model_type in INPUTS_FIRST)
            else:
                owner = _renamed(name, renamed).rpartition(".experts.")[0]
                fused.setdefault(owner, []).append((layer, those))
    for owner, own in fused.items():
        found += _fused(f"{owner}.experts", own)
    return tuple(found)


def stacked_uses(joins: Sequence[Join], model_type: str) -> dict[str, tuple[Use, ...]]:
    """Return the parameters of every tensor, by the tensor's name in transformers 5.

    Experts stored separately are stacked to (experts, out, in).
    """
    renamed = _RENAMED.get(model_type, ())
    found: dict[str, tuple[Use, ...]] = {}
    apart: dict[str, list[tuple[str, tuple[Use, ...]]]] = {}
    for name, those in uses(joins).items():
        layer = those[0].parameter.name
        if ".experts." in layer and layer.endswith(_WEIGHT) and those[0].piece.expert is None:
            owner = _renamed(name, renamed).rpartition(".experts.")[0]
            apart.setdefault(owner, []).append((layer, those))
        else:
            found[_renamed(name, renamed)] = those
    for owner, own in apart.items():
        experts = _by_expert(own)
        for leaf, parts in _PARTS:
            name = f"{owner}.experts.{leaf}"
            rows = sum(experts[0][part].piece.rows for part in parts)
            shape = (len(experts), rows, experts[0][parts[0]].piece.shape[1])
            stacked: list[Use] = []
            for expert, by_part in experts.items():
                start = 0
                for part in parts:
                    stop = start + by_part[part].piece.rows
                    piece = Piece(name, shape, start, stop, expert=expert)
                    stacked.append(attrs.evolve(by_part[part], piece=piece))
                    start = stop
            found[name] = tuple(stacked)
    return found


def in_files(name: str, model_type: str) -> tuple[str, ...]:
    """Return the possible checkpoint names of a router or stacked-expert tensor of transformers 5."""
    former = name
    for old, new in _RENAMED.get(model_type, ()):
        former = former.replace(new, old)
    return tuple(dict.fromkeys((name, former)))


def apart_in_files(parameter: str, model_type: str, expert: int) -> list[tuple[str, ...]]:
    """Return the possible checkpoint names of one expert's weights in a stacked parameter."""
    candidates = []
    for name in in_files(parameter, model_type):
        owner, _, leaf = name.rpartition(".")
        candidates += [
            tuple(f"{owner}.{expert}.{projection}{_WEIGHT}" for projection in leaves)
            for leaves in _APART.get(leaf, ())
        ]
    return candidates


def _renamed(name: str, renamed: Sequence[tuple[str, str]]) -> str:
    for old, new in renamed:
        name = name.replace(old, new)
    return name


def _router(former: str, name: str, those: tuple[Use, ...]) -> Place:
    outputs, inputs = those[0].piece.shape
    return Place(
        name.removesuffix(_WEIGHT),
        outputs,
        inputs,
        transposed=False,
        rows=rows_of(those),
        kind="parameter",
        parameter=name,
        former=former.removesuffix(_WEIGHT),
    )


def _stacked(name: str, those: tuple[Use, ...], *, inputs_first: bool) -> Iterator[Place]:
    count, first, second = those[0].piece.shape
    transposed = those[0].piece.transposed
    outputs, inputs = (second, first) if transposed else (first, second)
    for expert, own in groupby(sorted(those, key=_expert), _expert):
        yield Place(
            name,
            outputs,
            inputs,
            transposed,
            rows_of(list(own)),
            "parameter",
            swapped=transposed and not inputs_first,
            expert=expert,
            experts=count,
            parameter=name,
        )


def _fused(module: str, own: list[tuple[str, tuple[Use, ...]]]) -> Iterator[Place]:
    """Yield the places of separately stored experts; in `gate_up_proj`, the gate comes first."""
    by_expert = _by_expert(own)
    for leaf, parts in _PARTS:
        for expert, found in by_expert.items():
            outputs = sum(found[part].piece.rows for part in parts)
            inputs = found[parts[0]].piece.shape[1]
            rows, start = [], 0
            for part in parts:
                stop = start + found[part].piece.rows
                piece = Piece(leaf, (outputs, inputs), start, stop)
                rows.append(Rows(found[part].parameter.name.removesuffix(_WEIGHT), 0, stop - start, (piece,)))
                start = stop
            name = f"{module}.{leaf}"
            yield Place(
                name,
                outputs,
                inputs,
                transposed=False,
                rows=tuple(rows),
                kind="parameter",
                expert=expert,
                experts=len(by_expert),
                parameter=name,
            )


def _by_expert(own: list[tuple[str, tuple[Use, ...]]]) -> dict[int, dict[str, Use]]:
    """Return the projections of each expert of a layer, by LitGPT's names."""
    by_expert: dict[int, dict[str, Use]] = {}
    for layer, (use,) in own:
        *_, number, part, _ = layer.split(".")
        by_expert.setdefault(int(number), {})[part] = use
    return by_expert


def _expert(use: Use) -> int:
    return use.piece.expert or 0
