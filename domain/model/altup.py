"""Alternating updates (AltUp) over several residual streams."""

import attrs

from litgpt.domain.model.norm import NormSpec


@attrs.frozen(kw_only=True)
class AltUpSpec:
    """AltUp: predict all streams, compute the layer on the active one, and correct all with its result.

    Attention runs in parallel with a low-rank residual branch (LAuReL).

    Source: Baykal et al. 2023, arXiv:2301.13310; Menghani et al. 2024, arXiv:2411.07501 (LAuReL).

    Attributes:
        correct_scale: Whether a trained vector scales the active stream before the per-layer input's gate.
        norm: The norm of the router's input and of LAuReL's output.
    """

    num_streams: int
    active_stream: int
    correct_scale: bool
    laurel_rank: int
    norm: NormSpec
