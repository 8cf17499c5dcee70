"""Layers that work on one of several streams and correct all (Baykal et al. 2023, arXiv:2301.13310)."""

# B batch, T tokens in this call, S streams

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.block import Block
from litgpt.adapters.pytorch.lending import Place
from litgpt.adapters.pytorch.linear import Linear
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.adapters.pytorch.rotary import Turn
from litgpt.adapters.pytorch.visibility import View
from litgpt.domain.architecture import AlternatingUpdates, Layer


class AlternatingBlock(Block):
    """A layer that works on one of several streams."""

    def __init__(self, width: int, layer: Layer, updates: AlternatingUpdates) -> None:
        super().__init__(width, layer)
        self.altup = AltUp(width, updates)
        self.laurel = Laurel(width, updates)

    def forward(
        self, x: Tensor, turn: Turn, view: View, cache: Place, slot: int, part: Tensor | None = None
    ) -> Tensor:
        """Return the streams (B, T, S, width) after this layer; the rest is as in `Block`."""
        guessed = self.altup.guess(x)
        active = guessed[..., self.altup.active, :]
        read = self.norm_1(active)
        mixed = self.post_attention_norm(self.attn(read, turn, view, cache, slot))
        middle = (active + mixed + self.laurel(read)) * 2**-0.5
        done = middle + self.post_mlp_norm(self.mlp(self.norm_2(middle)))
        x = self.altup.correct(guessed, done)
        if self.input is not None:
            added = self.input(self.altup.told(x), part)
            x = torch.cat([x[..., :1, :], x[..., 1:, :] + added[..., None, :]], -2)
        return x


class AltUp(nn.Module):
    """How streams are guessed before a layer's work, and corrected after it."""

    scale: Tensor | None

    def __init__(self, width: int, updates: AlternatingUpdates) -> None:
        super().__init__()
        streams = updates.streams
        self.active, self.streams, self.shrink = updates.active, streams, 1 / width
        self.prediction = Linear(streams, streams**2, bias=False)
        self.correction = Linear(streams, streams, bias=False)
        self.router = Linear(width, streams, bias=False)
        self.norm = Normalise(width, updates.norm)
        self.register_parameter("scale", nn.Parameter(torch.empty(width)) if updates.scaled else None)

    def guess(self, x: Tensor) -> Tensor:
        """Return what the streams (B, T, S, width) may be after the layer: mixtures of what they are."""
        mixture: Tensor = self.prediction(self._modes(x[..., self.active, :]))
        guessed: Tensor = x + mixture.unflatten(-1, (self.streams, self.streams)) @ x
        return guessed

    def correct(self, guessed: Tensor, done: Tensor) -> Tensor:
        """Return the streams after the layer, whose work is `done` (B, T, width)."""
        surprise = done - guessed[..., self.active, :]
        shares: Tensor = self.correction(self._modes(done)) + 1.0
        return guessed + shares[..., None] * surprise[..., None, :]

    def told(self, x: Tensor) -> Tensor:
        """Return the stream (B, T, width) by which the second embedding is let through."""
        active = x[..., self.active, :]
        return active if self.scale is None else active * self.scale

    def _modes(self, x: Tensor) -> Tensor:
        routed: Tensor = self.router(self.norm(x) * self.shrink)
        return routed.float().tanh().to(x.dtype)


class Laurel(nn.Module):
    """A stream, and itself through a narrow middle (Menghani et al. 2024, arXiv:2411.07501)."""

    def __init__(self, width: int, updates: AlternatingUpdates) -> None:
        super().__init__()
        self.left = Linear(width, updates.rank, bias=False)
        self.right = Linear(updates.rank, width, bias=False)
        self.norm = Normalise(width, updates.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, width) for `x` of that shape."""
        narrow: Tensor = self.norm(self.right(self.left(x)))
        return x + narrow


class Fork(nn.ModuleList):
    """Makes several streams of one: itself, and projections of it that are as large."""

    def __init__(self, width: int, streams: int) -> None:
        super().__init__(Linear(width, width, bias=False) for _ in range(1, streams))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, S, width) for `x` (B, T, width)."""
        size = _size(x)
        return torch.stack([x, *(_of_size(one(x), size) for one in self)], -2)


class Merge(nn.ModuleList):
    """Makes one stream of several: the mean of the first and of projections of the rest, all as large."""

    def __init__(self, width: int, streams: int) -> None:
        super().__init__(Linear(width, width, bias=False) for _ in range(1, streams))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, width) for `x` (B, T, S, width)."""
        first, *rest = x.unbind(-2)
        size = _size(first)
        made = [_of_size(one(stream), size) for one, stream in zip(self, rest, strict=True)]
        return torch.stack([first, *made]).mean(0)


def _size(x: Tensor) -> Tensor:
    return x.square().mean(-1, keepdim=True).sqrt()


def _of_size(x: Tensor, size: Tensor) -> Tensor:
    """Return `x` with another root mean square; one of nearly nothing stays small."""
    return x * size / x.square().mean(-1, keepdim=True).clamp(min=1e-5).sqrt()
