"""Tensor parallelism (arXiv:1909.08053): split each layer over several ranks.

Each rank has some attention heads and a slice of the MLP's intermediate dimension; the outputs of both are
all-reduced. The embedding and the LM head are split over the vocabulary.
"""

from collections.abc import Sequence
from typing import TypeVar

import attrs

from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import (
    AnyMLPSpec,
    Architecture,
    AttentionSpec,
    GatedMLPSpec,
    MixerSpec,
    MLASpec,
    MLPSpec,
    MoESpec,
)
from litgpt.domain.parallel.tensor_shard import RANK0_ONLY, REPLICATED, Range, TensorShard, shard_source
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.parameters import ParameterSpec
from litgpt.domain.weights.tensor_info import DType


def even_range(count: int, world_size: int, rank: int) -> Range:
    """Return a rank's span of `count` items, distributed as evenly as possible."""
    return count * rank // world_size, count * (rank + 1) // world_size


@attrs.frozen(kw_only=True)
class RankShard:
    """A rank's shard of a model.

    Attributes:
        architecture: The rank's architecture, with fewer heads and smaller intermediate sizes.
        vocab_range: The rank's rows of the embedding and LM head.
        sources: Checkpoint pieces of the rank's parameters.
        total_heads: Total number of query heads and key-value heads over all ranks, for each layer;
            replicated key-value heads are counted once per rank.
        zeroed: Parameters set to 0 because another rank adds them before the all-reduce.
    """

    world_size: int
    rank: int
    architecture: Architecture
    vocab_range: Range
    sources: tuple[ParameterSource, ...] = attrs.field(repr=False)
    total_heads: tuple[tuple[int, int], ...] = attrs.field(repr=False)
    zeroed: frozenset[str] = attrs.field(default=frozenset(), repr=False)

    def weight_bytes(self, *, dtype: DType, quantize: Quantization | None = None) -> int:
        return sum(parameter_bytes(join.parameter, dtype, quantize) for join in self.sources)


def shard_model(
    architecture: Architecture, sources: Sequence[ParameterSource], *, world_size: int, rank: int
) -> RankShard:
    """Return a rank's shard of a model with the checkpoint pieces `sources`.

    Raises:
        UnsupportedOperation: The model cannot be split over this number of ranks.
    """
    if world_size > 1 and architecture.num_streams > 1:
        raise _unsupported(world_size, "layers of type AltUpSpec cannot be split")
    layers = tuple(
        attrs.evolve(
            layer,
            mixer=_shard_mixer(layer.mixer, world_size, rank),
            mlp=_shard_mlp(layer.mlp, world_size, rank),
        )
        for layer in architecture.layers
    )
    splits = [tensor_shard(architecture, join.parameter, world_size, rank) for join in sources]
    parts = tuple(shard_source(join, split) for join, split in zip(sources, splits, strict=True))
    once = (join.parameter.name for join, split in zip(sources, splits, strict=True) if split.rank0_only)
    return RankShard(
        world_size=world_size,
        rank=rank,
        architecture=attrs.evolve(architecture, layers=layers),
        vocab_range=even_range(architecture.vocab_size, world_size, rank),
        sources=parts,
        total_heads=tuple(_total_heads(layer.mixer, world_size) for layer in architecture.layers),
        zeroed=frozenset(once) if rank > 0 else frozenset(),
    )


def shard_heads(mixer: AttentionSpec, world_size: int, rank: int) -> tuple[Range, Range]:
    """Return a rank's ranges of query heads and of key-value heads.

    With at least as many groups as ranks, groups are not split. Otherwise, each rank has some queries of one
    group, and the group's key-value head is replicated.
    """
    if mixer.num_kv_heads >= world_size:
        first, last = even_range(mixer.num_kv_heads, world_size, rank)
        per_group = mixer.num_heads // mixer.num_kv_heads
        return (first * per_group, last * per_group), (first, last)
    if world_size % mixer.num_kv_heads or mixer.num_heads % world_size:
        raise _unsupported(
            world_size, f"{mixer.num_heads} heads in {mixer.num_kv_heads} groups cannot be split evenly"
        )
    group = rank * mixer.num_kv_heads // world_size
    return even_range(mixer.num_heads, world_size, rank), (group, group + 1)


def _shard_mixer(mixer: MixerSpec, world_size: int, rank: int) -> MixerSpec:
    match mixer:
        case AttentionSpec():
            (first, last), (low, high) = shard_heads(mixer, world_size, rank)
            alibi = mixer.alibi
            if alibi is not None:
                alibi = attrs.evolve(alibi, slopes=alibi.slopes[first:last])
            return attrs.evolve(mixer, num_heads=last - first, num_kv_heads=high - low, alibi=alibi)
        case MLASpec():
            first, last = even_range(mixer.num_heads, world_size, rank)
            if first == last:
                raise _unsupported(world_size, f"there are only {mixer.num_heads} heads")
            return attrs.evolve(mixer, num_heads=last - first)
        case other:
            if world_size > 1:
                raise _unsupported(world_size, f"layers of type {type(other).__name__} cannot be split")
            return other


