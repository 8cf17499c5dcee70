"""What works on each token alone."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture.norms import Norm
from litgpt.domain.messages import brief_repr

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2", "xielu"]


@attrs.frozen(kw_only=True)
class FeedForward:
    """`proj(activation(fc(x)))`.

    Attributes:
        size: The width in the middle.
        activation: What bends; `xielu` has learnt numbers of its own (Huang & Schlag 2024, arXiv:2411.13010).
        bias: Whether the two projections have one.

    """

    size: int
    activation: Activation
    bias: bool = False

    __repr__ = brief_repr

    @property
    def numbers_per_token(self) -> int:
        """How many numbers are alive at once for each token, about."""
        return 2 * self.size


@attrs.frozen(kw_only=True)
class Bounds:
    """How a gate is kept within bounds: `x * sigmoid(sharpness * x) * (y + lift)`, of bounded x and y.

    Attributes:
        limit: The gate's x is at most this, and y within plus and minus this.
        sharpness: How fast the gate opens.
        lift: Added to what it lets through.

    """

    limit: float
    sharpness: float
    lift: float = 1.0


@attrs.frozen(kw_only=True)
class GatedFeedForward:
    """`proj(activation(fc_1(x)) * fc_2(x))` (Shazeer 2020, arXiv:2002.05202).

    Attributes:
        size: The width in the middle.
        activation: What gates.
        bias: Whether the three projections have one.
        bounds: How the gate is kept within bounds, in place of the activation (gpt-oss); None does not.
        sparsity: The share of gates that are shut before the activation, if they were normally distributed
            (Gemma 3n): what is less than the threshold for that is 0, and counts from there.

    """

    size: int
    activation: Activation
    bias: bool = False
    bounds: Bounds | None = None
    sparsity: float = 0.0

    __repr__ = brief_repr

    @property
    def numbers_per_token(self) -> int:
        """How many numbers are alive at once for each token, about."""
        return 3 * self.size


@attrs.frozen(kw_only=True)
class Router:
    """Which experts a token goes to, and how much each counts.

    Attributes:
        score: What makes an expert's score from its logit: `softmax` over all experts, `softmax_of_chosen`
            over those that were chosen by their logits, `sigmoid`, or `sparsemixer`: one is chosen after the
            other, each scored by a softmax over those left whose logits come near its own
            (Liu et al. 2024, arXiv:2409.12136).
        normalise: Whether the scores of the chosen are divided by their sum.
        scale: Multiplies the scores of the chosen.
        correction: Whether a learnt number is added to each score for the choice alone
            (DeepSeek-AI 2024, arXiv:2412.19437).
        groups: Into how many equal groups experts are divided; 1 is no division.
        groups_chosen: From how many of them the experts are chosen.
        group_score: How many of its best experts' scores a group's score is the sum of.
        bias: Whether the logits have one.
        norm: Of what the router reads; None reads it as it is.
        factor: Multiplies the logits.
        expert_scale: Whether each expert has a learnt number that multiplies what it counts (Gemma 4).
        before: Whether the scores multiply what goes into the experts and not what comes out (Llama 4).
        tolerance: What is near, for `sparsemixer`: how far apart, over the larger of both sizes.

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
    """A mixture of experts, of which each token uses a few (Shazeer et al. 2017, arXiv:1701.06538).

    Attributes:
        count: How many experts there are.
        chosen: How many each token goes to.
        expert: One of them.
        router: How they are chosen.
        shared: A feed-forward that every token goes through besides; None has none.
        shared_gate: Whether a learnt gate weighs the shared one (Qwen 2 MoE).

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
        """The width in the middle of an expert."""
        return self.expert.size

    @property
    def numbers_per_token(self) -> int:
        """How many numbers are alive at once for each token, about."""
        shared = self.shared.numbers_per_token if self.shared else 0
        return self.chosen * self.expert.numbers_per_token + shared + self.count


@attrs.frozen(kw_only=True)
class SideBySide:
    """A feed-forward and a mixture of experts, each between norms of its own, added up (Gemma 4).

    The router reads what neither norm has changed.

    Attributes:
        dense: The feed-forward.
        sparse: The experts.
        norm: Each of the four.

    """

    dense: GatedFeedForward
    sparse: Experts
    norm: Norm

    __repr__ = brief_repr

    @property
    def size(self) -> int:
        """The width in the middle of the feed-forward."""
        return self.dense.size

    @property
    def numbers_per_token(self) -> int:
        """How many numbers are alive at once for each token, about."""
        return self.dense.numbers_per_token + self.sparse.numbers_per_token


AnyFeedForward: TypeAlias = FeedForward | GatedFeedForward | Experts | SideBySide


def mixture_of(feed_forward: AnyFeedForward) -> Experts | None:
    """Return the experts in a feed-forward; None if it has none."""
    match feed_forward:
        case Experts():
            return feed_forward
        case SideBySide(sparse=sparse):
            return sparse
        case _:
            return None
