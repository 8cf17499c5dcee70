"""Mixtures of experts (MoE)."""

from collections.abc import Iterator
from typing import Literal, Self, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mlp import FeedForwardSpec, GatedMLPSpec, MLPSpec
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor

ScoringFunc: TypeAlias = Literal[
    "softmax", "softmax_after_topk", "sigmoid", "sigmoid_after_topk", "sparsemixer"
]


@attrs.frozen(kw_only=True)
class RouterSpec:
    """Top-k routing of tokens to experts.

    Attributes:
        scoring_func: Scoring function of the router logits: `softmax` over all experts, `softmax_after_topk`
            over the top-k experts, `sigmoid`, `sigmoid_after_topk`, which selects experts by their logits
            (Kolibri), or `sparsemixer`, which selects experts one after another and scores each by a softmax
            over the remaining experts with similar logits (Liu et al. 2024, arXiv:2409.12136).
        norm_topk_prob: Whether the top-k scores are normalized to sum to 1.
        routed_scaling_factor: Factor of the top-k scores.
        score_correction_bias: Whether a trained bias is added to the scores for selection only (DeepSeek-AI
            2024, arXiv:2412.19437).
        n_group: Number of equally large expert groups; 1 disables grouping.
        topk_group: Number of groups from which experts are selected.
        excluded_score: Score, for selection, of the experts of other groups; None: they are not selected.
        group_score_top_k: A group's score is the sum of this many of its best scores.
        norm: Normalizes the router's input.
        expert_scale: Whether a trained scale per expert multiplies its weight (Gemma 4).
        weights_before_experts: Whether the weights multiply the experts' input instead of their output (Llama
            4).
        jitter_eps: `sparsemixer`: largest distance of similar logits, relative to the larger magnitude.
    """

    scoring_func: ScoringFunc = "softmax"
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.0
    score_correction_bias: bool = False
    n_group: int = 1
    topk_group: int = 1
    excluded_score: float | None = None
    group_score_top_k: int = 2
    bias: bool = False
    norm: NormSpec | None = None
    logit_factor: float = 1.0
    expert_scale: bool = False
    weights_before_experts: bool = False
    jitter_eps: float = 0.0

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class MoESpec(FeedForwardSpec):
    """A mixture of experts (Shazeer et al. 2017, arXiv:1701.06538).

    Attributes:
        shared_expert: The shared expert, which processes every token.
        shared_expert_gate: Whether a trained gate multiplies the shared expert's output (Qwen 2 MoE).
        shared_expert_scale: Factor of the shared expert's output (Command A+).
        num_identity_experts: Number of further experts that return their input: "zero-computation experts"
            (LongCat Flash; after Jin et al. 2024, arXiv:2410.07348).
        adds_identity: Whether this rank of tensor parallelism adds their output.
    """

    num_experts: int
    num_experts_per_token: int
    expert: GatedMLPSpec | MLPSpec
    router: RouterSpec = RouterSpec()
    shared_expert: GatedMLPSpec | MLPSpec | None = None
    shared_expert_gate: bool = False
    shared_expert_scale: float = 1.0
    num_identity_experts: int = 0
    adds_identity: bool = True

    __repr__ = brief_repr

    @property
    def intermediate_size(self) -> int:
        return self.expert.intermediate_size

    @property
    def num_choices(self) -> int:
        """Number of experts that the router scores."""
        return self.num_experts + self.num_identity_experts

    @property
    def expert_share(self) -> float:
        return self.num_experts_per_token / self.num_choices

    @property
    def activations_per_token(self) -> int:
        shared = self.shared_expert.activations_per_token if self.shared_expert else 0
        return self.num_experts_per_token * self.expert.activations_per_token + shared + self.num_choices

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        router = self.router
        for parameter in linear(f"{name}.gate", self.num_choices, hidden_size, bias=router.bias):
            yield attrs.evolve(parameter, skip_quantization=True)
        if router.norm is not None:
            yield from router.norm.parameters(f"{name}.gate.norm", hidden_size)
        if router.expert_scale:
            yield tensor(f"{name}.gate.expert_scale", self.num_choices, role="norm")
        if router.score_correction_bias:
            yield tensor(f"{name}.gate.e_score_correction_bias", self.num_choices, role="buffer")
        for number in range(self.num_experts):
            for parameter in self.expert.parameters(f"{name}.experts.{number}", hidden_size):
                yield attrs.evolve(parameter, num_experts=self.num_experts)
        if self.shared_expert is not None:
            yield from self.shared_expert.parameters(f"{name}.shared_experts", hidden_size)
        if self.shared_expert_gate:
            gate = tensor(f"{name}.shared_gate.weight", 1, hidden_size)
            yield attrs.evolve(gate, skip_quantization=True)

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's slice of every expert, which balances the load for any routing."""
        shared = self.shared_expert and self.shared_expert.shard(world_size, rank)
        expert = self.expert.shard(world_size, rank)
        return attrs.evolve(self, expert=expert, shared_expert=shared, adds_identity=rank == 0)


@attrs.frozen(kw_only=True)
class _DenseBesideMoESpec(FeedForwardSpec):
    """A dense MLP and an MoE."""

    dense: GatedMLPSpec
    moe: MoESpec

    @property
    def intermediate_size(self) -> int:
        return self.dense.intermediate_size

    @property
    def num_experts(self) -> int:
        return self.moe.num_experts

    @property
    def num_experts_per_token(self) -> int:
        return self.moe.num_experts_per_token

    @property
    def expert_share(self) -> float:
        return self.moe.expert_share

    @property
    def activations_per_token(self) -> int:
        return self.dense.activations_per_token + self.moe.activations_per_token


@attrs.frozen(kw_only=True)
class ShortcutMoESpec(_DenseBesideMoESpec):
    """A dense MLP, and an MoE of the same input whose output is added after the next layer.

    Between them, the next layer's attention and MLP run in parallel to the experts.

    Source: Cai et al. 2024, arXiv:2404.05019; Meituan LongCat Team 2025, arXiv:2509.01322, section 2.
    """

    __repr__ = brief_repr

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        yield from self.dense.parameters(f"{name}.dense", hidden_size)
        yield from self.moe.parameters(f"{name}.sparse", hidden_size)

    def shard(self, world_size: int, rank: int) -> Self:
        dense, moe = self.dense.shard(world_size, rank), self.moe.shard(world_size, rank)
        return attrs.evolve(self, dense=dense, moe=moe)


@attrs.frozen(kw_only=True)
class DenseAndMoESpec(_DenseBesideMoESpec):
    """The sum of a dense MLP and an MoE, each with its own input and output norm (Gemma 4).

    The router's input is not normalized by them. `norm` describes all four norms.
    """

    norm: NormSpec

    __repr__ = brief_repr

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        part: FeedForwardSpec
        for kind, part in (("dense", self.dense), ("sparse", self.moe)):
            yield from self.norm.parameters(f"{name}.norm_{kind}", hidden_size)
            yield from part.parameters(f"{name}.{kind}", hidden_size)
            yield from self.norm.parameters(f"{name}.post_norm_{kind}", hidden_size)