def _total_heads(mixer: MixerSpec, world_size: int) -> tuple[int, int]:
    if not isinstance(mixer, AttentionSpec):
        return 0, 0
    spans = [shard_heads(mixer, world_size, rank) for rank in range(world_size)]
    queries, keys = (sum(pair[at][1] - pair[at][0] for pair in spans) for at in (0, 1))
    return queries, keys


def _shard_mlp(mlp: AnyMLPSpec, world_size: int, rank: int) -> AnyMLPSpec:
    match mlp:
        case MLPSpec():
            return _shard_intermediate(mlp, world_size, rank)
        case GatedMLPSpec():
            return _shard_intermediate(mlp, world_size, rank)
        case MoESpec():
            # Splitting every expert balances the load for any routing.
            return attrs.evolve(
                mlp,
                expert=_shard_intermediate(mlp.expert, world_size, rank),
                shared_expert=None
                if mlp.shared_expert is None
                else _shard_intermediate(mlp.shared_expert, world_size, rank),
            )
        case other:
            if world_size > 1:
                raise _unsupported(
                    world_size, f"feed-forward layers of type {type(other).__name__} cannot be split"
                )
            return other


MLPT = TypeVar("MLPT", MLPSpec, GatedMLPSpec)


def _shard_intermediate(mlp: MLPT, world_size: int, rank: int) -> MLPT:
    first, last = even_range(mlp.intermediate_size, world_size, rank)
    return attrs.evolve(mlp, intermediate_size=last - first)


def _unsupported(world_size: int, reason: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        f"generate_strategy='tensor_parallel' with {world_size} devices", f"{reason}."
    )


def tensor_shard(
    architecture: Architecture, parameter: ParameterSpec, world_size: int, rank: int
) -> TensorShard:
    """Return a rank's slice of a parameter of the unsplit model."""
    name = parameter.name
    if name.startswith(("transformer.wte.", "lm_head.")):
        return TensorShard("rows", (even_range(architecture.vocab_size, world_size, rank),))
    parts = name.split(".")
    if parts[:2] != ["transformer", "h"]:
        return REPLICATED
    layer, within = architecture.layers[int(parts[2])], ".".join(parts[3:])
    if within.startswith("attn."):
        return _mixer_shard(layer.mixer, within.removeprefix("attn."), world_size, rank)
    if within.startswith("mlp."):
        return _mlp_shard(parameter, within, world_size, rank)
    return REPLICATED


def _mixer_shard(mixer: MixerSpec, within: str, world_size: int, rank: int) -> TensorShard:
    match mixer:
        case _ if within == "proj.bias":
            return RANK0_ONLY
        case AttentionSpec():
            return _attention_shards(mixer, world_size, rank).get(within.partition(".")[0], REPLICATED)
        case MLASpec():
            return _mla_shards(mixer, world_size, rank).get(within.partition(".")[0], REPLICATED)
        case _:
            return REPLICATED


def _attention_shards(mixer: AttentionSpec, world_size: int, rank: int) -> dict[str, TensorShard]:
    size, (queries, keys, values) = mixer.head_dim, mixer.qkv_sizes
    (first, last), (low, high) = shard_heads(mixer, world_size, rank)
    own, shared = (first * size, last * size), (low * size, high * size)
    # With a shared KV cache there are no rows for keys and values, and with K=V none for values.
    key = _shifted(shared if keys else (0, 0), queries)
    value = _shifted(shared if values else (0, 0), queries + keys)
    splits = {
        "qkv": TensorShard("rows", (own, key, value)),
        "proj": TensorShard("columns", (own,)),
        "gate": TensorShard("rows", (own,)),
        "sinks": TensorShard("rows", ((first, last),)),
    }
    if mixer.qk_norm is not None and mixer.qk_norm.scope != "head":
        splits |= {"norm_q": TensorShard("rows", (own,)), "norm_k": TensorShard("rows", (shared,))}
    return splits


def _mla_shards(mixer: MLASpec, world_size: int, rank: int) -> dict[str, TensorShard]:
    first, last = even_range(mixer.num_heads, world_size, rank)

    def of_size(size: int) -> tuple[Range]:
        return ((first * size, last * size),)

    return {
        "q_proj": TensorShard("rows", of_size(mixer.head_dim)),
        "q_b_proj": TensorShard("rows", of_size(mixer.head_dim)),
        "kv_b_proj": TensorShard("rows", of_size(mixer.qk_nope_head_dim + mixer.v_head_dim)),
        "proj": TensorShard("columns", of_size(mixer.v_head_dim)),
    }


def _mlp_shard(parameter: ParameterSpec, within: str, world_size: int, rank: int) -> TensorShard:
    module, _, kind = within.rpartition(".")
    leaf = module.rpartition(".")[2]
    if leaf in ("fc", "fc_1", "fc_2"):
        return TensorShard("rows", (even_range(parameter.shape[0], world_size, rank),))
    if leaf == "proj":
        return (
            RANK0_ONLY
            if kind == "bias"
            else TensorShard("columns", (even_range(parameter.shape[1], world_size, rank),))
        )
    return REPLICATED


def _shifted(one: Range, offset: int) -> Range:
    return one[0] + offset, one[1] + offset
