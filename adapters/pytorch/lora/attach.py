"""Attach saved LoRA adapters to a model, and export them from it."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.lora.injection import TRAINABLE_TOKENS, LoraLayers, PairTensors
from litgpt.adapters.pytorch.lora.layer import LoraOptions
from litgpt.adapters.pytorch.lora.model_targets import ModelTargets
from litgpt.adapters.pytorch.lora.module_hook import ReplacedRows, full_tensor
from litgpt.adapters.pytorch.lora.row_order import expert_pair, from_hf, stacked_pair, to_hf
from litgpt.adapters.pytorch.lora.trainable_tokens import TrainableTokens
from litgpt.adapters.pytorch.ops.tensor_views import as_view
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.lora.adapter_matching import match_adapter, text_model_name
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, LoraWeights, TrainedTokens, adapter_mismatch
from litgpt.domain.lora.targets import LoraTarget, matches_name, target_modules
from litgpt.domain.weights.mapping import TensorTarget

_WEIGHT = ".weight"


@attrs.frozen(eq=False)
class AttachedAdapter:
    """An adapter that is attached to a model.

    Attributes:
        pairs: The LoRA targets, each with its rank and alpha.
        modules_to_save: Names of the Hugging Face tensors that it replaces.
        trained_tokens: Hugging Face names of modules with trained tokens, and the layers of the model.
    """

    config: LoraConfig
    pairs: tuple[tuple[LoraTarget, int, float], ...]
    modules_to_save: tuple[str, ...] = ()
    trained_tokens: tuple[tuple[str, str], ...] = ()

    __repr__ = brief_repr


@attrs.frozen
class MatchedAdapter:
    """The tensors of an adapter, matched to the targets of a model."""

    pairs: list[tuple[LoraTarget, LoraWeights[Tensor]]]
    modules_to_save: dict[str, Tensor]
    trained_tokens: list[tuple[LoraTarget, TrainedTokens[Tensor]]]

    __repr__ = brief_repr


def match_to_model(model_targets: ModelTargets, name: str, adapter: LoraAdapter[Tensor]) -> MatchedAdapter:
    """Match the tensors of an adapter to the targets of a model; errors as in `ModelAdapters.load`."""
    pairs, unknown, shape_mismatches = match_adapter(
        model_targets.targets, adapter, lambda tensor: tuple(tensor.shape)
    )
    replaced: dict[str, Tensor] = {}
    for saved, tensor in adapter.modules_to_save.items():
        target = model_targets.resolve_name(saved)
        if target is None:
            unknown.append(saved)
        elif tuple(tensor.shape) != (expected := model_targets.targets_of(target)[0].view.shape):
            hint = _resize_hint(model_targets, target)
            shape_mismatches.append(f"{saved} is {list(tensor.shape)}, expected {list(expected)}{hint}")
        elif target.removesuffix(_WEIGHT) not in adapter.weights or not _is_unchanged(
            model_targets, target, tensor
        ):
            replaced[target] = tensor
    tokens = _match_tokens(model_targets, adapter, unknown, shape_mismatches)
    if unknown or shape_mismatches:
        raise adapter_mismatch(name, unknown, shape_mismatches)
    quantized = {
        f"{layer}{_WEIGHT}"
        for layer, module in model_targets.model.named_modules()
        if isinstance(module, QuantizedLinear)
    }
    for tensor_name in replaced:
        if _parameter(model_targets, tensor_name) in quantized:
            reason = f"{tensor_name} is quantized. Load the model without `quantize`."
            raise UnsupportedOperation("Loading an adapter that replaces a quantized weight", reason)
    return MatchedAdapter(pairs, replaced, tokens)


def _match_tokens(
    model_targets: ModelTargets, adapter: LoraAdapter[Tensor], unknown: list[str], shape_mismatches: list[str]
) -> list[tuple[LoraTarget, TrainedTokens[Tensor]]]:
    tokens = []
    for module, trained in adapter.trained_tokens.items():
        names = (module, text_model_name(module))
        ends = (model_targets.embedding, model_targets.head)
        target = next((target for target in ends if target and target.name in names), None)
        if target is None:
            unknown.append(module)
            continue
        shape, expected = tuple(trained.rows.shape), (len(trained.ids), target.in_features)
        if shape != expected or max(trained.ids) >= target.out_features:
            shape_mismatches.append(f"{module} has tokens {list(shape)}, expected {list(expected)}")
        tokens.append((target, trained))
    return tokens


def attach_adapter(
    lora_layers: LoraLayers,
    model_targets: ModelTargets,
    name: str,
    adapter: LoraAdapter[Tensor],
    matched: MatchedAdapter,
    *,
    trainable: bool,
) -> AttachedAdapter:
    """Attach an adapter that `match_to_model` has matched to a model.

    Tensors are copied, because they may be memory-mapped files.
    """
    lora = adapter.config
    ties = lora.ensure_weight_tying and model_targets.is_tied
    embedding_layer, head_layer = model_targets.model.embedding_name, model_targets.model.head_name
    head_weight = f"{head_layer}{_WEIGHT}"
    embedding = next((target for target, _ in matched.pairs if target.rows[0].layer == embedding_layer), None)
    # Heads last: a tied head shares the tensors of the embedding.
    for target, pair in sorted(matched.pairs, key=lambda item: item[0].kind == "head"):
        if ties and target.kind == "head" and embedding is not None:
            lora_layers.tie_pair(name, embedding, target)
            continue
        options = LoraOptions(lora.scaling(pair.rank, pair.alpha), lora.dropout, trainable)
        lora_layers.add_pair(name, target, _pair_tensors(target, pair), options)
    parameters = {tensor: _parameter(model_targets, tensor) for tensor in matched.modules_to_save}
    buffers = dict(model_targets.model.named_buffers())
    tied_tensor = next(
        (key for key, name in parameters.items() if name == f"{embedding_layer}{_WEIGHT}"), None
    )
    for tensor in sorted(parameters, key=lambda key: parameters[key] == head_weight):
        targets, value = model_targets.targets_of(tensor), matched.modules_to_save[tensor]
        sizes = {target.parameter.name: target.parameter.shape[0] for target in targets}
        for parameter, start, rows in slices_by_parameter(targets, value):
            key = module_key(tensor)
            if ties and parameter == head_weight and tied_tensor:
                lora_layers.tie_replacement(name, (embedding_layer, module_key(tied_tensor)), parameter, key)
                continue
            learns = trainable and parameter not in buffers
            first = None if start == 0 and len(rows) == sizes[parameter] else start
            lora_layers.add_replacement(name, parameter, key, rows, start=first, trainable=learns)
    for target, trained in matched.trained_tokens:
        lora_layers.add_tokens(name, target.rows[0].layer, trained.ids, trained.rows, trainable=trainable)
    layers = [target.rows[0].layer for target, _ in matched.trained_tokens]
    if model_targets.is_tied and layers == [embedding_layer]:  # as in PEFT, the tied head has the same tokens
        lora_layers.tie_tokens(name, embedding_layer, head_layer)
    return AttachedAdapter(
        lora,
        tuple((target, pair.rank, pair.alpha) for target, pair in matched.pairs),
        tuple(matched.modules_to_save),
        tuple((target.name, target.rows[0].layer) for target, _ in matched.trained_tokens),
    )


def export_adapter(
    lora_layers: LoraLayers, model_targets: ModelTargets, name: str, attached: AttachedAdapter
) -> LoraAdapter[Tensor]:
    """Return the current tensors of an adapter, on the CPU. With sharded weights, all ranks must call it."""
    pairs = {}
    for module, entries in groupby(attached.pairs, key=lambda entry: entry[0].name):
        group = list(entries)
        targets = [target for target, *_ in group]
        pairs[module] = _export_pair(lora_layers, name, targets, *group[0][1:])
    lora = attached.config
    parameters = dict.fromkeys(
        target.parameter for target, *_ in attached.pairs if target.parameter is not None
    )
    others = [
        key for key in parameters if not any(matches_name(key, target) for target in lora.target_parameters)
    ]
    return LoraAdapter(
        # Routers are modules in transformers 4, but parameters in transformers 5.
        config=attrs.evolve(lora, target_parameters=(*lora.target_parameters, *others)) if others else lora,
        weights=pairs,
        modules_to_save={
            tensor: _export_full_tensor(lora_layers, model_targets, name, tensor)
            for tensor in attached.modules_to_save
        },
        trained_tokens={
            module: TrainedTokens(tuple(part.ids.tolist()), full_tensor(part.current))
            for module, layer in attached.trained_tokens
            for part in [lora_layers.part(name, layer, TRAINABLE_TOKENS, TrainableTokens)]
        },
        targets=target_modules(
            [target for target, *_ in attached.pairs if target.parameter is None],
            [target for target in model_targets.targets if target.parameter is None],
        ),
        fan_in_fan_out=any(target.transposed for target, *_ in attached.pairs if target.parameter is None),
    )


def slices_by_parameter(
    tensor_targets: Iterable[TensorTarget], tensor: Tensor
) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the parameters that a Hugging Face tensor contains: name, first row and rows."""
    tensor = tensor.contiguous()
    for parameter, own in groupby(tensor_targets, key=lambda use: use.parameter.name):
        uses = list(own)
        rows = torch.cat([as_view(use.view, tensor).flatten(0, 1) for use in uses])
        yield parameter, uses[0].start, rows


