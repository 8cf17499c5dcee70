"""Compile an `Architecture` to a program of the engine."""

from collections.abc import Callable

import attrs

from litgpt.adapters.native.program.altup import AltUpCompiler
from litgpt.adapters.native.program.attention import AttentionCompiler
from litgpt.adapters.native.program.coverage import unsupported_part
from litgpt.adapters.native.program.instructions import (
    Opcode,
    Program,
    ProgramBuilder,
    ProgramTensor,
    TensorKind,
)
from litgpt.adapters.native.program.layer import LayerCompiler
from litgpt.adapters.native.program.layer_builder import LayerBuilder
from litgpt.adapters.native.program.mlp import MLPCompiler
from litgpt.adapters.native.program.per_layer import add_per_layer_embedding
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture


def compile_program(architecture: Architecture, *, rounded: Callable[[float], float]) -> Program:
    """Return the program of a model.

    Args:
        architecture: The model.
        rounded: Rounds the factor of an embedding to the dtype of the model, as it was in training.

    Raises:
        UnsupportedOperation: The engine does not have a part of the model.
    """
    if (part := unsupported_part(architecture)) is not None:
        reason = f"it does not support {part}. Use engine='torch'."
        raise UnsupportedOperation("the native engine", reason)
    parts = LayerBuilder(architecture.hidden_size, ProgramBuilder())
    layers = LayerCompiler(parts, AttentionCompiler(parts), MLPCompiler(parts))
    _add_embedding(parts, architecture, rounded)
    streams = AltUpCompiler(layers, architecture.num_streams)
    streams.fork()
    for number, layer in enumerate(architecture.layers):
        if layer.altup is None:
            layers.add(number, layer)
        else:
            streams.add(number, layer, layer.altup)
    streams.merge()
    _add_head(parts, architecture)
    return parts.builder.build()


def _add_embedding(
    parts: LayerBuilder, architecture: Architecture, rounded: Callable[[float], float]
) -> None:
    builder, residual = parts.builder, parts.residual
    matrix = builder.matrix("transformer.wte.weight")
    scale = 1.0 if architecture.embedding_scale is None else rounded(architecture.embedding_scale)
    builder.add(Opcode.EMBED, residual, matrix, 0, parameters=(scale,))
    if architecture.embedding_norm is not None:
        parts.norm(architecture.embedding_norm, "transformer.wte_norm", residual, residual)
    if architecture.num_position_embeddings is not None:
        table = builder.vector("transformer.wpe.weight")
        builder.add(Opcode.EMBED_POSITION, residual, table, architecture.position_offset)
    if (sinusoidal := architecture.sinusoidal_positions) is not None:
        rows = architecture.context_length + architecture.position_offset
        table = builder.sinusoidal_table(rows, parts.width, sinusoidal)
        builder.add(Opcode.EMBED_POSITION, residual, table, architecture.position_offset)
    if architecture.per_layer_embedding is not None:
        add_per_layer_embedding(parts, architecture.per_layer_embedding, len(architecture.layers), rounded)


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


def set_head(program: Program, weight: str, bias: str | None = None) -> Program:
    """Return the program with the matrix of another name as its LM head; with a bias if one is given."""
    *body, head = program.instructions
    tensors = list(program.tensors)
    hidden, _, old_bias = head.operands
    operands = (hidden, _number(tensors, "matrix", weight), old_bias)
    if bias is not None:
        operands = (*operands[:2], _number(tensors, "vector", bias))
    head = attrs.evolve(head, operands=operands)
    return attrs.evolve(program, tensors=tuple(tensors), instructions=(*body, head))


def _number(tensors: list[ProgramTensor], kind: TensorKind, name: str) -> int:
    tensor = ProgramTensor(kind, name)
    if tensor not in tensors:
        tensors.append(tensor)
    return tensors.index(tensor)
