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
)

ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "relu2": 4}
"""The activation functions of csrc/kernels/kernels.h."""

SCORING_FUNCTIONS = {"softmax": 0, "softmax_after_topk": 1, "sigmoid": 2, "sparsemixer": 3}
"""The scoring functions of csrc/model/routing.h."""

MAX_EXPERTS = 1024
MAX_HEAD_DIM = 1024
MAX_CONV_KERNEL_SIZE = 65


def unsupported_part(architecture: Architecture) -> str | None:
    """Return the first part of a model that the engine does not have; None if it has all."""
    for layer in architecture.layers:
        part = _unsupported_mixer(layer.mixer) or _unsupported_mlp(layer.mlp)
        if part is not None:
            return part
    return None


def _unsupported_mixer(mixer: MixerSpec) -> str | None:
    match mixer:
        case AttentionSpec(head_dim=size):
            sizes: tuple[int, ...] = (size,)
        case MLASpec():
            sizes = (mixer.qk_nope_head_dim + mixer.rope.rotary_dim, mixer.v_head_dim)
        case GatedDeltaSpec(activation=activation):
            if activation not in ACTIVATIONS:
                return f"the activation {activation} after a convolution"
            if mixer.conv_kernel_size > MAX_CONV_KERNEL_SIZE:
                return f"a convolution over more than {MAX_CONV_KERNEL_SIZE} tokens"
            sizes = (mixer.k_head_dim, mixer.v_head_dim)
        case _:
            return f"layers of type {type(mixer).__name__}"
    return f"heads of more than {MAX_HEAD_DIM:,} dimensions" if max(sizes) > MAX_HEAD_DIM else None


def _unsupported_mlp(mlp: FeedForwardSpec) -> str | None:
    match mlp:
        case DenseAndMoESpec(dense=dense, moe=moe):
            return _unsupported_mlp(dense) or _unsupported_mlp(moe)
        case MoESpec(shared_expert=shared):
            return _unsupported_experts(mlp) or (None if shared is None else _unsupported_mlp(shared))
        case GatedMLPSpec(gate_scale=gate, output_scale=output) if (gate, output) != (1, 1):
            return "factors of a feed-forward layer"
        case GatedMLPSpec(activation=activation):
            return None if activation in ACTIVATIONS else f"the activation {activation} with a gate"
        case MLPSpec():
            return None
    return f"feed-forward layers of type {type(mlp).__name__}"


def _unsupported_experts(moe: MoESpec) -> str | None:
    expert = moe.expert
    if not isinstance(expert, GatedMLPSpec) or not isinstance(moe.shared_expert, GatedMLPSpec | None):
        return "experts without a gate"
    if expert.activation_sparsity:
        return "activation sparsity of experts"
    return f"more than {MAX_EXPERTS:,} experts" if moe.num_experts > MAX_EXPERTS else _unsupported_mlp(expert)
