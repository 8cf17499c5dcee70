"""Alternating updates (AltUp) over several residual streams."""

import attrs

from litgpt.domain.architecture.norms import Norm


@attrs.frozen(kw_only=True)
class AlternatingUpdates:
    """AltUp: predict all streams, compute the layer on the active one, and correct all with its result.

    Attention runs in parallel with a low-rank residual branch (LAuReL).
    Source: Baykal et al. 2023, arXiv:2301.13310; Menghani et al. 2024, arXiv:2411.07501 (LAuReL).

    Attributes:
        streams: Number of residual streams.
        active: Index of the active stream.
        scaled: Whether a trained vector scales the active stream before the per-layer input's gate.
        rank: Rank of LAuReL.
        norm: The norm of the router's input and of LAuReL's output.

    """

    streams: int
    active: int
    scaled: bool
    rank: int
    norm: Norm
