"""How much memory a model needs, counted from its structure before a weight is read."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from math import prod

import attrs

from litgpt.domain.model import Architecture, LayerSpec, moe_of
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.weights.parameters import ParameterSpec, parameters
from litgpt.domain.weights.tensor_info import DTYPE_BYTES, DType

PREFILL_CHUNK = 1024
"""How many tokens of a prompt are taken to go through the network at once."""

RUNTIME_BYTES = 300_000_000
"""The bytes that Python and torch, or a GPU's driver, take before there is a model. A rough figure."""

LOGITS_CHUNK = 2**24
"""How many logits the loss works on at once: 64 MB in float32, whatever the vocabulary."""


@attrs.frozen(kw_only=True)
class MemoryEstimate:
    """The bytes that one conversation with a model takes.

    Attributes:
        weights: The parameters.
        kv_cache: The keys and values of every token so far.
        activations: What is alive inside the network at once. A rough figure.
        runtime: What is there without a model.

    """

    weights: int
    kv_cache: int
    activations: int
    runtime: int = RUNTIME_BYTES

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv_cache + self.activations + self.runtime


@attrs.frozen(kw_only=True)
class DeviceMemory:
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
class FitReport:
    """Whether a model runs in a memory, and with how long a text.

    Attributes:
        memory: Where it is to run.
        dtype: What the weights and the cache are in.
        quantize: How the weights are quantized, if they are.
        max_tokens_free: The longest text, up to the model's context, for which what is free now suffices; 0
            if not
            even the weights fit.
        max_tokens_total: The same if nobody else used any of the memory.

    """

    memory: DeviceMemory
    dtype: DType
    max_tokens_free: int
    max_tokens_total: int
    quantize: Quantization | None = None


def parameter_count(architecture: Architecture) -> int:
    """Return how many weights a model has; a head that is the embedding counts once."""
    return _sum_over_parameters(architecture, lambda parameter: prod(parameter.shape))


def weight_bytes(architecture: Architecture, *, dtype: DType, quantize: Quantization | None = None) -> int:
    """Return the memory that a model's weights take; a head that is the embedding counts once."""
    return _sum_over_parameters(architecture, lambda parameter: parameter_bytes(parameter, dtype, quantize))


def _sum_over_parameters(architecture: Architecture, size: Callable[[ParameterSpec], int]) -> int:
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
        number: 1 - experts.num_experts_per_token / experts.num_experts
        for number, layer in enumerate(architecture.layers)
        if (experts := moe_of(layer.mlp)) is not None
    }
    if not idle:
        return parameter_count(architecture)
    total = 0.0
    for parameter in parameters(architecture):
        share = idle[int(parameter.name.split(".")[2])] if parameter.num_experts > 1 else 0.0
        total += prod(parameter.shape) * (1 - share)
    return round(total)


def estimate_memory(
    architecture: Architecture, *, dtype: DType, tokens: int, quantize: Quantization | None = None
) -> MemoryEstimate:
    """Return what a model needs for a text of `tokens` tokens, prompt and answer together."""
    return MemoryEstimate(
        weights=weight_bytes(architecture, dtype=dtype, quantize=quantize),
        kv_cache=kv_cache_bytes(architecture, dtype=dtype, tokens=tokens),
        activations=activation_bytes(architecture, dtype=dtype, tokens=tokens),
    )


def kv_cache_bytes(architecture: Architecture, *, dtype: DType, tokens: int) -> int:
    """Return the bytes of the keys and values of `tokens` tokens; a layer with a window keeps those alone.

    While a text grows, its cache may have room for half as many tokens again, and a window for as many again.
    """
    held = states = 0
    for layer in architecture.layers:
        kept = layer.mixer.cache_spec
        held += kept.numel_per_token * min(tokens, layer.mixer.sliding_window or tokens) + kept.conv_state
        states += kept.recurrent_state
    return held * DTYPE_BYTES[dtype] + states * DTYPE_BYTES["float32"]


def activation_bytes(architecture: Architecture, *, dtype: DType, tokens: int) -> int:
    """Return roughly what is alive at once while `tokens` tokens go through the network, in blocks."""
    block = min(tokens, PREFILL_CHUNK)
    busiest = max(_activations_per_token(layer) for layer in architecture.layers)
    stream = block * (3 * architecture.num_streams * architecture.hidden_size + busiest) * DTYPE_BYTES[dtype]
    # From the second block on, who sees whom is written out: as flags, and as numbers to add to the scores.
    mask = block * tokens * (1 + DTYPE_BYTES[dtype]) if tokens > block else 0
    logits = architecture.vocab_size * (DTYPE_BYTES[dtype] + DTYPE_BYTES["float32"])
    return stream + mask + logits


def max_context(
    architecture: Architecture, *, dtype: DType, nbytes: int, quantize: Quantization | None = None
) -> int:
    """Return how many tokens a text may have, up to the context, for all to fit; 0 if not even one does."""
    lengths = range(1, architecture.context_length + 1)
    weights = weight_bytes(architecture, dtype=dtype, quantize=quantize)
    return bisect_right(
        lengths,
        nbytes,
        key=lambda tokens: weights + _cache_and_activations(architecture, dtype, tokens),
    )


def _cache_and_activations(architecture: Architecture, dtype: DType, tokens: int) -> int:
    working = activation_bytes(architecture, dtype=dtype, tokens=tokens)
    return kv_cache_bytes(architecture, dtype=dtype, tokens=tokens) + working + RUNTIME_BYTES


def check_fit(
    architecture: Architecture, memory: DeviceMemory, *, dtype: DType, quantize: Quantization | None = None
) -> FitReport:
    """Return whether a model runs in a memory, and with how long a text."""
    now, at_most = (
        max_context(architecture, dtype=dtype, nbytes=one, quantize=quantize)
        for one in (memory.free, memory.total)
    )
    return FitReport(
        memory=memory, dtype=dtype, max_tokens_free=now, max_tokens_total=at_most, quantize=quantize
    )


def _activations_per_token(layer: LayerSpec) -> int:
    return max(layer.mixer.activations_per_token, layer.mlp.activations_per_token)
