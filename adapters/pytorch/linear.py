"""Linear layers and embeddings that wait for their weights, and the way a CPU multiplies fastest."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Linear(nn.Linear):
    """torch's, without drawing random weights that the checkpoint replaces."""

    def reset_parameters(self) -> None:
        """Leave the weights uninitialised."""


class Embedding(nn.Embedding):
    """torch's, without drawing random weights that the checkpoint replaces."""

    def reset_parameters(self) -> None:
        """Leave the weights uninitialised."""


# With so few rows, bfloat16 products are bound by reading the weights, and torch's own matrix-vector kernel
# reads them about twice as fast as oneDNN does; with more, oneDNN's blocking wins (docs/decisions/onednn.md).
_FEW_ROWS = 3


@contextmanager
def fastest_matmul(*, rows: int, dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Choose the matrix product for `rows` rows at a time.

    torch's switch is global to the process: another thread that multiplies meanwhile is right all the same,
    only perhaps slower.
    """
    if rows > _FEW_ROWS or dtype != torch.bfloat16 or device.type != "cpu" or not _onednn():
        yield
        return
    _set_onednn(enabled=False)
    try:
        yield
    finally:
        _set_onednn(enabled=True)


def _onednn() -> bool:
    return bool(getattr(torch.backends.mkldnn, "enabled"))  # noqa: B009 - torch types it as its descriptor


def _set_onednn(*, enabled: bool) -> None:
    setattr(torch.backends.mkldnn, "enabled", enabled)  # noqa: B010 - as above
