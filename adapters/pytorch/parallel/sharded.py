"""One network, made a rank's part of itself from outside: it has a share, and asks the group."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.attention import CausalSelfAttention
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.linear import Embedding, Linear
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.adapters.pytorch.parallel.group import Group
from litgpt.domain.architecture import Norm
from litgpt.domain.sharding import Share, span

GPTT = TypeVar("GPTT", bound=GPT)


class SharedEmbedding(Embedding):
    """Some rows of an embedding; the other ranks have the others.

    Args:
        share: Whose rows.
        width: Numbers in each.
        group: Who has the others.

    """

    def __init__(self, share: Share, width: int, group: Group) -> None:
        first, last = share.vocabulary
        super().__init__(last - first, width)
        self.first, self.group = first, group

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return (B, T, width) of ids (B, T): each rank's own rows, and zeros for the rest, added up."""
        here = input - self.first
        mine = (here >= 0) & (here < self.num_embeddings)
        found = functional.embedding(torch.where(mine, here, 0), self.weight)
        return self.group.sum(found * mine[..., None])


class SharedHead(Linear):
    """The head for some tokens of the vocabulary; the other ranks have the others.

    Args:
        share: Whose tokens.
        architecture: Of the whole.
        group: Who has the others.

    """

    def __init__(self, share: Share, group: Group) -> None:
        first, last = share.vocabulary
        whole = share.architecture
        super().__init__(whole.width, last - first, bias=whole.head_bias)
        spans = [span(whole.vocab_size, share.ranks, rank) for rank in range(share.ranks)]
        self.sizes, self.group = [stop - start for start, stop in spans], group

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Return (B, T, V) for the stream (B, T, width), the logits of all ranks."""
        return self.group.gather(super().forward(input), self.sizes)


class SharedNorm(Normalise):
    """A norm over what several ranks have parts of: over the queries, or the keys, of all heads.

    Args:
        size: How many numbers this rank has.
        norm: How they are normalised.
        total: How many all ranks have.
        group: Who has the others.

    """

    def __init__(self, size: int, norm: Norm, *, total: int, group: Group) -> None:
        super().__init__(size, norm)
        self.total, self.group = total, group

    def forward(self, x: Tensor) -> Tensor:
        """Return this rank's part of the norm (B, T, size), as `Normalise` gives all of it on one device."""
        norm, result = self.norm, x.float()
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
        return self.group.sum(x.sum(-1, keepdim=True)) / self.total


def sharded(share: Share, group: Group, kind: type[GPTT]) -> GPTT:
    """Return the network of a rank; the weights are uninitialised.

    Args:
        share: What the rank has.
        group: The ranks.
        kind: What to make of it: a GPT, or one that does more.

    """

    def together(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return group.sum(output)

    with torch.device("meta"):
        model = kind(share.architecture)
        model.transformer["wte"] = SharedEmbedding(share, share.architecture.width, group)
        model.lm_head = SharedHead(share, group)
        model.tie_weights()
        for number, block in enumerate(model.transformer["h"].children()):
            for part in (block.attn, block.mlp):
                assert isinstance(part, nn.Module)  # noqa: S101 - torch types what a module holds as anything
                part.register_forward_hook(together)
            if isinstance(block.attn, CausalSelfAttention):
                _normalise_together(block.attn, share, number, group)
    return model


def _normalise_together(attn: CausalSelfAttention, share: Share, number: int, group: Group) -> None:
    mixer = attn.attention
    if mixer.qk_norm is None or mixer.qk_norm.over != "all":
        return
    norm, size = mixer.qk_norm.norm, mixer.head_size
    # Of all ranks together; keys that several of them have count as often as they are added up.
    queries, keys = share.heads_of_all[number]
    attn.norm_q = SharedNorm(mixer.heads * size, norm, total=queries * size, group=group)
    attn.norm_k = SharedNorm(mixer.groups * size, norm, total=keys * size, group=group)
