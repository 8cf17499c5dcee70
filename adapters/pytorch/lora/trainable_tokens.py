"""Trained rows of an embedding or a head (PEFT's trainable_token_indices)."""

from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.lora.module_hook import AdapterModule, ParameterUpdate, current_parameter


class TrainableTokens(AdapterModule):
    """Rows (tokens, D) that replace rows of an embedding or a head; None: shared with `tied_to`.

    `size` is the number of rows of the module; `tied_to` has the trained tokens of a tied embedding.
    """

    ids: Tensor
    numbers: Tensor

    def __init__(
        self,
        ids: Sequence[int],
        rows: Tensor | None,
        *,
        size: int,
        trainable: bool,
        device: torch.device,
        tied_to: Self | None = None,
    ) -> None:
        super().__init__(tied_to)
        if rows is not None:
            self.register_parameter("rows", nn.Parameter(rows, requires_grad=trainable))
        self.register_buffer("ids", torch.tensor(ids, device=device), persistent=False)
        numbers = torch.full((size,), -1, device=device)
        numbers[self.ids] = torch.arange(len(ids), device=device)
        self.register_buffer("numbers", numbers, persistent=False)

    @property
    def current(self) -> Tensor:
        return self._tied_to[0].current if self._tied_to else self.get_parameter("rows")

    def add_to(self, out: Tensor, x: Tensor, module: nn.Module) -> Tensor:
        """Replace the outputs of an embedding, or the logits of a head, for the trained tokens."""
        rows = self.current.to(out.device, out.dtype)
        if isinstance(module, nn.Embedding):
            numbers = self.numbers[x]
            return torch.where((numbers >= 0)[..., None], rows[numbers.clamp(min=0)], out)
        bias = current_parameter(module, "bias")
        logits = functional.linear(x, rows, None if bias is None else bias[self.ids])
        return out.index_copy(-1, self.ids, logits)

    def updates(self) -> Iterator[ParameterUpdate]:
        yield ParameterUpdate("weight", self.ids, lambda old: self.current.to(old.device, old.dtype))
