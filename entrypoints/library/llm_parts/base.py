"""The state of an `LLM`, which all its parts use, and how it becomes a torch module."""

import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from litgpt.application.concurrency.model_lock import ModelLock
from litgpt.application.concurrency.shared_generator import SharedGenerator
from litgpt.application.load_model import LoadedModel
from litgpt.domain.errors import NotDistributed, UnsupportedOperation
from litgpt.domain.ports import Generator, PlacedModel
from litgpt.domain.progress import Notice, Reporter
from litgpt.services import Services

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.nn import Module

    from litgpt.adapters.native.placed_model import NativePlacedModel
    from litgpt.adapters.pytorch.lora.model_adapters import ModelAdapters
    from litgpt.adapters.pytorch.model.gpt import GPT
    from litgpt.domain.lora.weight_changes import WeightChanges
    from litgpt.server.run import RunningServer
else:
    Module = object


class BaseLLM(Module):
    """A loaded model, and the network that was built of it.

    It is a torch module, but importing torch takes seconds and 200 MB, which generation in the native engine
    does not need. Without torch, an object of this class becomes an `LLMModule` when a method of modules is
    used, or when its class is asked for in a process that has imported torch, as by `isinstance`.

    Attributes:
        model: The network; None until `distribute` or `trainer_setup`. With the native engine, the first
            access reads the weights again for the torch network, which generation uses once they differ.
    """

    model: "GPT | None"

    def __new__(cls, *_: object, **__: object) -> Self:
        self = super().__new__(cls)
        if has_torch():
            self._become_module()
        return self

    def __init__(self, loaded: "LoadedModel[Tensor]", report: Reporter, services: Services) -> None:
        self.model = None
        self._loaded = loaded
        self._report = report
        self._services = services
        self._lock = ModelLock()
        self._placed: PlacedModel[Tensor] | None = None
        # The torch network of a native model, and its weights as they were built.
        self._built: tuple[object, object] | None = None
        self._is_closed = False
        self._adapters: ModelAdapters | None = None
        self._not_native: object = None  # the changes of an adapter that the native engine does not have
        self._trainer_ckpt: Path | None = None
        self._is_loaded = False  # by load_state_dict, after placement and before trainer_setup
        self._adapter_weights: dict[str, Tensor] = {}  # from a checkpoint, for add_lora
        self._servers: list[RunningServer] = []

    # LLMModule replaces the following methods by those of torch.

    @property  # type: ignore[misc]  # read-only
    def __class__(self) -> type[Any]:
        return self._become_module() if has_torch() else type(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and not has_torch():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._become_module()
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or not has_torch():
            object.__setattr__(self, name, value)
        else:  # the value may be a module
            self._become_module()
            setattr(self, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._become_module()
        return self(*args, **kwargs)

    def _become_module(self) -> type[Any]:
        from litgpt.llm_parts.torch_module import become_module

        return become_module(self)

    @property
    def _children(self) -> "dict[str, nn.Module | None]":
        children: dict[str, nn.Module | None] = self.__dict__.get("_modules", {})
        return children

    @property
    def _network(self) -> "GPT | None":
        """The network, if it has been built."""
        network: Any = self._children.get("model") or self.__dict__.get("model")
        return cast("GPT | None", network)

    @property
    def is_sharded(self) -> bool:
        """Whether this process has only a part of each weight."""
        # Importing DTensor for an isinstance check would take half a second.
        head = getattr(self._network, "lm_head", None)
        return hasattr(getattr(head, "weight", None), "full_tensor")

    @property
    def _uses_native_engine(self) -> bool:
        return is_native(self._placed)

    @property
    def _is_trainable(self) -> bool:
        return self._placed is not None and self._placed.placement.trainable

    def _place(self, loaded: "LoadedModel[Tensor]", placed: "PlacedModel[Tensor]") -> None:
        self._loaded, self._placed = loaded, placed
        if is_native(placed):  # see LLMModule.__getattr__
            self._children.pop("model", None)
            self.__dict__.pop("model", None)
        else:
            self.model = placed.network
        self._is_closed = False

    def _not_distributed(self) -> NotDistributed:
        return NotDistributed(is_closed=self._is_closed)

    def _release(self) -> None:
        if self._placed is not None:
            self._placed.close()
        self.model = self._placed = self._trainer_ckpt = self._adapters = self._built = None
        self._is_loaded, self._not_native = False, None

    def _require_full_model(self, operation: str) -> "PlacedModel[Tensor]":
        if self._placed is None:
            raise self._not_distributed()
        if self.is_sharded:
            reason = (
                "each has a part. Load the model that `litgpt convert` makes of the Trainer's checkpoint."
            )
            raise UnsupportedOperation(f"{operation} weights that are sharded over processes", reason)
        if self._network is not None:  # users may have replaced it, with torch.compile for example
            self._placed.network = self._network
        return self._placed

    def _generator(self) -> Generator:
        """Return a thread-safe generator; raise NotDistributed if the model is not on a device."""
        with self._lock.using():
            self._current_generator()
        return SharedGenerator(self._lock, self._current_generator, self._weights_version)

    def _current_generator(self) -> Generator:
        placed = self._require_full_model("Generating with")
        if is_native(placed):
            return self._native_generator(cast("NativePlacedModel", placed))
        return placed.generator()

    def _native_generator(self, placed: "NativePlacedModel") -> Generator:
        """Return a generator of the native engine, or of the torch network if its weights differ."""
        if not self._differs_from_native:
            adapters = self._current
            changes = None if adapters is None else adapters.weight_changes()
            if changes is None or changes is not self._not_native:
                try:
                    return placed.generator(changes, self._find_changes())
                except UnsupportedOperation as error:
                    self._not_native = changes
                    self._report(Notice(f"{error} PyTorch generates with it."))
            build_network(self)
        return placed.torch.generator()

    def _find_changes(self) -> "Callable[[str], WeightChanges[Any]]":
        """Return a function from the name of an adapter to its changes, which does not keep this model."""
        llm = weakref.ref(self)

        def find(name: str) -> "WeightChanges[Any]":
            adapters = None if (it := llm()) is None else it._current  # noqa: SLF001 - of this class
            if adapters is None:
                from litgpt.domain.lora.config import unknown_adapter

                raise unknown_adapter(name, (), "adapter")
            return adapters.changes_of(name)

        return find

    @property
    def _current(self) -> "ModelAdapters | None":
        found = self._adapters  # none after distribute() has built a new model
        network = self._network  # of a native model, it may not be built yet
        return found if found is not None and (network is None or found.model is network) else None

    @property
    def _differs_from_native(self) -> bool:
        """Whether the torch network of a native model was replaced, or its weights were changed."""
        network = self._network
        return network is not None and (self._is_loaded or (network, built_version(network)) != self._built)

    def _weights_version(self) -> object:
        """Return the version of trainable weights, which optimizers change in place; None for others."""
        if self._network is None or not self._is_trainable:
            return None
        from litgpt.adapters.pytorch.ops.tensor_versions import weights_version

        return weights_version(self._network)


def has_torch() -> bool:
    """Return whether this process has imported torch."""
    return sys.modules.get("torch") is not None


def build_network(llm: BaseLLM, *_: object) -> None:
    """Build the torch network of a native model (see `LLMModule.__getattr__`)."""
    getattr(llm, "model", None)


def is_native(placed: PlacedModel[Any] | None) -> bool:
    """Return whether the native engine computes a model."""
    return placed is not None and placed.placement.engine == "native"


def built_version(network: "nn.Module") -> object:
    """Return a value that changes when weights are written, converted or moved; adapters do not count."""
    from litgpt.adapters.pytorch.ops.tensor_versions import written_versions

    named = (*network.named_parameters(), *network.named_buffers())
    return written_versions(weight for name, weight in named if ".lora." not in name)
