"""The memory that training needs, estimated from the structure of a model before a weight is read."""

from math import ceil

import attrs

from litgpt.domain.memory.estimate import LOGITS_CHUNK, weight_bytes
from litgpt.domain.model import AnyMLPSpec, Architecture, AttentionSpec, LayerSpec, MLPSpec
from litgpt.domain.quantization import Quantization
from litgpt.domain.weights.tensor_info import DTYPE_BYTES, DType

TRAINING_PROGRAM = 470_000_000
"""The bytes that Python, torch and the Trainer take before there is a model. Measured on a CPU."""

GAPS = 1.25
"""The memory of activations over their bytes: the allocator cannot reuse all gaps between them. Measured."""

QUERIES = 128
"""The number of queries whose attention scores are computed at once where no fused kernel can be used."""


@attrs.frozen(kw_only=True)
class TrainingFootprint:
    """The bytes that training takes on each device.

    Attributes:
        weights: The model's parameters.
        learning: AdamW's two moments of the trained parameters, their gradients where these are there in the
            forward pass too, and an adapter itself.
        activations: The activations kept for the backward pass, or the gradients that take their place in it,
            if these are larger. A rough figure.
        program: What is there without a model.

    """

    weights: int
    learning: int
    activations: int
    program: int = TRAINING_PROGRAM

    @property
    def total(self) -> int:
        """All of it."""
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
    """Return what training with AdamW needs on each device.

    Args:
        architecture: The model.
        trained: How many parameters are trained.
        adapts: Whether these are an adapter's, in float32 beside the model's own.
        dtype: What the model's own weights are in.
        compute_dtype: What activations are in.
        tokens: The tokens of a batch on each device: its rows times the length of the longest.
        rows: The number of rows of the batch.
        adapts_all: Whether the adapter is on all linear layers, and not on queries and values alone.
        checkpointing: Whether only the states between layers are kept.
        accumulates: Whether a step has several batches, so that gradients are kept from one to the next.
        quantize: How the weights are quantized, if they are.
        parts: Among how many devices weights, gradients and moments are divided.

    """
    trained_bytes = 4 if adapts else DTYPE_BYTES[dtype]
    stream = tokens * architecture.num_streams * architecture.hidden_size * DTYPE_BYTES[dtype]
    inside = []
    for layer in architecture.layers:
        norms, inputs = _stream_copies(layer, adapts=adapts, adapts_all=adapts_all)
        numbers = (
            inputs * architecture.num_streams * architecture.hidden_size
            + layer.mixer.activations_per_token
            + _feed_forward_numbers(layer.mlp, adapts=adapts and not adapts_all)
        )
        scores = _score_bytes(layer, tokens, tokens // rows, compute_dtype)
        inside.append(norms * stream + tokens * numbers * DTYPE_BYTES[compute_dtype] + scores)
    kept = len(inside) * stream + max(inside) if checkpointing else sum(inside)
    logits = min(tokens * architecture.vocab_size, LOGITS_CHUNK)
    # The logits, their softmax and the gradients of both; that of the head's weight is there with them.
    head = 0 if adapts else architecture.vocab_size * architecture.hidden_size * trained_bytes // parts
    activations = round(GAPS * kept) + 4 * logits * DTYPE_BYTES["float32"] + head
    gradients = trained * trained_bytes // parts
    return TrainingFootprint(
        weights=weight_bytes(architecture, dtype=dtype, quantize=quantize) // parts,
        learning=(2 + accumulates + adapts) * gradients,
        activations=activations if accumulates else max(activations, gradients),
    )


def _stream_copies(layer: LayerSpec, *, adapts: bool, adapts_all: bool) -> tuple[int, int]:
    """Return how many tensors as wide as the stream a layer keeps for the backward pass.

    Norms keep their inputs and, where all weights are trained, RMSNorm its normalized input too; these are
    the first figure, and have the dtype of the weights. Trained projections keep their inputs, which are the
    second figure: those of attention and of the feed-forward, or that of queries and values alone.
    """
    before = [norm for norm in (layer.norm_1, layer.norm_2) if norm is not None]
    after = [norm for norm in (layer.post_mixer_norm, layer.post_mlp_norm) if norm is not None]
    norms = len(after) + (1 if layer.parallel_residual else len(before))
    if not adapts:
        norms += sum(norm.kind == "rms" for norm in (*before, *after))
    return norms, 1 if adapts and not adapts_all else len(before)


def _score_bytes(layer: LayerSpec, tokens: int, length: int, dtype: DType) -> int:
    """Return the bytes that attention without a fused kernel keeps for the backward pass.

    These are the scores in float32 after each operation that changes them, their copy in the compute dtype,
    the queries, and the keys and values of each block of queries, repeated for all heads of a group.
    """
    mixer = layer.mixer
    if not isinstance(mixer, AttentionSpec) or not (
        mixer.attn_logit_softcap or mixer.attention_sinks or mixer.alibi
    ):
        return 0
    half = dtype != "float32"
    copies = 1 + (mixer.attn_logit_softcap is not None) + mixer.attention_sinks * (1 if half else 2)
    scores = tokens * mixer.num_heads * length * (copies * DTYPE_BYTES["float32"] + half * DTYPE_BYTES[dtype])
    repeated = 2 * ceil(length / QUERIES) if mixer.num_kv_heads != mixer.num_heads else 0
    return scores + tokens * mixer.num_heads * mixer.head_dim * (1 + repeated) * DTYPE_BYTES[dtype]


def _feed_forward_numbers(feed_forward: AnyMLPSpec, *, adapts: bool) -> int:
    """Return how many numbers of each token a feed-forward keeps for the backward pass."""
    numbers = feed_forward.activations_per_token
    if isinstance(feed_forward, MLPSpec):
        return numbers // 2 if adapts else numbers  # what goes into the activation, and what comes out
    return numbers if adapts else round(4 / 3 * numbers)  # the same of a gate, with what it lets through
