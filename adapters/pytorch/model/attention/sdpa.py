"""Scaled dot-product attention, fused (torch) or eager."""

# B batch, T tokens of this call, S slots from kv_start on, H query heads, G key-value heads, E head size,
# V value head size

import torch
from torch import Tensor
from torch.nn import functional

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.domain.model.attention import QUERY_BLOCK


def sdpa_attention(
    queries: Tensor, keys: Tensor, values: Tensor, attention_mask: AttentionMask, *, scale: float
) -> Tensor:
    """Compute attention with torch's fused kernels.

    Args:
        queries: (B, T, H, E).
        keys: (B, G, S, E).
        values: (B, G, S, V).
        attention_mask: Attention mask; its bias is not supported.
        scale: Factor of the scores.

    Returns:
        (B, T, H * V), in the dtype of the values.
    """
    batch, tokens, heads, size = queries.shape
    if tokens == 1:
        # The query heads of a group become the token dimension: the keys are read once for all of them.
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
    """Compute attention in blocks of queries, with softcap, bias and sinks; else as `sdpa_attention`.

    Scores become `softcap * tanh(score / softcap)`. `sinks` (H,) has a score per head without a value.
    """
    batch, tokens, heads, size = queries.shape
    groups, num_keys = keys.shape[1], keys.shape[2]
    mask = attention_mask.mask
    if attention_mask.causal:
        mask = torch.ones((tokens, num_keys), dtype=torch.bool, device=queries.device).tril()[None, None]
    by_group = queries.view(batch, tokens, groups, heads // groups, size).permute(0, 2, 3, 1, 4)
    outs = []
    for begin in range(0, tokens, QUERY_BLOCK):
        block = by_group[:, :, :, begin : begin + QUERY_BLOCK]
        scores = (block @ keys[:, :, None].transpose(-1, -2)).float() * scale
        if softcap is not None:
            scores = (scores / softcap).tanh() * softcap
        if attention_mask.bias is not None:
            scores = scores + attention_mask.bias.view(-1, groups, heads // groups, 1, num_keys)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, :, None, begin : begin + QUERY_BLOCK], -torch.inf)
        weights = scores.softmax(-1)
        if sinks is not None:
            # A sink s scales the softmax of scores with logsumexp c by exp(c) / (exp(c) + exp(s)).
            sink = sinks.float().view(groups, -1, 1, 1)
            weights = weights * (scores.logsumexp(-1, keepdim=True) - sink).sigmoid()
        outs.append(weights.to(values.dtype) @ values[:, :, None])
    out = outs[0] if len(outs) == 1 else torch.cat(outs, 3)
    return out.permute(0, 3, 1, 2, 4).reshape(batch, tokens, -1)
