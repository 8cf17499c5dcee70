"""How much memory a model needs, counted from its structure before a weight is read."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from math import prod

import attrs

from litgpt.domain.architecture import Architecture, Layer, mixture_of
from litgpt.domain.parameters import Parameter, parameters
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.tensors import BYTES, DType

BLOCK = 1024
"""How many tokens of a prompt are taken to go through the network at once."""

PROGRAM = 300_000_000
"""The bytes that Python and torch, or a GPU's driver, take before there is a model. A rough figure."""

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
