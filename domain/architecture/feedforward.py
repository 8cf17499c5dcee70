"""Feed-forward layers (MLP) and mixtures of experts (MoE)."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture.norms import Norm
from litgpt.domain.messages import brief_repr

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2", "xielu"]


@attrs.frozen(kw_only=True)
class FeedForward:
    """`proj(activation(fc(x)))`.

    Attributes:
        size: Intermediate size.
        activation: Activation function; `xielu` has trained parameters (Huang & Schlag 2024,
            arXiv:2411.13010).
        bias: Whether both projections have a bias.

    """

    size: int
    activation: Activation
    bias: bool = False

    __repr__ = brief_repr

    @property
    def numbers_per_token(self) -> int:
        """Approximate number of activation values alive at the same time, per token."""
        return 2 * self.size


@attrs.frozen(kw_only=True)
class Bounds:
    """Clamped SwiGLU (gpt-oss): `x * sigmoid(sharpness * x) * (y + lift)` with clamped `x` and `y`.

    Attributes:
        limit: Upper bound of the gate `x`; `y` is clamped to `[-limit, limit]`.
        sharpness: Factor inside the sigmoid.
        lift: Offset added to `y`.

    """

    limit: float
    sharpness: float
    lift: float = 1.0


@attrs.frozen(kw_only=True)
class GatedFeedForward:
    """`proj(activation(fc_1(x)) * fc_2(x))` (Shazeer 2020, arXiv:2002.05202).

    Attributes:
        size: Intermediate size.
        activation: Activation of the gate.
        bias: Whether the three projections have a bias.
        bounds: Clamped SwiGLU, used in place of `activation` (gpt-oss).
        sparsity: Activation sparsity (Gemma 3n): the fraction of gate values set to 0, assuming that they are
            normally distributed. The threshold is subtracted from the values above it.

    """

    size: int
    activation: Activation
    bias: bool = False
    bounds: Bounds | None = None
    sparsity: float = 0.0

    __repr__ = brief_repr

    @property
    def numbers_per_token(self) -> int:
        return 3 * self.size


@attrs.frozen(kw_only=True)
class Router:
    """Top-k routing of tokens to experts.

    Attributes:
        score: Scoring function of the router logits: `softmax` over all experts, `softmax_of_chosen` over the
            top-k experts, `sigmoid`, or `sparsemixer`, which selects experts one after another and scores
            each by a softmax over the remaining experts with similar logits (Liu et al. 2024,
            arXiv:2409.12136).
        normalise: Whether the top-k scores are normalized to sum to 1.
        scale: Factor of the top-k scores.
        correction: Whether a trained bias is added to the scores for selection only (DeepSeek-AI 2024,
            arXiv:2412.19437).
        groups: Number of equally large expert groups; 1 disables grouping.
        groups_chosen: Number of groups from which experts are selected.
        group_score: A group's score is the sum of this many of its best scores.
        bias: Whether the router projection has a bias.
        norm: Normalizes the router's input.
        factor: Factor of the router logits.
        expert_scale: Whether a trained scale per expert multiplies its weight (Gemma 4).
        before: Whether the weights multiply the experts' input instead of their output (Llama 4).
        tolerance: `sparsemixer`: largest distance of similar logits, relative to the larger magnitude.

    """

    score: Literal["softmax", "softmax_of_chosen", "sigmoid", "sparsemixer"] = "softmax"
    normalise: bool = True
    scale: float = 1.0
    correction: bool = False
    groups: int = 1
    groups_chosen: int = 1
    group_score: int = 2
    bias: bool = False
    norm: Norm | None = None
    factor: float = 1.0
    expert_scale: bool = False
    before: bool = False
    tolerance: float = 0.0

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class Experts:
    """A mixture of experts (Shazeer et al. 2017, arXiv:1701.06538).

    Attributes:
        count: Number of experts.
        chosen: Number of experts per token.
        expert: The structure of each expert.
        router: Expert selection and weighting.
        shared: The shared expert, which processes every token.
        shared_gate: Whether a trained gate multiplies the shared expert's output (Qwen 2 MoE).

    """

    count: int
    chosen: int
    expert: GatedFeedForward
    router: Router = Router()
    shared: GatedFeedForward | None = None
    shared_gate: bool = False

    __repr__ = brief_repr

    @property
    def size(self) -> int:
        return self.expert.size

    @property
    def numbers_per_token(self) -> int:
        shared = self.shared.numbers_per_token if self.shared else 0
        return self.chosen * self.expert.numbers_per_token + shared + self.count


@attrs.frozen(kw_only=True)
class SideBySide:
    """The sum of a dense feed-forward layer and an MoE, each with its own input and output norm (Gemma 4).

    The router's input is not normalized by them. `norm` describes all four norms.
    """

    dense: GatedFeedForward
    sparse: Experts
    norm: Norm

    __repr__ = brief_repr

    @property
    def size(self) -> int:
        return self.dense.size

    @property
    def numbers_per_token(self) -> int:
        return self.dense.numbers_per_token + self.sparse.numbers_per_token


AnyFeedForward: TypeAlias = FeedForward | GatedFeedForward | Experts | SideBySide


def mixture_of(feed_forward: AnyFeedForward) -> Experts | None:
    """Return the MoE of a feed-forward layer, or None if it is dense."""
    match feed_forward:
        case Experts():
            return feed_forward
        case SideBySide(sparse=sparse):
            return sparse
        case _:
            return None
