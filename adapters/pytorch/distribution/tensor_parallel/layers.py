"""One network, made a rank's part of itself from outside: it has a share, and asks the group."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import Communicator
from litgpt.adapters.pytorch.model.attention.self_attention import CausalSelfAttention
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.ops.linear import Embedding, Linear
from litgpt.domain.model import NormSpec
from litgpt.domain.parallel.tensor_parallel import RankShard, even_range

GPTT = TypeVar("GPTT", bound=GPT)


class VocabParallelEmbedding(Embedding):
    """Some rows of an embedding; the other ranks have the others.

    Args:
        share: Whose rows.
        width: Numbers in each.
        communicator: Who has the others.

    """

    def __init__(self, shard: RankShard, hidden_size: int, communicator: Communicator) -> None:
        first, last = shard.vocab_range
        super().__init__(last - first, hidden_size)
        self.vocab_start, self.communicator = first, communicator

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return (B, T, width) of ids (B, T): each rank's own rows, and zeros for the rest, added up."""
        here = input - self.vocab_start
        mine = (here >= 0) & (here < self.num_embeddings)
        found = functional.embedding(torch.where(mine, here, 0), self.weight)
        return self.communicator.all_reduce(found * mine[..., None])


class ParallelLMHead(Linear):
    """The head for some tokens of the vocabulary; the other ranks have the others.

    Args:
        share: Whose tokens.
        architecture: Of the whole.
        communicator: Who has the others.

    """

    def __init__(self, shard: RankShard, communicator: Communicator) -> None:
        first, last = shard.vocab_range
        whole = shard.architecture
        super().__init__(whole.hidden_size, last - first, bias=whole.lm_head_bias)
        spans = [even_range(whole.vocab_size, shard.world_size, rank) for rank in range(shard.world_size)]
        self.sizes, self.communicator = [stop - start for start, stop in spans], communicator

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return (B, T, V) for the stream (B, T, width), the logits of all ranks."""
        return self.communicator.all_gather(super().forward(input), self.sizes)


class ParallelRMSNorm(Norm):
    """A norm over what several ranks have parts of: over the queries, or the keys, of all heads.

    Args:
        size: How many numbers this rank has.
        norm: How they are normalized.
        total: How many all ranks have.
        communicator: Who has the others.

    """

    def __init__(self, size: int, norm: NormSpec, *, total: int, communicator: Communicator) -> None:
        super().__init__(size, norm)
        self.total, self.communicator = total, communicator

    def forward(self, x: Tensor) -> Tensor:
        """Return this rank's part of the norm (B, T, size), as `Norm` gives all of it on one device."""
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
        """Return the mean (B, T, 1) of all ranks' numbers (B, T, size)."""
        return self.communicator.all_reduce(x.sum(-1, keepdim=True)) / self.total


def parallelize(shard: RankShard, communicator: Communicator, model_class: type[GPTT]) -> GPTT:
    """Return the network of a rank; the weights are uninitialized.

    Args:
        shard: What the rank has.
        communicator: The ranks.
        model_class: What to make of it: a GPT, or one that does more.

    """

    def together(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return communicator.all_reduce(output)

    with torch.device("meta"):
        model = model_class(shard.architecture)
        model.transformer["wte"] = VocabParallelEmbedding(shard, shard.architecture.hidden_size, communicator)
        model.lm_head = ParallelLMHead(shard, communicator)
        model.tie_weights()
        for number, block in enumerate(model.transformer["h"].children()):
            for part in (block.attn, block.mlp):
                assert isinstance(part, nn.Module)  # noqa: S101 - torch types what a module holds as anything
                part.register_forward_hook(together)
            if isinstance(block.attn, CausalSelfAttention):
                _parallelize_qk_norm(block.attn, shard, number, communicator)
    return model


def _parallelize_qk_norm(
    attn: CausalSelfAttention, shard: RankShard, layer: int, communicator: Communicator
) -> None:
    mixer = attn.spec
    if mixer.qk_norm is None or mixer.qk_norm.scope != "all":
        return
    norm, size = mixer.qk_norm.norm, mixer.head_dim
    # Of all ranks together; keys that several of them have count as often as they are added up.
    queries, keys = shard.total_heads[layer]
    attn.norm_q = ParallelRMSNorm(
        mixer.num_heads * size, norm, total=queries * size, communicator=communicator
    )
    attn.norm_k = ParallelRMSNorm(
        mixer.num_kv_heads * size, norm, total=keys * size, communicator=communicator
    )
