"""The shard of a rank on its device."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs

from litgpt.adapters.pytorch.distribution.placed_gpt import PlacedGPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.sharded_gpt import TensorParallelGPT
from litgpt.adapters.pytorch.quantization.registry import quantized_layers
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.adapters.pytorch.weights.exporter import ModelExporter
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.weights.mapping import ParameterSource


@attrs.define(eq=False, kw_only=True)
class PlacedShard(PlacedGPT):
    """A tensor-parallel model, in the process of one rank.

    Attributes:
        shut_down: Ends the worker ranks that this process has started; later calls do nothing.
    """

    network: TensorParallelGPT
    shut_down: Callable[[], object] = lambda: None

    @contextmanager
    def weights(self, sources: Sequence[ParameterSource]) -> Iterator[ModelExporter | None]:
        """Yield an exporter that gathers the current weights when they are read; None on ranks above 0.

        Raises:
            UnsupportedOperation: The weights are quantized, or rank 0 failed to write them.
            WorkerLost: A rank is gone.
        """
        check_fork()
        if quantized_layers(self.network):
            reason = (
                "each rank has quantized its shard with its own scales. Place the model on one device with "
                "the same quantize= and save it from there."
            )
            raise UnsupportedOperation("Saving a quantized tensor-parallel model", reason)
        with self.network.gather_context([source.parameter for source in sources]) as read:
            yield None if read is None else ModelExporter.from_model(self.network, sources, read_full=read)

    def close(self) -> None:
        super().close()
        self.shut_down()
