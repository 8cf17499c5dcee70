"""The network: one module for every family, built from an `Architecture`.

B batch, T tokens in this call, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from litgpt.adapters.pytorch.gradients import check_gradients
from litgpt.adapters.pytorch.model.altup import AltUpBlock, StreamProjection, StreamUnembedding
from litgpt.adapters.pytorch.model.attention.alibi import add_alibi_bias
from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask, build_mask
from litgpt.adapters.pytorch.model.attention.kv_sharing import KVSharing
from litgpt.adapters.pytorch.model.block import Block
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.adapters.pytorch.model.loss import Reduction, linear_cross_entropy, shift_labels
from litgpt.adapters.pytorch.model.norm import build_norm
from litgpt.adapters.pytorch.model.per_layer_embedding import PerLayerEmbedding
from litgpt.adapters.pytorch.model.rope import (
    InverseFrequencyCache,
    PositionInfo,
    RopeTable,
    query_temperature,
    rope_table,
)
from litgpt.adapters.pytorch.ops.linear import Embedding, Linear
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.model import AlibiSpec, Architecture, AttentionTemperature, LayerSpec, RopeSpec

MaskKey: TypeAlias = tuple[int | None, bool, AlibiSpec | None, torch.device]
"""What decides what tokens see in a layer: its window, if that is a chunk, how scores fall, its place."""


class GPT(nn.Module):
    """A decoder-only transformer, by LitGPT's tensor names.

    Args:
        architecture: What to build. The weights are uninitialized.

    Attributes:
        gradient_checkpointing: Whether training keeps only what passes between layers, and computes what is
            within them again when it needs it: less memory for about a third more work (arXiv:1604.06174).

    """

    gradient_checkpointing = False

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width, vocab, streams = architecture.hidden_size, architecture.vocab_size, architecture.num_streams
        self.lm_head = Linear(width, vocab, bias=architecture.lm_head_bias)
        self.transformer = nn.ModuleDict(
            {
                "wte": Embedding(vocab, width),
                "fork": nn.Identity() if streams == 1 else StreamProjection(width, streams),
                "h": nn.ModuleList(_make_block(width, layer) for layer in architecture.layers),
                "merge": nn.Identity() if streams == 1 else StreamUnembedding(width, streams),
                "ln_f": build_norm(width, architecture.final_norm),
            }
        )
        if architecture.embedding_norm is not None:
            self.transformer["wte_norm"] = build_norm(width, architecture.embedding_norm)
        if architecture.num_position_embeddings is not None:
            self.transformer["wpe"] = Embedding(architecture.num_position_embeddings, width)
        if (per_layer := architecture.per_layer_embedding) is not None:
            self.transformer["per_layer"] = PerLayerEmbedding(width, len(architecture.layers), per_layer)
        self._kv_sharing_layers = frozenset(one.mixer.kv_shared_layer for one in architecture.layers) - {None}
        self.tie_weights()
        # Where layers, and the head with the last norm, are, if they are on several devices.
        self.layer_devices: list[torch.device] | None = None
        self.head_device: torch.device | None = None
        # What changes the weights now, if anything: what was computed with another is of no use.
        self.adapter: object = None
        self._frequencies = InverseFrequencyCache()

    def __repr__(self) -> str:
        return summary_repr(type(self).__name__, architecture=self.architecture)

    __str__ = nn.Module.__repr__  # `print(llm.model)` writes the modules, as with every network

    def empty_cache(
        self,
        *,
        max_length: int,
        row_offsets: Sequence[int] = (0,),
        lengths: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> KVCache:
        """Return an empty cache, as `KVCache.empty` does, in this network's dtype and where it lives."""
        return KVCache.empty(
            self.architecture,
            max_length=max_length,
            device=self.layer_devices or self.input_device,
            dtype=self.lm_head.weight.dtype,
            row_offsets=row_offsets,
            lengths=lengths,
            fixed=fixed,
        )

    def synced_sampling(self, params: SamplingParams) -> SamplingParams:
        """Return how to draw, as all processes that draw from this network do."""
        return params

    def generation_context(self) -> AbstractContextManager[object]:
        """Return what the steps of one generation happen within."""
        return nullcontext()

    def require_trainable(self) -> None:
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
        if self.architecture.tie_word_embeddings:
            embedding = self.transformer["wte"]
            assert isinstance(embedding, Embedding)  # noqa: S101 - ModuleDict forgets what it holds
            self.lm_head.weight = embedding.weight

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return logits.

        Args:
            input_ids: (B, T).
            cache: What was computed for the tokens before; those of this call are added. It may have more
                rows than `input_ids`, whose rows are then its first. None: there are no tokens before.
            positions: (B, T); None counts from each row's start.
            last_token_only: Whether only the last token's logits are wanted.

        Returns:
            (B, T, V), or (B, 1, V) if `last_token_only`, in the model's dtype.

        """
        return self.logits(
            self.hidden_states(input_ids, cache, positions=positions, last_token_only=last_token_only)
        )

    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of the next tokens, without ever holding all logits.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted; -100 is not counted.
            reduction: `mean` or `sum` over the targets.

        Raises:
            BadArgument: The mean is wanted and no target counts.

        """
        hidden, targets = self.hidden_states(input_ids).flatten(0, 1), shift_labels(target_ids).flatten()
        scale, cap = self.architecture.logit_scale, self.architecture.final_logit_softcap
        return linear_cross_entropy(
            hidden, self.lm_head, targets, scale=scale, softcap=cap, reduction=reduction
        )

    def hidden_states(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return what the head reads, (B, T, width); as `forward`."""
        batch, tokens = input_ids.shape
        starts: Sequence[int] = (0,)
        lengths: Sequence[int] = (tokens,)
        slot = 0
        if cache is not None:
            cache.reserve(tokens)
            starts, slot, lengths = cache.row_offsets[:batch], cache.length, cache.lengths[:batch]
        if positions is None:
            positions = _positions(slot, tokens, starts, input_ids.device)
        x = self._embed(input_ids, positions)
        parts = None
        if self.architecture.per_layer_embedding is not None:
            parts = self.transformer["per_layer"](input_ids, x)
        x = self.transformer["fork"](x)
        lending = KVSharing(self._kv_sharing_layers)
        turns: dict[tuple[RopeSpec | None, AttentionTemperature | None, torch.device], PositionInfo] = {}
        views: dict[MaskKey, AttentionMask] = {}
        blocks, there = self.transformer["h"].children(), x.device
        through = _checkpointed if self.gradient_checkpointing and torch.is_grad_enabled() else _run_block
        for number, (block, layer) in enumerate(zip(blocks, self.architecture.layers, strict=True)):
            if self.layer_devices is not None:
                there = self.layer_devices[number]
                x, positions = x.to(there), positions.to(there)
            how = (layer.mixer.rope, layer.mixer.attention_temperature, there)
            sight = (layer.mixer.sliding_window, layer.mixer.chunked, layer.mixer.alibi, there)
            kept = cache.layers[number] if cache is not None else None
            if how not in turns:
                turned = self._rope_table(how[0], positions, lengths, x.dtype, there)
                turns[how] = PositionInfo(turned, query_temperature(how[1], positions, x.dtype))
            if sight not in views:
                since = kept.oldest_slot if kept is not None else 0
                views[sight] = _build_mask(
                    sight, slot=slot, tokens=tokens, row_offsets=starts, oldest_slot=since
                )
            place = lending.layer_state(number, layer.mixer.kv_shared_layer, kept)
            part = None if parts is None else parts[:, :, number].to(x.device)
            x = through(block, x, turns[how], views[sight], place, slot, part)
        if cache is not None:
            cache.length += tokens
        x = x[:, -1:] if last_token_only else x
        if self.head_device is not None:
            x = x.to(self.head_device)
        read: Tensor = self.transformer["ln_f"](self.transformer["merge"](x))
        return read

    def _embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        architecture = self.architecture
        x: Tensor = self.transformer["wte"](input_ids)
        if architecture.embedding_scale is not None:
            # In the model's dtype, as the model was trained: in bfloat16 the factor itself is rounded.
            x = x * torch.tensor(architecture.embedding_scale, dtype=x.dtype)
        if architecture.embedding_norm is not None:
            x = self.transformer["wte_norm"](x)
        if architecture.num_position_embeddings is not None:
            x = x + self.transformer["wpe"](positions + architecture.position_offset)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (…, V) of what the head reads (…, width)."""
        logits: Tensor = self.lm_head(hidden)
        scale, cap = self.architecture.logit_scale, self.architecture.final_logit_softcap
        if scale is not None:
            logits = logits * scale
        if cap is not None:
            logits = (logits / cap).tanh() * cap
        return logits

    def _rope_table(
        self,
        rope: RopeSpec | None,
        positions: Tensor,
        lengths: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> RopeTable | None:
        """Return what turns the tokens at `positions`, in texts that may become as long as `lengths`."""
        if rope is None:
            return None
        rows = [rope.for_length(length) for length in lengths]
        if all(row == rows[0] for row in rows):
            return rope_table(rows[0], self._frequencies(rows[0], device), positions, dtype)
        apart = [
            rope_table(row, self._frequencies(row, device), own[None], dtype)
            for row, own in zip(rows, positions.expand(len(rows), -1), strict=True)
        ]
        cos, sin = torch.cat([one.cos for one in apart]), torch.cat([one.sin for one in apart])
        return RopeTable(cos, sin, rope.interleaved)


def _run_block(block: nn.Module, *arguments: object) -> Tensor:
    out: Tensor = block(*arguments)
    return out


def _checkpointed(block: nn.Module, *arguments: object) -> Tensor:
    """Go through a block and keep nothing of it: backward goes through it once more."""
    out: Tensor = checkpoint(block, *arguments, use_reentrant=False)
    return out


def _make_block(hidden_size: int, layer: LayerSpec) -> Block:
    return Block(hidden_size, layer) if layer.altup is None else AltUpBlock(hidden_size, layer, layer.altup)


def _positions(slot: int, tokens: int, row_offsets: Sequence[int], device: torch.device) -> Tensor:
    """Return the positions (B or 1, T) of tokens that go to `slot` and on, counted from each row's start."""
    positions = torch.arange(slot, slot + tokens, device=device)[None]
    if any(row_offsets):
        positions = (positions - torch.tensor(row_offsets, device=device)[:, None]).clamp(min=0)
    return positions


def _build_mask(
    key: MaskKey, *, slot: int, tokens: int, row_offsets: Sequence[int], oldest_slot: int
) -> AttentionMask:
    """Return what `tokens` tokens that go to `slot` and on see in layers of a kind."""
    window, chunked, alibi, device = key
    seen = build_mask(
        slot=slot,
        tokens=tokens,
        sliding_window=window,
        chunked=chunked,
        row_offsets=row_offsets,
        oldest_slot=oldest_slot,
        device=device,
    )
    return (
        seen
        if alibi is None
        else add_alibi_bias(seen, alibi, end=slot + tokens, row_offsets=row_offsets, device=device)
    )
