"""An adapter that changes nothing yet, to be trained: what PEFT would begin with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.layer import init_lora_A
from litgpt.adapters.pytorch.lora.model_targets import ModelTargets
from litgpt.adapters.pytorch.lora.module_hook import dequantized_weight
from litgpt.adapters.pytorch.lora.row_order import to_hf
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.ops.tensor_views import to_hf_tensor as tensor_of
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.adapters.pytorch.runtime.system_memory import allocatable_memory
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, LoraWeights, TrainedTokens
from litgpt.domain.lora.targets import LoraTarget, select_targets
from litgpt.domain.memory.preflight import check_bytes
from litgpt.domain.model import Architecture
from litgpt.domain.weights.mapping import ParameterSource

_CPU = torch.device("cpu")


def init_adapter(model_targets: ModelTargets, config: LoraConfig) -> LoraAdapter[Tensor]:
    """Return a new adapter for a network, initialized as PEFT does.

    Args:
        model_targets: Where an adapter can be in it.
        config: What it is.

    Raises:
        BadArgument: A target cannot be right, or two options exclude one another.
        OutOfReach: A module that is to be trained whole is quantized.

    """
    where = select_targets(model_targets.targets, config)
    whole = dict.fromkeys([*model_targets.modules_to_save(config), *model_targets.biases(config, where)])
    tokens = model_targets.trained_tokens(config)
    embedding, head = model_targets.embedding, model_targets.head
    ties = config.ensure_weight_tying and model_targets.is_tied and embedding is not None and head is not None
    if ties:
        assert embedding is not None and head is not None  # noqa: S101, PT018 - as above
        both = (f"{embedding.name}.weight", f"{head.name}.weight")
        whole |= dict.fromkeys(both if any(name in whole for name in both) else ())
        if any(place in (embedding, head) for place in where):
            where = (embedding, *(place for place in where if place not in (embedding, head)), head)
    for module in tokens:
        if f"{module}.weight" in whole:
            expected = f"tokens of a module that is not in modules_to_save, as {module} is"
            raise InvalidArgument("trainable_token_indices", list(tokens[module]), expected)
    if config.lora_bias and (other := [place.name for place in where if place.kind == "embedding"]):
        raise InvalidArgument(
            "lora_bias", config.lora_bias, f"False with an embedding among the targets ({other[0]})"
        )
    needed = 4 * _numbers(where, config)
    check_bytes(f"rank={config.rank}", needed, allocatable_memory(), "Use a smaller rank, or fewer targets.")
    pairs: dict[str, LoraWeights[Tensor]] = {}
    for place in where:
        if place.name not in pairs:  # of stacked experts, one pair is for all
            pairs[place.name] = _init_pair(model_targets, place, config)
    if ties and head is not None and embedding is not None and head in where:
        first = pairs[embedding.name]
        pairs[head.name] = LoraWeights(first.lora_B.T, first.lora_A.T, first.rank, first.alpha)
    return LoraAdapter(
        config=config,
        weights=pairs,
        modules_to_save={name: _hf_tensor(model_targets, name) for name in whole},
        trained_tokens={
            module: TrainedTokens(ids, _hf_tensor(model_targets, f"{module}.weight")[list(ids)])
            for module, ids in tokens.items()
        },
    )


def trained_numbers(
    architecture: Architecture, joins: Sequence[ParameterSource], model_type: str, lora: LoraConfig
) -> tuple[int, bool]:
    """Return how many numbers the pairs of an adapter have, and whether feed-forwards have some.

    Args:
        architecture: The network's structure.
        joins: How transformers writes its tensors, the head among them also where it is the embedding.
        model_type: The family.
        lora: What the adapter is.

    Raises:
        BadArgument: A target cannot be right.

    """
    with torch.device("meta"):
        sites = ModelTargets.from_model(GPT(architecture), joins, model_type)
    where = select_targets(sites.targets, lora)
    return _numbers(where, lora), any(".mlp." in rows.layer for place in where for rows in place.rows)


def _numbers(where: Sequence[LoraTarget], lora: LoraConfig) -> int:
    shapes = {place.name: place.shapes(lora.rank) for place in where}  # stacked experts share a pair
    return sum(rows * columns for pair in shapes.values() for rows, columns in pair)


def _init_pair(model_targets: ModelTargets, target: LoraTarget, config: LoraConfig) -> LoraWeights[Tensor]:
    (a_rows, inputs), (outputs, b_columns) = target.shapes(config.rank)
    if target.kind == "embedding":
        a, b = torch.zeros(a_rows, inputs), torch.randn(outputs, b_columns)
    else:
        a, b = init_lora_A(a_rows, inputs, _CPU), torch.zeros(outputs, b_columns)
    bias = torch.zeros(target.out_features) if config.lora_bias else None
    magnitude = _weight_norms(model_targets, target) if config.use_dora else None
    return LoraWeights(a, b, config.rank, config.alpha, bias, magnitude, embedding=target.kind == "embedding")


def _weight_norms(model_targets: ModelTargets, target: LoraTarget) -> Tensor:
    """Return the norms of a weight's rows, in the order of transformers; of an embedding's columns."""
    weights = {
        rows.layer: dequantized_weight(model_targets.model.get_submodule(rows.layer))
        .detach()[rows.start : rows.stop]
        .float()
        for rows in target.rows
    }
    if target.kind == "embedding":
        (weight,) = weights.values()
        norms: Tensor = weight.norm(dim=0).cpu()
        return norms
    return to_hf(target, {layer: weight.norm(dim=1, keepdim=True) for layer, weight in weights.items()})[
        :, 0
    ].cpu()


def _hf_tensor(model_targets: ModelTargets, name: str) -> Tensor:
    """Return a tensor of transformers, as the network has it now."""
    return tensor_of(
        model_targets.tensor_targets[name], lambda ours: _litgpt_parameter(model_targets, ours, name)
    ).float()


def _litgpt_parameter(model_targets: ModelTargets, name: str, tensor: str) -> Tensor:
    module, _, parameter = name.rpartition(".")
    layer: nn.Module = model_targets.model.get_submodule(module)
    if isinstance(layer, QuantizedLinear) and parameter == "weight":
        reason = f"{tensor} is quantized. Only modules that are not, such as norms and the head, can be."
        raise UnsupportedOperation("Training a module whole", reason)
    value: Tensor = getattr(layer, parameter)
    return value.detach().cpu()
