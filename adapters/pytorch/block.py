"""A layer of the network: what mixes tokens and what works on each, and how both are added to the stream."""

from torch import Tensor, nn

from litgpt.adapters.pytorch.attention import CausalSelfAttention
from litgpt.adapters.pytorch.beside import FeedForwardAndExperts
from litgpt.adapters.pytorch.delta import GatedDeltaNet
from litgpt.adapters.pytorch.experts import MixtureOfExperts
from litgpt.adapters.pytorch.feedforward import MLP, GatedMLP
from litgpt.adapters.pytorch.latent import MultiheadLatentAttention
from litgpt.adapters.pytorch.lending import Place
from litgpt.adapters.pytorch.norms import normalise
from litgpt.adapters.pytorch.per_layer import PerLayerInput, scale_of
from litgpt.adapters.pytorch.rotary import Turn
from litgpt.adapters.pytorch.visibility import View
from litgpt.domain.architecture import (
    AnyFeedForward,
    Attention,
    Experts,
    FeedForward,
    GatedDelta,
    GatedFeedForward,
    LatentAttention,
    Layer,
    Mixer,
    SideBySide,
)


class Block(nn.Module):
    """A mixer and a feed-forward, each added to the stream that passes by."""

    scale: Tensor | None

    def __init__(self, width: int, layer: Layer) -> None:
        super().__init__()
        self.layer = layer
        self.norm_1 = normalise(width, layer.norm_1)
        self.attn = _mixer(width, layer.mixer)
        self.norm_2 = normalise(width, layer.norm_2)
        self.mlp = _feed_forward(width, layer.feed_forward)
        self.post_attention_norm = normalise(width, layer.post_mixer_norm)
        self.post_mlp_norm = normalise(width, layer.post_mlp_norm)
        self.input = None if layer.input is None else PerLayerInput(width, layer.input)
        self.register_parameter("scale", scale_of(layer))

    def forward(
        self, x: Tensor, turn: Turn, view: View, cache: Place, slot: int, part: Tensor | None = None
    ) -> Tensor:
        """Return the stream (B, T, width) after this layer.

        Args:
            x: The stream.
            turn: What positions do to queries and keys.
            view: What tokens see.
            cache: Where keys and values are kept.
            slot: Where in the cache they go.
            part: This layer's part of the tokens' second embedding, if there is one.

        """
        read = self.norm_1(x)
        mixed = self.post_attention_norm(self.attn(read, turn, view, cache, slot))
        if self.layer.parallel:
            thought = self.mlp(read if self.layer.norm_2 is None else self.norm_2(x))
            return self._add(x, mixed + self.post_mlp_norm(thought))
        x = self._add(x, mixed)
        x = self._add(x, self.post_mlp_norm(self.mlp(self.norm_2(x))))
        if self.input is not None:
            x = x + self.input(x, part)
        return x if self.scale is None else x * self.scale

    def _add(self, x: Tensor, more: Tensor) -> Tensor:
        scale = self.layer.residual_scale
        return x + more if scale is None else x + more * scale


def _mixer(width: int, mixer: Mixer) -> nn.Module:
    match mixer:
        case Attention():
            return CausalSelfAttention(width, mixer)
        case LatentAttention():
            return MultiheadLatentAttention(width, mixer)
        case GatedDelta():
            return GatedDeltaNet(width, mixer)


def _feed_forward(width: int, feed_forward: AnyFeedForward) -> nn.Module:
    match feed_forward:
        case FeedForward():
            return MLP(width, feed_forward)
        case GatedFeedForward():
            return GatedMLP(width, feed_forward)
        case Experts():
            return MixtureOfExperts(width, feed_forward)
        case SideBySide():
            return FeedForwardAndExperts(width, feed_forward)
