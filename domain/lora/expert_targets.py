"""Parameters of experts and routers that LoRA can adapt, with the names of transformers 5.

transformers 5 stacks the experts of a layer in two parameters, `gate_up_proj` and `down_proj`, in every
family; PEFT adapts them and the routers through `target_parameters`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

import attrs

from litgpt.domain.lora.targets import LoraTarget, TargetRows, target_rows
from litgpt.domain.weights.mapping import ParameterSource, TensorTarget, invert_mapping
from litgpt.domain.weights.tensor_view import TensorView

GATE_UP, UP, DOWN = "gate_up_proj", "up_proj", "down_proj"
"""The stacked parameters of a layer's experts, in the order in which PEFT wraps them.

Experts without a gate have `up_proj` in place of `gate_up_proj`.
"""

_WEIGHT = ".weight"
# Modules whose names in transformers 5 differ from the names in checkpoints.
_RENAMED_MODULES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "axk2": (("self_attn.q_b_proj", "self_attn.q_gate_proj"), ("W_down", "mlp.fc1"), ("W_up", "mlp.fc2")),
    "mixtral": (("block_sparse_moe.", "mlp."),),
    "bailing_hybrid": (
        (".attention.", ".self_attn."),
        ("self_attn.dense", "self_attn.o_proj"),
        ("model.word_embeddings", "model.embed_tokens"),
        *((f"self_attn.{name}", f"self_attn.forget_gate.{name}") for name in ("f_proj", "dt_bias", "A_log")),
    ),
    "kimi_linear": (
        ("block_sparse_moe.", "mlp."),
        *((f"self_attn.{name}", f"self_attn.forget_gate.{name}") for name in ("f_a_proj", "f_b_proj")),
        *((f"self_attn.{name}", f"self_attn.forget_gate.{name}") for name in ("dt_bias", "A_log")),
    ),
    "minimax": (("block_sparse_moe.", "mlp."),),
    "minimax_m2": (("block_sparse_moe.", "mlp."),),
    "phimoe": (("block_sparse_moe.gate", "mlp.router"), ("block_sparse_moe.", "mlp.")),
    "lfm3": (("self_attn.gate_proj", "self_attn.g_proj"),),
    "granitemoe": (
        ("input_linear.weight", f"experts.{GATE_UP}"),
        ("output_linear.weight", f"experts.{DOWN}"),
        ("router.layer.", "router."),
    ),
    "granitemoehybrid": (
        ("block_sparse_moe.input_linear.weight", f"block_sparse_moe.experts.{GATE_UP}"),
        ("block_sparse_moe.output_linear.weight", f"block_sparse_moe.experts.{DOWN}"),
        ("router.layer.", "router."),
    ),
    "nemotron_h": (("backbone.", "model."),),
}
INPUTS_FIRST_FAMILIES = ("gpt_oss",)
"""Families whose experts are (in, out) and marked `is_transposed`; PEFT assumes (out, in) otherwise."""

# The projections that a parameter stacks, by their names in the network.
_STACKED_PROJECTIONS = ((GATE_UP, ("fc_1", "fc_2")), (UP, ("fc",)), (DOWN, ("proj",)))

# Names in checkpoints that store each expert separately.
_UNSTACKED_NAMES = {
    GATE_UP: (("gate_proj", "up_proj"), ("w1", "w3")),
    UP: (("up_proj",),),
    DOWN: (("down_proj",), ("w2",)),
}


def find_parameter_targets(
    sources: Sequence[ParameterSource], routers: Collection[str], model_type: str
) -> tuple[LoraTarget, ...]:
    """Return the LoRA targets of a model's experts and routers."""
    renamed = _RENAMED_MODULES.get(model_type, ())
    targets: list[LoraTarget] = []
    fused: dict[str, list[tuple[str, tuple[TensorTarget, ...]]]] = {}
    for name, uses in invert_mapping(sources).items():
        layer = uses[0].parameter.name
        if layer.removesuffix(_WEIGHT) in routers and layer.endswith(_WEIGHT):
            targets.append(_router_target(name, _renamed(name, renamed), uses))
        elif ".experts." in layer and layer.endswith(_WEIGHT):
            if uses[0].view.expert_index is not None:
                targets += _stacked_expert_targets(
                    _renamed(name, renamed), uses, inputs_first=model_type in INPUTS_FIRST_FAMILIES
                )
            else:
                owner = _renamed(name, renamed).rpartition(".experts.")[0]
                fused.setdefault(owner, []).append((layer, uses))
    for owner, own in fused.items():
        targets += _fused_expert_targets(f"{owner}.experts", own)
    return tuple(targets)


