"""Causal softmax attention with shared key-value heads."""

# B batch, T tokens in this call, S tokens seen, H query heads, G key-value heads, E head size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.attending import attend, attend_written_out
from litgpt.adapters.pytorch.lending import Lender, Place
from litgpt.adapters.pytorch.linear import Linear
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.adapters.pytorch.rotary import Turn, rotate
from litgpt.adapters.pytorch.state import StateCache
from litgpt.adapters.pytorch.visibility import View
from litgpt.domain.architecture import Attention, QkNorm


class CausalSelfAttention(nn.Module):
    """Attention of one layer; `qkv` holds the rows of all queries, then keys, then values."""

    sinks: Tensor | None

    def __init__(self, width: int, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        self.qkv = Linear(width, sum(attention.qkv_rows), bias=attention.qkv_bias)
        self.proj = Linear(attention.qkv_rows[0], width, bias=attention.output_bias)
        self.gate = _gate(width, attention) if attention.gated else None
        sinks = nn.Parameter(torch.empty(attention.heads)) if attention.sinks else None
        self.register_parameter("sinks", sinks)
        self.written_out = bool(attention.cap or attention.sinks or attention.alibi)
        if (qk_norm := attention.qk_norm) is not None:
            self.norm_q = _norm(qk_norm, attention.heads, attention.head_size)
            if attention.lender is None:
                self.norm_k = _norm(qk_norm, attention.groups, attention.head_size)
        value_norm = attention.value_norm
        self.norm_v = None if value_norm is None else Normalise(attention.head_size, value_norm)

    def forward(self, x: Tensor, turn: Turn, view: View, cache: Place, slot: int) -> Tensor:
        """Return what each token gathers from those it sees.

        Args:
            x: (B, T, width).
            turn: What their positions do to queries and keys.
            view: What they see.
            cache: Where their keys and values are kept, or another layer's are, if this one has none; None
                keeps nothing.
            slot: Where in the cache they go.

        """
        batch, tokens, _ = x.shape
        attention = self.attention
        qkv = self.qkv(x).view(batch, tokens, -1, attention.head_size)
        if attention.clip is not None:
            qkv = qkv.clamp(-attention.clip, attention.clip)
        if attention.lender is None:
            queries, keys, values = self._heads(qkv, turn)
            if cache is not None:
                assert not isinstance(cache, StateCache)  # noqa: S101 - the architecture says who has which
                keys, values = cache.write(keys, values, slot, view.since)
        else:
            assert isinstance(cache, Lender)  # noqa: S101 - as above
            queries = self._queries(qkv, turn)
            keys, values = cache.lent(queries)
        if self.written_out:
            out = attend_written_out(
                queries, keys, values, view, scale=attention.scale, cap=attention.cap, sinks=self.sinks
            )
        else:
            out = attend(queries, keys, values, view, scale=attention.scale)
        if self.gate is not None:
            out = out * self.gate(x).sigmoid()
        result: Tensor = self.proj(out)
        return result

    def _heads(self, qkv: Tensor, turn: Turn) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, T, H, E), keys (B, G, T, E) and values (B, G, T, E)."""
        heads, groups = self.attention.heads, self.attention.groups
        queries, keys = self._positioned(qkv[:, :, : heads + groups], turn)
        values = qkv[:, :, -groups:]  # where they are the keys, those are last
        if self.norm_v is not None:
            values = self.norm_v(values)
        return queries, keys.transpose(1, 2), values.transpose(1, 2)

    def _queries(self, queries: Tensor, turn: Turn) -> Tensor:
        """Return queries (B, T, H, E), normalised and rotated; as `_positioned`."""
        if self.attention.qk_norm is not None:
            queries = self.norm_q(queries)
        if turn.rotation is not None:
            queries = rotate(queries, turn.rotation)
        return queries

    def _positioned(self, both: Tensor, turn: Turn) -> tuple[Tensor, Tensor]:
        """Return queries (B, T, H, E) and keys (B, T, G, E), normalised and rotated, from both together."""
        heads, qk_norm, rotation = self.attention.heads, self.attention.qk_norm, turn.rotation
        if rotation is not None and (qk_norm is None or qk_norm.after_rotary):
            both = rotate(both, rotation)
        queries, keys = both[:, :, :heads], both[:, :, heads:]
        if qk_norm is not None:
            if qk_norm.over == "all":
                queries = self.norm_q(queries.flatten(-2)).view_as(queries)
                keys = self.norm_k(keys.flatten(-2)).view_as(keys)
            else:
                queries, keys = self.norm_q(queries), self.norm_k(keys)
            if rotation is not None and not qk_norm.after_rotary:
                queries, keys = rotate(queries, rotation), rotate(keys, rotation)
        if turn.growth is not None:
            queries = queries * turn.growth
        return queries, keys


def _gate(width: int, attention: Attention) -> Linear:
    return Linear(width, attention.qkv_rows[0], bias=attention.qkv_bias)


def _norm(qk_norm: QkNorm, heads: int, size: int) -> Normalise:
    if qk_norm.over == "all":
        return Normalise(heads * size, qk_norm.norm)
    return Normalise(size, qk_norm.norm, heads=heads if qk_norm.over == "heads" else 1)
