"""Mixture of experts: a router selects K of the experts for each token."""

# N tokens, K experts per token, D hidden size

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.mlp import MLP, GatedMLP
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import DenseAndMoESpec, GatedMLPSpec, MLPSpec, MoESpec, ShortcutMoESpec


class Router(nn.Module):
    """Selects the experts of each token and computes their weights."""

    bias: Tensor | None
    expert_scale: Tensor | None
    e_score_correction_bias: Tensor

    def __init__(self, hidden_size: int, spec: MoESpec) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(spec.num_choices, hidden_size))
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(spec.num_choices)) if spec.router.bias else None
        )
        self.spec, self.top_k = spec.router, spec.num_experts_per_token
        self.norm = None if spec.router.norm is None else Norm(hidden_size, spec.router.norm)
        scale = nn.Parameter(torch.empty(spec.num_choices)) if spec.router.expert_scale else None
        self.register_parameter("expert_scale", scale)
        if spec.router.score_correction_bias:
            self.register_buffer("e_score_correction_bias", torch.empty(spec.num_choices))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (N, K), in float32, and the expert ids (N, K) of tokens (N, D)."""
        router = self.spec
        if self.norm is not None:
            x = self.norm(x) * router.logit_factor
        if router.score_correction_bias:
            # Trained with float32 scores, whose last digits may decide which experts are selected.
            logits = functional.linear(x.float(), self.weight.float())
        else:
            logits = functional.linear(x, self.weight, self.bias).float()
        if router.scoring_func == "softmax_after_topk":
            best, experts = logits.topk(self.top_k, -1)
            return best.softmax(-1), experts
        if router.scoring_func == "sparsemixer":
            return self._sparsemixer(logits)
        scores = logits.softmax(-1) if router.scoring_func == "softmax" else logits.sigmoid()
        choice_scores = logits if router.scoring_func == "sigmoid_after_topk" else scores
        if router.score_correction_bias:
            choice_scores = choice_scores + self.e_score_correction_bias
        if router.n_group > 1:
            choice_scores = self._limit_to_groups(choice_scores)
        experts = choice_scores.topk(self.top_k, -1).indices
        weights = scores.gather(-1, experts)
        if router.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        if self.expert_scale is not None:
            weights = weights * self.expert_scale[experts]
        return weights * router.routed_scaling_factor, experts

    def _sparsemixer(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Select experts one by one, as `sparsemixer` of transformers' PhiMoE does."""
        remaining, weights, experts = logits, [], []
        for _ in range(self.top_k):
            best, expert = remaining.max(-1, keepdim=True)
            below_threshold = (best - logits) / logits.abs().maximum(best) > self.spec.jitter_eps
            masked = remaining.masked_fill(below_threshold, -torch.inf)
            weights.append(masked.softmax(-1).gather(-1, expert))
            experts.append(expert)
            remaining = remaining.scatter(-1, expert, -torch.inf)
        return torch.cat(weights, -1), torch.cat(experts, -1)

    def _limit_to_groups(self, choice_scores: Tensor) -> Tensor:
        """Set the scores of experts outside the best `topk_group` groups to `excluded_score`."""
        router = self.spec
        by_group = choice_scores.unflatten(-1, (router.n_group, -1))
        best = by_group.topk(min(router.group_score_top_k, by_group.shape[-1]), -1).values
        group_scores = best.sum(-1)
        selected = torch.zeros_like(group_scores, dtype=torch.bool)
        selected.scatter_(-1, group_scores.topk(router.topk_group, -1).indices, value=True)
        excluded = -torch.inf if router.excluded_score is None else router.excluded_score
        masked: Tensor = by_group.masked_fill(~selected[..., None], excluded)
        return masked.flatten(-2)


