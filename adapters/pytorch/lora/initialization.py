"""Initialize new adapters for training, as PEFT does."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.layer import init_lora_A
from litgpt.adapters.pytorch.lora.model_targets import ModelTargets
from litgpt.adapters.pytorch.lora.module_hook import dequantized_weight
from litgpt.adapters.pytorch.lora.row_order import to_hf
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.ops.tensor_views import to_hf_tensor
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
    """Return a new adapter that does not change the model's outputs, initialized as in PEFT."""
    targets = select_targets(model_targets.targets, config)
    saved = dict.fromkeys([*model_targets.modules_to_save(config), *model_targets.biases(config, targets)])
    tokens = model_targets.trained_tokens(config)
    embedding, head = model_targets.embedding, model_targets.head
    ties = config.ensure_weight_tying and model_targets.is_tied and embedding is not None and head is not None
    if ties:
        assert embedding is not None and head is not None  # noqa: S101, PT018 - as above
        both = (f"{embedding.name}.weight", f"{head.name}.weight")
        saved |= dict.fromkeys(both if any(name in saved for name in both) else ())
        if any(target in (embedding, head) for target in targets):
            targets = (embedding, *(other for other in targets if other not in (embedding, head)), head)
    for module in tokens:
        if f"{module}.weight" in saved:
            expected = f"token ids of a module that is not in modules_to_save, which contains {module}"
            raise InvalidArgument("trainable_token_indices", list(tokens[module]), expected)
    if config.lora_bias and (names := [target.name for target in targets if target.kind == "embedding"]):
        raise InvalidArgument(
            "lora_bias", config.lora_bias, f"False with an embedding among the targets ({names[0]})"
        )
    needed = 4 * _numel(targets, config)
    check_bytes(f"rank={config.rank}", needed, allocatable_memory(), "Use a smaller rank or fewer targets.")
    pairs: dict[str, LoraWeights[Tensor]] = {}
    for target in targets:
        if target.name not in pairs:  # stacked experts share one pair
            pairs[target.name] = _init_pair(model_targets, target, config)
    if ties and head is not None and embedding is not None and head in targets:
        first = pairs[embedding.name]
        pairs[head.name] = LoraWeights(first.lora_B.T, first.lora_A.T, first.rank, first.alpha)
    return LoraAdapter(
        config=config,
        weights=pairs,
        modules_to_save={name: _hf_tensor(model_targets, name) for name in saved},
        trained_tokens={
            module: TrainedTokens(ids, _hf_tensor(model_targets, f"{module}.weight")[list(ids)])
            for module, ids in tokens.items()
        },
    )


def count_lora_parameters(
    architecture: Architecture, sources: Sequence[ParameterSource], model_type: str, lora: LoraConfig
) -> tuple[int, bool]:
    """Return the number of parameters of an adapter's pairs, and whether an MLP is among the targets.

    `sources` is the weight mapping, including the head even if it is tied.
    """
    with torch.device("meta"):
        model_targets = ModelTargets.from_model(GPT(architecture), sources, model_type)
    targets = select_targets(model_targets.targets, lora)
    return _numel(targets, lora), any(".mlp." in rows.layer for target in targets for rows in target.rows)


def _numel(targets: Sequence[LoraTarget], lora: LoraConfig) -> int:
    shapes = {target.name: target.shapes(lora.rank) for target in targets}  # stacked experts share a pair
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
    """Return the row norms of a weight, in Hugging Face order, or the column norms of an embedding."""
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
    targets = model_targets.tensor_targets[name]
    return to_hf_tensor(targets, lambda key: _litgpt_parameter(model_targets, key, name)).float()


def _litgpt_parameter(model_targets: ModelTargets, name: str, tensor: str) -> Tensor:
    module, _, parameter = name.rpartition(".")
    layer: nn.Module = model_targets.model.get_submodule(module)
    if isinstance(layer, QuantizedLinear) and parameter == "weight":
        reason = f"{tensor} is quantized. Only modules that are not quantized, such as norms, can be trained."
        raise UnsupportedOperation("Training a module in modules_to_save", reason)
    value: Tensor = getattr(layer, parameter)
    return value.detach().cpu()
