"""An adapter in a network: put there as it was saved, and read from there to be saved."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.lora.injection import TRAINABLE_TOKENS, LoraLayers, PairTensors
from litgpt.adapters.pytorch.lora.layer import LoraOptions as UseOfPair
from litgpt.adapters.pytorch.lora.model_targets import EMBEDDING, HEAD, ModelTargets
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
    """An adapter that is in a network.

    Attributes:
        config: Its settings.
        pairs: What it has pairs for, with each place's own rank and alpha.
        modules_to_save: The tensors of transformers that it has whole.
        trained_tokens: The embeddings and heads of transformers that it has tokens of, and which layers of
            ours these
            are.

    """

    config: LoraConfig
    pairs: tuple[tuple[LoraTarget, int, float], ...]
    modules_to_save: tuple[str, ...] = ()
    trained_tokens: tuple[tuple[str, str], ...] = ()

    __repr__ = brief_repr


@attrs.frozen
class MatchedAdapter:
    """An adapter and where all of it belongs in a network."""

    pairs: list[tuple[LoraTarget, LoraWeights[Tensor]]]
    modules_to_save: dict[str, Tensor]
    trained_tokens: list[tuple[LoraTarget, TrainedTokens[Tensor]]]

    __repr__ = brief_repr


def match_to_model(model_targets: ModelTargets, name: str, adapter: LoraAdapter[Tensor]) -> MatchedAdapter:
    """Return where all of an adapter belongs in a network.

    Raises:
        BadCheckpoint: It is for another model; the error lists all that does not fit.
        OutOfReach: It has a weight whole that is quantized.

    """
    pairs, unknown, misshapen = match_adapter(
        model_targets.targets, adapter, lambda tensor: tuple(tensor.shape)
    )
    replaced: dict[str, Tensor] = {}
    for saved, tensor in adapter.modules_to_save.items():
        there = model_targets.resolve_name(saved)
        if there is None:
            unknown.append(saved)
        elif tuple(tensor.shape) != (expected := model_targets.targets_of(there)[0].view.shape):
            misshapen.append(
                f"{saved} is {list(tensor.shape)}, expected {list(expected)}{_resized(model_targets, there)}"
            )
        elif not (
            there.removesuffix(_WEIGHT) in adapter.weights and _is_unchanged(model_targets, there, tensor)
        ):
            replaced[there] = tensor
    tokens = _match_tokens(model_targets, adapter, unknown, misshapen)
    if unknown or misshapen:
        raise adapter_mismatch(name, unknown, misshapen)
    quantized = {
        f"{one}{_WEIGHT}"
        for one, module in model_targets.model.named_modules()
        if isinstance(module, QuantizedLinear)
    }
    for tensor_name in replaced:
        if _parameter(model_targets, tensor_name) in quantized:
            reason = f"{tensor_name} is quantized. Load the model without `quantize`."
            raise UnsupportedOperation("An adapter that has a weight whole", reason)
    return MatchedAdapter(pairs, replaced, tokens)


def _match_tokens(
    model_targets: ModelTargets, adapter: LoraAdapter[Tensor], unknown: list[str], shape_mismatches: list[str]
) -> list[tuple[LoraTarget, TrainedTokens[Tensor]]]:
    tokens = []
    for module, trained in adapter.trained_tokens.items():
        places = [
            one
            for one in (model_targets.embedding, model_targets.head)
            if one and one.name in (module, text_model_name(module))
        ]
        if not places:
            unknown.append(module)
            continue
        (place,) = places
        shape, expected = tuple(trained.rows.shape), (len(trained.ids), place.in_features)
        if shape != expected or max(trained.ids) >= place.out_features:
            shape_mismatches.append(f"{module} has tokens {list(shape)}, expected {list(expected)}")
        tokens.append((place, trained))
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
    """Put an adapter into a network. Its tensors are copied: what is read may be a file.

    Args:
        lora_layers: The network.
        model_targets: Where an adapter can be in it.
        name: What to call the adapter.
        adapter: The adapter.
        matched: Where it belongs.
        trainable: Whether it learns.

    """
    lora = adapter.config
    ties = lora.ensure_weight_tying and model_targets.is_tied
    embedding = next((place for place, _ in matched.pairs if place.rows[0].layer == EMBEDDING), None)
    for place, pair in sorted(matched.pairs, key=lambda one: one[0].kind == "head"):  # a head may borrow
        if ties and place.kind == "head" and embedding is not None:
            lora_layers.tie_pair(name, embedding, place)
            continue
        use = UseOfPair(lora.scaling(pair.rank, pair.alpha), lora.dropout, trainable)
        lora_layers.add_pair(name, place, _pair_tensors(place, pair), use)
    tensor_of_embedding = next(
        (
            one
            for one in matched.modules_to_save
            if model_targets.targets_of(one)[0].parameter.name == f"{EMBEDDING}{_WEIGHT}"
        ),
        None,
    )
    for tensor, value in sorted(
        matched.modules_to_save.items(),
        key=lambda one: _parameter(model_targets, one[0]) == f"{HEAD}{_WEIGHT}",
    ):
        sizes = {use.parameter.name: use.parameter.shape[0] for use in model_targets.targets_of(tensor)}
        for parameter, start, rows in slices_by_parameter(model_targets.targets_of(tensor), value):
            if ties and parameter == f"{HEAD}{_WEIGHT}" and tensor_of_embedding:
                lora_layers.tie_replacement(
                    name, (EMBEDDING, module_key(tensor_of_embedding)), parameter, module_key(tensor)
                )
                continue
            learns = trainable and not _is_buffer(model_targets, parameter)
            whole_start = None if start == 0 and len(rows) == sizes[parameter] else start
            lora_layers.add_replacement(
                name, parameter, module_key(tensor), rows, start=whole_start, trainable=learns
            )
    for place, trained in matched.trained_tokens:
        lora_layers.add_tokens(name, place.rows[0].layer, trained.ids, trained.rows, trainable=trainable)
    layers = [place.rows[0].layer for place, _ in matched.trained_tokens]
    if model_targets.is_tied and layers == [
        EMBEDDING
    ]:  # as PEFT has it: the head's tokens are the embedding's
        lora_layers.tie_tokens(name, EMBEDDING, HEAD)
    return AttachedAdapter(
        lora,
        tuple((place, pair.rank, pair.alpha) for place, pair in matched.pairs),
        tuple(matched.modules_to_save),
        tuple((place.name, place.rows[0].layer) for place, _ in matched.trained_tokens),
    )


def export_adapter(
    lora_layers: LoraLayers, model_targets: ModelTargets, name: str, attached: AttachedAdapter
) -> LoraAdapter[Tensor]:
    """Return an adapter as it is in a network now, on the CPU.

    Where each process has a part of the weights, all of them have to call it.
    """
    pairs = {}
    for module, entries in groupby(attached.pairs, key=lambda one: one[0].name):
        group = list(entries)
        where = [place for place, *_ in group]
        pairs[module] = _export_pair(lora_layers, name, where, *group[0][1:])
    lora = attached.config
    parameters = dict.fromkeys(place.parameter for place, *_ in attached.pairs if place.parameter is not None)
    others = [
        one for one in parameters if not any(matches_name(one, target) for target in lora.target_parameters)
    ]
    return LoraAdapter(
        # Routers that an adapter of transformers 4 has as modules are parameters now.
        config=attrs.evolve(lora, target_parameters=(*lora.target_parameters, *others)) if others else lora,
        weights=pairs,
        modules_to_save={
            tensor: _export_full_tensor(lora_layers, model_targets, name, tensor)
            for tensor in attached.modules_to_save
        },
        trained_tokens={
            module: _export_tokens(lora_layers.part(name, layer, TRAINABLE_TOKENS, TrainableTokens))
            for module, layer in attached.trained_tokens
        },
        targets=target_modules(
            [place for place, *_ in attached.pairs if place.parameter is None],
            [place for place in model_targets.targets if place.parameter is None],
        ),
        fan_in_fan_out=any(place.transposed for place, *_ in attached.pairs if place.parameter is None),
    )


def slices_by_parameter(
    tensor_targets: Iterable[TensorTarget], tensor: Tensor
) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the parameters that a tensor of transformers holds, each with its first row and its rows."""
    tensor = tensor.contiguous()
    for parameter, own in groupby(tensor_targets, key=lambda use: use.parameter.name):
        uses = list(own)
        rows = torch.cat([as_view(use.view, tensor).flatten(0, 1) for use in uses])
        yield parameter, uses[0].start, rows


