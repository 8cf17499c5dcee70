"""Dependency injection: binds adapters to the ports of the domain.

Override a provider to replace a backend, in a test or permanently:

    from dependency_injector import providers
    from litgpt.container import container
    with container.store.override(providers.Object(MyStore())):
        llm = LLM.load("my-model")

A package can register a model store with the entry point group `litgpt.model_stores`: each entry is called
without arguments and returns a ModelStore, which is searched after the local stores and before the Hub.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from litgpt.injector import providers

if TYPE_CHECKING:
    from pathlib import Path

    from litgpt.adapters.hub.datasets import HubDatasets
    from litgpt.adapters.hub.store import HubStore
    from litgpt.application.convert_model import ConvertModel
    from litgpt.application.files.overwrite_guard import OverwriteGuard
    from litgpt.application.first_match import FirstMatch
    from litgpt.application.load_model import LoadModel
    from litgpt.application.place_model import PlaceModel
    from litgpt.application.save_model import SaveModel
    from litgpt.domain.lora.config import LoraAdapter
    from litgpt.domain.model import Architecture
    from litgpt.domain.overwrite_check import SavedContent
    from litgpt.domain.ports import (
        ConstraintCompiler,
        DistributionStrategy,
        ExportTokenizer,
        ModelBridge,
        ModelStore,
        ModelToSave,
        OpenTokenizer,
        Profiler,
        WriteModel,
    )
    from litgpt.domain.progress import Reporter
    from litgpt.domain.reference import ModelReference
    from litgpt.domain.tokenizer_source import TokenizerSource
    from litgpt.services import Services

# dependency-injector resolves names when a container is declared. Adapters and use cases are therefore
# imported inside functions: a command imports only those that it needs.


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


def _constraint_compiler() -> "ConstraintCompiler":
    from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler

    return LlguidanceCompiler()


def _store(packages: "ModelStore[Any]", hub: "Callable[[], HubStore[Any]]") -> "ModelStore[Any]":
    from litgpt.adapters.checkpoints.chain_store import ChainStore, DeferredStore
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.adapters.checkpoints.peft.lora_store import LoraStore

    def fetch_adapter(reference: "ModelReference") -> "Path":
        return hub().adapter(reference, with_tokenizer=True)

    stores = ChainStore((LocalStore(), packages, DeferredStore(hub)))
    return LoraStore(stores, fetch_adapter=fetch_adapter)


def _random_store(packages: "ModelStore[Any]", hub: "Callable[[], HubStore[Any]]") -> "ModelStore[Any]":
    from litgpt.adapters.checkpoints.hf.config_files import read_json
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.adapters.pytorch.weights.random_weights import RandomStore
    from litgpt.application.first_match import FirstMatch
    from litgpt.domain import catalogue

    def listed(reference: "ModelReference") -> Mapping[str, object]:
        return catalogue.config_for(reference.name)

    def on_the_hub(reference: "ModelReference") -> Mapping[str, object]:
        return read_json(hub().config_file(reference))

    def packaged(reference: "ModelReference") -> Mapping[str, object]:
        return packages.open(reference).config

    return RandomStore(FirstMatch((LocalStore().config, packaged, listed, on_the_hub)))


def _find_tokenizer(packages: "ModelStore[Any]", hub: "HubStore[Any]") -> "FirstMatch[TokenizerSource]":
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.application.first_match import FirstMatch

    def packaged(reference: "ModelReference") -> "TokenizerSource":
        return packages.open(reference).read_tokenizer()

    return FirstMatch((LocalStore().tokenizer, packaged, hub.tokenizer))


def _read_adapter(hub: "Callable[[], HubStore[Any]]") -> "Callable[[ModelReference], LoraAdapter[Any]]":
    def read(reference: "ModelReference") -> "LoraAdapter[Any]":
        from litgpt.adapters.checkpoints.local_store import LocalStore
        from litgpt.adapters.checkpoints.peft.adapter_folder import read_adapter
        from litgpt.application.first_match import FirstMatch

        return read_adapter(FirstMatch((LocalStore().path, hub().adapter))(reference))

    return read


def _cpu_features() -> frozenset[str]:
    from litgpt.adapters.pytorch.runtime.cpu_features import cpu_features

    return cpu_features()


def _bridge() -> "ModelBridge":
    from litgpt.adapters.pytorch.bridge import bridge_model

    return bridge_model


def _load_model(
    store: "ModelStore[Any]", open_tokenizer: "OpenTokenizer", bridge: "ModelBridge"
) -> "LoadModel[Any]":
    from litgpt.application.load_model import LoadModel

    return LoadModel(store, open_tokenizer, bridge)


def _place_model(
    strategy: "DistributionStrategy[Any]", tensors_equal: "Callable[[Any, Any], bool]", bridge: "ModelBridge"
) -> "PlaceModel[Any]":
    from litgpt.application.place_model import PlaceModel

    return PlaceModel(strategy, tensors_equal, _missing_part, bridge)


def _overwrite_guard() -> "OverwriteGuard":
    from litgpt.application.files.overwrite_guard import OverwriteGuard

    return OverwriteGuard(_folder_content)


def _save_model(
    export_tokenizer: "ExportTokenizer", write_folder: "WriteModel[Any]", overwrite_guard: "OverwriteGuard"
) -> "SaveModel[Any]":
    from litgpt.application.save_model import SaveModel

    return SaveModel(export_tokenizer, write_folder, overwrite_guard)


def _convert_model(
    load: "LoadModel[Any]", place: "PlaceModel[Any]", save: "SaveModel[Any]"
) -> "ConvertModel[Any]":
    from litgpt.application.convert_model import ConvertModel

    return ConvertModel(load, place, save)


def _services(**services: Any) -> "Services":
    from litgpt.services import Services

    return Services(**services)


class Container:
    """The providers of adapters and use cases; `hub.provider` is called when a store is first needed."""

    # Not a `DeclarativeContainer`, whose module imports the web frameworks that it finds.

    hub = providers.Singleton(_hub)
    fetch_dataset = providers.Singleton(_fetch_dataset)
    packages = providers.Singleton(_packages)
    store = providers.Singleton(_store, packages, hub.provider)
    random_store = providers.Singleton(_random_store, packages, hub.provider)
    open_tokenizer = providers.Singleton(_open_tokenizer)
    find_tokenizer = providers.Factory(_find_tokenizer, packages, hub)
    strategy = providers.Singleton(_strategy)
    tensors_equal = providers.Object(_tensors_equal)
    bridge = providers.Singleton(_bridge)
    cpu_features = providers.Callable(_cpu_features)
    profiler = providers.Callable(_profiler)
    constraint_compiler = providers.Singleton(_constraint_compiler)
    export_tokenizer = providers.Object(_export_tokenizer)
    write_folder = providers.Object(_write_folder)
    read_adapter = providers.Singleton(_read_adapter, hub.provider)
    write_adapter = providers.Object(_write_adapter)

    load_model = providers.Factory(_load_model, store, open_tokenizer, bridge)
    load_random = providers.Factory(_load_model, random_store, open_tokenizer, bridge)
    place_model = providers.Factory(_place_model, strategy, tensors_equal, bridge)
    overwrite_guard = providers.Factory(_overwrite_guard)
    save_model = providers.Factory(_save_model, export_tokenizer, write_folder, overwrite_guard)
    convert_model = providers.Factory(_convert_model, load_model, place_model, save_model)
    services = providers.Factory(
        _services,
        strategy=strategy,
        place_model=place_model,
        save_model=save_model,
        overwrite_guard=overwrite_guard,
        export_tokenizer=export_tokenizer,
        read_adapter=read_adapter,
        write_adapter=write_adapter,
        profiler=profiler.provider,
        constraint_compiler=constraint_compiler,
    )


container = Container()
