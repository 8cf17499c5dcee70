"""The changes of an adapter as numpy arrays, for an engine with its own copy of the weights."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn

from litgpt.adapters.pytorch.lora.layer import LoraPair
from litgpt.adapters.pytorch.lora.module_hook import (
    ADDITIVE_MODULES,
    AdapterModule,
    ParameterUpdate,
    RequestAdapter,
    apply_updates,
)
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.domain.lora.weight_changes import LowRankUpdate, WeightChanges

Array: TypeAlias = Any
"""A numpy array of float32."""


def weight_changes(model: CausalLM, adapter: RequestAdapter, *, unties_head: bool) -> WeightChanges[Array]:
    """Return the changes of an adapter. The weights are not read."""
    low_rank: dict[str, LowRankUpdate[Array]] = {}
    replaced: dict[str, Callable[[Array], Array]] = {}
    for layer, lora in adapter.layers.items():
        module, parts = model.get_submodule(layer), adapter.parts[lora]
        pairs = [part for part in parts if _is_low_rank(part, module)]
        if pairs:
            rows: Any = module.out_features
            low_rank[layer] = _low_rank(pairs, rows)
        updates: dict[str, list[ParameterUpdate]] = {}
        for part in parts:
            for update in () if part in pairs else part.updates():
                updates.setdefault(f"{layer}.{update.parameter}", []).append(update)
        replaced |= {key: partial(_apply, changes) for key, changes in updates.items()}
    return WeightChanges(low_rank, replaced, unties_head)


def _is_low_rank(part: AdapterModule, module: nn.Module) -> bool:
    is_linear = isinstance(module, ADDITIVE_MODULES) and not isinstance(module, nn.Embedding)
    return is_linear and isinstance(part, LoraPair) and part.magnitude is None


@torch.no_grad()
def _low_rank(pairs: Sequence[AdapterModule], rows: int) -> LowRankUpdate[Array]:
    a, b, biases = [], [], torch.zeros(rows)
    has_bias = False
    for pair in pairs:
        assert isinstance(pair, LoraPair)  # noqa: S101 - see _is_low_rank
        a.append(pair.lora_A)
        b.append(torch.zeros(rows, len(pair.lora_A)))
        b[-1][pair.start : pair.stop] = pair.lora_B * pair.scaling
        if pair.bias is not None:
            has_bias = True
            biases[pair.start : pair.stop] += pair.bias * pair.scaling
    lora_a, lora_b = torch.cat(a).float(), torch.cat(b, dim=1)
    return LowRankUpdate(lora_a.numpy(), lora_b.numpy(), biases.numpy() if has_bias else None)


@torch.no_grad()
def _apply(updates: Sequence[ParameterUpdate], old: Array) -> Array:
    return apply_updates(torch.from_numpy(old), updates).numpy()