class MoE(nn.Module):
    """Router, experts and an optional shared expert."""

    def __init__(self, hidden_size: int, spec: MoESpec) -> None:
        super().__init__()
        self.gate = Router(hidden_size, spec)
        self.num_choices, self.adds_identity = spec.num_choices, spec.adds_identity
        self.weights_before_experts = spec.router.weights_before_experts
        self.experts = nn.ModuleList(_expert(hidden_size, spec.expert) for _ in range(spec.num_experts))
        self.shared_experts = None if spec.shared_expert is None else _expert(hidden_size, spec.shared_expert)
        self.shared_expert_scale = spec.shared_expert_scale
        self.shared_gate = Linear(hidden_size, 1, bias=False) if spec.shared_expert_gate else None

    def forward(self, x: Tensor, *, router_input: Tensor | None = None) -> Tensor:
        """Return (B, T, D) for `x` (B, T, D), routed by `router_input` (B, T, D), or by `x` if it is None."""
        flat = x.flatten(0, -2)
        weights, expert_ids = self.gate(flat if router_input is None else router_input.flatten(0, -2))
        out = self._combine_experts(flat, weights.to(flat.dtype), expert_ids)
        if self.shared_experts is not None:
            shared = self.shared_experts(flat)
            if self.shared_gate is not None:
                shared = shared * functional.sigmoid(self.shared_gate(flat))
            out = out + (shared if self.shared_expert_scale == 1 else shared * self.shared_expert_scale)
        return out.view_as(x)

    def _combine_experts(self, flat: Tensor, weights: Tensor, expert_ids: Tensor) -> Tensor:
        """Return the weighted sum (N, D) of the experts' outputs for tokens `flat` (N, D)."""
        # Sorted by expert, the tokens of each expert are a slice. Experts without tokens are not accessed,
        # so that their weights are not read from a memory-mapped file.
        experts, order = expert_ids.flatten().sort(stable=True)
        tokens, sorted_weights = order // expert_ids.shape[-1], weights.flatten()[order, None]
        inputs = flat[tokens] * sorted_weights if self.weights_before_experts else flat[tokens]
        sizes = tokens_per_expert(experts, self.num_choices)
        outputs = [
            self._expert(index, part) for index, part in enumerate(inputs.split(sizes)) if sizes[index]
        ]
        output = torch.cat(outputs or [inputs])
        output = output if self.weights_before_experts else output * sorted_weights
        # The outputs of a token are summed in a fixed order; atomic additions of a scattered sum on a GPU
        # are not deterministic.
        unsorted = torch.empty_like(output).index_copy(0, order, output)
        return unsorted.view(*expert_ids.shape, -1).sum(1)

    def _expert(self, index: int, x: Tensor) -> Tensor:
        """Return the output (N, D) of an expert; those that follow the trained ones return their input."""
        if index < len(self.experts):
            out: Tensor = self.experts[index](x)
            return out
        return x if self.adds_identity else torch.zeros_like(x)


class ShortcutMoE(nn.Module):
    """A dense MLP and an MoE with the same input, whose outputs `ShortcutBlock` adds in different places."""

    def __init__(self, hidden_size: int, spec: ShortcutMoESpec) -> None:
        super().__init__()
        self.dense = GatedMLP(hidden_size, spec.dense)
        self.sparse = MoE(hidden_size, spec.moe)

    def forward(self, x: Tensor) -> Tensor:
        """Return both outputs (B, T, 2, D)."""
        return torch.stack((self.dense(x), self.sparse(x)), -2)


class DenseAndMoE(nn.Module):
    """The sum of a dense MLP and an MoE, each with its own norms; the router input is not normalized."""

    def __init__(self, hidden_size: int, spec: DenseAndMoESpec) -> None:
        super().__init__()
        self.norm_dense = Norm(hidden_size, spec.norm)
        self.dense = GatedMLP(hidden_size, spec.dense)
        self.post_norm_dense = Norm(hidden_size, spec.norm)
        self.norm_sparse = Norm(hidden_size, spec.norm)
        self.sparse = MoE(hidden_size, spec.moe)
        self.post_norm_sparse = Norm(hidden_size, spec.norm)

    def forward(self, x: Tensor) -> Tensor:
        dense: Tensor = self.post_norm_dense(self.dense(self.norm_dense(x)))
        sparse: Tensor = self.post_norm_sparse(self.sparse(self.norm_sparse(x), router_input=x))
        return dense + sparse


def _expert(hidden_size: int, spec: GatedMLPSpec | MLPSpec) -> nn.Module:
    return GatedMLP(hidden_size, spec) if isinstance(spec, GatedMLPSpec) else MLP(hidden_size, spec)


def tokens_per_expert(experts: Tensor, num_experts: int) -> list[int]:
    """Return the number of tokens of each expert, given the sorted expert ids (N * K,)."""
    edges = torch.searchsorted(experts, torch.arange(num_experts + 1, device=experts.device))
    sizes: list[int] = edges.diff().tolist()
    return sizes
