"""How much memory a model needs, counted from its structure before a weight is read."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from math import prod

import attrs

from litgpt.domain.architecture import AnyFeedForward, Architecture, FeedForward, Layer, mixture_of
from litgpt.domain.parameters import Parameter, parameters
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.tensors import BYTES, DType

BLOCK = 1024
"""How many tokens of a prompt are taken to go through the network at once."""

PROGRAM = 300_000_000
"""The bytes that Python and torch, or a GPU's driver, take before there is a model. A rough figure."""

TRAINING_PROGRAM = 470_000_000
"""The same with the Trainer, and what its libraries and the allocator keep. Measured on a CPU."""

LOGITS = 2**24
"""How many logits the loss works on at once: 64 MB in float32, whatever the vocabulary."""


@attrs.frozen(kw_only=True)
class Footprint:
    """The bytes that one conversation with a model takes.

    Attributes:
        weights: The parameters.
        cache: The keys and values of every token so far.
        activations: What is alive inside the network at once. A rough figure.
        program: What is there without a model.

    """

    weights: int
    cache: int
    activations: int
    program: int = PROGRAM

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.activations + self.program


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


@attrs.frozen(kw_only=True)
class Memory:
    """The memory of a device.

    Attributes:
        device: What it is called, such as `this machine's memory`.
        total: Its bytes.
        free: Those that nobody uses now.

    """

    device: str
    total: int
    free: int


@attrs.frozen(kw_only=True)
class Verdict:
    """Whether a model runs in a memory, and with how long a text.

    Attributes:
        memory: Where it is to run.
        dtype: What the weights and the cache are in.
        quantize: How the weights are quantised, if they are.
        tokens_now: The longest text, up to the model's context, for which what is free now suffices; 0 if not
            even the weights fit.
        tokens_at_most: The same if nobody else used any of the memory.

    """

    memory: Memory
    dtype: DType
    tokens_now: int
    tokens_at_most: int
    quantize: Quantization | None = None


def parameter_count(architecture: Architecture) -> int:
    """Return how many weights a model has; a head that is the embedding counts once."""
    return _sum(architecture, lambda parameter: prod(parameter.shape))


def weight_bytes(architecture: Architecture, *, dtype: DType, quantize: Quantization | None = None) -> int:
    """Return the memory that a model's weights take; a head that is the embedding counts once."""
    return _sum(architecture, lambda parameter: parameter_bytes(parameter, dtype, quantize))


def _sum(architecture: Architecture, size: Callable[[Parameter], int]) -> int:
    def count(part: Architecture) -> int:
        return sum(map(size, parameters(part)))

    outside = count(attrs.evolve(architecture, layers=()))
    # Most layers are like others, and a layer of experts has hundreds of tensors: each kind is counted once.
    kinds = Counter(architecture.layers)
    within = (
        times * (count(attrs.evolve(architecture, layers=(kind,))) - outside) for kind, times in kinds.items()
    )
    return outside + sum(within)


def active_parameter_count(architecture: Architecture) -> int:
    """Return how many weights one token is multiplied by: of experts, only those that it goes to."""
    idle = {
        number: 1 - experts.chosen / experts.count
        for number, layer in enumerate(architecture.layers)
        if (experts := mixture_of(layer.feed_forward)) is not None
    }
    if not idle:
        return parameter_count(architecture)
    total = 0.0
    for parameter in parameters(architecture):
        share = idle[int(parameter.name.split(".")[2])] if parameter.experts > 1 else 0.0
        total += prod(parameter.shape) * (1 - share)
    return round(total)


def footprint(
    architecture: Architecture, *, dtype: DType, tokens: int, quantize: Quantization | None = None
) -> Footprint:
    """Return what a model needs for a text of `tokens` tokens, prompt and answer together."""
    return Footprint(
        weights=weight_bytes(architecture, dtype=dtype, quantize=quantize),
        cache=cache_bytes(architecture, dtype=dtype, tokens=tokens),
        activations=activation_bytes(architecture, dtype=dtype, tokens=tokens),
    )


