"""Estimate the memory of training from the architecture, before weights are read."""

import attrs

from litgpt.domain.memory.estimate import LOGITS_CHUNK, weight_bytes
from litgpt.domain.model import Architecture, LayerSpec
from litgpt.domain.quantization import Quantization
from litgpt.domain.weights.tensor_info import DTYPE_BYTES, DType

TRAINING_PROGRAM = 470_000_000
"""Bytes of Python, torch and the Trainer without a model, measured on a CPU."""

GAPS = 1.25
"""Measured factor of the allocator's fragmentation on the memory of activations."""


@attrs.frozen(kw_only=True)
class TrainingFootprint:
    """The memory of training on each device, in bytes.

    Attributes:
        learning: AdamW's two moments of the trained parameters, their gradients if they coexist with the
            activations, and the adapter.
        activations: The activations saved for the backward pass, or the gradients that replace them in it, if
            these are larger; approximate.
        program: The memory of the process without a model.
    """

    weights: int
    learning: int
    activations: int
    program: int = TRAINING_PROGRAM

    @property
    def total(self) -> int:
        return self.weights + self.learning + self.activations + self.program


def training_footprint(  # noqa: PLR0913 - all of them by name
    architecture: Architecture,
    *,
    trained: int,
    adapts: bool,
    dtype: DType,
    compute_dtype: DType,
    tokens: int,
    rows: int = 1,
    adapts_all: bool = False,
    checkpointing: bool = False,
    accumulates: bool = False,
    quantize: Quantization | None = None,
    parts: int = 1,
) -> TrainingFootprint:
    """Return the memory of training with AdamW on each device.

    Args:
        architecture: The architecture.
        trained: The number of trained parameters.
        adapts: Whether they belong to a LoRA adapter, in float32, and the model is frozen.
        dtype: The dtype of the model's weights.
        compute_dtype: The dtype of activations.
        tokens: The tokens of a padded batch on each device.
        rows: The number of sequences in the batch.
        adapts_all: Whether all linear layers are adapted, rather than queries and values only.
        checkpointing: Whether activations inside layers are recomputed (gradient checkpointing).
        accumulates: Whether gradients are accumulated over several batches.
        quantize: The quantization of the weights, if any.
        parts: The number of devices over which weights, gradients and moments are sharded.
    """
    trained_bytes = 4 if adapts else DTYPE_BYTES[dtype]
    stream = tokens * architecture.num_streams * architecture.hidden_size * DTYPE_BYTES[dtype]
    layers = []
    for layer in architecture.layers:
        norms, inputs = _stream_copies(layer, adapts=adapts, adapts_all=adapts_all)
        numbers = (
            inputs * architecture.num_streams * architecture.hidden_size
            + layer.mixer.activations_per_token
            + layer.mlp.saved_activations(frozen=adapts and not adapts_all)
        )
        scores = layer.mixer.score_bytes(tokens, tokens // rows, DTYPE_BYTES[compute_dtype])
        layers.append(norms * stream + tokens * numbers * DTYPE_BYTES[compute_dtype] + scores)
    saved = len(layers) * stream + max(layers) if checkpointing else sum(layers)
    logits = min(tokens * architecture.vocab_size, LOGITS_CHUNK)
    # The logits, their softmax and the gradients of both coexist with the gradient of the head's weight.
    head = 0 if adapts else architecture.vocab_size * architecture.hidden_size * trained_bytes // parts
    activations = round(GAPS * saved) + 4 * logits * DTYPE_BYTES["float32"] + head
    gradients = trained * trained_bytes // parts
    return TrainingFootprint(
        weights=weight_bytes(architecture, dtype=dtype, quantize=quantize) // parts,
        learning=(2 + accumulates + adapts) * gradients,
        activations=activations if accumulates else max(activations, gradients),
    )


def _stream_copies(layer: LayerSpec, *, adapts: bool, adapts_all: bool) -> tuple[int, int]:
    """Return the number of tensors of the hidden size that a layer saves for the backward pass.

    The first number counts tensors in the dtype of the weights: inputs of norms and, if all weights are
    trained, the normalized inputs of RMSNorm. The second counts the inputs of trained projections: those of
    attention and the MLP, or of queries and values only.
    """
    before = [norm for norm in (layer.norm_1, layer.norm_2) if norm is not None]
    after = [norm for norm in (layer.post_mixer_norm, layer.post_mlp_norm) if norm is not None]
    norms = len(after) + (1 if layer.parallel_residual else len(before))
    if not adapts:
        norms += sum(norm.kind == "rms" for norm in (*before, *after))
    return norms, 1 if adapts and not adapts_all else len(before)
