"""Compile a transformer layer."""

import attrs

from litgpt.adapters.native.program.attention import AttentionCompiler
from litgpt.adapters.native.program.gated_delta import add_gated_delta, add_short_conv
from litgpt.adapters.native.program.instructions import Opcode
from litgpt.adapters.native.program.latent_attention import add_latent_attention
from litgpt.adapters.native.program.layer_builder import LayerBuilder, Update
from litgpt.adapters.native.program.mlp import MLPCompiler
from litgpt.adapters.native.program.per_layer import per_layer_update
from litgpt.domain.model import AttentionSpec, GatedDeltaSpec, LayerSpec, MLASpec, ShortConvSpec


@attrs.define
class LayerCompiler:
    """Adds layers to a program."""

    parts: LayerBuilder
    attention: AttentionCompiler
    mlp: MLPCompiler

    def add(self, number: int, layer: LayerSpec) -> None:
        """Add a layer that updates the residual stream."""
        parts, builder, name = self.parts, self.parts.builder, f"transformer.h.{number}"
        if layer.post_ln:
            self.add_mixer(number, layer, parts.residual)
            parts.norm_residual(layer.norm_1, f"{name}.norm_1")
            self.add_mlp(number, layer, parts.residual)
            parts.norm_residual(layer.norm_2, f"{name}.norm_2")
            return
        attention_input = mlp_input = parts.normed(layer.norm_1, f"{name}.norm_1", "normed")
        if layer.parallel_residual:
            # The inputs of both are computed before the residual stream changes.
            if layer.norm_2 is not None:
                mlp_input = parts.normed(layer.norm_2, f"{name}.norm_2", "normed_2")
            elif attention_input == parts.residual:
                mlp_input = builder.buffer("normed", parts.width)
                parts.copy(mlp_input, parts.residual, parts.width)
        self.add_mixer(number, layer, attention_input)
        if not layer.parallel_residual:
            mlp_input = parts.normed(layer.norm_2, f"{name}.norm_2", "normed")
        self.add_mlp(number, layer, mlp_input)
        if layer.per_layer_input is not None:
            update = per_layer_update(parts, f"{name}.input", layer.per_layer_input, number)
            builder.add(Opcode.ADD, parts.residual, update, parts.width, parameters=(1.0,))
        if layer.layer_scale:
            builder.add(Opcode.SCALE, parts.residual, parts.width, builder.vector(f"{name}.scale"), 0)

    def add_mixer(self, number: int, layer: LayerSpec, x: int) -> None:
        """Add the output of a layer's mixer for the buffer `x` to the residual stream."""
        name, mixer, proj = f"transformer.h.{number}", layer.mixer, "proj"
        if isinstance(mixer, GatedDeltaSpec):
            attended, bias, proj = add_gated_delta(self.parts, number, mixer, x), False, "out_proj"
        elif isinstance(mixer, ShortConvSpec):
            attended, bias = add_short_conv(self.parts, number, mixer, x), mixer.bias
            proj = "out_proj"
        elif isinstance(mixer, MLASpec):
            attended, bias = add_latent_attention(self.attention, number, mixer, x), mixer.bias
        else:
            assert isinstance(mixer, AttentionSpec)  # noqa: S101 - checked by unsupported_part
            attended, bias = self.attention.add(number, mixer, x), mixer.output_bias
        out = Update(layer.post_mixer_norm, f"{name}.post_attention_norm", _scale(layer))
        self.parts.project(f"{name}.attn.{proj}", attended, out, bias=bias)

    def add_mlp(self, number: int, layer: LayerSpec, x: int) -> None:
        """Add the output of a layer's feed-forward part for the buffer `x` to the residual stream."""
        name = f"transformer.h.{number}"
        out = Update(layer.post_mlp_norm, f"{name}.post_mlp_norm", _scale(layer))
        self.mlp.add(f"{name}.mlp", layer.mlp, x, out)


def _scale(layer: LayerSpec) -> float:
    return 1.0 if layer.residual_scale is None else layer.residual_scale
