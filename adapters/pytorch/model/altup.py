"""Layers that work on one of several streams and correct all (Baykal et al. 2023, arXiv:2301.13310)."""

# B batch, T tokens in this call, S streams

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.block import Block
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import AltUpSpec, LayerSpec


class AltUpBlock(Block):
    """A layer that works on one of several streams."""

    def __init__(self, hidden_size: int, layer: LayerSpec, altup: AltUpSpec) -> None:
        super().__init__(hidden_size, layer)
        self.altup = AltUp(hidden_size, altup)
        self.laurel = Laurel(hidden_size, altup)

    def forward(
        self,
        x: Tensor,
        position: PositionInfo,
        mask: AttentionMask,
        cache: LayerState,
        cache_position: int,
        per_layer: Tensor | None = None,
    ) -> Tensor:
        """Return the streams (B, T, S, width) after this layer; the rest is as in `Block`."""
        guessed = self.altup.predict(x)
        active = guessed[..., self.altup.active_stream, :]
        read = self.norm_1(active)
        mixed = self.post_attention_norm(self.attn(read, position, mask, cache, cache_position))
        middle = (active + mixed + self.laurel(read)) * 2**-0.5
        done = middle + self.post_mlp_norm(self.mlp(self.norm_2(middle)))
        x = self.altup.correct(guessed, done)
        if self.input is not None:
            added = self.input(self.altup.gate_input(x), per_layer)
            x = torch.cat([x[..., :1, :], x[..., 1:, :] + added[..., None, :]], -2)
        return x


class AltUp(nn.Module):
    """How streams are guessed before a layer's work, and corrected after it."""

    scale: Tensor | None

    def __init__(self, hidden_size: int, spec: AltUpSpec) -> None:
        super().__init__()
        streams = spec.num_streams
        self.active_stream, self.num_streams, self.shrink = spec.active_stream, streams, 1 / hidden_size
        self.prediction = Linear(streams, streams**2, bias=False)
        self.correction = Linear(streams, streams, bias=False)
        self.router = Linear(hidden_size, streams, bias=False)
        self.norm = Norm(hidden_size, spec.norm)
        self.register_parameter(
            "scale", nn.Parameter(torch.empty(hidden_size)) if spec.correct_scale else None
        )

    def predict(self, x: Tensor) -> Tensor:
        """Return what the streams (B, T, S, width) may be after the layer: mixtures of what they are."""
        mixture: Tensor = self.prediction(self._router_modalities(x[..., self.active_stream, :]))
        guessed: Tensor = x + mixture.unflatten(-1, (self.num_streams, self.num_streams)) @ x
        return guessed

    def correct(self, predictions: Tensor, activated: Tensor) -> Tensor:
        """Return the streams after the layer, whose work is `activated` (B, T, width)."""
        surprise = activated - predictions[..., self.active_stream, :]
        shares: Tensor = self.correction(self._router_modalities(activated)) + 1.0
        return predictions + shares[..., None] * surprise[..., None, :]

    def gate_input(self, x: Tensor) -> Tensor:
        """Return the stream (B, T, width) by which the second embedding is let through."""
        active = x[..., self.active_stream, :]
        return active if self.scale is None else active * self.scale

    def _router_modalities(self, x: Tensor) -> Tensor:
        routed: Tensor = self.router(self.norm(x) * self.shrink)
        return routed.float().tanh().to(x.dtype)


class Laurel(nn.Module):
    """A stream, and itself through a narrow middle (Menghani et al. 2024, arXiv:2411.07501)."""

    def __init__(self, hidden_size: int, spec: AltUpSpec) -> None:
        super().__init__()
        self.left = Linear(hidden_size, spec.laurel_rank, bias=False)
        self.right = Linear(spec.laurel_rank, hidden_size, bias=False)
        self.norm = Norm(hidden_size, spec.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, width) for `x` of that shape."""
        narrow: Tensor = self.norm(self.right(self.left(x)))
        return x + narrow


class StreamProjection(nn.ModuleList):
    """Makes several streams of one: itself, and projections of it that are as large."""

    def __init__(self, hidden_size: int, num_streams: int) -> None:
        super().__init__(Linear(hidden_size, hidden_size, bias=False) for _ in range(1, num_streams))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, S, width) for `x` (B, T, width)."""
        size = _rms(x)
        return torch.stack([x, *(_with_rms(one(x), size) for one in self)], -2)


class StreamUnembedding(nn.ModuleList):
    """Makes one stream of several: the mean of the first and of projections of the rest, all as large."""

    def __init__(self, hidden_size: int, num_streams: int) -> None:
        super().__init__(Linear(hidden_size, hidden_size, bias=False) for _ in range(1, num_streams))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, width) for `x` (B, T, S, width)."""
        first, *rest = x.unbind(-2)
        size = _rms(first)
        made = [_with_rms(one(stream), size) for one, stream in zip(self, rest, strict=True)]
        return torch.stack([first, *made]).mean(0)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(-1, keepdim=True).sqrt()


def _with_rms(x: Tensor, rms: Tensor) -> Tensor:
    """Return `x` with another root mean square; one of nearly nothing stays small."""
    return x * rms / x.square().mean(-1, keepdim=True).clamp(min=1e-5).sqrt()
