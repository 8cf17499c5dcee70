"""Causal softmax attention with shared key-value heads."""

# B batch, T tokens in this call, S tokens seen, H query heads, G key-value heads, E head size

from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.cache import LayerCache
from litgpt.adapters.pytorch.linear import Linear
from litgpt.adapters.pytorch.norms import RMSNorm
from litgpt.adapters.pytorch.rotary import Rotation, rotate
from litgpt.adapters.pytorch.visibility import View
from litgpt.domain.architecture import Attention


class CausalSelfAttention(nn.Module):
    """Attention of one layer; `qkv` holds the rows of all queries, then keys, then values."""

    def __init__(self, width: int, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        self.qkv = Linear(width, sum(attention.qkv_rows), bias=attention.qkv_bias)
        self.proj = Linear(attention.qkv_rows[0], width, bias=attention.output_bias)
        if attention.qk_norm is not None:
            self.norm_q = RMSNorm(attention.head_size, attention.qk_norm)
            self.norm_k = RMSNorm(attention.head_size, attention.qk_norm)

    def forward(
        self, x: Tensor, rotation: Rotation, view: View, cache: LayerCache | None, slot: int
    ) -> Tensor:
        """Return what each token gathers from those it sees.

        Args:
            x: (B, T, width).
            rotation: By the tokens' positions.
            view: What they see.
            cache: Where their keys and values are kept; None keeps nothing.
            slot: Where in the cache they go.

        """
        batch, tokens, _ = x.shape
        heads, groups, size = self.attention.heads, self.attention.groups, self.attention.head_size
        qkv = self.qkv(x).view(batch, tokens, heads + 2 * groups, size)
        if self.attention.qk_norm is None:
            rotated = rotate(qkv[:, :, : heads + groups], rotation)
            queries, keys = rotated[:, :, :heads], rotated[:, :, heads:]
        else:
            queries = rotate(self.norm_q(qkv[:, :, :heads]), rotation)
            keys = rotate(self.norm_k(qkv[:, :, heads : heads + groups]), rotation)
        keys, values = keys.transpose(1, 2), qkv[:, :, heads + groups :].transpose(1, 2)
        if cache is not None:
            keys, values = cache.write(keys, values, slot, view.since)
        out: Tensor = self.proj(self._attend(queries, keys, values, view))
        return out

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, view: View) -> Tensor:
        """Return (B, T, H * E) from queries (B, T, H, E) and keys and values (B, G, S, E)."""
        batch, tokens, heads, size = queries.shape
        scale = self.attention.scale
        if tokens == 1:
            # The heads of a group stand in for tokens: one pass over the keys serves all of them.
            grouped = queries.view(batch, keys.shape[1], -1, size)
            out = functional.scaled_dot_product_attention(
                grouped, keys, values, attn_mask=view.mask, scale=scale
            )
        else:
            out = functional.scaled_dot_product_attention(
                queries.transpose(1, 2),
                keys,
                values,
                attn_mask=view.mask,
                is_causal=view.causal,
                scale=scale,
                enable_gqa=heads != keys.shape[1],
            ).transpose(1, 2)
        return out.reshape(batch, tokens, heads * size)
