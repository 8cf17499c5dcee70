"""A mixture of experts: a router chooses a few for each token."""

# N tokens, X experts, K chosen for each token

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.feedforward import GatedMLP
from litgpt.adapters.pytorch.linear import Linear
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.domain.architecture import Experts


class Gate(nn.Module):
    """The router: which experts each token goes to, and what each counts."""

    bias: Tensor | None
    expert_scale: Tensor | None
    e_score_correction_bias: Tensor

    def __init__(self, width: int, experts: Experts) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts.count, width))
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(experts.count)) if experts.router.bias else None
        )
        self.router, self.chosen = experts.router, experts.chosen
        self.norm = None if experts.router.norm is None else Normalise(width, experts.router.norm)
        scale = nn.Parameter(torch.empty(experts.count)) if experts.router.expert_scale else None
        self.register_parameter("expert_scale", scale)
        if experts.router.correction:
            self.register_buffer("e_score_correction_bias", torch.empty(experts.count))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (N, K), in float32, and the experts (N, K) of tokens (N, width)."""
        router = self.router
        if self.norm is not None:
            x = self.norm(x) * router.factor
        if router.correction:
            # These were trained with scores in float32, and a choice may turn on the last digits.
            logits = functional.linear(x.float(), self.weight.float())
        else:
            logits = functional.linear(x, self.weight, self.bias).float()
        if router.score == "softmax_of_chosen":
            best, experts = logits.topk(self.chosen, -1)
            return best.softmax(-1), experts
        if router.score == "sparsemixer":
            return self._one_after_the_other(logits)
        scores = logits.sigmoid() if router.score == "sigmoid" else logits.softmax(-1)
        preferred = scores + self.e_score_correction_bias if router.correction else scores
        if router.groups > 1:
            preferred = self._of_best_groups(preferred)
        experts = preferred.topk(self.chosen, -1).indices
        weights = scores.gather(-1, experts)
        if router.normalise:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        if self.expert_scale is not None:
            weights = weights * self.expert_scale[experts]
        return weights * router.scale, experts

    def _one_after_the_other(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        left, weights, experts = logits, [], []
        for _ in range(self.chosen):
            best, expert = left.max(-1, keepdim=True)
            far = (best - logits) / logits.abs().maximum(best) > self.router.tolerance
            weights.append(left.masked_fill(far, -torch.inf).softmax(-1).gather(-1, expert))
            experts.append(expert)
            left = left.scatter(-1, expert, -torch.inf)
        return torch.cat(weights, -1), torch.cat(experts, -1)

    def _of_best_groups(self, preferred: Tensor) -> Tensor:
        """Return the scores, those outside the best groups out of reach."""
        router = self.router
        by_group = preferred.unflatten(-1, (router.groups, -1))
        best = by_group.topk(min(router.group_score, by_group.shape[-1]), -1).values
        scores = best.sum(-1)
        kept = torch.zeros_like(scores, dtype=torch.bool)
        kept.scatter_(-1, scores.topk(router.groups_chosen, -1).indices, value=True)
        reachable: Tensor = by_group.masked_fill(~kept[..., None], -torch.inf)
        return reachable.flatten(-2)


class MixtureOfExperts(nn.Module):
    """Experts, their router, and perhaps a feed-forward for all tokens besides."""

    def __init__(self, width: int, experts: Experts) -> None:
        super().__init__()
        self.gate = Gate(width, experts)
        self.before = experts.router.before
        self.experts = nn.ModuleList(GatedMLP(width, experts.expert) for _ in range(experts.count))
        self.shared_experts = GatedMLP(width, experts.shared) if experts.shared is not None else None
        self.shared_gate = Linear(width, 1, bias=False) if experts.shared_gate else None

    def forward(self, x: Tensor, *, routed_by: Tensor | None = None) -> Tensor:
        """Return (B, T, width) for `x` of that shape, whose experts `routed_by` chooses, or `x` itself."""
        flat = x.flatten(0, -2)
        weights, chosen = self.gate(flat if routed_by is None else routed_by.flatten(0, -2))
        out = self._mixed(flat, weights.to(flat.dtype), chosen)
        if self.shared_experts is not None:
            shared = self.shared_experts(flat)
            if self.shared_gate is not None:
                shared = shared * functional.sigmoid(self.shared_gate(flat))
            out = out + shared
        return out.view_as(x)

    def _mixed(self, flat: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """Return the weighted sum (N, width) of what the chosen experts make of tokens (N, width)."""
        # Sorted by expert, each expert's tokens are a slice. Only experts that some token goes to are
        # touched: of a mapped file, no other is read.
        experts, order = chosen.flatten().sort(stable=True)
        tokens, counts = order // chosen.shape[-1], weights.flatten()[order, None]
        inputs = flat[tokens] * counts if self.before else flat[tokens]
        sizes = tokens_of_each(experts, len(self.experts))
        answers = [
            self.experts[number](part) for number, part in enumerate(inputs.split(sizes)) if sizes[number]
        ]
        answer = torch.cat(answers or [inputs])
        answer = answer if self.before else answer * counts
        # Back in the order of the choices, a token's answers are added up in the same order each time, which
        # the atomic additions of a scattered sum on a GPU are not.
        by_choice = torch.empty_like(answer).index_copy(0, order, answer)
        return by_choice.view(*chosen.shape, -1).sum(1)


def tokens_of_each(experts: Tensor, count: int) -> list[int]:
    """Return how many tokens go to each of `count` experts, of the sorted experts of all tokens (N * K,)."""
    edges = torch.searchsorted(experts, torch.arange(count + 1, device=experts.device))
    sizes: list[int] = edges.diff().tolist()
    return sizes
