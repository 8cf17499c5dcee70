"""Dependency injection: binds adapters to the ports of the domain.

Override a provider to replace a backend, in a test or permanently:

    from litgpt.container import container

    with container.store.override(MyStore()):
        llm = LLM.load("my-model")

A package can register a model store with the entry point group `litgpt.model_stores`: each entry is called
without arguments and returns a ModelStore, which is searched after the local stores and before the Hub.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from litgpt.adapters.hub.datasets import HubDatasets
    from litgpt.adapters.hub.store import HubStore
    from litgpt.application.convert_model import ConvertModel
    from litgpt.application.first_match import FirstMatch
    from litgpt.application.load_model import LoadModel
    from litgpt.application.place_model import PlaceModel
    from litgpt.application.save_model import SaveModel
    from litgpt.domain.lora.config import LoraAdapter
    from litgpt.domain.model import Architecture
    from litgpt.domain.overwrite_check import SavedContent
    from litgpt.domain.ports import DistributionStrategy, ModelStore, ModelToSave, OpenTokenizer, Profiler
    from litgpt.domain.progress import Reporter
    from litgpt.domain.reference import ModelReference
    from litgpt.domain.tokenizer_source import TokenizerSource
    from litgpt.services import Services

# Adapters and use cases are imported inside functions, so that a command imports only those that it needs.

ServiceT = TypeVar("ServiceT")


class Provider(Generic[ServiceT]):
    """Creates a service when it is first needed, unless another one overrides it."""

    def __init__(self, create: Callable[[], ServiceT]) -> None:
        self._create = cache(create)
        self._overrides: list[ServiceT] = []

    def __call__(self) -> ServiceT:
        return self._overrides[-1] if self._overrides else self._create()

    def override(self, service: ServiceT) -> ExitStack:
        """Replace the service: until the returned context is left, or permanently if it is not entered."""
        self._overrides.append(service)
        context = ExitStack()
        context.callback(self._overrides.pop)
        return context


def _hub() -> "HubStore[Any]":
    from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
    from litgpt.adapters.hub.store import HubStore

    return HubStore(open_hf_folder)


def _fetch_dataset() -> "HubDatasets":
    from litgpt.adapters.hub.datasets import HubDatasets

    return HubDatasets()


def _packages() -> "ModelStore[Any]":
    from litgpt.adapters.checkpoints.chain_store import ChainStore, DeferredStore
    from litgpt.adapters.checkpoints.installed_store import InstalledStore

    return ChainStore((InstalledStore(), DeferredStore(_registered_stores)))


def _registered_stores() -> "ModelStore[Any]":
    from importlib.metadata import entry_points

    from litgpt.adapters.checkpoints.chain_store import ChainStore

    return ChainStore([entry.load()() for entry in entry_points(group="litgpt.model_stores")])


def _open_tokenizer() -> "OpenTokenizer":
    from litgpt.adapters.tokenization.factory import open_tokenizer

    return open_tokenizer


def _strategy() -> "DistributionStrategy[Any]":
    from litgpt.adapters.native.strategy import NativeStrategy
    from litgpt.adapters.pytorch.runtime.hardware import detect_hardware
    from litgpt.adapters.pytorch.runtime.random_seed import random_seed

    return NativeStrategy(_torch_strategy, detect_hardware, random_seed)


def _torch_strategy() -> "DistributionStrategy[Any]":
    from litgpt.adapters.pytorch.distribution.strategy import TorchStrategy

    return TorchStrategy()


def _export_tokenizer(source: "TokenizerSource", *, name: str) -> Mapping[str, bytes]:
    from litgpt.adapters.tokenization.export import export_tokenizer

    return export_tokenizer(source, name=name)


def _write_folder(folder: "Path", model: "ModelToSave[Any]", report: "Reporter") -> None:
    from litgpt.adapters.checkpoints.hf.writer import HFWriter

    HFWriter()(folder, model, report)


def _folder_content(folder: "Path") -> "SavedContent | None":
    from litgpt.adapters.checkpoints.folder_content import folder_content

    return folder_content(folder)


def _write_adapter(folder: "Path", adapter: "LoraAdapter[Any]", files: Mapping[str, bytes]) -> None:
    from litgpt.adapters.checkpoints.peft.writer import write_adapter

    write_adapter(folder, adapter, files)


def _missing_part(architecture: "Architecture") -> str | None:
    from litgpt.adapters.native.program.coverage import unsupported_part

    return unsupported_part(architecture)


def _tensors_equal(a: Any, b: Any) -> bool:
    from litgpt.adapters.pytorch.ops.tensor_equality import tensors_equal

    return tensors_equal(a, b)


def _profiler(device: str) -> "Profiler":
    from litgpt.adapters.pytorch.runtime.profiler import CpuProfiler, CudaProfiler

    return CudaProfiler() if device.startswith("cuda") else CpuProfiler()


class Container:
    """The adapters, which can be overridden, and the use cases."""

    def __init__(self) -> None:
        self.hub: Provider[HubStore[Any]] = Provider(_hub)
        self.fetch_dataset: Provider[Callable[..., Path]] = Provider(_fetch_dataset)
        self.packages = Provider(_packages)
        self.store = Provider(self._store)
        self.open_tokenizer = Provider(_open_tokenizer)
        self.strategy = Provider(_strategy)
        self.profiler: Provider[Callable[[str], Profiler]] = Provider(lambda: _profiler)

    def _store(self) -> "ModelStore[Any]":
        from litgpt.adapters.checkpoints.chain_store import ChainStore, DeferredStore
        from litgpt.adapters.checkpoints.local_store import LocalStore
        from litgpt.adapters.checkpoints.peft.lora_store import LoraStore

        stores = ChainStore((LocalStore(), self.packages(), DeferredStore(self.hub)))
        return LoraStore(stores, fetch_adapter=self._fetch_adapter)

    def _fetch_adapter(self, reference: "ModelReference") -> "Path":
        return self.hub().adapter(reference, with_tokenizer=True)

    def _random_store(self) -> "ModelStore[Any]":
        from litgpt.adapters.checkpoints.hf.config_files import read_json
        from litgpt.adapters.checkpoints.local_store import LocalStore
        from litgpt.adapters.pytorch.weights.random_weights import RandomStore
        from litgpt.application.first_match import FirstMatch
        from litgpt.domain import catalogue

        def listed(reference: "ModelReference") -> Mapping[str, object]:
            return catalogue.config_for(reference.name)

        def on_the_hub(reference: "ModelReference") -> Mapping[str, object]:
            return read_json(self.hub().config_file(reference))

        def packaged(reference: "ModelReference") -> Mapping[str, object]:
            return self.packages().open(reference).config

        return RandomStore(FirstMatch((LocalStore().config, packaged, listed, on_the_hub)))

    def find_tokenizer(self) -> "FirstMatch[TokenizerSource]":
        from litgpt.adapters.checkpoints.local_store import LocalStore
        from litgpt.application.first_match import FirstMatch

        def packaged(reference: "ModelReference") -> "TokenizerSource":
            return self.packages().open(reference).read_tokenizer()

        return FirstMatch((LocalStore().tokenizer, packaged, self.hub().tokenizer))

    def load_model(self) -> "LoadModel[Any]":
        from litgpt.application.load_model import LoadModel

        return LoadModel(self.store(), self.open_tokenizer())

    def load_random(self) -> "LoadModel[Any]":
        from litgpt.application.load_model import LoadModel

        return LoadModel(self._random_store(), self.open_tokenizer())

    def place_model(self) -> "PlaceModel[Any]":
        from litgpt.application.place_model import PlaceModel

        return PlaceModel(self.strategy(), _tensors_equal, _missing_part)

    def save_model(self) -> "SaveModel[Any]":
        from litgpt.application.files.overwrite_guard import OverwriteGuard
        from litgpt.application.save_model import SaveModel

        return SaveModel(_export_tokenizer, _write_folder, OverwriteGuard(_folder_content))

    def convert_model(self) -> "ConvertModel[Any]":
        from litgpt.application.convert_model import ConvertModel

        return ConvertModel(self.load_model(), self.place_model(), self.save_model())

    def read_adapter(self, reference: "ModelReference") -> "LoraAdapter[Any]":
        from litgpt.adapters.checkpoints.local_store import LocalStore
        from litgpt.adapters.checkpoints.peft.adapter_folder import read_adapter
        from litgpt.application.first_match import FirstMatch

        return read_adapter(FirstMatch((LocalStore().path, self.hub().adapter))(reference))

    def cpu_features(self) -> frozenset[str]:
        from litgpt.adapters.pytorch.runtime.cpu_features import cpu_features

        return cpu_features()

    def services(self) -> "Services":
        from litgpt.services import Services

        save_model = self.save_model()
        return Services(
            strategy=self.strategy(),
            place_model=self.place_model(),
            save_model=save_model,
            overwrite_guard=save_model.overwrite_guard,
            export_tokenizer=_export_tokenizer,
            read_adapter=self.read_adapter,
            write_adapter=_write_adapter,
            profiler=self.profiler(),
        )


container = Container()
