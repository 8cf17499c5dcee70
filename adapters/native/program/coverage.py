"""The parts of models that the engine has."""

from litgpt.domain.model import (
    Architecture,
    AttentionSpec,
    DenseAndMoESpec,
    FeedForwardSpec,
    GatedDeltaSpec,
    GatedMLPSpec,
    MixerSpec,
    MLASpec,
    MLPSpec,
    MoESpec,
    ShortConvSpec,
)

ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "relu2": 4}
"""The activation functions of csrc/kernels/kernels.h."""

IDENTITY = 6
"""The identity in their place, with which a product is that of two buffers."""

SCORING_FUNCTIONS = {
    "softmax": 0,
    "softmax_after_topk": 1,
    "sigmoid": 2,
    "sparsemixer": 3,
    "sigmoid_after_topk": 4,
}
"""The scoring functions of csrc/model/routing.h."""

MAX_EXPERTS = 1024
MAX_HEAD_DIM = 1024
MAX_CONV_KERNEL_SIZE = 65


def unsupported_part(architecture: Architecture) -> str | None:
    """Return the first part of a model that the engine does not have; None if it has all."""
    for layer in architecture.layers:
        if any(norm is not None and norm.gate_rank is not None for norm in (layer.norm_1, layer.norm_2)):
            return "norms with a gate"
        if layer.normed_residual is not None:
            return "residual connections after the norms"
        part = _unsupported_mixer(layer.mixer) or _unsupported_mlp(layer.mlp)
        if part is not None:
            return part
    return None


def _unsupported_mixer(mixer: MixerSpec) -> str | None:  # noqa: PLR0911 - one for each part
    match mixer:
        case AttentionSpec(head_gate=True) | MLASpec(head_gate=True):
            return "a gate for each attention head"
        case AttentionSpec(head_dim=size, value_dim=value_size):
            return _too_large(size, value_size)
        case MLASpec():
            return _unsupported_latent_attention(mixer)
        case ShortConvSpec(kernel_size=size) | GatedDeltaSpec(conv_kernel_size=size) if (
            size > MAX_CONV_KERNEL_SIZE
        ):
            return f"a convolution over more than {MAX_CONV_KERNEL_SIZE} tokens"
        case ShortConvSpec():
            return None
        case GatedDeltaSpec(allow_neg_eigval=True):
            return "a gated delta rule with negative eigenvalues"
        case GatedDeltaSpec(activation=activation) if activation not in ACTIVATIONS:
            return f"the activation {activation} after a convolution"
        case GatedDeltaSpec():
            return _too_large(mixer.k_head_dim, mixer.v_head_dim)
    return f"layers of type {type(mixer).__name__}"


def _unsupported_latent_attention(mixer: MLASpec) -> str | None:
    if not mixer.rotated:
        return "latent attention without position embeddings"
    if mixer.indexer is not None or mixer.indexer_layer is not None:
        return "attention to the tokens that an indexer selects"
    if mixer.output_gate:
        return "a gate of latent attention"
    if mixer.latent_scale != 1:
        return "a factor of the latent of attention"
    return _too_large(mixer.qk_nope_head_dim + mixer.rope.rotary_dim, mixer.v_head_dim)


def _too_large(*head_dims: int) -> str | None:
    return f"heads of more than {MAX_HEAD_DIM:,} dimensions" if max(head_dims) > MAX_HEAD_DIM else None


def _unsupported_mlp(mlp: FeedForwardSpec) -> str | None:
    match mlp:
        case DenseAndMoESpec(dense=dense, moe=moe):
            return _unsupported_mlp(dense) or _unsupported_mlp(moe)
        case MoESpec(shared_expert=shared):
            return _unsupported_moe(mlp) or (None if shared is None else _unsupported_mlp(shared))
        case GatedMLPSpec(gate_scale=gate, output_scale=output) if (gate, output) != (1, 1):
            return "factors of a feed-forward layer"
        case GatedMLPSpec(activation=activation):
            return None if activation in ACTIVATIONS else f"the activation {activation} with a gate"
        case MLPSpec():
            return None
    return f"feed-forward layers of type {type(mlp).__name__}"


def _unsupported_moe(moe: MoESpec) -> str | None:
    expert = moe.expert
    if not isinstance(expert, GatedMLPSpec) or not isinstance(moe.shared_expert, GatedMLPSpec | None):
        return "experts without a gate"
    if moe.num_experts > MAX_EXPERTS:
        return f"more than {MAX_EXPERTS:,} experts"
    if expert.activation_sparsity:
        return "activation sparsity of experts"
    return _unsupported_routing(moe) or _unsupported_mlp(expert)


def _unsupported_routing(moe: MoESpec) -> str | None:
    if moe.num_identity_experts:
        return "experts that return their input"
    if moe.router.scoring_func not in SCORING_FUNCTIONS:
        return f"experts scored by {moe.router.scoring_func}"
    if moe.router.n_group > 1 and moe.router.excluded_score is not None:
        return "experts that other groups may replace"
    return None
