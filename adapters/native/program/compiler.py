"""Compile an `Architecture` to a program of the engine."""

from litgpt.adapters.native.program.attention import AttentionCompiler, InverseFrequencies
from litgpt.adapters.native.program.coverage import unsupported_part
from litgpt.adapters.native.program.instructions import Opcode, Program
from litgpt.adapters.native.program.layer_builder import LayerBuilder, Update
from litgpt.adapters.native.program.mlp import MLPCompiler
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture, AttentionSpec, LayerSpec


def compile_program(
    architecture: Architecture, inverse_frequencies: InverseFrequencies, *, embedding_scale: float
) -> Program:
    """Return the program of a model.

    Args:
        architecture: The model.
        inverse_frequencies: Computes those of each RoPE.
        embedding_scale: The factor of the embeddings, rounded to the dtype of the model; 1 without one.

    Raises:
        UnsupportedOperation: The engine does not have a part of the model.
    """
    if (part := unsupported_part(architecture)) is not None:
        reason = f"it does not support {part}. Use engine='torch'."
        raise UnsupportedOperation("the native engine", reason)
    parts = LayerBuilder(architecture.hidden_size)
    attention, mlp = AttentionCompiler(parts, inverse_frequencies), MLPCompiler(parts)
    _add_embedding(parts, architecture, embedding_scale)
    for number, layer in enumerate(architecture.layers):
        _add_layer(parts, attention, mlp, number, layer)
    _add_head(parts, architecture)
    return parts.builder.build()


def _add_embedding(parts: LayerBuilder, architecture: Architecture, scale: float) -> None:
    builder, residual = parts.builder, parts.residual
    matrix = builder.matrix("transformer.wte.weight")
    builder.add(Opcode.EMBED, residual, matrix, parameters=(scale,))
    if architecture.embedding_norm is not None:
        parts.norm(architecture.embedding_norm, "transformer.wte_norm", residual, residual)
    if architecture.num_position_embeddings is not None:
        table = builder.vector("transformer.wpe.weight")
        builder.add(Opcode.EMBED_POSITION, residual, table, architecture.position_offset)


def _add_layer(
    parts: LayerBuilder, attention: AttentionCompiler, mlp: MLPCompiler, number: int, layer: LayerSpec
) -> None:
    builder, name = parts.builder, f"transformer.h.{number}"
    scale = 1.0 if layer.residual_scale is None else layer.residual_scale
    attention_input = mlp_input = parts.normed(layer.norm_1, f"{name}.norm_1", "normed")
    if layer.parallel_residual:
        # The inputs of both are computed before the residual stream changes.
        if layer.norm_2 is not None:
            mlp_input = parts.normed(layer.norm_2, f"{name}.norm_2", "normed_2")
        elif attention_input == parts.residual:
            mlp_input = builder.buffer("normed", parts.width)
            builder.add(Opcode.COPY, mlp_input, parts.residual, parts.width, parameters=(1.0,))
    assert isinstance(layer.mixer, AttentionSpec)  # noqa: S101 - checked by unsupported_part
    attended = attention.add(number, layer.mixer, attention_input)
    out = Update(layer.post_mixer_norm, f"{name}.post_attention_norm", scale)
    parts.project(f"{name}.attn.proj", attended, out, bias=layer.mixer.output_bias)
    if not layer.parallel_residual:
        mlp_input = parts.normed(layer.norm_2, f"{name}.norm_2", "normed")
    mlp.add(f"{name}.mlp", layer.mlp, mlp_input, Update(layer.post_mlp_norm, f"{name}.post_mlp_norm", scale))


def _add_head(parts: LayerBuilder, architecture: Architecture) -> None:
    builder, residual = parts.builder, parts.residual
    if architecture.final_norm is not None:
        parts.norm(architecture.final_norm, "transformer.ln_f", residual, residual)
    tied = architecture.tie_word_embeddings
    matrix = builder.matrix("transformer.wte.weight" if tied else "lm_head.weight")
    bias = builder.optional_vector("lm_head.bias", exists=architecture.lm_head_bias)
    scale = 1.0 if architecture.logit_scale is None else architecture.logit_scale
    builder.add(
        Opcode.HEAD, residual, matrix, bias, parameters=(scale, architecture.final_logit_softcap or 0.0)
    )
