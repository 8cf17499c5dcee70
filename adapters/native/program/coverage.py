"""The parts of models that the engine has."""

from litgpt.domain.model import (
    Architecture,
    AttentionSpec,
    DynamicScaling,
    FeedForwardSpec,
    GatedMLPSpec,
    LayerSpec,
    LongRopeScaling,
    MixerSpec,
    MLPSpec,
    MoESpec,
)

ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "relu2": 4}
"""The activation functions of csrc/kernels/kernels.h."""

SCORING_FUNCTIONS = {"softmax": 0, "softmax_after_topk": 1, "sigmoid": 2}
"""The scoring functions of csrc/model/routing.h."""

MAX_EXPERTS = 1024


def unsupported_part(architecture: Architecture) -> str | None:
    """Return the first part of a model that the engine does not have; None if it has all."""
    for layer in architecture.layers:
        part = _unsupported_mixer(layer.mixer) or _unsupported_mlp(layer.mlp) or _unsupported_layer(layer)
        if part is not None:
            return part
    return None


def _unsupported_mixer(mixer: MixerSpec) -> str | None:
    if not isinstance(mixer, AttentionSpec):
        return f"layers of type {type(mixer).__name__}"
    if mixer.rope is not None and isinstance(mixer.rope.scaling, (LongRopeScaling, DynamicScaling)):
        return "RoPE that depends on the length of the sequence"
    if mixer.alibi is not None and mixer.alibi.in_bfloat16:
        return "ALiBi in bfloat16"
    return "keys that are also the values" if mixer.shared_kv_projection else None


def _unsupported_mlp(mlp: FeedForwardSpec) -> str | None:
    match mlp:
        case MoESpec(router=router, expert=expert, shared_expert=shared):
            if router.scoring_func not in SCORING_FUNCTIONS:
                return f"routing with {router.scoring_func}"
            if mlp.num_experts > MAX_EXPERTS:
                return f"more than {MAX_EXPERTS:,} experts"
            return _unsupported_mlp(expert) or (None if shared is None else _unsupported_mlp(shared))
        case GatedMLPSpec(activation_sparsity=sparsity) if sparsity:
            return "activation sparsity"
        case GatedMLPSpec(activation=activation) | MLPSpec(activation=activation):
            return None if activation in ACTIVATIONS else f"the activation {activation}"
    return f"feed-forward layers of type {type(mlp).__name__}"


def _unsupported_layer(layer: LayerSpec) -> str | None:
    if layer.per_layer_input is not None:
        return "per-layer embeddings"
    if layer.altup is not None:
        return "AltUp"
    return "layer scales" if layer.layer_scale else None