def module_key(tensor: str) -> str:
    """Return the name under which the replacement of a Hugging Face tensor is stored in a LoRA layer."""
    return "_".join(tensor.split(".")[-2:])


def _pair_tensors(target: LoraTarget, pair: LoraWeights[Tensor]) -> PairTensors:
    a, b = (matrix.float() for matrix in expert_pair(target, pair.lora_A, pair.lora_B))
    vectors = [
        {}
        if vector is None
        else {layer: column[:, 0] for layer, column in from_hf(target, vector.float()[:, None]).items()}
        for vector in (pair.bias, None if target.kind == "embedding" else pair.magnitude)
    ]
    if target.kind == "embedding" and pair.magnitude is not None:
        vectors[1] = {target.rows[0].layer: pair.magnitude.float()}
    copies = [{layer: vector.clone() for layer, vector in by_layer.items()} for by_layer in vectors]
    return PairTensors(a.clone(), from_hf(target, b), *copies)


def _export_pair(
    lora_layers: LoraLayers, name: str, targets: list[LoraTarget], rank: int, alpha: float
) -> LoraWeights[Tensor]:
    by_target = [
        {rows.layer: lora_layers.pair(name, target, rows.layer) for rows in target.rows} for target in targets
    ]
    matrices = []
    for target, pairs in zip(targets, by_target, strict=True):
        b = to_hf(target, {layer: full_tensor(pair.lora_B) for layer, pair in pairs.items()})
        matrices.append((full_tensor(next(iter(pairs.values())).lora_A), b))
    a, b = stacked_pair(targets, matrices)
    bias, magnitude = (
        _vector(targets[0], {layer: getattr(pair, kind) for layer, pair in by_target[0].items()})
        for kind in ("bias", "magnitude")
    )
    return LoraWeights(a, b, rank, alpha, bias, magnitude, embedding=targets[0].kind == "embedding")


