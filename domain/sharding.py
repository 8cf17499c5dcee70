"""Tensor parallelism (arXiv:1909.08053): split each layer over several ranks.

Each rank has some attention heads and a slice of the MLP's intermediate dimension; the outputs of both are
all-reduced. The embedding and the LM head are split over the vocabulary.
"""

from collections.abc import Sequence
from typing import TypeVar

import attrs

from litgpt.domain.architecture import (
    AnyFeedForward,
    Architecture,
    Attention,
    Experts,
    FeedForward,
    GatedFeedForward,
    LatentAttention,
    Mixer,
)
from litgpt.domain.cutting import ONCE, WHOLE, Span, Split, restricted
from litgpt.domain.errors import OutOfReach
from litgpt.domain.parameters import Parameter
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join


def span(count: int, ranks: int, rank: int) -> Span:
    """Return a rank's span of `count` items, distributed as evenly as possible."""
    return count * rank // ranks, count * (rank + 1) // ranks


@attrs.frozen(kw_only=True)
class Share:
    """A rank's shard of a model.

    Attributes:
        ranks: World size.
        rank: Rank, from 0.
        architecture: The rank's architecture, with fewer heads and smaller intermediate sizes.
        vocabulary: The rank's rows of the embedding and LM head.
        joins: Checkpoint pieces of the rank's parameters.
        heads_of_all: Total number of query heads and key-value heads over all ranks, for each layer;
            replicated key-value heads are counted once per rank.
        zero: Parameters set to 0 because another rank adds them before the all-reduce.

    """

    ranks: int
    rank: int
    architecture: Architecture
    vocabulary: Span
    joins: tuple[Join, ...] = attrs.field(repr=False)
    heads_of_all: tuple[tuple[int, int], ...] = attrs.field(repr=False)
    zero: frozenset[str] = attrs.field(default=frozenset(), repr=False)

    def weight_bytes(self, *, dtype: DType, quantize: Quantization | None = None) -> int:
        """Return the memory of the rank's weights in bytes."""
        return sum(parameter_bytes(join.parameter, dtype, quantize) for join in self.joins)


def share(architecture: Architecture, joins: Sequence[Join], *, ranks: int, rank: int) -> Share:
    """Return a rank's shard of a model with the checkpoint pieces `joins`.

    Raises:
        OutOfReach: The model cannot be split over this number of ranks.

    """
    if ranks > 1 and architecture.streams > 1:
        raise _refused(ranks, "layers of type AlternatingUpdates cannot be split")
    layers = tuple(
        attrs.evolve(
            layer,
            mixer=_mixer(layer.mixer, ranks, rank),
            feed_forward=_feed_forward(layer.feed_forward, ranks, rank),
        )
        for layer in architecture.layers
    )
    splits = [split_of(architecture, join.parameter, ranks, rank) for join in joins]
    parts = tuple(restricted(join, split) for join, split in zip(joins, splits, strict=True))
    once = (join.parameter.name for join, split in zip(joins, splits, strict=True) if split.once)
    return Share(
        ranks=ranks,
        rank=rank,
        architecture=attrs.evolve(architecture, layers=layers),
        vocabulary=span(architecture.vocab_size, ranks, rank),
        joins=parts,
        heads_of_all=tuple(_heads_of_all(layer.mixer, ranks) for layer in architecture.layers),
        zero=frozenset(once) if rank > 0 else frozenset(),
    )


def heads_of(mixer: Attention, ranks: int, rank: int) -> tuple[Span, Span]:
    """Return a rank's spans of query heads and of key-value heads.

    With at least as many groups as ranks, groups are not split. Otherwise, each rank has some queries of one
    group, and the group's key-value head is replicated.

    Raises:
        OutOfReach: The heads cannot be distributed evenly.

    """
    if mixer.groups >= ranks:
        first, last = span(mixer.groups, ranks, rank)
        per_group = mixer.heads // mixer.groups
        return (first * per_group, last * per_group), (first, last)
    if ranks % mixer.groups or mixer.heads % ranks:
        raise _refused(ranks, f"{mixer.heads} heads in {mixer.groups} groups cannot be split evenly")
    group = rank * mixer.groups // ranks
    return span(mixer.heads, ranks, rank), (group, group + 1)


def _mixer(mixer: Mixer, ranks: int, rank: int) -> Mixer:
    match mixer:
        case Attention():
            (first, last), (low, high) = heads_of(mixer, ranks, rank)
            alibi = mixer.alibi
            if alibi is not None:
                alibi = attrs.evolve(alibi, slopes=alibi.slopes[first:last])
            return attrs.evolve(mixer, heads=last - first, groups=high - low, alibi=alibi)
        case LatentAttention():
            first, last = span(mixer.heads, ranks, rank)
            if first == last:
                raise _refused(ranks, f"there are only {mixer.heads} heads")
            return attrs.evolve(mixer, heads=last - first)
        case other:
            if ranks > 1:
                raise _refused(ranks, f"layers of type {type(other).__name__} cannot be split")
            return other


