"""The lightning indexer of DeepSeek Sparse Attention (arXiv:2512.02556), which selects tokens."""

# B batch, T tokens of this call, S slots from kv_start on, H heads of the indexer, E their size,
# Q q_lora_rank, D hidden size

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.rope import RopeTable, apply_rope
from litgpt.adapters.pytorch.ops.linear import Linear, effective_parameter
from litgpt.domain.model import IndexerSpec

_MAX_SCORES = 2**24
"""Number of scores of all heads that are computed at once."""


class LightningIndexer(nn.Module):
    """The indexer of one layer."""

    def __init__(self, hidden_size: int, q_lora_rank: int, spec: IndexerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.q_b_proj = Linear(q_lora_rank, spec.num_heads * spec.head_dim, bias=False)
        self.k_proj = Linear(hidden_size, spec.head_dim, bias=False)
        self.k_norm = Norm(spec.head_dim, spec.norm)
        self.weights_proj = Linear(hidden_size, spec.num_heads, bias=False)

    @torch.no_grad()
    def keys(self, x: Tensor, rope: RopeTable) -> Tensor:
        """Return the keys (B, 1, T, E) of `x` (B, T, D)."""
        keys = self.k_norm(self.k_proj(x))[:, :, None]
        return apply_rope(keys, self._table(rope)).transpose(1, 2)

    @torch.no_grad()
    def select(
        self, x: Tensor, q_latent: Tensor, keys: Tensor, mask: AttentionMask, rope: RopeTable
    ) -> Tensor:
        """Return the tokens that are attended to, (B, 1, T, S); they include only those of `mask`.

        `x` is (B, T, D), `q_latent` (B, T, Q), and `keys` (B, 1, S, E) has those of all slots.
        """
        spec, (batch, tokens, _), slots = self.spec, x.shape, keys.shape[2]
        queries = self.q_b_proj(q_latent).view(batch, tokens, spec.num_heads, spec.head_dim)
        queries = apply_rope(queries, self._table(rope)).float()
        # In float32, as the selection depends on the last digits.
        weights = functional.linear(x.float(), effective_parameter(self.weights_proj, "weight").float())
        weights = weights * (spec.num_heads * spec.head_dim) ** -0.5
        allowed = _allowed(mask, tokens, slots, x.device).expand(batch, -1, -1)
        by_slot = keys[:, 0].float().transpose(-1, -2)[:, None]  # (B, 1, E, S)
        selected = torch.zeros((batch, tokens, slots), dtype=torch.bool, device=x.device)
        step = max(1, _MAX_SCORES // (batch * spec.num_heads * slots))
        for begin in range(0, tokens, step):
            block = slice(begin, begin + step)
            scores = functional.relu(queries[:, block] @ by_slot)  # (B, T, H, S)
            totals = (weights[:, block, None] @ scores)[:, :, 0].masked_fill(~allowed[:, block], -torch.inf)
            selected[:, block].scatter_(-1, totals.topk(spec.top_k, -1, sorted=False).indices, value=True)
        return (selected & allowed)[:, None]

    def _table(self, rope: RopeTable) -> RopeTable:
        """Return the cosines and sines of the attention in the order of this RoPE."""
        if rope.interleaved == self.spec.interleaved:
            return rope
        cos, sin = rope.cos, rope.sin
        if rope.interleaved:
            cos, sin = (torch.cat((it[..., ::2], it[..., 1::2]), -1) for it in (cos, sin))
        else:
            cos, sin = (torch.stack(it.chunk(2, -1), -1).flatten(-2) for it in (cos, sin))
        return RopeTable(cos, sin, self.spec.interleaved)


def _allowed(mask: AttentionMask, tokens: int, slots: int, device: torch.device) -> Tensor:
    """Return the tokens (B or 1, T, S) that a mask lets attention read."""
    if mask.mask is not None:
        return mask.mask[:, 0]
    allowed = torch.ones((1, tokens, slots), dtype=torch.bool, device=device)
    return allowed.tril() if mask.causal else allowed
