"""Scores, softmax and sum: what attention does once queries, keys and values are there."""

# B batch, T tokens in this call, S tokens seen, H query heads, G key-value heads, E head size

import torch
from torch import Tensor
from torch.nn import functional

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask

# Queries whose scores are written out at once, where no fused kernel can be used.
_QUERY_BLOCK = 128


def sdpa_attention(
    queries: Tensor, keys: Tensor, values: Tensor, attention_mask: AttentionMask, *, scale: float
) -> Tensor:
    """Attend through torch's fused kernels.

    Args:
        queries: (B, T, H, E).
        keys: (B, G, S, E).
        values: (B, G, S, V).
        attention_mask: Who sees whom.
        scale: Multiplies the scores.

    Returns:
        (B, T, H * V), in the dtype of the values.

    """
    batch, tokens, heads, size = queries.shape
    if tokens == 1:
        # The heads of a group stand in for tokens: one pass over the keys serves all of them.
        grouped = queries.view(batch, keys.shape[1], -1, size)
        out = functional.scaled_dot_product_attention(
            grouped, keys, values, attn_mask=attention_mask.mask, scale=scale
        )
    else:
        out = functional.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys,
            values,
            attn_mask=attention_mask.mask,
            is_causal=attention_mask.causal,
            scale=scale,
            enable_gqa=heads != keys.shape[1],
        ).transpose(1, 2)
    return out.reshape(batch, tokens, -1)


def eager_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    attention_mask: AttentionMask,
    *,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attend where no fused kernel does what is asked for; as `attend`, in blocks of queries.

    Args:
        queries: (B, T, H, E).
        keys: (B, G, S, E).
        values: (B, G, S, V).
        attention_mask: Who sees whom.
        scale: Multiplies the scores.
        softcap: Scores are squashed into plus and minus this; None leaves them.
        sinks: (H,), a score of each head that takes its share and gives nothing; None: there are none.

    """
    batch, tokens, heads, size = queries.shape
    groups, seen = keys.shape[1], keys.shape[2]
    mask = attention_mask.mask
    if attention_mask.causal:
        mask = torch.ones((tokens, seen), dtype=torch.bool, device=queries.device).tril()[None, None]
    by_group = queries.view(batch, tokens, groups, heads // groups, size).permute(0, 2, 3, 1, 4)
    outs = []
    for begin in range(0, tokens, _QUERY_BLOCK):
        block = by_group[:, :, :, begin : begin + _QUERY_BLOCK]
        scores = (block @ keys[:, :, None].transpose(-1, -2)).float() * scale
        if softcap is not None:
            scores = (scores / softcap).tanh() * softcap
        if attention_mask.bias is not None:
            scores = scores + attention_mask.bias.view(-1, groups, heads // groups, 1, seen)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, :, None, begin : begin + _QUERY_BLOCK], -torch.inf)
        shares = scores.softmax(-1)
        if sinks is not None:
            # Beside a score s, a softmax over scores that come to c leaves them exp(c) / (exp(c) + exp(s)).
            alone = sinks.float().view(groups, -1, 1, 1)
            shares = shares * (scores.logsumexp(-1, keepdim=True) - alone).sigmoid()
        outs.append(shares.to(values.dtype) @ values[:, :, None])
    out = outs[0] if len(outs) == 1 else torch.cat(outs, 3)
    return out.permute(0, 3, 1, 2, 4).reshape(batch, tokens, -1)
