"""How the feed-forward is read from a config."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture import (
    Activation,
    AnyFeedForward,
    Bounds,
    Experts,
    FeedForward,
    GatedFeedForward,
    Router,
    SideBySide,
)
from litgpt.domain.families.norms import RmsNorm
from litgpt.domain.families.settings import Key, Settings

# What Hugging Face calls an activation, and what it is.
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}


def activation(settings: Settings, key: Key, *, learnt: bool = False) -> Activation:
    """Return what bends; `learnt` where it may have numbers of its own."""
    name = settings.get(key)
    if learnt and name == "xielu":
        return "xielu"
    if name not in ACTIVATIONS:
        raise settings.refuse(key.name, name)
    return ACTIVATIONS[name]


@attrs.frozen(kw_only=True)
class Plain:
    """How a family writes its feed-forward of two projections.

    Attributes:
        activation: The setting with what bends.
        bias: Whether the projections have a bias.
        size: The setting with the width in the middle; absent, `times` the width, as with None.
        times: How many times the width that is.
        learnt: Whether the activation may be one with learnt numbers.

    """

    activation: Key = Key("hidden_act", "gelu")
    bias: Key | bool = True
    size: Key | None = Key("intermediate_size", None)
    times: int = 4
    learnt: bool = False

    def read(self, settings: Settings, layer: int) -> FeedForward:  # noqa: ARG002 - all layers are alike
        """Return the feed-forward."""
        usual = self.times * settings.integer(Key("hidden_size"))
        return FeedForward(
            size=settings.integer(self.size.or_else(usual)) if self.size else usual,
            activation=activation(settings, self.activation, learnt=self.learnt),
            bias=settings.flag(self.bias),
        )


@attrs.frozen(kw_only=True)
class Bounding:
    """How a family writes the bounds of its gates; the attributes are those of `Bounds`."""

    limit: Key
    sharpness: Key | float = 1.0

    def read(self, settings: Settings) -> Bounds:
        """Return the bounds."""
        return Bounds(limit=settings.number(self.limit), sharpness=settings.number(self.sharpness))


@attrs.frozen(kw_only=True)
class Gated:
    """How a family writes its gated feed-forward."""

    activation: Key = Key("hidden_act", "silu")
    bias: Key | bool = False
    size: Key = Key("intermediate_size")
    bounds: Bounding | None = None
    sparsity: Key | None = None

    def read(self, settings: Settings, layer: int) -> GatedFeedForward:  # noqa: ARG002 - all layers are alike
        """Return the feed-forward."""
        return GatedFeedForward(
            size=settings.integer(self.size),
            activation=activation(settings, self.activation),
            bias=settings.flag(self.bias),
            bounds=self.bounds.read(settings) if self.bounds else None,
            sparsity=self._sparsity(settings),
        )

    def _sparsity(self, settings: Settings) -> float:
        if self.sparsity is None:
            return 0.0
        sparsity = settings.number_or_zero(self.sparsity)
        if sparsity >= 1:
            settings.refuse_value(self.sparsity, "less than 1")
        return sparsity


@attrs.frozen(kw_only=True)
class Routing:
    """How a family writes its choice of experts; the attributes are those of `Router`.

    `by_width` says whether the inverse root of the width is the factor.
    """

    score: Literal["softmax", "softmax_of_chosen", "sigmoid", "sparsemixer"] = "softmax"
    normalise: Key | bool = True
    scale: Key | float = 1.0
    correction: bool = False
    groups: Key | None = None
    groups_chosen: Key | None = None
    group_score: int = 2
    bias: bool = False
    jitter: Key | None = None
    before: bool = False
    norm: RmsNorm | None = None
    by_width: bool = False
    expert_scale: bool = False

    def read(self, settings: Settings, experts: int) -> Router:
        """Return how experts are chosen."""
        groups = settings.integer(self.groups) if self.groups else 1
        if experts % groups and self.groups is not None:
            settings.refuse_value(self.groups, f"a divisor of the {experts} experts")
        return Router(
            score=self.score,
            normalise=settings.flag(self.normalise),
            scale=settings.number(self.scale),
            correction=self.correction,
            groups=groups,
            groups_chosen=settings.integer(self.groups_chosen) if self.groups_chosen else 1,
            group_score=self.group_score,
            bias=self.bias,
            tolerance=2 * settings.number_or_zero(self.jitter) if self.jitter else 0.0,
            before=self.before,
            norm=self.norm.read(settings) if self.norm else None,
            factor=float(settings.integer(Key("hidden_size")) ** -0.5) if self.by_width else 1.0,
            expert_scale=self.expert_scale,
        )


@attrs.frozen(kw_only=True)
class Sparse:
    """How a family writes its mixture of experts, and which layers have one.

    Attributes:
        count: The settings with the number of experts; the first that is there counts.
        chosen: How many each token goes to.
        expert: How one is written.
        routing: How they are chosen.
        shared: How the feed-forward for all tokens is written; None has none.
        shared_times: The setting with how many times its size counts, where it is told by experts' sizes.
        shared_gate: Whether a gate weighs it.
        dense: How the feed-forward of the other layers is written.
        listed: The setting that lists the layers with experts.
        first: The setting with the first layer that has experts.
        every: The setting with the number of layers of which the last has experts.
        never: The setting that lists layers without experts.

    """

    count: tuple[Key, ...] = (
        Key("num_experts", None),
        Key("num_local_experts", None),
        Key("n_routed_experts"),
    )
    chosen: Key = Key("num_experts_per_tok")
    expert: Gated = Gated(size=Key("moe_intermediate_size"))
    routing: Routing = Routing()
    shared: Gated | None = None
    shared_times: Key | None = None
    shared_gate: bool = False
    dense: Gated = Gated()
    listed: Key | None = None
    first: Key | None = None
    every: Key | None = None
    never: Key | None = None

    def read(self, settings: Settings, layer: int) -> AnyFeedForward:
        """Return the feed-forward of one layer."""
        if not self._sparse(settings, layer):
            return self.dense.read(settings, layer)
        said = [one for one in self.count if settings.has(one.name)]
        count = settings.integer(said[0] if said else self.count[-1])
        chosen = settings.integer(self.chosen)
        if chosen > count:
            settings.refuse_value(self.chosen, f"at most the number of experts, {count}")
        router = self.routing.read(settings, count)
        within = count // router.groups * min(router.groups, router.groups_chosen)
        if chosen > within:
            settings.refuse_value(self.chosen, f"at most the {within} experts of the groups chosen")
        return Experts(
            count=count,
            chosen=chosen,
            expert=self.expert.read(settings, layer),
            router=router,
            shared=self._shared(settings, layer),
            shared_gate=self.shared_gate,
        )

    def _shared(self, settings: Settings, layer: int) -> GatedFeedForward | None:
        if self.shared is None:
            return None
        one = self.shared.read(settings, layer)
        times = settings.integer(self.shared_times) if self.shared_times else 1
        return attrs.evolve(one, size=one.size * times)

    def _sparse(self, settings: Settings, layer: int) -> bool:
        if self.listed is not None and (listed := settings.get(self.listed)) is not None:
            if not isinstance(listed, list):
                settings.refuse_value(self.listed, "a list of layers")
            return layer in listed
        if self.first is not None and layer < int(settings.get(self.first)):
            return False
        if self.never is not None and layer in settings.get(self.never):
            return False
        return self.every is None or (layer + 1) % settings.integer(self.every) == 0


@attrs.frozen(kw_only=True)
class Beside:
    """How a family writes a feed-forward with, perhaps, experts beside it.

    Attributes:
        dense: How the feed-forward is written.
        sparse: How the experts are.
        enabled: The setting that says whether there are experts.
        norm: How the norms around either are written.

    """

    dense: Gated
    sparse: Sparse
    enabled: Key
    norm: RmsNorm = RmsNorm()

    def read(self, settings: Settings, layer: int) -> AnyFeedForward:
        """Return the feed-forward of one layer."""
        dense = self.dense.read(settings, layer)
        sparse = self.sparse.read(settings, layer) if settings.flag(self.enabled) else None
        if not isinstance(sparse, Experts):
            return dense
        return SideBySide(dense=dense, sparse=sparse, norm=self.norm.read(settings))


AnyFeed: TypeAlias = Plain | Gated | Sparse | Beside
