"""Tensor-parallel layers, and the conversion of a GPT to the shard of one rank."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import Communicator
from litgpt.adapters.pytorch.model.attention.parallel_mixer import ParallelMixer
from litgpt.adapters.pytorch.model.attention.self_attention import CausalSelfAttention
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.linear_attention.mamba2 import Mamba2
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.ops.linear import Embedding, Linear
from litgpt.domain.model import Architecture, AttentionSpec, Mamba2Spec, NormSpec, ParallelMixerSpec
from litgpt.domain.model.sharding import even_range
from litgpt.domain.parallel.tensor_parallel import RankShard

GPTT = TypeVar("GPTT", bound=GPT)


class VocabParallelEmbedding(Embedding):
    """An embedding whose rows are split over the ranks."""

    def __init__(self, shard: RankShard, hidden_size: int, communicator: Communicator) -> None:
        first, last = shard.vocab_range
        super().__init__(last - first, hidden_size)
        self.vocab_start, self.communicator = first, communicator

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the embeddings (B, T, hidden_size) of ids (B, T), summed over all ranks."""
        local_ids = input - self.vocab_start
        is_local = (local_ids >= 0) & (local_ids < self.num_embeddings)
        rows = functional.embedding(torch.where(is_local, local_ids, 0), self.weight)
        return self.communicator.all_reduce(rows * is_local[..., None])


class ParallelLMHead(Linear):
    """An output head whose vocabulary is split over the ranks."""

    def __init__(self, shard: RankShard, communicator: Communicator) -> None:
        first, last = shard.vocab_range
        architecture, ranks = shard.architecture, range(shard.world_size)
        super().__init__(architecture.hidden_size, last - first, bias=architecture.lm_head_bias)
        ranges = [even_range(architecture.vocab_size, shard.world_size, rank) for rank in ranks]
        self.sizes, self.communicator = [stop - start for start, stop in ranges], communicator

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return the logits (B, T, V) of all ranks for hidden states (B, T, hidden_size)."""
        return self.communicator.all_gather(super().forward(input), self.sizes)


class ParallelRMSNorm(Norm):
    """A norm over a dimension that is split over the ranks, such as the queries of all heads.

    `size` is that of the dimension on this rank, `total` on all ranks together.
    """

    def __init__(self, size: int, norm: NormSpec, *, total: int, communicator: Communicator) -> None:
        super().__init__(size, norm)
        self.total, self.communicator = total, communicator

    def forward(self, x: Tensor) -> Tensor:
        """Return this rank's part of the normalized tensor (B, T, size)."""
        norm, result = self.spec, x.float()
        if norm.kind == "layer":
            result = result - self._mean(result)
        result = result * torch.rsqrt(self._mean(result.square()) + norm.eps)
        if self.weight is not None:
            weight = self.weight.float()
            result = result * (weight + 1.0 if norm.unit_offset else weight)
        if self.bias is not None:
            result = result + self.bias.float()
        return result.to(x.dtype)

    def _mean(self, x: Tensor) -> Tensor:
        """Return the mean (B, T, 1) over all ranks of x (B, T, size)."""
        return self.communicator.all_reduce(x.sum(-1, keepdim=True)) / self.total


def parallelize(shard: RankShard, communicator: Communicator, build: Callable[[Architecture], GPTT]) -> GPTT:
    """Return the model of one rank, with uninitialized weights on the meta device."""

    def all_reduce(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return communicator.all_reduce(output)

    with torch.device("meta"):
        model = build(shard.architecture)
        model.transformer["wte"] = VocabParallelEmbedding(shard, shard.architecture.hidden_size, communicator)
        model.lm_head = ParallelLMHead(shard, communicator)
        model.tie_weights()
        for index, block in enumerate(model.transformer["h"].children()):
            for part in (block.attn, block.mlp):
                assert isinstance(part, nn.Module)  # noqa: S101 - torch types submodules as Tensor | Module
                part.register_forward_hook(all_reduce)
            if isinstance(block.attn, CausalSelfAttention):
                _parallelize_qk_norm(block.attn, shard, index, communicator)
            mixer = block.attn.state_space if isinstance(block.attn, ParallelMixer) else block.attn
            if isinstance(mixer, Mamba2):
                _parallelize_state_norm(mixer, shard, index, communicator)
    return model


def _parallelize_qk_norm(
    attn: CausalSelfAttention, shard: RankShard, layer: int, communicator: Communicator
) -> None:
    mixer, full = attn.spec, shard.full_architecture.layers[layer].mixer
    assert isinstance(full, AttentionSpec)  # noqa: S101 - a shard has the mixers of the full model
    if mixer.qk_norm is None or mixer.qk_norm.scope != "all":
        return
    norm, size = mixer.qk_norm.norm, mixer.head_dim
    # Keys that are replicated on several ranks count once per rank, as the all-reduce adds them up.
    queries, keys = full.num_heads, max(full.num_kv_heads, shard.world_size)
    attn.norm_q = ParallelRMSNorm(
        mixer.num_heads * size, norm, total=queries * size, communicator=communicator
    )
    attn.norm_k = ParallelRMSNorm(
        mixer.num_kv_heads * size, norm, total=keys * size, communicator=communicator
    )


def _parallelize_state_norm(mixer: Mamba2, shard: RankShard, layer: int, communicator: Communicator) -> None:
    """Normalize the heads of a state space's only group, which are divided over the ranks, together."""
    full, spec = shard.full_architecture.layers[layer].mixer, mixer.spec
    full = full.state_space if isinstance(full, ParallelMixerSpec) else full
    if spec.norm is None or full.num_kv_heads >= shard.world_size:
        return
    assert isinstance(full, Mamba2Spec)  # noqa: S101 - a shard has the mixers of the full model
    size, total = spec.split_sizes[0], full.split_sizes[0]
    mixer.norm = ParallelRMSNorm(size, spec.norm, total=total, communicator=communicator)