def module_key(tensor: str) -> str:
    """Return what to call a tensor of transformers beside the module of ours that it is in."""
    return "_".join(tensor.split(".")[-2:])


def _pair_tensors(target: LoraTarget, pair: LoraWeights[Tensor]) -> PairTensors:
    a, b = (one.float() for one in expert_pair(target, pair.lora_A, pair.lora_B))
    vectors = [
        {}
        if vector is None
        else {layer: column[:, 0] for layer, column in from_hf(target, vector.float()[:, None]).items()}
        for vector in (pair.bias, None if target.kind == "embedding" else pair.magnitude)
    ]
    if target.kind == "embedding" and pair.magnitude is not None:
        vectors[1] = {target.rows[0].layer: pair.magnitude.float()}
    copies = [{layer: vector.clone() for layer, vector in found.items()} for found in vectors]
    return PairTensors(a.clone(), from_hf(target, b), *copies)


def _export_pair(
    lora_layers: LoraLayers, name: str, where: list[LoraTarget], rank: int, alpha: float
) -> LoraWeights[Tensor]:
    found = []
    for place in where:
        own = {one.layer: lora_layers.pair(name, place, one.layer) for one in place.rows}
        b = to_hf(place, {layer: full_tensor(pair.lora_B) for layer, pair in own.items()})
        found.append((full_tensor(next(iter(own.values())).lora_A), b))
    a, b = stacked_pair(where, found)
    place = where[0]
    own = {one.layer: lora_layers.pair(name, place, one.layer) for one in place.rows}
    bias, magnitude = (
        _vector(place, {layer: getattr(pair, kind) for layer, pair in own.items()})
        for kind in ("bias", "magnitude")
    )
    return LoraWeights(a, b, rank, alpha, bias, magnitude, embedding=place.kind == "embedding")


