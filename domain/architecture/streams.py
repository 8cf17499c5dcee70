"""Several streams side by side, of which each layer works on one."""

import attrs

from litgpt.domain.architecture.norms import Norm


@attrs.frozen(kw_only=True)
class AlternatingUpdates:
    """Guesses all streams, works on one of them, and corrects all by how that one came out.

    Beside attention the stream is also projected through a narrow middle. Source: Baykal et al. 2023,
    arXiv:2301.13310; for the narrow middle Menghani et al. 2024, arXiv:2411.07501.

    Attributes:
        streams: How many there are.
        active: The one that the layer works on, from 0.
        scaled: Whether learnt numbers multiply it before the second embedding is told by it.
        rank: The width of the narrow middle.
        norm: Of what decides how streams mix, and of what comes out of the narrow middle.

    """

    streams: int
    active: int
    scaled: bool
    rank: int
    norm: Norm