def training_footprint(  # noqa: PLR0913 - all of them by name
    architecture: Architecture,
    *,
    trained: int,
    adapts: bool,
    dtype: DType,
    compute_dtype: DType,
    tokens: int,
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
        checkpointing: Whether only the states between layers are kept.
        accumulates: Whether a step has several batches, so that gradients are kept from one to the next.
        quantize: How the weights are quantized, if they are.
        parts: Among how many devices weights, gradients and moments are divided.

    """
    trained_bytes = 4 if adapts else BYTES[dtype]
    stream = architecture.streams * architecture.width
    inside = [
        _stream_copies(layer, adapts=adapts) * stream
        + layer.mixer.numbers_per_token
        + _feed_forward_numbers(layer.feed_forward, adapts=adapts)
        for layer in architecture.layers
    ]
    kept = len(inside) * stream + max(inside) if checkpointing else sum(inside)
    logits = min(tokens * architecture.vocab_size, LOGITS)
    # The logits, their softmax and the gradients of both.
    activations = tokens * kept * BYTES[compute_dtype] + 4 * logits * BYTES["float32"]
    gradients = trained * trained_bytes // parts
    return TrainingFootprint(
        weights=weight_bytes(architecture, dtype=dtype, quantize=quantize) // parts,
        learning=(2 + accumulates + adapts) * gradients,
        activations=activations if accumulates else max(activations, gradients),
    )


def _stream_copies(layer: Layer, *, adapts: bool) -> int:
    """Return how many tensors as wide as the stream a layer keeps for the backward pass.

    Norms keep their inputs. Where all weights are trained, RMSNorm keeps what it has normalized too, and
    projections what they read; of an adapter on queries and values, only that of the first.
    """
    before = [norm for norm in (layer.norm_1, layer.norm_2) if norm is not None]
    after = [norm for norm in (layer.post_mixer_norm, layer.post_mlp_norm) if norm is not None]
    inputs = len(after) + (1 if layer.parallel else len(before))
    if adapts:
        return inputs + 1
    return inputs + len(before) + sum(norm.kind == "rms" for norm in (*before, *after))


def _feed_forward_numbers(feed_forward: AnyFeedForward, *, adapts: bool) -> int:
    """Return how many numbers of each token a feed-forward keeps for the backward pass."""
    numbers = feed_forward.numbers_per_token
    if isinstance(feed_forward, FeedForward):
        return numbers // 2 if adapts else numbers  # what goes into the activation, and what comes out
    return numbers if adapts else round(4 / 3 * numbers)  # the same of a gate, with what it lets through


def cache_bytes(architecture: Architecture, *, dtype: DType, tokens: int) -> int:
    """Return the bytes of the keys and values of `tokens` tokens; a layer with a window keeps those alone.

    While a text grows, its cache may have room for half as many tokens again, and a window for as many again.
    """
    held = states = 0
    for layer in architecture.layers:
        kept = layer.mixer.kept
        held += kept.numbers * min(tokens, layer.mixer.window or tokens) + kept.recent
        states += kept.state
    return held * BYTES[dtype] + states * BYTES["float32"]


def activation_bytes(architecture: Architecture, *, dtype: DType, tokens: int) -> int:
    """Return roughly what is alive at once while `tokens` tokens go through the network, in blocks."""
    block = min(tokens, BLOCK)
    busiest = max(_numbers_per_token(layer) for layer in architecture.layers)
    stream = block * (3 * architecture.streams * architecture.width + busiest) * BYTES[dtype]
    # From the second block on, who sees whom is written out: as flags, and as numbers to add to the scores.
    mask = block * tokens * (1 + BYTES[dtype]) if tokens > block else 0
    logits = architecture.vocab_size * (BYTES[dtype] + BYTES["float32"])
    return stream + mask + logits


def longest_text(
    architecture: Architecture, *, dtype: DType, nbytes: int, quantize: Quantization | None = None
) -> int:
    """Return how many tokens a text may have, up to the context, for all to fit; 0 if not even one does."""
    lengths = range(1, architecture.context + 1)
    weights = weight_bytes(architecture, dtype=dtype, quantize=quantize)
    return bisect_right(
        lengths,
        nbytes,
        key=lambda tokens: weights + _besides(architecture, dtype, tokens),
    )


def _besides(architecture: Architecture, dtype: DType, tokens: int) -> int:
    working = activation_bytes(architecture, dtype=dtype, tokens=tokens)
    return cache_bytes(architecture, dtype=dtype, tokens=tokens) + working + PROGRAM


def judge(
    architecture: Architecture, memory: Memory, *, dtype: DType, quantize: Quantization | None = None
) -> Verdict:
    """Return whether a model runs in a memory, and with how long a text."""
    now, at_most = (
        longest_text(architecture, dtype=dtype, nbytes=one, quantize=quantize)
        for one in (memory.free, memory.total)
    )
    return Verdict(memory=memory, dtype=dtype, tokens_now=now, tokens_at_most=at_most, quantize=quantize)


def _numbers_per_token(layer: Layer) -> int:
    return max(layer.mixer.numbers_per_token, layer.feed_forward.numbers_per_token)
