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
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dependency_injector import containers, providers

from litgpt.application.convert_model import ConvertModel
from litgpt.application.files.overwrite_guard import OverwriteGuard
from litgpt.application.first_match import FirstMatch
from litgpt.application.load_model import LoadModel
from litgpt.application.place_model import PlaceModel
from litgpt.application.save_model import SaveModel
from litgpt.domain import catalogue
from litgpt.domain.lora.config import LoraAdapter
from litgpt.domain.overwrite_check import InspectFolder
from litgpt.domain.ports import (
    DistributionStrategy,
    ExportTokenizer,
    ModelStore,
    OpenTokenizer,
    Profiler,
    WriteModel,
)
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerSource
from litgpt.services import Services

if TYPE_CHECKING:
    from litgpt.adapters.checkpoints.chain_store import ChainStore
    from litgpt.adapters.hub.datasets import HubDatasets
    from litgpt.adapters.hub.store import HubStore
    from litgpt.domain.model import Architecture

# dependency-injector resolves names when a container is declared, so adapters are imported inside functions:
# declaring this container then imports neither torch nor huggingface_hub.


def _hub() -> "HubStore[Any]":
    from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
    from litgpt.adapters.hub.store import HubStore

    return HubStore(open_hf_folder)


def _fetch_dataset() -> "HubDatasets":
    from litgpt.adapters.hub.datasets import HubDatasets

    return HubDatasets()


def _packages() -> "ChainStore[Any]":
    from litgpt.adapters.checkpoints.chain_store import ChainStore
    from litgpt.adapters.checkpoints.installed_store import InstalledStore

    others = [entry.load()() for entry in entry_points(group="litgpt.model_stores")]
    return ChainStore((InstalledStore(), *others))


def _store(packages: "ChainStore[Any]", hub: "HubStore[Any]") -> ModelStore[Any]:
    from litgpt.adapters.checkpoints.chain_store import ChainStore
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.adapters.checkpoints.peft.merged_checkpoint import LoraStore

    stores = ChainStore((LocalStore(), *packages.stores, hub))
    return LoraStore(stores, fetch_adapter=partial(hub.adapter, with_tokenizer=True))


def _random_store(packages: "ChainStore[Any]", hub: "HubStore[Any]") -> ModelStore[Any]:
    from litgpt.adapters.checkpoints.hf.config_files import read_json
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.adapters.pytorch.weights.random_weights import RandomStore

    def listed(reference: ModelReference) -> Mapping[str, object]:
        return catalogue.config_for(reference.name)

    def on_the_hub(reference: ModelReference) -> Mapping[str, object]:
        return read_json(hub.config_file(reference))

    def packaged(reference: ModelReference) -> Mapping[str, object]:
        return packages.open(reference).config

    return RandomStore(FirstMatch((LocalStore().config, packaged, listed, on_the_hub)))


def _find_tokenizer(packages: "ChainStore[Any]", hub: "HubStore[Any]") -> FirstMatch[TokenizerSource]:
    from litgpt.adapters.checkpoints.local_store import LocalStore

    def packaged(reference: ModelReference) -> TokenizerSource:
        return packages.open(reference).read_tokenizer()

    return FirstMatch((LocalStore().tokenizer, packaged, hub.tokenizer))


def _open_tokenizer() -> OpenTokenizer:
    from litgpt.adapters.tokenization.factory import open_tokenizer

    return open_tokenizer


def _export_tokenizer() -> ExportTokenizer:
    from litgpt.adapters.tokenization.export import export_tokenizer

    return export_tokenizer


def _write_folder() -> WriteModel[Any]:
    from litgpt.adapters.checkpoints.hf.writer import HFWriter

    return HFWriter()


def _inspect_folder() -> InspectFolder:
    from litgpt.adapters.checkpoints.folder_content import folder_content

    return folder_content


def _read_adapter(hub: "HubStore[Any]") -> "Callable[[ModelReference], LoraAdapter[Any]]":
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.adapters.checkpoints.peft.adapter_folder import read_adapter

    find = FirstMatch((LocalStore().path, hub.adapter))
    return lambda reference: read_adapter(find(reference))


def _write_adapter() -> "Callable[[Path, LoraAdapter[Any], Mapping[str, bytes]], None]":
    from litgpt.adapters.checkpoints.peft.writer import write_adapter

    return write_adapter


def _strategy() -> DistributionStrategy[Any]:
    from litgpt.adapters.native.strategy import NativeStrategy
    from litgpt.adapters.pytorch.runtime.hardware import detect_hardware
    from litgpt.adapters.pytorch.runtime.random_seed import random_seed

    return NativeStrategy(_torch_strategy, detect_hardware, random_seed)


def _torch_strategy() -> DistributionStrategy[Any]:
    from litgpt.adapters.pytorch.distribution.strategy import TorchStrategy

    return TorchStrategy()


def _missing_part(architecture: "Architecture") -> str | None:
    from litgpt.adapters.native.program.coverage import unsupported_part

    return unsupported_part(architecture)


def _tensors_equal(a: Any, b: Any) -> bool:
    from litgpt.adapters.pytorch.ops.tensor_equality import tensors_equal

    return tensors_equal(a, b)


def _cpu_features() -> frozenset[str]:
    from litgpt.adapters.pytorch.runtime.cpu_features import cpu_features

    return cpu_features()


def _profiler(device: str) -> Profiler:
    from litgpt.adapters.pytorch.runtime.profiler import CpuProfiler, CudaProfiler

    return CudaProfiler() if device.startswith("cuda") else CpuProfiler()


class Container(containers.DeclarativeContainer):
    """The providers of adapters and use cases."""

    hub = providers.Singleton(_hub)
    fetch_dataset = providers.Singleton(_fetch_dataset)
    packages = providers.Singleton(_packages)
    store = providers.Singleton(_store, packages, hub)
    random_store = providers.Singleton(_random_store, packages, hub)
    open_tokenizer = providers.Singleton(_open_tokenizer)
    find_tokenizer = providers.Factory(_find_tokenizer, packages, hub)
    strategy = providers.Singleton(_strategy)
    tensors_equal = providers.Object(_tensors_equal)
    cpu_features = providers.Callable(_cpu_features)
    profiler = providers.Callable(_profiler)
    export_tokenizer = providers.Singleton(_export_tokenizer)
    write_folder = providers.Singleton(_write_folder)
    read_adapter = providers.Singleton(_read_adapter, hub)
    write_adapter = providers.Singleton(_write_adapter)

    load_model = providers.Factory(LoadModel, store=store, open_tokenizer=open_tokenizer)
    load_random = providers.Factory(LoadModel, store=random_store, open_tokenizer=open_tokenizer)
    place_model = providers.Factory(
        PlaceModel, strategy=strategy, equal=tensors_equal, missing_part=providers.Object(_missing_part)
    )
    overwrite_guard = providers.Factory(OverwriteGuard, inspect=providers.Singleton(_inspect_folder))
    save_model = providers.Factory(
        SaveModel,
        export_tokenizer=export_tokenizer,
        write=write_folder,
        overwrite_guard=overwrite_guard,
    )
    convert_model = providers.Factory(ConvertModel, load=load_model, place=place_model, save=save_model)
    services = providers.Factory(
        Services,
        strategy=strategy,
        place_model=place_model,
        save_model=save_model,
        overwrite_guard=overwrite_guard,
        export_tokenizer=export_tokenizer,
        read_adapter=read_adapter,
        write_adapter=write_adapter,
        profiler=profiler.provider,
    )


container = Container()
