"""The network: one module for every family, built from an `Architecture`.

B batch, T tokens in this call, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from litgpt.adapters.pytorch.alibi import falling
from litgpt.adapters.pytorch.alternating import AlternatingBlock, Fork, Merge
from litgpt.adapters.pytorch.block import Block
from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.gradients import check_gradients
from litgpt.adapters.pytorch.lending import Lending
from litgpt.adapters.pytorch.linear import Embedding, Linear
from litgpt.adapters.pytorch.loss import Reduction, head_cross_entropy, next_tokens
from litgpt.adapters.pytorch.norms import normalise
from litgpt.adapters.pytorch.per_layer import PerLayerEmbedding
from litgpt.adapters.pytorch.rotary import Frequencies, Rotation, Turn, growth, rotation
from litgpt.adapters.pytorch.visibility import View, view
from litgpt.domain.architecture import Alibi, Architecture, Layer, QueryScaling, Rotary
from litgpt.domain.messages import summary
from litgpt.domain.sampling import Sampling

Sight: TypeAlias = tuple[int | None, bool, Alibi | None, torch.device]
"""What decides what tokens see in a layer: its window, if that is a chunk, how scores fall, its place."""


class GPT(nn.Module):
    """A decoder-only transformer, by LitGPT's tensor names.

    Args:
        architecture: What to build. The weights are uninitialised.

    Attributes:
        gradient_checkpointing: Whether training keeps only what passes between layers, and computes what is
            within them again when it needs it: less memory for about a third more work (arXiv:1604.06174).

    """

    gradient_checkpointing = False

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width, vocab, streams = architecture.width, architecture.vocab_size, architecture.streams
        self.lm_head = Linear(width, vocab, bias=architecture.head_bias)
        self.transformer = nn.ModuleDict(
            {
                "wte": Embedding(vocab, width),
                "fork": nn.Identity() if streams == 1 else Fork(width, streams),
                "h": nn.ModuleList(_block(width, layer) for layer in architecture.layers),
                "merge": nn.Identity() if streams == 1 else Merge(width, streams),
                "ln_f": normalise(width, architecture.final_norm),
            }
        )
        if architecture.embedding_norm is not None:
            self.transformer["wte_norm"] = normalise(width, architecture.embedding_norm)
        if architecture.learned_positions is not None:
            self.transformer["wpe"] = Embedding(architecture.learned_positions, width)
        if (per_layer := architecture.layer_embeddings) is not None:
            self.transformer["per_layer"] = PerLayerEmbedding(width, len(architecture.layers), per_layer)
        self._lenders = frozenset(one.mixer.lender for one in architecture.layers) - {None}
        self.tie_weights()
        # Where layers, and the head with the last norm, are, if they are on several devices.
        self.layer_devices: list[torch.device] | None = None
        self.head_device: torch.device | None = None
        # What changes the weights now, if anything: what was computed with another is of no use.
        self.adapter: object = None
        self._frequencies = Frequencies()

    def __repr__(self) -> str:
        return summary(type(self).__name__, architecture=self.architecture)

    __str__ = nn.Module.__repr__  # `print(llm.model)` writes the modules, as with every network

    def empty_cache(
        self,
        *,
        limit: int,
        starts: Sequence[int] = (0,),
        lengths: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> KVCache:
        """Return an empty cache, as `KVCache.empty` does, in this network's dtype and where it lives."""
        return KVCache.empty(
            self.architecture,
            limit=limit,
            device=self.layer_devices or self.input_device,
            dtype=self.lm_head.weight.dtype,
            starts=starts,
            lengths=lengths,
            fixed=fixed,
        )

    def agreed(self, sampling: Sampling) -> Sampling:
        """Return how to draw, as all processes that draw from this network do."""
        return sampling

    def generating(self) -> AbstractContextManager[object]:
        """Return what the steps of one generation happen within."""
        return nullcontext()

    def check_learning(self) -> None:
        """Raise if a loss is to be taken from which this network could not learn."""
        check_gradients(self)

    # LitGPT's `llm.model` is a wrapper, and programs written for it ask for the network inside.
    _forward_module = property(lambda self: self)

    @property
    def input_device(self) -> torch.device:
        """Where ids go."""
        embedding = self.transformer["wte"]
        assert isinstance(embedding, nn.Embedding)  # noqa: S101 - ModuleDict forgets what it holds
        return embedding.weight.device

    def tie_weights(self) -> None:
        """Let the head be the embedding, if the architecture says so."""
        if self.architecture.tied:
            embedding = self.transformer["wte"]
            assert isinstance(embedding, Embedding)  # noqa: S101 - ModuleDict forgets what it holds
            self.lm_head.weight = embedding.weight

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return logits.

        Args:
            input_ids: (B, T).
            cache: What was computed for the tokens before; those of this call are added. It may have more
                rows than `input_ids`, whose rows are then its first. None: there are no tokens before.
            positions: (B, T); None counts from each row's start.
            last: Whether only the last token's logits are wanted.

        Returns:
            (B, T, V), or (B, 1, V) if `last`, in the model's dtype.

        """
        return self.logits(self.hidden(input_ids, cache, positions=positions, last=last))

    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of the next tokens, without ever holding all logits.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted; -100 is not counted.
            reduction: `mean` or `sum` over the targets.

        Raises:
            BadArgument: The mean is wanted and no target counts.

        """
        hidden, targets = self.hidden(input_ids).flatten(0, 1), next_tokens(target_ids).flatten()
        scale, cap = self.architecture.logit_scale, self.architecture.logit_cap
        return head_cross_entropy(hidden, self.lm_head, targets, scale=scale, cap=cap, reduction=reduction)

    def hidden(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return what the head reads, (B, T, width); as `forward`."""
        batch, tokens = input_ids.shape
        starts: Sequence[int] = (0,)
        lengths: Sequence[int] = (tokens,)
        slot = 0
        if cache is not None:
            cache.make_room(tokens)
            starts, slot, lengths = cache.starts[:batch], cache.length, cache.lengths[:batch]
        if positions is None:
            positions = _positions(slot, tokens, starts, input_ids.device)
        x = self._embedded(input_ids, positions)
        parts = None
        if self.architecture.layer_embeddings is not None:
            parts = self.transformer["per_layer"](input_ids, x)
        x = self.transformer["fork"](x)
        lending = Lending(self._lenders)
        turns: dict[tuple[Rotary | None, QueryScaling | None, torch.device], Turn] = {}
        views: dict[Sight, View] = {}
        blocks, there = self.transformer["h"].children(), x.device
        through = _again if self.gradient_checkpointing and torch.is_grad_enabled() else _once
        for number, (block, layer) in enumerate(zip(blocks, self.architecture.layers, strict=True)):
            if self.layer_devices is not None:
                there = self.layer_devices[number]
                x, positions = x.to(there), positions.to(there)
            how = (layer.mixer.rotary, layer.mixer.query_scaling, there)
            sight = (layer.mixer.window, layer.mixer.chunked, layer.mixer.alibi, there)
            kept = cache.layers[number] if cache is not None else None
            if how not in turns:
                turned = self._rotation(how[0], positions, lengths, x.dtype, there)
                turns[how] = Turn(turned, growth(how[1], positions, x.dtype))
            if sight not in views:
                since = kept.first if kept is not None else 0
                views[sight] = _seen(sight, slot=slot, tokens=tokens, starts=starts, kept_since=since)
            place = lending.place(number, layer.mixer.lender, kept)
            part = None if parts is None else parts[:, :, number].to(x.device)
            x = through(block, x, turns[how], views[sight], place, slot, part)
        if cache is not None:
            cache.length += tokens
        x = x[:, -1:] if last else x
        if self.head_device is not None:
            x = x.to(self.head_device)
        read: Tensor = self.transformer["ln_f"](self.transformer["merge"](x))
        return read

    def _embedded(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        architecture = self.architecture
        x: Tensor = self.transformer["wte"](input_ids)
        if architecture.embedding_scale is not None:
            # In the model's dtype, as the model was trained: in bfloat16 the factor itself is rounded.
            x = x * torch.tensor(architecture.embedding_scale, dtype=x.dtype)
        if architecture.embedding_norm is not None:
            x = self.transformer["wte_norm"](x)
        if architecture.learned_positions is not None:
            x = x + self.transformer["wpe"](positions + architecture.first_position)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (…, V) of what the head reads (…, width)."""
        logits: Tensor = self.lm_head(hidden)
        scale, cap = self.architecture.logit_scale, self.architecture.logit_cap
        if scale is not None:
            logits = logits * scale
        if cap is not None:
            logits = (logits / cap).tanh() * cap
        return logits

    def _rotation(
        self,
        rotary: Rotary | None,
        positions: Tensor,
        lengths: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Rotation | None:
        """Return what turns the tokens at `positions`, in texts that may become as long as `lengths`."""
        if rotary is None:
            return None
        rows = [rotary.for_text(length) for length in lengths]
        if all(row == rows[0] for row in rows):
            return rotation(rows[0], self._frequencies(rows[0], device), positions, dtype)
        apart = [
            rotation(row, self._frequencies(row, device), own[None], dtype)
            for row, own in zip(rows, positions.expand(len(rows), -1), strict=True)
        ]
        cos, sin = torch.cat([one.cos for one in apart]), torch.cat([one.sin for one in apart])
        return Rotation(cos, sin, rotary.interleaved)


def _once(block: nn.Module, *arguments: object) -> Tensor:
    out: Tensor = block(*arguments)
    return out


def _again(block: nn.Module, *arguments: object) -> Tensor:
    """Go through a block and keep nothing of it: backward goes through it once more."""
    out: Tensor = checkpoint(block, *arguments, use_reentrant=False)
    return out


def _block(width: int, layer: Layer) -> Block:
    return Block(width, layer) if layer.updates is None else AlternatingBlock(width, layer, layer.updates)


def _positions(slot: int, tokens: int, starts: Sequence[int], device: torch.device) -> Tensor:
    """Return the positions (B or 1, T) of tokens that go to `slot` and on, counted from each row's start."""
    positions = torch.arange(slot, slot + tokens, device=device)[None]
    if any(starts):
        positions = (positions - torch.tensor(starts, device=device)[:, None]).clamp(min=0)
    return positions


def _seen(sight: Sight, *, slot: int, tokens: int, starts: Sequence[int], kept_since: int) -> View:
    """Return what `tokens` tokens that go to `slot` and on see in layers of a kind."""
    window, chunked, alibi, device = sight
    seen = view(
        slot=slot,
        tokens=tokens,
        window=window,
        chunked=chunked,
        starts=starts,
        kept_since=kept_since,
        device=device,
    )
    return seen if alibi is None else falling(seen, alibi, end=slot + tokens, starts=starts, device=device)
