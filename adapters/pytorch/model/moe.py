"""A mixture of experts: a router chooses a few for each token."""

# N tokens, X experts, K chosen for each token

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.mlp import GatedMLP
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import MoESpec


class Router(nn.Module):
    """The router: which experts each token goes to, and what each counts."""

    bias: Tensor | None
    expert_scale: Tensor | None
    e_score_correction_bias: Tensor

    def __init__(self, hidden_size: int, spec: MoESpec) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(spec.num_experts, hidden_size))
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(spec.num_experts)) if spec.router.bias else None
        )
        self.spec, self.top_k = spec.router, spec.num_experts_per_token
        self.norm = None if spec.router.norm is None else Norm(hidden_size, spec.router.norm)
        scale = nn.Parameter(torch.empty(spec.num_experts)) if spec.router.expert_scale else None
        self.register_parameter("expert_scale", scale)
        if spec.router.score_correction_bias:
            self.register_buffer("e_score_correction_bias", torch.empty(spec.num_experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (N, K), in float32, and the experts (N, K) of tokens (N, width)."""
        router = self.spec
        if self.norm is not None:
            x = self.norm(x) * router.logit_factor
        if router.score_correction_bias:
            # These were trained with scores in float32, and a choice may turn on the last digits.
            logits = functional.linear(x.float(), self.weight.float())
        else:
            logits = functional.linear(x, self.weight, self.bias).float()
        if router.scoring_func == "softmax_of_chosen":
            best, experts = logits.topk(self.top_k, -1)
            return best.softmax(-1), experts
        if router.scoring_func == "sparsemixer":
            return self._sparsemixer(logits)
        scores = logits.sigmoid() if router.scoring_func == "sigmoid" else logits.softmax(-1)
        preferred = scores + self.e_score_correction_bias if router.score_correction_bias else scores
        if router.n_group > 1:
            preferred = self._limit_to_groups(preferred)
        experts = preferred.topk(self.top_k, -1).indices
        weights = scores.gather(-1, experts)
        if router.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        if self.expert_scale is not None:
            weights = weights * self.expert_scale[experts]
        return weights * router.routed_scaling_factor, experts

    def _sparsemixer(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        left, weights, experts = logits, [], []
        for _ in range(self.top_k):
            best, expert = left.max(-1, keepdim=True)
            far = (best - logits) / logits.abs().maximum(best) > self.spec.jitter_eps
            weights.append(left.masked_fill(far, -torch.inf).softmax(-1).gather(-1, expert))
            experts.append(expert)
            left = left.scatter(-1, expert, -torch.inf)
        return torch.cat(weights, -1), torch.cat(experts, -1)

    def _limit_to_groups(self, choice_scores: Tensor) -> Tensor:
        """Return the scores, those outside the best groups out of reach."""
        router = self.spec
        by_group = choice_scores.unflatten(-1, (router.n_group, -1))
        best = by_group.topk(min(router.group_score_top_k, by_group.shape[-1]), -1).values
        scores = best.sum(-1)
        kept = torch.zeros_like(scores, dtype=torch.bool)
        kept.scatter_(-1, scores.topk(router.topk_group, -1).indices, value=True)
        reachable: Tensor = by_group.masked_fill(~kept[..., None], -torch.inf)
        return reachable.flatten(-2)


class MoE(nn.Module):
    """Experts, their router, and perhaps a feed-forward for all tokens besides."""

    def __init__(self, hidden_size: int, spec: MoESpec) -> None:
        super().__init__()
        self.gate = Router(hidden_size, spec)
        self.weights_before_experts = spec.router.weights_before_experts
        self.experts = nn.ModuleList(GatedMLP(hidden_size, spec.expert) for _ in range(spec.num_experts))
        self.shared_experts = (
            GatedMLP(hidden_size, spec.shared_expert) if spec.shared_expert is not None else None
        )
        self.shared_gate = Linear(hidden_size, 1, bias=False) if spec.shared_expert_gate else None

    def forward(self, x: Tensor, *, router_input: Tensor | None = None) -> Tensor:
        """Return (B, T, width) for `x` of that shape, whose experts `router_input` chooses, or `x` itself."""
        flat = x.flatten(0, -2)
        weights, chosen = self.gate(flat if router_input is None else router_input.flatten(0, -2))
        out = self._combine_experts(flat, weights.to(flat.dtype), chosen)
        if self.shared_experts is not None:
            shared = self.shared_experts(flat)
            if self.shared_gate is not None:
                shared = shared * functional.sigmoid(self.shared_gate(flat))
            out = out + shared
        return out.view_as(x)

    def _combine_experts(self, flat: Tensor, weights: Tensor, expert_ids: Tensor) -> Tensor:
        """Return the weighted sum (N, width) of what the chosen experts make of tokens (N, width)."""
        # Sorted by expert, each expert's tokens are a slice. Only experts that some token goes to are
        # touched: of a mapped file, no other is read.
        experts, order = expert_ids.flatten().sort(stable=True)
        tokens, counts = order // expert_ids.shape[-1], weights.flatten()[order, None]
        inputs = flat[tokens] * counts if self.weights_before_experts else flat[tokens]
        sizes = tokens_per_expert(experts, len(self.experts))
        answers = [
            self.experts[number](part) for number, part in enumerate(inputs.split(sizes)) if sizes[number]
        ]
        answer = torch.cat(answers or [inputs])
        answer = answer if self.weights_before_experts else answer * counts
        # Back in the order of the choices, a token's answers are added up in the same order each time, which
        # the atomic additions of a scattered sum on a GPU are not.
        by_choice = torch.empty_like(answer).index_copy(0, order, answer)
        return by_choice.view(*expert_ids.shape, -1).sum(1)


def tokens_per_expert(experts: Tensor, num_experts: int) -> list[int]:
    """Return how many tokens go to each of `num_experts` experts.

    Of the sorted experts of all tokens (N * K,).
    """
    edges = torch.searchsorted(experts, torch.arange(num_experts + 1, device=experts.device))
    sizes: list[int] = edges.diff().tolist()
    return sizes
