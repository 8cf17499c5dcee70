"""Read MLPs and mixtures of experts from a config."""

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

# Hugging Face's names of activations.
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
    """Return the activation; `learnt` permits activations with trained parameters."""
    name = settings.get(key)
    if learnt and name == "xielu":
        return "xielu"
    if name not in ACTIVATIONS:
        raise settings.refuse(key.name, name)
    return ACTIVATIONS[name]


@attrs.frozen(kw_only=True)
class Plain:
    """A family's settings of a non-gated MLP with two projections.

    Attributes:
        activation: Setting with the activation.
        bias: Whether the projections have a bias.
        size: Setting with the intermediate size; if None or unset, `times` the hidden size.
        times: Default ratio of intermediate size to hidden size.
        learnt: Whether activations with trained parameters are permitted.

    """

    activation: Key = Key("hidden_act", "gelu")
    bias: Key | bool = True
    size: Key | None = Key("intermediate_size", None)
    times: int = 4
    learnt: bool = False

    def read(self, settings: Settings, layer: int) -> FeedForward:  # noqa: ARG002 - all layers are alike
        default = self.times * settings.integer(Key("hidden_size"))
        return FeedForward(
            size=settings.integer(self.size.or_else(default)) if self.size else default,
            activation=activation(settings, self.activation, learnt=self.learnt),
            bias=settings.flag(self.bias),
        )


@attrs.frozen(kw_only=True)
class Bounding:
    """A family's settings of `Bounds` (clamped SwiGLU)."""

    limit: Key
    sharpness: Key | float = 1.0

    def read(self, settings: Settings) -> Bounds:
        return Bounds(limit=settings.number(self.limit), sharpness=settings.number(self.sharpness))


@attrs.frozen(kw_only=True)
class Gated:
    """A family's settings of a gated MLP."""

    activation: Key = Key("hidden_act", "silu")
    bias: Key | bool = False
    size: Key = Key("intermediate_size")
    bounds: Bounding | None = None
    sparsity: Key | None = None

    def read(self, settings: Settings, layer: int) -> GatedFeedForward:  # noqa: ARG002 - all layers are alike
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
    """A family's settings of `Router`.

    `by_width` sets the factor of the logits to the inverse square root of the hidden size.
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
        groups = settings.integer(self.groups) if self.groups else 1
        if experts % groups and self.groups is not None:
            settings.refuse_value(self.groups, f"a divisor of the number of experts ({experts})")
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
    """A family's settings of a mixture of experts, and of the layers that have one.

    Attributes:
        count: Settings with the number of experts; the first one that is present is used.
        chosen: Setting with the number of experts per token.
        expert: MLP settings of an expert.
        routing: Router settings.
        shared: MLP settings of the shared expert, if any.
        shared_times: Setting that multiplies the size of the shared expert.
        shared_gate: Whether a gate multiplies the shared expert's output.
        dense: MLP settings of the layers without experts.
        listed: Setting with the list of MoE layers.
        first: Setting with the first MoE layer.
        every: Setting with the period of MoE layers; the last layer of each period has experts.
        never: Setting with the list of layers without experts.

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
        if not self._sparse(settings, layer):
            return self.dense.read(settings, layer)
        present = [key for key in self.count if settings.has(key.name)]
        count = settings.integer(present[0] if present else self.count[-1])
        chosen = settings.integer(self.chosen)
        if chosen > count:
            settings.refuse_value(self.chosen, f"at most {count}, the number of experts")
        router = self.routing.read(settings, count)
        selectable = count // router.groups * min(router.groups, router.groups_chosen)
        if chosen > selectable:
            settings.refuse_value(
                self.chosen, f"at most {selectable}, the number of experts in the selected groups"
            )
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
        expert = self.shared.read(settings, layer)
        times = settings.integer(self.shared_times) if self.shared_times else 1
        return attrs.evolve(expert, size=expert.size * times)

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
    """A family's settings of a dense MLP with an optional parallel MoE, each between norms (`norm`).

    `enabled` is the setting for whether there are experts.
    """

    dense: Gated
    sparse: Sparse
    enabled: Key
    norm: RmsNorm = RmsNorm()

    def read(self, settings: Settings, layer: int) -> AnyFeedForward:
        dense = self.dense.read(settings, layer)
        sparse = self.sparse.read(settings, layer) if settings.flag(self.enabled) else None
        if not isinstance(sparse, Experts):
            return dense
        return SideBySide(dense=dense, sparse=sparse, norm=self.norm.read(settings))


AnyFeed: TypeAlias = Plain | Gated | Sparse | Beside
