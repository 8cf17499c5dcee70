"""Estimate the memory of a model from its architecture, before weights are read."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from math import prod

import attrs

from litgpt.domain.model import Architecture, LayerSpec, ParameterSpec
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.weights.tensor_info import DTYPE_BYTES, DType

PREFILL_CHUNK = 1024
"""The assumed number of prompt tokens in one forward pass (chunked prefill)."""

RUNTIME_BYTES = 300_000_000
"""Approximate bytes of Python and torch, or of a GPU's driver, without a model."""

LOGITS_CHUNK = 2**24
"""The number of logits in one chunk of the loss: 64 MB in float32, for any vocabulary size."""


@attrs.frozen(kw_only=True)
class MemoryEstimate:
    """The memory in bytes of a model that generates for one sequence.

    Activations are an approximate peak; `runtime` is the memory of the process without a model.
    """

    weights: int
    kv_cache: int
    activations: int
    runtime: int = RUNTIME_BYTES

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.activations + self.runtime


@attrs.frozen(kw_only=True)
class DeviceMemory:
    """The total and free bytes of a device, and its description, such as `this machine's memory`."""

    device: str
    total: int
    free: int


@attrs.frozen(kw_only=True)
class FitReport:
    """Whether a model fits into the memory of a device, and with which sequence length.

    Attributes:
        dtype: The dtype of the weights and the KV cache.
        max_tokens_free: The longest sequence, up to the context length, that fits into the free memory; 0 if
            the weights alone do not fit.
        max_tokens_total: The same for the total memory.
    """

    memory: DeviceMemory
    dtype: DType
    max_tokens_free: int
    max_tokens_total: int
    quantize: Quantization | None = None


def parameter_count(architecture: Architecture) -> int:
    """Return the number of parameters; tied embeddings count once."""
    return _sum_over_parameters(architecture, lambda parameter: prod(parameter.shape))


def weight_bytes(architecture: Architecture, *, dtype: DType, quantize: Quantization | None = None) -> int:
    """Return the size of the weights in bytes; tied embeddings count once."""
    return _sum_over_parameters(architecture, lambda parameter: parameter_bytes(parameter, dtype, quantize))


def _sum_over_parameters(architecture: Architecture, size: Callable[[ParameterSpec], int]) -> int:
    def count(part: Architecture) -> int:
        return sum(map(size, part.parameters()))

    outside = count(attrs.evolve(architecture, layers=()))
    # MoE layers have hundreds of tensors, so each distinct layer is counted only once.
    kinds = Counter(architecture.layers)
    within = (
        times * (count(attrs.evolve(architecture, layers=(kind,))) - outside) for kind, times in kinds.items()
    )
    return outside + sum(within)


def active_parameter_count(architecture: Architecture) -> int:
    """Return the number of active parameters per token: only the selected experts count."""
    if not any(layer.mlp.num_experts for layer in architecture.layers):
        return parameter_count(architecture)
    shares = ((prod(it.shape), active_share(architecture, it)) for it in architecture.parameters())
    return round(sum(size * share for size, share in shares))


def active_share(architecture: Architecture, parameter: ParameterSpec) -> float:
    """Return the probability that a token uses a parameter: that of an expert to be selected, or 1."""
    if parameter.num_experts <= 1:
        return 1.0
    mlp = architecture.layers[int(parameter.name.split(".")[2])].mlp
    return mlp.expert_share


def estimate_memory(
    architecture: Architecture, *, dtype: DType, tokens: int, quantize: Quantization | None = None
) -> MemoryEstimate:
    """Return the memory for a sequence of `tokens` tokens, prompt and answer together."""
    return MemoryEstimate(
        weights=weight_bytes(architecture, dtype=dtype, quantize=quantize),
        kv_cache=kv_cache_bytes(architecture, dtype=dtype, tokens=tokens),
        activations=activation_bytes(architecture, dtype=dtype, tokens=tokens),
    )


def kv_cache_bytes(architecture: Architecture, *, dtype: DType, tokens: int) -> int:
    """Return the size of the KV cache of `tokens` tokens in bytes; a sliding window bounds that of its layer.

    During generation, the allocated capacity can be 1.5 times this, or twice this for a sliding window.
    """
    entries = states = 0
    for layer in architecture.layers:
        spec = layer.mixer.cache_spec
        entries += spec.numel_per_token * min(tokens, layer.mixer.sliding_window or tokens) + spec.conv_state
        states += spec.recurrent_state
    return entries * DTYPE_BYTES[dtype] + states * DTYPE_BYTES["float32"]


def activation_bytes(architecture: Architecture, *, dtype: DType, tokens: int) -> int:
    """Return the approximate peak of the activations in bytes, with chunked prefill of `tokens` tokens."""
    block = min(tokens, PREFILL_CHUNK)
    busiest = max(_activations_per_token(layer) for layer in architecture.layers)
    stream = block * (3 * architecture.num_streams * architecture.hidden_size + busiest) * DTYPE_BYTES[dtype]
    # From the second chunk on, the attention mask is materialized, as booleans and as an additive bias.
    mask = block * tokens * (1 + DTYPE_BYTES[dtype]) if tokens > block else 0
    logits = architecture.vocab_size * (DTYPE_BYTES[dtype] + DTYPE_BYTES["float32"])
    return stream + mask + logits


def max_context(
    architecture: Architecture, *, dtype: DType, nbytes: int, quantize: Quantization | None = None
) -> int:
    """Return the longest sequence that fits into `nbytes`, up to the context length; 0 if none does."""
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
    """Return whether a model fits into the memory of a device, and with which sequence length."""
    free, total = (
        max_context(architecture, dtype=dtype, nbytes=nbytes, quantize=quantize)
        for nbytes in (memory.free, memory.total)
    )
    return FitReport(
        memory=memory, dtype=dtype, max_tokens_free=free, max_tokens_total=total, quantize=quantize
    )


def _activations_per_token(layer: LayerSpec) -> int:
    return max(layer.mixer.activations_per_token, layer.mlp.activations_per_token)