def _vector(target: LoraTarget, vectors: dict[str, Tensor | None]) -> Tensor | None:
    there = {layer: full_tensor(vector) for layer, vector in vectors.items() if vector is not None}
    if not there:
        return None
    if target.kind == "embedding":
        return next(iter(there.values()))
    return to_hf(target, {layer: vector[:, None] for layer, vector in there.items()})[:, 0].contiguous()


def _export_full_tensor(
    lora_layers: LoraLayers, model_targets: ModelTargets, name: str, tensor: str
) -> Tensor:
    made: Tensor | None = None
    for parameter, own in groupby(model_targets.targets_of(tensor), key=lambda use: use.parameter.name):
        rows = full_tensor(
            lora_layers.part(name, parameter.rpartition(".")[0], module_key(tensor), ReplacedRows).current
        )
        uses = list(own)
        made = rows.new_empty(uses[0].view.shape) if made is None else made
        for use in uses:
            part = rows[use.start - uses[0].start :][: use.view.num_rows]
            as_view(use.view, made).copy_(part.unflatten(0, (use.view.num_blocks, -1)))
    assert made is not None  # noqa: S101 - there is a use for each tensor of transformers
    return made


def _export_tokens(part: TrainableTokens) -> TrainedTokens[Tensor]:
    return TrainedTokens(tuple(part.ids.tolist()), full_tensor(part.current))


def _parameter(model_targets: ModelTargets, tensor: str) -> str:
    return model_targets.targets_of(tensor)[0].parameter.name


def _is_buffer(model_targets: ModelTargets, parameter: str) -> bool:
    return parameter in dict(model_targets.model.named_buffers())


def _is_unchanged(model_targets: ModelTargets, tensor: str, value: Tensor) -> bool:
    """Whether a tensor is that of the model: PEFT saves a targeted embedding's own weight, too."""
    lookup: Callable[[str], Tensor] = dict(model_targets.model.state_dict()).__getitem__
    for parameter, start, rows in slices_by_parameter(model_targets.targets_of(tensor), value):
        there = lookup(parameter)[start:][: len(rows)]
        if not torch.equal(there, rows.to(there.device, there.dtype)):
            return False
    return True


def _resized(model_targets: ModelTargets, tensor: str) -> str:
    if _parameter(model_targets, tensor) not in (f"{EMBEDDING}{_WEIGHT}", f"{HEAD}{_WEIGHT}"):
        return ""
    return " (the vocabulary was resized: load the adapter as a model, with LLM.load())"
