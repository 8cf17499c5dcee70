"""Log-probabilities of given tokens with the torch engine."""

from collections.abc import Callable, Hashable, Iterator, Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.inference import inference
from litgpt.adapters.pytorch.generation.padded_rows import padded_passes, split_rows
from litgpt.adapters.pytorch.generation.sampler import log_probabilities, top_log_probabilities
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.memory.estimate import LOGITS_CHUNK
from litgpt.domain.scoring.collected_scores import CollectedScores
from litgpt.domain.scoring.prefix_groups import PrefixGroup, group_by_prefix
from litgpt.domain.scoring.request import ScoringRequest, TokenScores


@attrs.define(eq=False)
class Scorer:
    """Computes the scores of requests: the prefix of each group once, then batches of its requests.

    Under torchrun, all ranks make the same calls in the same order.

    Attributes:
        sharing_key: See `group_by_prefix`.
    """

    model: CausalLM
    requests: Sequence[ScoringRequest]
    sharing_key: Callable[[int], Hashable]
    _scores: CollectedScores = attrs.field(init=False)

    def run(self) -> list[TokenScores]:
        """Return the scores in the order of the requests.

        Raises:
            NonFiniteLogits: The logits of a request are NaN or infinite.
        """
        self._scores = CollectedScores(self.requests)
        for group in group_by_prefix(self.requests, self.sharing_key):
            self._score_group(group, None)
        return self._scores.results()

    def _score_group(self, group: PrefixGroup, parent: KVCache | None) -> None:
        prefix = self._prefix(group, parent) if group.end else None
        lengths = [len(request.ids) - 1 for request in self.requests]
        for batch in split_rows(group.members, lengths, computed=group.end):
            self._score_rows(group, batch, prefix)
        for child in group.children:
            self._score_group(child, prefix)

    def _prefix(self, group: PrefixGroup, parent: KVCache | None) -> KVCache:
        """Return the KV cache of the tokens that a group has in common."""
        ids = self.requests[group.first].ids[group.start : group.end]
        if parent is None:
            cache = self.model.empty_cache(max_length=group.longest, lengths=[group.longest])
        else:
            cache = parent.copy()
            cache.set_limits(max_length=group.longest, lengths=[group.longest])
        with inference(self.model, len(ids)):
            for _, block in padded_passes([ids], self.model):
                self.model(block, cache, last_token_only=True)
        return cache

    def _score_rows(self, group: PrefixGroup, batch: Sequence[int], prefix: KVCache | None) -> None:
        rows = [self.requests[index].ids[group.end : -1] for index in batch]
        if prefix is None:
            longest = [len(self.requests[index].ids) for index in batch]
            cache = self.model.empty_cache(
                max_length=max(longest), row_offsets=[0] * len(batch), lengths=longest
            )
        else:
            cache = self.model.empty_cache(max_length=0, row_offsets=[])
            with inference(self.model, len(batch)):
                cache.join(prefix, [0] * len(batch), list(range(len(batch))))
        with inference(self.model, sum(map(len, rows))):
            for begin, block in padded_passes(rows, self.model):
                self._score_pass(block, cache, batch, group.end + begin)

    def _score_pass(self, block: Tensor, cache: KVCache, batch: Sequence[int], position: int) -> None:
        """Compute a block of tokens whose first column has this position, and score what follows them."""
        width = block.shape[1]
        selected: list[int] = []
        owners: list[int] = []
        targets: list[int] = []
        for row, index in enumerate(batch):
            request = self.requests[index]
            positions = request.predictors(position, position + width)
            selected += [row * width + at - position for at in positions]
            targets += [request.ids[at + 1] for at in positions]
            owners += [index] * len(positions)
        done = 0
        for logits in _selected_logits(self.model, block, cache, selected):
            rows = slice(done, done + len(logits))
            self._score(logits, targets[rows], owners[rows])
            done += len(logits)

    def _score(self, logits: Tensor, targets: Sequence[int], owners: Sequence[int]) -> None:
        if not owners:
            return
        largest = logits.amax(-1)
        if bad := sorted({owners[row] for row in (~largest.isfinite()).nonzero()[:, 0].tolist()}):
            raise NonFiniteLogits(bad, len(self.requests))
        index = torch.tensor(targets, device=logits.device)[:, None]
        is_greedy = (logits.gather(1, index)[:, 0] >= largest).tolist()
        top = top_log_probabilities(logits, self._scores.top_counts(owners))
        self._scores.add(owners, log_probabilities(logits, targets), is_greedy, top)


def _selected_logits(
    model: CausalLM, block: Tensor, cache: KVCache, selected: Sequence[int]
) -> Iterator[Tensor]:
    """Yield the logits (R, V) after some tokens of a block (B, T), in parts of bounded size.

    `selected` are indices into the flattened block.
    """
    index = torch.tensor(selected, dtype=torch.long)
    if not model.has_whole_head:
        gathered: Tensor = model(block, cache)
        yield gathered.flatten(0, 1)[index.to(gathered.device)]
        return
    hidden = model.hidden_states(block, cache).flatten(0, 1)
    for part in index.to(hidden.device).split(max(1, LOGITS_CHUNK // model.architecture.vocab_size)):
        yield model.logits(hidden[part])