def _heads_of_all(mixer: Mixer, ranks: int) -> tuple[int, int]:
    if not isinstance(mixer, Attention):
        return 0, 0
    spans = [heads_of(mixer, ranks, rank) for rank in range(ranks)]
    queries, keys = (sum(pair[at][1] - pair[at][0] for pair in spans) for at in (0, 1))
    return queries, keys


def _feed_forward(feed_forward: AnyFeedForward, ranks: int, rank: int) -> AnyFeedForward:
    match feed_forward:
        case FeedForward():
            return _narrow(feed_forward, ranks, rank)
        case GatedFeedForward():
            return _narrow(feed_forward, ranks, rank)
        case Experts():
            # Splitting every expert balances the load for any routing.
            return attrs.evolve(
                feed_forward,
                expert=_narrow(feed_forward.expert, ranks, rank),
                shared=None if feed_forward.shared is None else _narrow(feed_forward.shared, ranks, rank),
            )
        case other:
            if ranks > 1:
                raise _refused(ranks, f"feed-forward layers of type {type(other).__name__} cannot be split")
            return other


FeedT = TypeVar("FeedT", FeedForward, GatedFeedForward)


def _narrow(feed_forward: FeedT, ranks: int, rank: int) -> FeedT:
    first, last = span(feed_forward.size, ranks, rank)
    return attrs.evolve(feed_forward, size=last - first)


def _refused(ranks: int, reason: str) -> OutOfReach:
    return OutOfReach(f"generate_strategy='tensor_parallel' with {ranks} devices", f"{reason}.")


def split_of(architecture: Architecture, parameter: Parameter, ranks: int, rank: int) -> Split:
    """Return a rank's slice of a parameter of the unsplit model."""
    name = parameter.name
    if name.startswith(("transformer.wte.", "lm_head.")):
        return Split("rows", (span(architecture.vocab_size, ranks, rank),))
    parts = name.split(".")
    if parts[:2] != ["transformer", "h"]:
        return WHOLE
    layer, within = architecture.layers[int(parts[2])], ".".join(parts[3:])
    if within.startswith("attn."):
        return _split_mixer(layer.mixer, within.removeprefix("attn."), ranks, rank)
    if within.startswith("mlp."):
        return _split_feed_forward(parameter, within, ranks, rank)
    return WHOLE


def _split_mixer(mixer: Mixer, within: str, ranks: int, rank: int) -> Split:
    match mixer:
        case _ if within == "proj.bias":
            return ONCE
        case Attention():
            return _attention_splits(mixer, ranks, rank).get(within.partition(".")[0], WHOLE)
        case LatentAttention():
            return _latent_splits(mixer, ranks, rank).get(within.partition(".")[0], WHOLE)
        case _:
            return WHOLE


def _attention_splits(mixer: Attention, ranks: int, rank: int) -> dict[str, Split]:
    size, (queries, keys, values) = mixer.head_size, mixer.qkv_rows
    (first, last), (low, high) = heads_of(mixer, ranks, rank)
    own, shared = (first * size, last * size), (low * size, high * size)
    # With a shared KV cache there are no rows for keys and values, and with K=V none for values.
    key = _moved(shared if keys else (0, 0), queries)
    value = _moved(shared if values else (0, 0), queries + keys)
    splits = {
        "qkv": Split("rows", (own, key, value)),
        "proj": Split("columns", (own,)),
        "gate": Split("rows", (own,)),
        "sinks": Split("rows", ((first, last),)),
    }
    if mixer.qk_norm is not None and mixer.qk_norm.over != "head":
        splits |= {"norm_q": Split("rows", (own,)), "norm_k": Split("rows", (shared,))}
    return splits


def _latent_splits(mixer: LatentAttention, ranks: int, rank: int) -> dict[str, Split]:
    first, last = span(mixer.heads, ranks, rank)

    def of_size(size: int) -> tuple[Span]:
        return ((first * size, last * size),)

    return {
        "q_proj": Split("rows", of_size(mixer.head_size)),
        "q_b_proj": Split("rows", of_size(mixer.head_size)),
        "kv_b_proj": Split("rows", of_size(mixer.plain_size + mixer.value_size)),
        "proj": Split("columns", of_size(mixer.value_size)),
    }


def _split_feed_forward(parameter: Parameter, within: str, ranks: int, rank: int) -> Split:
    module, _, kind = within.rpartition(".")
    leaf = module.rpartition(".")[2]
    if leaf in ("fc", "fc_1", "fc_2"):
        return Split("rows", (span(parameter.shape[0], ranks, rank),))
    if leaf == "proj":
        return ONCE if kind == "bias" else Split("columns", (span(parameter.shape[1], ranks, rank),))
    return WHOLE


def _moved(one: Span, by: int) -> Span:
    return one[0] + by, one[1] + by
