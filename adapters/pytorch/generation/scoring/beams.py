"""Sequences of a beam search in the torch engine: the rows of one KV cache."""

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.inference import inference
from litgpt.adapters.pytorch.generation.padded_rows import padded_passes
from litgpt.adapters.pytorch.generation.sampler import top_log_probabilities
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.domain.generation.errors import NonFiniteLogits


@attrs.define(eq=False)
class TorchBeams:
    """Implements `BeamBatch`. Under torchrun, all ranks make the same calls in the same order."""

    model: CausalLM
    _cache: KVCache | None = attrs.field(default=None, init=False)

    def start(
        self, prompts: Sequence[Sequence[int]], lengths: Sequence[int], count: int
    ) -> list[Mapping[int, float]]:
        self._cache = joined = self.model.empty_cache(max_length=0, row_offsets=[])
        logits = []
        for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
            cache = self.model.empty_cache(max_length=length, lengths=[length])
            with inference(self.model, len(prompt)):
                for _, block in padded_passes([prompt], self.model):
                    last = self.model(block, cache, last_token_only=True)
                logits.append(last[:, -1])
                joined.join(cache, [0], [row])
        return _likeliest(torch.cat(logits), count)

    def step(self, parents: Sequence[int], tokens: Sequence[int], count: int) -> list[Mapping[int, float]]:
        assert self._cache is not None  # noqa: S101 - started
        with inference(self.model, len(parents)):
            if len(parents) > len(self._cache.row_offsets):
                previous = self._cache
                self._cache = self.model.empty_cache(max_length=0, row_offsets=[])
                self._cache.join(previous, list(parents), list(range(len(parents))))
            else:
                self._cache.keep_rows(list(parents))
            block = torch.tensor(tokens, device=self.model.input_device)[:, None]
            return _likeliest(self.model(block, self._cache)[:, -1], count)

    def close(self) -> None:
        self._cache = None


def _likeliest(logits: Tensor, count: int) -> list[Mapping[int, float]]:
    if bad := (~logits.amax(-1).isfinite()).nonzero()[:, 0].tolist():
        raise NonFiniteLogits(bad, len(logits))
    return [top for top in top_log_probabilities(logits, [count] * len(logits)) if top is not None]
