"""The rows of `litgpt info` about the structure of a model and its sampling parameters."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litgpt.domain.generation.sampling_params import SamplingParams
    from litgpt.domain.model import Architecture, FeedForwardSpec


def structure(architecture: "Architecture", parameters: int) -> list[tuple[str, ...]]:
    """Return labels and values; `parameters` is the number of parameters."""
    from litgpt.domain.memory.estimate import active_parameter_count

    active = active_parameter_count(architecture)
    used = f", {_count(active)} active per token" if active < parameters else ""
    tied = " (tied embeddings)" if architecture.tie_word_embeddings else ""
    return [
        ("family", architecture.family),
        ("parameters", f"{_count(parameters)}{used}"),
        ("layers", f"{len(architecture.layers)}"),
        ("hidden size", f"{architecture.hidden_size:,}"),
        *_mixers(architecture),
        *_mlps(architecture),
        ("vocabulary", f"{architecture.vocab_size:,}{tied}"),
        ("context", f"{architecture.context_length:,} tokens"),
    ]


def sampling(sampling: "SamplingParams") -> list[tuple[str, ...]]:
    """Return labels and values of the parameters that are not neutral."""
    if sampling.greedy:
        return [("greedy", "the most likely token"), *_further_sampling(sampling)]
    top_k = "disabled" if sampling.top_k is None else f"{sampling.top_k}"
    return [
        ("temperature", f"{sampling.temperature}"),
        ("top_k", top_k),
        ("top_p", f"{sampling.top_p}"),
        *_further_sampling(sampling),
    ]


def _further_sampling(sampling: "SamplingParams") -> list[tuple[str, ...]]:
    """Return the other parameters of generation_config.json that are not neutral."""
    values = {
        "min_p": (sampling.min_p, 0),
        "typical_p": (sampling.typical_p, 1),
        "repetition_penalty": (sampling.repetition_penalty, 1),
    }
    return [(name, f"{value}") for name, (value, neutral) in values.items() if value != neutral]


def _mixers(architecture: "Architecture") -> "Iterator[tuple[str, str]]":
    from litgpt.domain.model import AttentionSpec, MLASpec, ParallelMixerSpec

    mixers = [layer.mixer for layer in architecture.layers]
    states = [size for mixer in mixers if (size := mixer.cache_spec.recurrent_state)]
    mixers = [mixer.attention if isinstance(mixer, ParallelMixerSpec) else mixer for mixer in mixers]
    attention = next((mixer for mixer in mixers if isinstance(mixer, AttentionSpec)), None)
    if attention is not None:
        yield "heads", f"{attention.num_heads} of size {attention.head_dim}"
        yield "key-value heads", f"{attention.num_kv_heads}"
    mla = next((mixer for mixer in mixers if isinstance(mixer, MLASpec)), None)
    if mla is not None:
        yield "heads", f"{mla.num_heads} of size {mla.head_dim}"
        yield "KV cache entry", f"{mla.cache_spec.numel_per_token:,} numbers per layer (MLA)"
    windows = [mixer.sliding_window for mixer in mixers if mixer.sliding_window is not None]
    if windows:
        yield "sliding window", f"{max(windows):,} tokens in {len(windows)} of {len(mixers)} layers"
    if states:
        yield (
            "recurrent state",
            f"{max(states):,} numbers in {len(states)} of {len(mixers)} layers",
        )


def _mlps(architecture: "Architecture") -> "Iterator[tuple[str, str]]":
    from litgpt.domain.model import DenseAndMoESpec, MoESpec, ShortcutMoESpec

    mlps: list[FeedForwardSpec] = []
    for layer in architecture.layers:
        if isinstance(layer.mlp, (DenseAndMoESpec, ShortcutMoESpec)):
            mlps += (layer.mlp.dense, layer.mlp.moe)
        else:
            mlps.append(layer.mlp)
    dense = next((mlp for mlp in mlps if mlp.intermediate_size and not isinstance(mlp, MoESpec)), None)
    if dense is not None:
        yield "MLP size", f"{dense.intermediate_size:,}"
    sparse = [mlp for mlp in mlps if isinstance(mlp, MoESpec)]
    if sparse:
        moe = sparse[0]
        experts = f"{moe.num_experts} of size {moe.intermediate_size:,}"
        yield "experts", f"{experts}, {moe.num_experts_per_token} per token"
        if moe.shared_expert is not None:
            yield "shared expert", f"of size {moe.shared_expert.intermediate_size:,}"
        if len(sparse) < len(architecture.layers):
            yield "MoE layers", f"{len(sparse)} of {len(architecture.layers)}"


def _count(weights: int) -> str:
    return f"{weights / 1e9:,.2f} billion" if weights >= 10**9 else f"{weights / 1e6:,.1f} million"
