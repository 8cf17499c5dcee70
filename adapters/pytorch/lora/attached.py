"""An adapter in a network: put there as it was saved, and read from there to be saved."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.lora.layer import Replacement, whole
from litgpt.adapters.pytorch.lora.layers import TOKENS, Layers, PairTensors
from litgpt.adapters.pytorch.lora.pairs import Use as UseOfPair
from litgpt.adapters.pytorch.lora.rows import of_expert, of_peft, ours, theirs
from litgpt.adapters.pytorch.lora.sites import EMBEDDING, HEAD, Sites
from litgpt.adapters.pytorch.lora.tokens import TokenRows
from litgpt.adapters.pytorch.pieces import seen
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.domain.errors import OutOfReach
from litgpt.domain.lora import Adapter, Lora, Pair, TrainedTokens, misfit
from litgpt.domain.lora_fitting import fitting, plain_name
from litgpt.domain.lora_places import Place, is_called, targets_of
from litgpt.domain.messages import brief_repr
from litgpt.domain.weights import Use

_WEIGHT = ".weight"


@attrs.frozen(eq=False)
class Attached:
    """An adapter that is in a network.

    Attributes:
        lora: Its settings.
        pairs: What it has pairs for, with each place's own rank and alpha.
        whole: The tensors of transformers that it has whole.
        tokens: The embeddings and heads of transformers that it has tokens of, and which layers of ours these
            are.

    """

    lora: Lora
    pairs: tuple[tuple[Place, int, float], ...]
    whole: tuple[str, ...] = ()
    tokens: tuple[tuple[str, str], ...] = ()

    __repr__ = brief_repr


@attrs.frozen
class Fitted:
    """An adapter and where all of it belongs in a network."""

    pairs: list[tuple[Place, Pair[Tensor]]]
    whole: dict[str, Tensor]
    tokens: list[tuple[Place, TrainedTokens[Tensor]]]

    __repr__ = brief_repr


def fitted(sites: Sites, name: str, adapter: Adapter[Tensor]) -> Fitted:
    """Return where all of an adapter belongs in a network.

    Raises:
        BadCheckpoint: It is for another model; the error lists all that does not fit.
        OutOfReach: It has a weight whole that is quantized.

    """
    pairs, unknown, misshapen = fitting(sites.places, adapter, lambda tensor: tuple(tensor.shape))
    replaced: dict[str, Tensor] = {}
    for saved, tensor in adapter.whole.items():
        there = sites.named(saved)
        if there is None:
            unknown.append(saved)
        elif tuple(tensor.shape) != (expected := sites.uses_of(there)[0].piece.shape):
            misshapen.append(
                f"{saved} is {list(tensor.shape)}, expected {list(expected)}{_resized(sites, there)}"
            )
        elif not (there.removesuffix(_WEIGHT) in adapter.pairs and _is_unchanged(sites, there, tensor)):
            replaced[there] = tensor
    tokens = _fitted_tokens(sites, adapter, unknown, misshapen)
    if unknown or misshapen:
        raise misfit(name, unknown, misshapen)
    quantized = {
        f"{one}{_WEIGHT}"
        for one, module in sites.model.named_modules()
        if isinstance(module, QuantisedLinear)
    }
    for tensor_name in replaced:
        if _parameter(sites, tensor_name) in quantized:
            reason = f"{tensor_name} is quantized. Load the model without `quantize`."
            raise OutOfReach("An adapter that has a weight whole", reason)
    return Fitted(pairs, replaced, tokens)


def _fitted_tokens(
    sites: Sites, adapter: Adapter[Tensor], unknown: list[str], misshapen: list[str]
) -> list[tuple[Place, TrainedTokens[Tensor]]]:
    tokens = []
    for module, trained in adapter.tokens.items():
        places = [
            one for one in (sites.embedding, sites.head) if one and one.name in (module, plain_name(module))
        ]
        if not places:
            unknown.append(module)
            continue
        (place,) = places
        shape, expected = tuple(trained.rows.shape), (len(trained.ids), place.inputs)
        if shape != expected or max(trained.ids) >= place.outputs:
            misshapen.append(f"{module} has tokens {list(shape)}, expected {list(expected)}")
        tokens.append((place, trained))
    return tokens


def put(
    network: Layers, sites: Sites, name: str, adapter: Adapter[Tensor], found: Fitted, *, trainable: bool
) -> Attached:
    """Put an adapter into a network. Its tensors are copied: what is read may be a file.

    Args:
        network: The network.
        sites: Where an adapter can be in it.
        name: What to call the adapter.
        adapter: The adapter.
        found: Where it belongs.
        trainable: Whether it learns.

    """
    lora = adapter.lora
    ties = lora.ensure_weight_tying and sites.tied
    embedding = next((place for place, _ in found.pairs if place.rows[0].layer == EMBEDDING), None)
    for place, pair in sorted(found.pairs, key=lambda one: one[0].kind == "head"):  # a head may borrow
        if ties and place.kind == "head" and embedding is not None:
            network.lend(name, embedding, place)
            continue
        use = UseOfPair(lora.scaling(pair.rank, pair.alpha), lora.dropout, trainable)
        network.put(name, place, _by_layer(place, pair), use)
    tensor_of_embedding = next(
        (one for one in found.whole if sites.uses_of(one)[0].parameter.name == f"{EMBEDDING}{_WEIGHT}"), None
    )
    for tensor, value in sorted(
        found.whole.items(), key=lambda one: _parameter(sites, one[0]) == f"{HEAD}{_WEIGHT}"
    ):
        sizes = {use.parameter.name: use.parameter.shape[0] for use in sites.uses_of(tensor)}
        for parameter, start, rows in by_parameter(sites.uses_of(tensor), value):
            if ties and parameter == f"{HEAD}{_WEIGHT}" and tensor_of_embedding:
                network.lend_replacement(
                    name, (EMBEDDING, leaf(tensor_of_embedding)), parameter, leaf(tensor)
                )
                continue
            learns = trainable and not _is_buffer(sites, parameter)
            whole_start = None if start == 0 and len(rows) == sizes[parameter] else start
            network.replace(name, parameter, leaf(tensor), rows, start=whole_start, trainable=learns)
    for place, trained in found.tokens:
        network.put_tokens(name, place.rows[0].layer, trained.ids, trained.rows, trainable=trainable)
    layers = [place.rows[0].layer for place, _ in found.tokens]
    if sites.tied and layers == [EMBEDDING]:  # as PEFT has it: the head's tokens are the embedding's
        network.lend_tokens(name, EMBEDDING, HEAD)
    return Attached(
        lora,
        tuple((place, pair.rank, pair.alpha) for place, pair in found.pairs),
        tuple(found.whole),
        tuple((place.name, place.rows[0].layer) for place, _ in found.tokens),
    )


def captured(network: Layers, sites: Sites, name: str, attached: Attached) -> Adapter[Tensor]:
    """Return an adapter as it is in a network now, on the CPU.

    Where each process has a part of the weights, all of them have to call it.
    """
    pairs = {}
    for module, entries in groupby(attached.pairs, key=lambda one: one[0].name):
        group = list(entries)
        where = [place for place, *_ in group]
        pairs[module] = _pair(network, name, where, *group[0][1:])
    lora = attached.lora
    parameters = dict.fromkeys(place.parameter for place, *_ in attached.pairs if place.parameter is not None)
    others = [
        one for one in parameters if not any(is_called(one, target) for target in lora.target_parameters)
    ]
    return Adapter(
        # Routers that an adapter of transformers 4 has as modules are parameters now.
        lora=attrs.evolve(lora, target_parameters=(*lora.target_parameters, *others)) if others else lora,
        pairs=pairs,
        whole={tensor: _whole(network, sites, name, tensor) for tensor in attached.whole},
        tokens={
            module: _tokens(network.part(name, layer, TOKENS, TokenRows)) for module, layer in attached.tokens
        },
        targets=targets_of(
            [place for place, *_ in attached.pairs if place.parameter is None],
            [place for place in sites.places if place.parameter is None],
        ),
        transposed=any(place.transposed for place, *_ in attached.pairs if place.parameter is None),
    )


def by_parameter(those: Iterable[Use], tensor: Tensor) -> Iterator[tuple[str, int, Tensor]]:
    """Yield the parameters that a tensor of transformers holds, each with its first row and its rows."""
    tensor = tensor.contiguous()
    for parameter, own in groupby(those, key=lambda use: use.parameter.name):
        uses = list(own)
        rows = torch.cat([seen(use.piece, tensor).flatten(0, 1) for use in uses])
        yield parameter, uses[0].start, rows


def leaf(tensor: str) -> str:
    """Return what to call a tensor of transformers beside the module of ours that it is in."""
    return "_".join(tensor.split(".")[-2:])


def _by_layer(place: Place, pair: Pair[Tensor]) -> PairTensors:
    a, b = (one.float() for one in of_expert(place, pair.a, pair.b))
    vectors = [
        {}
        if vector is None
        else {layer: column[:, 0] for layer, column in ours(place, vector.float()[:, None]).items()}
        for vector in (pair.bias, None if place.kind == "embedding" else pair.magnitude)
    ]
    if place.kind == "embedding" and pair.magnitude is not None:
        vectors[1] = {place.rows[0].layer: pair.magnitude.float()}
    copies = [{layer: vector.clone() for layer, vector in found.items()} for found in vectors]
    return PairTensors(a.clone(), ours(place, b), *copies)


def _pair(network: Layers, name: str, where: list[Place], rank: int, alpha: float) -> Pair[Tensor]:
    found = []
    for place in where:
        own = {one.layer: network.pair(name, place, one.layer) for one in place.rows}
        b = theirs(place, {layer: whole(pair.up) for layer, pair in own.items()})
        found.append((whole(next(iter(own.values())).down), b))
    a, b = of_peft(where, found)
    place = where[0]
    own = {one.layer: network.pair(name, place, one.layer) for one in place.rows}
    bias, magnitude = (
        _vector(place, {layer: getattr(pair, kind) for layer, pair in own.items()})
        for kind in ("bias", "magnitude")
    )
    return Pair(a, b, rank, alpha, bias, magnitude, embedding=place.kind == "embedding")


def _vector(place: Place, vectors: dict[str, Tensor | None]) -> Tensor | None:
    there = {layer: whole(vector) for layer, vector in vectors.items() if vector is not None}
    if not there:
        return None
    if place.kind == "embedding":
        return next(iter(there.values()))
    return theirs(place, {layer: vector[:, None] for layer, vector in there.items()})[:, 0].contiguous()


def _whole(network: Layers, sites: Sites, name: str, tensor: str) -> Tensor:
    made: Tensor | None = None
    for parameter, own in groupby(sites.uses_of(tensor), key=lambda use: use.parameter.name):
        rows = whole(network.part(name, parameter.rpartition(".")[0], leaf(tensor), Replacement).current)
        uses = list(own)
        made = rows.new_empty(uses[0].piece.shape) if made is None else made
        for use in uses:
            part = rows[use.start - uses[0].start :][: use.piece.rows]
            seen(use.piece, made).copy_(part.unflatten(0, (use.piece.runs, -1)))
    assert made is not None  # noqa: S101 - there is a use for each tensor of transformers
    return made


def _tokens(part: TokenRows) -> TrainedTokens[Tensor]:
    return TrainedTokens(tuple(part.ids.tolist()), whole(part.current))


def _parameter(sites: Sites, tensor: str) -> str:
    return sites.uses_of(tensor)[0].parameter.name


def _is_buffer(sites: Sites, parameter: str) -> bool:
    return parameter in dict(sites.model.named_buffers())


def _is_unchanged(sites: Sites, tensor: str, value: Tensor) -> bool:
    """Whether a tensor is that of the model: PEFT saves a targeted embedding's own weight, too."""
    lookup: Callable[[str], Tensor] = dict(sites.model.state_dict()).__getitem__
    for parameter, start, rows in by_parameter(sites.uses_of(tensor), value):
        there = lookup(parameter)[start:][: len(rows)]
        if not torch.equal(there, rows.to(there.device, there.dtype)):
            return False
    return True


def _resized(sites: Sites, tensor: str) -> str:
    if _parameter(sites, tensor) not in (f"{EMBEDDING}{_WEIGHT}", f"{HEAD}{_WEIGHT}"):
        return ""
    return " (the vocabulary was resized: load the adapter as a model, with LLM.load())"
