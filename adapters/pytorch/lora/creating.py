"""An adapter that changes nothing yet, to be trained: what PEFT would begin with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.lora.layer import dense_weight
from litgpt.adapters.pytorch.lora.pairs import kaiming
from litgpt.adapters.pytorch.lora.rows import theirs
from litgpt.adapters.pytorch.lora.sites import Sites
from litgpt.adapters.pytorch.memory import allocatable
from litgpt.adapters.pytorch.pieces import theirs as tensor_of
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import BadArgument, OutOfReach
from litgpt.domain.lora import Adapter, Lora, Pair, TrainedTokens
from litgpt.domain.lora_places import Place, all_chosen
from litgpt.domain.memory import check_bytes
from litgpt.domain.weights import Join

_CPU = torch.device("cpu")


def initial(sites: Sites, lora: Lora) -> Adapter[Tensor]:
    """Return a new adapter for a network, initialized as PEFT does.

    Args:
        sites: Where an adapter can be in it.
        lora: What it is.

    Raises:
        BadArgument: A target cannot be right, or two options exclude one another.
        OutOfReach: A module that is to be trained whole is quantized.

    """
    where = all_chosen(sites.places, lora)
    whole = dict.fromkeys([*sites.tensors_within(lora), *sites.biases(lora, where)])
    tokens = sites.tokens(lora)
    embedding, head = sites.embedding, sites.head
    ties = lora.ensure_weight_tying and sites.tied and embedding is not None and head is not None
    if ties:
        assert embedding is not None and head is not None  # noqa: S101, PT018 - as above
        both = (f"{embedding.name}.weight", f"{head.name}.weight")
        whole |= dict.fromkeys(both if any(name in whole for name in both) else ())
        if any(place in (embedding, head) for place in where):
            where = (embedding, *(place for place in where if place not in (embedding, head)), head)
    for module in tokens:
        if f"{module}.weight" in whole:
            expected = f"tokens of a module that is not in modules_to_save, as {module} is"
            raise BadArgument("trainable_token_indices", list(tokens[module]), expected)
    if lora.lora_bias and (other := [place.name for place in where if place.kind == "embedding"]):
        raise BadArgument(
            "lora_bias", lora.lora_bias, f"False with an embedding among the targets ({other[0]})"
        )
    needed = 4 * _numbers(where, lora)
    check_bytes(f"rank={lora.rank}", needed, allocatable(), "Use a smaller rank, or fewer targets.")
    pairs: dict[str, Pair[Tensor]] = {}
    for place in where:
        if place.name not in pairs:  # of stacked experts, one pair is for all
            pairs[place.name] = _pair(sites, place, lora)
    if ties and head is not None and embedding is not None and head in where:
        first = pairs[embedding.name]
        pairs[head.name] = Pair(first.b.T, first.a.T, first.rank, first.alpha)
    return Adapter(
        lora=lora,
        pairs=pairs,
        whole={name: _tensor(sites, name) for name in whole},
        tokens={
            module: TrainedTokens(ids, _tensor(sites, f"{module}.weight")[list(ids)])
            for module, ids in tokens.items()
        },
    )


def trained_numbers(
    architecture: Architecture, joins: Sequence[Join], model_type: str, lora: Lora
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
        sites = Sites.of(GPT(architecture), joins, model_type)
    where = all_chosen(sites.places, lora)
    return _numbers(where, lora), any(".mlp." in rows.layer for place in where for rows in place.rows)


def _numbers(where: Sequence[Place], lora: Lora) -> int:
    shapes = {place.name: place.shapes(lora.rank) for place in where}  # stacked experts share a pair
    return sum(rows * columns for pair in shapes.values() for rows, columns in pair)


def _pair(sites: Sites, place: Place, lora: Lora) -> Pair[Tensor]:
    (a_rows, inputs), (outputs, b_columns) = place.shapes(lora.rank)
    if place.kind == "embedding":
        a, b = torch.zeros(a_rows, inputs), torch.randn(outputs, b_columns)
    else:
        a, b = kaiming(a_rows, inputs, _CPU), torch.zeros(outputs, b_columns)
    bias = torch.zeros(place.outputs) if lora.lora_bias else None
    magnitude = _norms(sites, place) if lora.use_dora else None
    return Pair(a, b, lora.rank, lora.alpha, bias, magnitude, embedding=place.kind == "embedding")


def _norms(sites: Sites, place: Place) -> Tensor:
    """Return the norms of a weight's rows, in the order of transformers; of an embedding's columns."""
    weights = {
        rows.layer: dense_weight(sites.model.get_submodule(rows.layer))
        .detach()[rows.start : rows.stop]
        .float()
        for rows in place.rows
    }
    if place.kind == "embedding":
        (weight,) = weights.values()
        norms: Tensor = weight.norm(dim=0).cpu()
        return norms
    return theirs(place, {layer: weight.norm(dim=1, keepdim=True) for layer, weight in weights.items()})[
        :, 0
    ].cpu()


def _tensor(sites: Sites, name: str) -> Tensor:
    """Return a tensor of transformers, as the network has it now."""
    return tensor_of(sites.uses[name], lambda ours: _ours(sites, ours, name)).float()


def _ours(sites: Sites, name: str, tensor: str) -> Tensor:
    module, _, parameter = name.rpartition(".")
    layer: nn.Module = sites.model.get_submodule(module)
    if isinstance(layer, QuantisedLinear) and parameter == "weight":
        reason = f"{tensor} is quantized. Only modules that are not, such as norms and the head, can be."
        raise OutOfReach("Training a module whole", reason)
    value: Tensor = getattr(layer, parameter)
    return value.detach().cpu()
