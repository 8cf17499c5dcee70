"""AltUp: a layer updates one of several residual streams and corrects the others (arXiv:2301.13310)."""

# B batch, T tokens of this call, S streams, D hidden size

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
    """A transformer layer of Gemma 3n, with AltUp and LAuReL."""

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
        """Return the streams (B, T, S, D) after this layer; the other arguments are as in `Block`."""
        predictions = self.altup.predict(x)
        active = predictions[..., self.altup.active_stream, :]
        normed = self.norm_1(active)
        mixed = self.post_attention_norm(self.attn(normed, position, mask, cache, cache_position))
        attn_laurel = (active + mixed + self.laurel(normed)) * 2**-0.5
        activated = attn_laurel + self.post_mlp_norm(self.mlp(self.norm_2(attn_laurel)))
        x = self.altup.correct(predictions, activated)
        if self.input is not None:
            update = self.input(self.altup.gate_input(x), per_layer)
            x = torch.cat([x[..., :1, :], x[..., 1:, :] + update[..., None, :]], -2)
        return x


class AltUp(nn.Module):
    """Prediction of the streams before a layer, and their correction after it."""

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
        """Return the predicted streams (B, T, S, D): linear combinations of the current ones."""
        coefficients: Tensor = self.prediction(self._router_modalities(x[..., self.active_stream, :]))
        predictions: Tensor = x + coefficients.unflatten(-1, (self.num_streams, self.num_streams)) @ x
        return predictions

    def correct(self, predictions: Tensor, activated: Tensor) -> Tensor:
        """Correct the predictions (B, T, S, D) by the layer's output `activated` (B, T, D)."""
        innovation = activated - predictions[..., self.active_stream, :]
        coefficients: Tensor = self.correction(self._router_modalities(activated)) + 1.0
        return predictions + coefficients[..., None] * innovation[..., None, :]

    def gate_input(self, x: Tensor) -> Tensor:
        """Return the stream (B, T, D) that gates the per-layer embedding."""
        active = x[..., self.active_stream, :]
        return active if self.scale is None else active * self.scale

    def _router_modalities(self, x: Tensor) -> Tensor:
        routed: Tensor = self.router(self.norm(x) * self.shrink)
        return routed.float().tanh().to(x.dtype)


class Laurel(nn.Module):
    """LAuReL-LR: a low-rank residual connection (arXiv:2411.07501)."""

    def __init__(self, hidden_size: int, spec: AltUpSpec) -> None:
        super().__init__()
        self.left = Linear(hidden_size, spec.laurel_rank, bias=False)
        self.right = Linear(spec.laurel_rank, hidden_size, bias=False)
        self.norm = Norm(hidden_size, spec.norm)

    def forward(self, x: Tensor) -> Tensor:
        low_rank: Tensor = self.norm(self.right(self.left(x)))
        return x + low_rank


class StreamProjection(nn.ModuleList):
    """Expands the embedding to several streams: itself, and projections rescaled to its RMS."""

    def __init__(self, hidden_size: int, num_streams: int) -> None:
        super().__init__(Linear(hidden_size, hidden_size, bias=False) for _ in range(1, num_streams))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, S, D) for `x` (B, T, D)."""
        rms = _rms(x)
        return torch.stack([x, *(_with_rms(proj(x), rms) for proj in self)], -2)


class StreamUnembedding(nn.ModuleList):
    """Merges streams: the mean of the first one and of projections of the others, rescaled to its RMS."""

    def __init__(self, hidden_size: int, num_streams: int) -> None:
        super().__init__(Linear(hidden_size, hidden_size, bias=False) for _ in range(1, num_streams))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, D) for `x` (B, T, S, D)."""
        first, *rest = x.unbind(-2)
        rms = _rms(first)
        projected = [_with_rms(proj(stream), rms) for proj, stream in zip(self, rest, strict=True)]
        return torch.stack([first, *projected]).mean(0)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(-1, keepdim=True).sqrt()


def _with_rms(x: Tensor, rms: Tensor) -> Tensor:
    """Rescale `x` to the given RMS; the clamped divisor keeps vectors near zero small."""
    return x * rms / x.square().mean(-1, keepdim=True).clamp(min=1e-5).sqrt()
