"""A model in this process."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.adapters.pytorch.weights.exporter import ModelExporter
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.ports.model_store import Weights
from litgpt.domain.weights.mapping import ParameterSource

_creating = threading.Lock()


@attrs.define(eq=False)
class PlacedGPT:
    """Implements the port `PlacedModel` for a model in this process."""

    network: GPT
    placement: Placement
    _generator: TorchGenerator | None = attrs.field(default=None, init=False, repr=False)

    def generator(self) -> TorchGenerator:
        with _creating:
            if self._generator is None or self._generator.model is not self.network:
                self._generator = TorchGenerator(self.network, self.placement.kv_cache_size)
            return self._generator

    def weights(self, sources: Sequence[ParameterSource]) -> AbstractContextManager[Weights[Tensor] | None]:
        check_fork()
        return nullcontext(ModelExporter.from_model(self.network, sources))

    def close(self) -> None:
        """Free the KV cache."""
        if self._generator is not None:
            self._generator.close()
            self._generator = None
