"""Compile per-layer embeddings (Gemma 3n and 4)."""

from collections.abc import Callable

from litgpt.adapters.native.program.coverage import ACTIVATIONS
from litgpt.adapters.native.program.instructions import Opcode
from litgpt.adapters.native.program.layer_builder import LayerBuilder
from litgpt.domain.model import PerLayerEmbeddingSpec, PerLayerInputSpec

_BUFFER = "per-layer embeddings"


def add_per_layer_embedding(
    parts: LayerBuilder, spec: PerLayerEmbeddingSpec, num_layers: int, rounded: Callable[[float], float]
) -> None:
    """Add the embeddings of all layers, of the tokens whose embedding is the residual stream."""
    builder, name, size = parts.builder, "transformer.per_layer", spec.hidden_size_per_layer
    width = num_layers * size
    embedded = builder.buffer("per-layer lookup", width)
    combined = builder.buffer(_BUFFER, width)
    matrix = builder.matrix(f"{name}.embedding.weight")
    builder.add(Opcode.EMBED, embedded, matrix, 1, parameters=(rounded(size**0.5),))
    parts.linear(f"{name}.proj", combined, parts.residual, bias=False)
    parts.copy(combined, combined, width, alpha=parts.width**-0.5)
    parts.norm(spec.norm, f"{name}.norm", combined, combined, size=size, count=num_layers)
    builder.add(Opcode.ADD, combined, embedded, width, parameters=(1.0,))
    parts.copy(combined, combined, width, alpha=2**-0.5)


def per_layer_update(parts: LayerBuilder, name: str, spec: PerLayerInputSpec, layer: int) -> int:
    """Return the buffer with the update of a layer's per-layer input, which the residual stream gates."""
    builder, size = parts.builder, spec.hidden_size_per_layer
    gate, embeddings = builder.buffer("per-layer gate", size), builder.buffer(_BUFFER, (layer + 1) * size)
    update = builder.buffer("update", parts.width)
    parts.linear(f"{name}.gate", gate, parts.residual, bias=False)
    kind = ACTIVATIONS[spec.activation]
    builder.add(Opcode.ACTIVATE, gate, gate, embeddings, kind, size, 0, layer * size)
    parts.linear(f"{name}.proj", update, gate, bias=False)
    parts.norm(spec.norm, f"{name}.norm", update, update)
    return update
