"""A model of transformers behind the interface of this library's own network.

Shapes: B batch, T tokens of this call, V vocabulary size, D hidden size.
"""

import inspect
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.bridge.cache import BridgedCache, RowState, uses_dynamic_cache
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.model.loss import Reduction, cross_entropy, shift_labels
from litgpt.domain.bridge import BridgedArchitecture


class BridgedModel(CausalLM):
    """A causal language model that transformers computes.

    Its children are those of transformers' model, so that the names of its parameters are too. Sequences are
    computed one by one, each with a cache of its own.

    Attributes:
        hf_model: The model of transformers.
    """

    has_whole_head = False  # what follows the head, such as a soft cap, is in the model's forward

    def __init__(self, hf_model: Any, architecture: BridgedArchitecture) -> None:
        super().__init__(architecture)
        self._hf_model = (hf_model,)  # in a tuple: its children are registered, not the model itself
        for name, child in hf_model.named_children():
            self.add_module(name, child)
        for name, parameter in hf_model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        names = {module: name for name, module in hf_model.named_modules()}
        self.embedding_name = names[hf_model.get_input_embeddings()]
        self.head_name = names[hf_model.get_output_embeddings()]
        accepted = inspect.signature(hf_model.forward).parameters
        self._accepted = frozenset(accepted)
        self._state_name = next((name for name in ("cache", "state") if name in accepted), None)
        if any(hasattr(module, "_setup_cache") for module in hf_model.modules()):
            self._state_name = None  # it keeps the state of one sequence in the module (RecurrentGemma)
        self._has_dynamic_cache = uses_dynamic_cache(hf_model)
        # States of other kinds than keys and values may be exact for one further token only.
        self.divides_prompts = (
            self._state_name == "cache" and self._has_dynamic_cache and not hf_model._is_stateful  # noqa: SLF001
        )

    @property
    def hf_model(self) -> Any:
        return self._hf_model[0]

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        self.hf_model.train(mode)
        return super().train(mode)

    def tie_weights(self) -> None:
        self.hf_model.tie_weights()

    def empty_cache(
        self,
        *,
        max_length: int,
        row_offsets: Sequence[int] = (0,),
        lengths: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> BridgedCache:
        del fixed  # transformers' caches grow
        return BridgedCache.of_rows(max_length=max_length, row_offsets=row_offsets, lengths=lengths)

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return the logits (B, T, V), or (B, 1, V) if `last_token_only`, in the dtype of transformers.

        Args:
            input_ids: (B, T).
            cache: Cache of the preceding tokens, to which this call appends; its first B rows are used.
            positions: (B, T); None: positions count from the start of each row.
            last_token_only: Compute the logits of the last token only.
        """
        if cache is None:
            options: dict[str, Any] = {} if positions is None else {"position_ids": positions}
            logits: Tensor = self._call(input_ids, last_token_only=last_token_only, **options).logits
            return _last(logits, 1 if last_token_only else input_ids.shape[1])
        assert isinstance(cache, BridgedCache)  # noqa: S101 - of `empty_cache`
        end = cache.length + input_ids.shape[1]
        rows = []
        for row, ids in enumerate(input_ids):
            padding = max(0, min(len(ids), cache.row_offsets[row] - cache.length))
            own = self._advance(cache.rows[row], ids[None, padding:], last_token_only=last_token_only)
            if padding and not last_token_only:
                own = nn.functional.pad(own, (0, 0, padding, 0))
            rows.append(own)
        cache.length = end
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def hidden_states(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return the input of the head, (B, T, D); the arguments are as in `forward`."""
        inputs: list[Tensor] = []
        head = self.get_submodule(self.head_name)
        hook = head.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        try:
            self(input_ids, cache, positions=positions, last_token_only=last_token_only)
        finally:
            hook.remove()
        if len(inputs) > 1:  # one for each row, or more for a model that continues token by token
            per_row = len(inputs) // len(input_ids)
            inputs = [
                torch.cat(inputs[row * per_row : (row + 1) * per_row], dim=1) for row in range(len(input_ids))
            ]
        return _last(torch.cat(inputs), 1 if last_token_only else input_ids.shape[1])

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the output of the head, without what the model applies to it afterwards."""
        logits: Tensor = self.get_submodule(self.head_name)(hidden)
        return logits

    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        logits = self(input_ids)
        return cross_entropy(logits.flatten(0, 1), shift_labels(target_ids).flatten(), reduction)

    def _advance(self, row: RowState, ids: Tensor, *, last_token_only: bool) -> Tensor:
        """Append tokens (1, T) to a row and return the logits after them."""
        if row.length == 0 or ids.shape[1] <= 1 or self.divides_prompts or self._state_name is None:
            return self._append(row, ids, last_token_only=last_token_only)
        logits = [self._append(row, token, last_token_only=True) for token in ids.split(1, dim=1)]
        return logits[-1] if last_token_only else torch.cat(logits, dim=1)

    def _append(self, row: RowState, ids: Tensor, *, last_token_only: bool) -> Tensor:
        count = ids.shape[1]
        if self._state_name is None:
            row.ids = ids if row.ids is None else torch.cat((row.ids, ids), dim=1)
            row.length += count
            logits = self._call(row.ids, last_token_only=last_token_only).logits
            return _last(logits, 1 if last_token_only else count)
        if row.cache is None and self._has_dynamic_cache:
            from transformers import DynamicCache

            row.cache = DynamicCache(config=self.hf_model.config)
        options = {self._state_name: row.cache, "use_cache": True}
        if "position_ids" in self._accepted:
            options["position_ids"] = torch.arange(row.length, row.length + count, device=ids.device)[None]
        output = self._call(ids, last_token_only=last_token_only, **options)
        row.cache = getattr(output, self._state_name)
        row.length += count
        return _last(output.logits, 1 if last_token_only else count)

    def _call(self, ids: Tensor, *, last_token_only: bool, **options: Any) -> Any:
        """Call transformers' model and return its output."""
        if self._state_name is not None or "use_cache" in self._accepted:
            options = {"use_cache": False, **options}
        if last_token_only and "logits_to_keep" in self._accepted:
            options["logits_to_keep"] = 1
        return self.hf_model(input_ids=ids, return_dict=True, **options)


def _last(logits: Tensor, count: int) -> Tensor:
    return logits[:, -count:]
