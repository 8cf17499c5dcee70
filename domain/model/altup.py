"""Alternating updates (AltUp) over several residual streams."""

from collections.abc import Iterator

import attrs

from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor


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

    def parameters(self, layer: str, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield the parameters of AltUp and LAuReL in the module `layer`."""
        streams, rank = self.num_streams, self.laurel_rank
        for name, *shape in (
            ("prediction", streams**2, streams),
            ("correction", streams, streams),
            ("router", streams, hidden_size),
        ):
            yield attrs.evolve(tensor(f"{layer}.altup.{name}.weight", *shape), skip_quantization=True)
        yield from self.norm.parameters(f"{layer}.altup.norm", hidden_size)
        if self.correct_scale:
            yield tensor(f"{layer}.altup.scale", hidden_size, role="bias")
        yield from linear(f"{layer}.laurel.left", rank, hidden_size)
        yield from linear(f"{layer}.laurel.right", hidden_size, rank, role="output")
        yield from self.norm.parameters(f"{layer}.laurel.norm", hidden_size)