def _vector(target: LoraTarget, vectors: dict[str, Tensor | None]) -> Tensor | None:
    full = {layer: full_tensor(vector) for layer, vector in vectors.items() if vector is not None}
    if not full:
        return None
    if target.kind == "embedding":
        return next(iter(full.values()))
    return to_hf(target, {layer: vector[:, None] for layer, vector in full.items()})[:, 0].contiguous()


def _export_full_tensor(
    lora_layers: LoraLayers, model_targets: ModelTargets, name: str, tensor: str
) -> Tensor:
    full: Tensor | None = None
    for parameter, group in groupby(model_targets.targets_of(tensor), key=lambda use: use.parameter.name):
        layer = parameter.rpartition(".")[0]
        rows = full_tensor(lora_layers.part(name, layer, module_key(tensor), ReplacedRows).current)
        uses = list(group)
        full = rows.new_empty(uses[0].view.shape) if full is None else full
        for use in uses:
            part = rows[use.start - uses[0].start :][: use.view.num_rows]
            as_view(use.view, full).copy_(part.unflatten(0, (use.view.num_blocks, -1)))
    assert full is not None  # noqa: S101 - each Hugging Face tensor has a target
    return full


def _parameter(model_targets: ModelTargets, tensor: str) -> str:
    return model_targets.targets_of(tensor)[0].parameter.name


def _is_unchanged(model_targets: ModelTargets, tensor: str, value: Tensor) -> bool:
    """Return whether a tensor equals the model's: PEFT also saves the base weight of a targeted embedding."""
    state: dict[str, Tensor] = dict(model_targets.model.state_dict())
    for parameter, start, rows in slices_by_parameter(model_targets.targets_of(tensor), value):
        current = state[parameter][start:][: len(rows)]
        if not torch.equal(current, rows.to(current.device, current.dtype)):
            return False
    return True


def _resize_hint(model_targets: ModelTargets, tensor: str) -> str:
    model = model_targets.model
    if _parameter(model_targets, tensor).removesuffix(_WEIGHT) not in (model.embedding_name, model.head_name):
        return ""
    return " (the vocabulary was resized: load the adapter as a model with LLM.load())"
