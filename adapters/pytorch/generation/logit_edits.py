"""Apply the parameters that change logits (`logit_bias`, penalties, …) with torch."""

# B rows, V vocabulary, N changed logits

from array import array
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.logit_edits import LogitEdits, LogitEntries
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.token_history import TokenHistory

_Index: TypeAlias = tuple[Tensor, Tensor]


def edit(logits: Tensor, states: Sequence[SamplerState]) -> Tensor | None:
    """Return `logits` (B, V) in float32 as the parameters change them, or None if they change none."""
    edits = LogitEdits.of_batch(states, logits.shape[-1])
    if edits is None:
        return None
    logits = logits.float() if logits.dtype != torch.float32 else logits.clone()
    _add(logits, edits.bias)
    for row, ids in edits.allowed.items():
        allowed = _tensor(ids, torch.int64, logits.device)
        logits[row] = torch.full_like(logits[row], -torch.inf).index_copy(0, allowed, logits[row, allowed])
    for row, mask in edits.masks.items():
        logits[row].masked_fill_(~_bits(mask, logits), -torch.inf)
    _add(logits, edits.excluded)
    _apply_repetition(logits, edits.repetition)
    for penalties in edits.penalties:
        _add(logits, penalties)
    _add(logits, edits.min_tokens)
    for row, history in edits.processors.items():
        logits[row] = _process(logits[row], history)
    return logits


def _add(logits: Tensor, entries: LogitEntries) -> None:
    if entries:
        index, values = _read(logits, entries)
        logits[index] = logits[index] + values


def _apply_repetition(logits: Tensor, entries: LogitEntries) -> None:
    if entries:
        index, penalty = _read(logits, entries)
        values = logits[index]
        logits[index] = torch.where(values < 0, values * penalty, values / penalty)


def _process(logits: Tensor, history: TokenHistory) -> Tensor:
    """Return the logits (V,) that the processors of a request make of `logits`."""
    if isinstance(history.processed, Tensor):
        return history.processed
    for processor in history.params.logits_processor:
        result = torch.as_tensor(
            processor(list(history.token_ids), logits.clone()), dtype=torch.float32, device=logits.device
        )
        if result.shape != logits.shape:
            shape = tuple(logits.shape)
            raise InvalidArgument(
                "logits_processor", tuple(result.shape), f"to return logits of shape {shape}"
            )
        logits = result
    history.processed = logits.clone()  # the processor may use its tensor again
    return logits


def _bits(mask: bytes, logits: Tensor) -> Tensor:
    """Return which tokens a mask allows, (V,), for logits (B, V)."""
    packed = torch.frombuffer(bytearray(mask), dtype=torch.uint8).to(logits.device)
    bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8, device=logits.device) & 1).bool().flatten()
    missing = logits.shape[-1] - len(bits)
    return bits[: logits.shape[-1]] if missing <= 0 else functional.pad(bits, (0, missing))


def _read(logits: Tensor, entries: LogitEntries) -> tuple[_Index, Tensor]:
    """Return the index and the values, (N,), of entries."""
    index = tuple(_tensor(part, torch.int64, logits.device) for part in (entries.rows, entries.ids))
    return index, _tensor(entries.values, torch.float32, logits.device)  # type: ignore[return-value]


def _tensor(values: "array[int] | array[float]", dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.frombuffer(values, dtype=dtype).to(device)
