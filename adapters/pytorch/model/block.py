"""The transformer block: mixer, MLP, norms and residual connections."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.attention.mla import MultiHeadLatentAttention
from litgpt.adapters.pytorch.model.attention.parallel_mixer import ParallelMixer
from litgpt.adapters.pytorch.model.attention.self_attention import CausalSelfAttention
from litgpt.adapters.pytorch.model.linear_attention.gated_delta_net import GatedDeltaNet
from litgpt.adapters.pytorch.model.linear_attention.kimi_delta import KimiDeltaAttention
from litgpt.adapters.pytorch.model.linear_attention.lightning import LightningAttention
from litgpt.adapters.pytorch.model.linear_attention.mamba import Mamba
from litgpt.adapters.pytorch.model.linear_attention.mamba2 import Mamba2
from litgpt.adapters.pytorch.model.linear_attention.rg_lru import RGLRU
from litgpt.adapters.pytorch.model.linear_attention.short_conv import ShortConv
from litgpt.adapters.pytorch.model.mlp import MLP, GatedMLP
from litgpt.adapters.pytorch.model.moe import DenseAndMoE, MoE, ShortcutMoE
from litgpt.adapters.pytorch.model.norm import build_norm
from litgpt.adapters.pytorch.model.per_layer_embedding import PerLayerInput, layer_scale
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.domain.model import (
    AbsentMixerSpec,
    AbsentMLPSpec,
    AttentionSpec,
    DenseAndMoESpec,
    FeedForwardSpec,
    GatedDeltaSpec,
    GatedMLPSpec,
    KimiDeltaSpec,
    LayerSpec,
    LightningSpec,
    Mamba2Spec,
    MambaSpec,
    MixerSpec,
    MLASpec,
    MLPSpec,
    MoESpec,
    ParallelMixerSpec,
    RGLRUSpec,
    ShortConvSpec,
    ShortcutMoESpec,
)

MIXERS: dict[type[MixerSpec], Callable[[int, Any], nn.Module]] = {
    AbsentMixerSpec: nn.Identity,
    AttentionSpec: CausalSelfAttention,
    GatedDeltaSpec: GatedDeltaNet,
    KimiDeltaSpec: KimiDeltaAttention,
    LightningSpec: LightningAttention,
    MLASpec: MultiHeadLatentAttention,
    Mamba2Spec: Mamba2,
    MambaSpec: Mamba,
    ParallelMixerSpec: ParallelMixer,
    RGLRUSpec: RGLRU,
    ShortConvSpec: ShortConv,
}

MLPS: dict[type[FeedForwardSpec], Callable[[int, Any], nn.Module]] = {
    AbsentMLPSpec: nn.Identity,
    DenseAndMoESpec: DenseAndMoE,
    GatedMLPSpec: GatedMLP,
    MLPSpec: MLP,
    MoESpec: MoE,
    ShortcutMoESpec: ShortcutMoE,
}


class Block(nn.Module):
    """A transformer layer with sequential or parallel residual connections."""

    scale: Tensor | None

    def __init__(self, hidden_size: int, layer: LayerSpec) -> None:
        super().__init__()
        self.layer = layer
        self.norm_1 = build_norm(hidden_size, layer.norm_1)
        self.attn = MIXERS[type(layer.mixer)](hidden_size, layer.mixer)
        self.norm_2 = build_norm(hidden_size, layer.norm_2)
        self.mlp = MLPS[type(layer.mlp)](hidden_size, layer.mlp)
        self.post_attention_norm = build_norm(hidden_size, layer.post_mixer_norm)
        self.post_mlp_norm = build_norm(hidden_size, layer.post_mlp_norm)
        self.input = (
            None if layer.per_layer_input is None else PerLayerInput(hidden_size, layer.per_layer_input)
        )
        self.register_parameter("scale", layer_scale(layer))

    def forward(
        self,
        x: Tensor,
        position: PositionInfo,
        mask: AttentionMask,
        cache: LayerState,
        cache_position: int,
        per_layer: Tensor | None = None,
    ) -> Tensor:
        """Return the residual stream (B, T, D) after this layer.

        `cache_position` is the slot of the first token in the cache. `per_layer` is this layer's embedding of
        the tokens (Gemma 3n), if the model has per-layer embeddings.
        """
        if self.layer.post_ln:
            x = self.norm_1(self._add(x, self.attn(x, position, mask, cache, cache_position)))
            out: Tensor = self.norm_2(self._add(x, self.mlp(x)))
            return out
        if isinstance(self.attn, nn.Identity):
            return self._add(x, self.post_mlp_norm(self.mlp(self.norm_2(x))))
        normed = self.norm_1(x)
        mixed = self.post_attention_norm(self.attn(normed, position, mask, cache, cache_position))
        if self.layer.parallel_residual:
            mlp_out = self.mlp(normed if self.layer.norm_2 is None else self.norm_2(x))
            return self._add(x, mixed + self.post_mlp_norm(mlp_out))
        if (factors := self.layer.normed_residual) is not None:
            normed = self.norm_2(normed * factors.mixer_alpha + mixed * factors.mixer_beta)
            mixed = self.mlp(normed) * factors.mlp_beta
            result: Tensor = normed * factors.mlp_alpha + mixed
            return result
        x = self._add(x, mixed)
        if isinstance(self.mlp, nn.Identity):
            return x
        x = self._add(x, self.post_mlp_norm(self.mlp(self.norm_2(x))))
        if self.input is not None:
            x = x + self.input(x, per_layer)
        return x if self.scale is None else x * self.scale

    def _add(self, x: Tensor, update: Tensor) -> Tensor:
        scale = self.layer.residual_scale
        return x + update if scale is None else x + update * scale


class ShortcutBlock(Block):
    """A layer that begins or ends a shortcut: an MoE's output is added after the next layer.

    Between the two layers, the residual stream is (B, T, 2, D), with the output of the MoE.
    """

    def forward(
        self,
        x: Tensor,
        position: PositionInfo,
        mask: AttentionMask,
        cache: LayerState,
        cache_position: int,
        per_layer: Tensor | None = None,
    ) -> Tensor:
        """Return the residual stream after this layer; the arguments are as in `Block`."""
        if self.layer.adds_shortcut:
            x, shortcut = x.unbind(-2)
            return super().forward(x, position, mask, cache, cache_position, per_layer) + shortcut
        x = x + self.attn(self.norm_1(x), position, mask, cache, cache_position)
        dense, sparse = self.mlp(self.norm_2(x)).unbind(-2)
        return torch.stack((x + dense, sparse), -2)
