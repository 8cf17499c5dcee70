"""The network: one module for every family, built from an `Architecture`.

B batch, T tokens in this call, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.attention import CausalSelfAttention
from litgpt.adapters.pytorch.cache import KVCache, LayerCache
from litgpt.adapters.pytorch.feedforward import GatedMLP
from litgpt.adapters.pytorch.linear import Embedding, Linear
from litgpt.adapters.pytorch.norms import RMSNorm
from litgpt.adapters.pytorch.rotary import Rotation, frequencies, rotation
from litgpt.adapters.pytorch.visibility import View, view
from litgpt.domain.architecture import Architecture, Layer, Rotary


class Block(nn.Module):
    """Attention and feed-forward, each added to the stream that passes by."""

    def __init__(self, width: int, layer: Layer) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(width, layer.norm)
        self.attn = CausalSelfAttention(width, layer.attention)
        self.norm_2 = RMSNorm(width, layer.norm)
        self.mlp = GatedMLP(width, layer.feed_forward)
        self.norm_after = layer.norm_after is not None
        if layer.norm_after is not None:
            self.post_attention_norm = RMSNorm(width, layer.norm_after)
            self.post_mlp_norm = RMSNorm(width, layer.norm_after)

    def forward(
        self, x: Tensor, rotation: Rotation, view: View, cache: LayerCache | None, slot: int
    ) -> Tensor:
        """Return the stream (B, T, width) after this layer."""
        attended: Tensor = self.attn(self.norm_1(x), rotation, view, cache, slot)
        x = x + (self.post_attention_norm(attended) if self.norm_after else attended)
        thought: Tensor = self.mlp(self.norm_2(x))
        return x + (self.post_mlp_norm(thought) if self.norm_after else thought)


class GPT(nn.Module):
    """A decoder-only transformer, by LitGPT's tensor names.

    Args:
        architecture: What to build. The weights are uninitialised.

    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        width, vocab = architecture.width, architecture.vocab_size
        self.lm_head = Linear(width, vocab, bias=False)
        self.transformer = nn.ModuleDict(
            {
                "wte": Embedding(vocab, width),
                "h": nn.ModuleList(Block(width, layer) for layer in architecture.layers),
                "ln_f": RMSNorm(width, architecture.final_norm),
            }
        )
        self.tie_weights()
        self._frequencies: dict[tuple[Rotary, torch.device], Tensor] = {}

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
        batch, tokens = input_ids.shape
        starts: Sequence[int] = (0,)
        slot = 0
        if cache is not None:
            cache.make_room(tokens)
            starts, slot = cache.starts[:batch], cache.length
        x = self.transformer["wte"](input_ids)
        if self.architecture.embedding_scale is not None:
            # In the model's dtype, as the model was trained: in bfloat16 the factor itself is rounded.
            x = x * torch.tensor(self.architecture.embedding_scale, dtype=x.dtype)
        if positions is None:
            positions = torch.arange(slot, slot + tokens, device=x.device)[None]
            if any(starts):
                positions = (positions - torch.tensor(starts, device=x.device)[:, None]).clamp(min=0)
        rotations: dict[Rotary, Rotation] = {}
        views: dict[int | None, View] = {}
        blocks = self.transformer["h"].children()
        for number, (block, layer) in enumerate(zip(blocks, self.architecture.layers, strict=True)):
            rotary, window = layer.attention.rotary, layer.attention.window
            kept = cache.layers[number] if cache is not None else None
            if rotary not in rotations:
                rotations[rotary] = rotation(self._frequencies_of(rotary, x.device), positions, x.dtype)
            if window not in views:
                since = kept.first if kept is not None else 0
                views[window] = view(
                    slot=slot, tokens=tokens, window=window, starts=starts, kept_since=since, device=x.device
                )
            x = block(x, rotations[rotary], views[window], kept, slot)
        if cache is not None:
            cache.length += tokens
        x = x[:, -1:] if last else x
        logits: Tensor = self.lm_head(self.transformer["ln_f"](x))
        return logits

    def _frequencies_of(self, rotary: Rotary, device: torch.device) -> Tensor:
        # Not a buffer: `.to(bfloat16)` would round it, and far positions would turn by the wrong angle.
        key = (rotary, device)
        if key not in self._frequencies:
            self._frequencies[key] = frequencies(rotary, device)
        return self._frequencies[key]
