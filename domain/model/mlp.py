"""Feed-forward layers (MLP) and mixtures of experts (MoE)."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.norm import NormSpec

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2", "xielu"]


@attrs.frozen(kw_only=True)
class MLPSpec:
    """`proj(activation(fc(x)))`.

    The activation `xielu` has trained parameters (Huang & Schlag 2024, arXiv:2411.13010).
    """

    intermediate_size: int
    activation: Activation
    bias: bool = False

    __repr__ = brief_repr

    @property
    def activations_per_token(self) -> int:
        """Approximate number of activation values alive at the same time, per token."""
        return 2 * self.intermediate_size


@attrs.frozen(kw_only=True)
class SwigluClamp:
    """Clamped SwiGLU (gpt-oss): `x * sigmoid(alpha * x) * (y + offset)` with clamped `x` and `y`.

    `limit` is the upper bound of the gate `x`; `y` is clamped to `[-limit, limit]`.
    """

    limit: float
    alpha: float
    offset: float = 1.0


@attrs.frozen(kw_only=True)
class GatedMLPSpec:
    """`proj(activation(fc_1(x)) * fc_2(x))` (Shazeer 2020, arXiv:2002.05202).

    Attributes:
        clamp: Clamped SwiGLU, used in place of `activation` (gpt-oss).
        activation_sparsity: Activation sparsity (Gemma 3n): the fraction of gate values set to 0, assuming
            that they are normally distributed. The threshold is subtracted from the values above it.
    """

    intermediate_size: int
    activation: Activation
    bias: bool = False
    clamp: SwigluClamp | None = None
    activation_sparsity: float = 0.0

    __repr__ = brief_repr

    @property
    def activations_per_token(self) -> int:
        return 3 * self.intermediate_size


@attrs.frozen(kw_only=True)
class RouterSpec:
    """Top-k routing of tokens to experts.

    Attributes:
        scoring_func: Scoring function of the router logits: `softmax` over all experts, `softmax_of_chosen`
            over the top-k experts, `sigmoid`, or `sparsemixer`, which selects experts one after another and
            scores each by a softmax over the remaining experts with similar logits (Liu et al. 2024,
            arXiv:2409.12136).
        norm_topk_prob: Whether the top-k scores are normalized to sum to 1.
        routed_scaling_factor: Factor of the top-k scores.
        score_correction_bias: Whether a trained bias is added to the scores for selection only (DeepSeek-AI
            2024, arXiv:2412.19437).
        n_group: Number of equally large expert groups; 1 disables grouping.
        topk_group: Number of groups from which experts are selected.
        group_score_top_k: A group's score is the sum of this many of its best scores.
        norm: Normalizes the router's input.
        expert_scale: Whether a trained scale per expert multiplies its weight (Gemma 4).
        weights_before_experts: Whether the weights multiply the experts' input instead of their output (Llama
            4).
        jitter_eps: `sparsemixer`: largest distance of similar logits, relative to the larger magnitude.
    """

    scoring_func: Literal["softmax", "softmax_of_chosen", "sigmoid", "sparsemixer"] = "softmax"
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.0
    score_correction_bias: bool = False
    n_group: int = 1
    topk_group: int = 1
    group_score_top_k: int = 2
    bias: bool = False
    norm: NormSpec | None = None
    logit_factor: float = 1.0
    expert_scale: bool = False
    weights_before_experts: bool = False
    jitter_eps: float = 0.0

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class MoESpec:
    """A mixture of experts (Shazeer et al. 2017, arXiv:1701.06538).

    Attributes:
        shared_expert: The shared expert, which processes every token.
        shared_expert_gate: Whether a trained gate multiplies the shared expert's output (Qwen 2 MoE).
    """

    num_experts: int
    num_experts_per_token: int
    expert: GatedMLPSpec
    router: RouterSpec = RouterSpec()
    shared_expert: GatedMLPSpec | None = None
    shared_expert_gate: bool = False

    __repr__ = brief_repr

    @property
    def intermediate_size(self) -> int:
        return self.expert.intermediate_size

    @property
    def activations_per_token(self) -> int:
        shared = self.shared_expert.activations_per_token if self.shared_expert else 0
        return self.num_experts_per_token * self.expert.activations_per_token + shared + self.num_experts


@attrs.frozen(kw_only=True)
class DenseAndMoESpec:
    """The sum of a dense MLP and an MoE, each with its own input and output norm (Gemma 4).

    The router's input is not normalized by them. `norm` describes all four norms.
    """

    dense: GatedMLPSpec
    moe: MoESpec
    norm: NormSpec

    __repr__ = brief_repr

    @property
    def intermediate_size(self) -> int:
        return self.dense.intermediate_size

    @property
    def activations_per_token(self) -> int:
        return self.dense.activations_per_token + self.moe.activations_per_token


AnyMLPSpec: TypeAlias = MLPSpec | GatedMLPSpec | MoESpec | DenseAndMoESpec


def moe_of(mlp: AnyMLPSpec) -> MoESpec | None:
    """Return the MoE of a feed-forward layer, or None if it is dense."""
    match mlp:
        case MoESpec():
            return mlp
        case DenseAndMoESpec(moe=sparse):
            return sparse
        case _:
            return None
