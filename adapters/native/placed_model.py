"""A model of the native engine, and its torch network, which is built when it is needed."""

import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from litgpt.adapters.native.generator import NativeGenerator
from litgpt.adapters.native.low_rank import NativeAdapter, no_adapter
from litgpt.adapters.native.model import NativeModel
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.ports import PlacedModel
from litgpt.domain.ports.model_store import Weights
from litgpt.domain.weights.mapping import ParameterSource

if TYPE_CHECKING:
    from litgpt.adapters.native.lora import Floats
    from litgpt.domain.lora.weight_changes import WeightChanges


@attrs.define(eq=False)
class NativePlacedModel:
    """Implements the port `PlacedModel` for a model of the native engine.

    Attributes:
        build_torch: Builds the same model in the torch engine, for everything but generation.
        random_seed: Returns the seed of a request without one.
        available_memory: Returns the bytes that can still be allocated; None: unknown.
        draft: The draft model, of the native engine as well.
    """

    model: NativeModel | None
    placement: Placement
    build_torch: Callable[[], PlacedModel[Any]]
    random_seed: Callable[[], int]
    available_memory: Callable[[], int | None] = lambda: None
    draft: "NativePlacedModel | None" = None
    _torch: PlacedModel[Any] | None = attrs.field(default=None, init=False)
    _request_adapters: "weakref.WeakKeyDictionary[WeightChanges[Floats], NativeAdapter | None]" = attrs.field(
        factory=weakref.WeakKeyDictionary, init=False, repr=False
    )
    _current: "tuple[WeightChanges[Floats] | None, NativeGenerator] | None" = attrs.field(
        default=None, init=False
    )
    _building: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __reduce__(self) -> NoReturn:
        reason = "its weights are memory of its C++ library. Load it again."
        raise UnsupportedOperation("Copying a model of the native engine", reason)

    @property
    def nbytes(self) -> int:
        """The bytes of the weights in the engine, with those of the draft model."""
        own = 0 if self.model is None else self.model.weight_bytes
        return own if self.draft is None else own + self.draft.nbytes

    @property
    def built_torch(self) -> PlacedModel[Any] | None:
        """The model in the torch engine; None if it has not been needed."""
        return self._torch

    @property
    def torch(self) -> PlacedModel[Any]:
        """The model in the torch engine, which the first access builds from the checkpoint."""
        with self._building:
            if self._torch is None:
                self._torch = self.build_torch()
            return self._torch

    @property
    def network(self) -> Any:
        return self.torch.network

    @network.setter
    def network(self, network: Any) -> None:
        self.torch.network = network

    def generator(
        self,
        changes: "WeightChanges[Floats] | None" = None,
        find_changes: "Callable[[str], WeightChanges[Floats]] | None" = None,
    ) -> NativeGenerator:
        """Return a generator for the model, or for the model with the changes of an adapter.

        `find_changes` returns those of another adapter, for single requests.

        Raises:
            UnsupportedOperation: The engine does not have a part of the adapter.
        """
        with self._building:
            assert self.model is not None  # noqa: S101 - not closed
            if self._current is None or self._current[0] is not changes:
                model = self.model
                if changes is not None:
                    model = self._adapted(model, changes)
                find_adapter: Callable[[str], NativeAdapter | None] = no_adapter
                if find_changes is not None:
                    find_adapter = partial(self._request_adapter, self.model, model, find_changes)
                size, memory = self.placement.kv_cache_size, self.available_memory()
                draft = None if self.draft is None else self.draft.model
                generator = NativeGenerator(model, self.random_seed, size, memory, draft, find_adapter)
                self._current = changes, generator  # streams of the previous one may be unfinished
            return self._current[1]

    def _adapted(self, model: NativeModel, changes: "WeightChanges[Floats]") -> NativeModel:
        from litgpt.adapters.native.lora import adapt_model

        if changes in self._request_adapters:
            return model.with_adapter(self._request_adapters[changes])
        adapted = adapt_model(model, changes)
        if adapted.shares_sequences(model):
            self._request_adapters[changes] = adapted.adapter
        return adapted

    def _request_adapter(
        self,
        base: NativeModel,
        model: NativeModel,
        find_changes: "Callable[[str], WeightChanges[Floats]]",
        name: str,
    ) -> NativeAdapter | None:
        """Return an adapter for single sequences of `model`, which is `base` with the active adapter.

        All engines share its matrices.
        """
        from litgpt.adapters.native.lora import request_adapter

        changes = find_changes(name)
        with self._building:
            if self._current is not None and self._current[0] is changes and self._current[1].model is model:
                return model.adapter
            if not model.shares_sequences(base):
                raise UnsupportedOperation(
                    f"Using the adapter {name!r} for single requests",
                    "the active adapter changes more than linear layers. Call set_adapter(None) first.",
                )
            if changes not in self._request_adapters:
                self._request_adapters[changes] = request_adapter(base, name, changes)
            return self._request_adapters[changes]

    def weights(self, sources: Sequence[ParameterSource]) -> AbstractContextManager[Weights[Any] | None]:
        return self.torch.weights(sources)

    def close(self) -> None:
        """Free the weights."""
        if self._current is not None:
            self._current[1].close()
        self._current = self.model = None
        if self.draft is not None:
            self.draft.close()
        if self._torch is not None:
            self._torch.close()
            self._torch = None