def stacked_targets(
    sources: Sequence[ParameterSource], model_type: str
) -> dict[str, tuple[TensorTarget, ...]]:
    """Return the parameters of every tensor, by the tensor's name in transformers 5.

    Experts stored separately are stacked to (experts, out, in).
    """
    renamed = _RENAMED_MODULES.get(model_type, ())
    stacks: dict[str, tuple[TensorTarget, ...]] = {}
    separate: dict[str, list[tuple[str, tuple[TensorTarget, ...]]]] = {}
    for name, uses in invert_mapping(sources).items():
        layer = uses[0].parameter.name
        if ".experts." in layer and layer.endswith(_WEIGHT) and uses[0].view.expert_index is None:
            owner = _renamed(name, renamed).rpartition(".experts.")[0]
            separate.setdefault(owner, []).append((layer, uses))
        else:
            stacks[_renamed(name, renamed)] = uses
    for owner, own in separate.items():
        experts = _group_by_expert(own)
        for leaf, parts in _STACKED_PROJECTIONS:
            if parts[0] not in experts[0]:
                continue
            name = f"{owner}.experts.{leaf}"
            rows = sum(experts[0][part].view.num_rows for part in parts)
            shape = (len(experts), rows, experts[0][parts[0]].view.shape[1])
            stacked: list[TensorTarget] = []
            for expert, by_part in experts.items():
                start = 0
                for part in parts:
                    stop = start + by_part[part].view.num_rows
                    piece = TensorView(name, shape, start, stop, expert_index=expert)
                    stacked.append(attrs.evolve(by_part[part], view=piece))
                    start = stop
            stacks[name] = tuple(stacked)
    return stacks


def module_name(name: str, model_type: str) -> str:
    """Return a module's name in transformers 5; a single expert has its name in transformers 4."""
    return name if ".experts." in name else _renamed(name, _RENAMED_MODULES.get(model_type, ()))


def checkpoint_names(name: str, model_type: str) -> tuple[str, ...]:
    """Return the possible checkpoint names of a router or stacked-expert tensor of transformers 5."""
    former = name
    for old, new in _RENAMED_MODULES.get(model_type, ()):
        former = former.replace(new, old)
    return tuple(dict.fromkeys((name, former)))


def unstacked_checkpoint_names(parameter: str, model_type: str, expert: int) -> list[tuple[str, ...]]:
    """Return the possible checkpoint names of one expert's weights in a stacked parameter."""
    candidates = []
    for name in checkpoint_names(parameter, model_type):
        owner, _, leaf = name.rpartition(".")
        candidates += [
            tuple(f"{owner}.{expert}.{projection}{_WEIGHT}" for projection in leaves)
            for leaves in _UNSTACKED_NAMES.get(leaf, ())
        ]
    return candidates


def _renamed(name: str, renamed: Sequence[tuple[str, str]]) -> str:
    for old, new in renamed:
        name = name.replace(old, new)
    return name


def _router_target(legacy_name: str, name: str, tensor_targets: tuple[TensorTarget, ...]) -> LoraTarget:
    outputs, inputs = tensor_targets[0].view.shape
    return LoraTarget(
        name.removesuffix(_WEIGHT),
        outputs,
        inputs,
        transposed=False,
        rows=target_rows(tensor_targets),
        kind="parameter",
        parameter=name,
        legacy_name=legacy_name.removesuffix(_WEIGHT),
    )


def _stacked_expert_targets(
    name: str, tensor_targets: tuple[TensorTarget, ...], *, inputs_first: bool
) -> Iterator[LoraTarget]:
    count, first, second = tensor_targets[0].view.shape
    transposed = tensor_targets[0].view.transposed
    outputs, inputs = (second, first) if transposed else (first, second)
    for expert, own in groupby(sorted(tensor_targets, key=_expert_index), _expert_index):
        yield LoraTarget(
            name,
            outputs,
            inputs,
            transposed,
            target_rows(list(own)),
            "parameter",
            swaps_a_and_b=transposed and not inputs_first,
            expert_index=expert,
            num_experts=count,
            parameter=name,
        )


def _fused_expert_targets(
    module: str, projections: list[tuple[str, tuple[TensorTarget, ...]]]
) -> Iterator[LoraTarget]:
    """Yield the targets of separately stored experts; in `gate_up_proj`, the gate comes first."""
    by_expert = _group_by_expert(projections)
    for leaf, parts in _STACKED_PROJECTIONS:
        for expert, uses in by_expert.items():
            if parts[0] not in uses:
                continue
            outputs = sum(uses[part].view.num_rows for part in parts)
            inputs = uses[parts[0]].view.shape[1]
            rows, start = [], 0
            for part in parts:
                stop = start + uses[part].view.num_rows
                piece = TensorView(leaf, (outputs, inputs), start, stop)
                rows.append(
                    TargetRows(uses[part].parameter.name.removesuffix(_WEIGHT), 0, stop - start, (piece,))
                )
                start = stop
            name = f"{module}.{leaf}"
            yield LoraTarget(
                name,
                outputs,
                inputs,
                transposed=False,
                rows=tuple(rows),
                kind="parameter",
                expert_index=expert,
                num_experts=len(by_expert),
                parameter=name,
            )


def _group_by_expert(
    projections: list[tuple[str, tuple[TensorTarget, ...]]],
) -> dict[int, dict[str, TensorTarget]]:
    """Return the projections of each expert of a layer, by their names in the network."""
    by_expert: dict[int, dict[str, TensorTarget]] = {}
    for layer, (use,) in projections:
        *_, number, part, _ = layer.split(".")
        by_expert.setdefault(int(number), {})[part] = use
    return by_expert


def _expert_index(target: TensorTarget) -> int:
    return target.view.expert_index or 0
