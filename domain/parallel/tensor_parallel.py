"""Tensor parallelism (arXiv:1909.08053): split each layer over several ranks.

Each rank has some attention heads and a slice of the MLP's intermediate dimension; the outputs of both are
all-reduced. The embedding and the LM head are split over the vocabulary.
"""

from collections.abc import Iterator, Sequence

import attrs

from litgpt.domain.model import Architecture
from litgpt.domain.model.sharding import Range, even_range
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType
from litgpt.domain.weights.tensor_view import TensorView


@attrs.frozen(kw_only=True)
class RankShard:
    """A rank's shard of a model.

    Attributes:
        architecture: The rank's architecture, with fewer heads and smaller intermediate sizes.
        sources: Checkpoint pieces of the rank's parameters.
        zeroed: Parameters set to 0 because another rank adds them before the all-reduce.
    """

    world_size: int
    rank: int
    full_architecture: Architecture = attrs.field(repr=False)
    architecture: Architecture
    sources: tuple[ParameterSource, ...] = attrs.field(repr=False)
    zeroed: frozenset[str] = attrs.field(default=frozenset(), repr=False)

    @property
    def vocab_range(self) -> Range:
        """The rank's rows of the embedding and LM head."""
        return even_range(self.architecture.vocab_size, self.world_size, self.rank)

    def weight_bytes(self, *, dtype: DType, quantize: Quantization | None = None) -> int:
        return sum(parameter_bytes(source.parameter, dtype, quantize) for source in self.sources)


def shard_model(
    architecture: Architecture, sources: Sequence[ParameterSource], *, world_size: int, rank: int
) -> RankShard:
    """Return a rank's shard of a model with the checkpoint pieces `sources`.

    Raises:
        UnsupportedOperation: The model cannot be split over this number of ranks.
    """
    layers = tuple(layer.shard(world_size, rank) for layer in architecture.layers)
    rank0_only = (source.parameter.name for source in sources if source.parameter.sharding.rank0_only)
    return RankShard(
        world_size=world_size,
        rank=rank,
        full_architecture=architecture,
        architecture=attrs.evolve(architecture, layers=layers),
        sources=tuple(_shard_source(source, world_size, rank) for source in sources),
        zeroed=frozenset(rank0_only) if rank > 0 else frozenset(),
    )


def _shard_source(source: ParameterSource, world_size: int, rank: int) -> ParameterSource:
    """Return the checkpoint pieces of a rank's slice of a parameter."""
    parameter = source.parameter
    ranges = parameter.sharding.ranges(world_size, rank)
    match parameter.sharding.dim:
        case None:
            return source
        case 0:
            rows = tuple(stop - start for start, stop in ranges)
            pieces = tuple(piece for span in ranges for piece in _row_views(source, span))
            shape = (sum(rows), *parameter.shape[1:])
            return ParameterSource(attrs.evolve(parameter, shape=shape, split_sizes=rows), pieces)
        case 1:
            ((start, stop),) = ranges
            pieces = tuple(attrs.evolve(piece, column_range=(start, stop)) for piece in source.views)
            shape = (parameter.shape[0], stop - start)
            return ParameterSource(attrs.evolve(parameter, shape=shape), pieces)


def _row_views(source: ParameterSource, wanted: Range) -> Iterator[TensorView]:
    reached = 0
    for piece in source.views:
        start, stop = max(wanted[0], reached), min(wanted[1], reached + piece.num_rows)
        if start < stop:
            yield from piece.slice_rows(start - reached, stop - reached)
        reached += piece.num_rows
