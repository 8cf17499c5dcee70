"""The wiring: which adapter answers which port. The one place where the layers meet.

Override a provider to swap a backend, for a test or for good:

    from dependency_injector import providers
    from litgpt.container import container

    with container.store.override(providers.Object(MyStore())):
        llm = LLM.load("my-model")

A package adds a store of its own for everyone through the entry point group `litgpt.model_stores`: each entry
is called without arguments and returns a ModelStore, which is asked after the local ones and before the Hub.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers

from litgpt.application.loading import LoadModel, PlaceModel
from litgpt.domain.ports import DistributionStrategy, ModelStore, OpenTokenizer, Profiler
from litgpt.domain.vocabulary import TokenizerFiles

# dependency-injector resolves names when a container is declared, so adapters come in through functions that
# import inside: declaring this container loads neither torch nor the Hub.


def _store() -> ModelStore[Any]:
    from litgpt.adapters.checkpoints.chain import ChainStore
    from litgpt.adapters.checkpoints.folder import open_folder
    from litgpt.adapters.checkpoints.installed import InstalledStore
    from litgpt.adapters.checkpoints.local import LocalStore
    from litgpt.adapters.hub.store import HubStore

    others = [entry.load()() for entry in entry_points(group="litgpt.model_stores")]
    return ChainStore((LocalStore(), InstalledStore(), *others, HubStore(open_folder)))


def _open_tokenizer() -> OpenTokenizer:
    from litgpt.adapters.text.opening import open_tokenizer

    return open_tokenizer


def _strategy() -> DistributionStrategy[Any, Any]:
    from litgpt.adapters.pytorch.single_device import SingleDevice

    return SingleDevice()


def _profiler(device: str) -> Profiler:
    from litgpt.adapters.pytorch.profiler import CpuProfiler, CudaProfiler

    return CudaProfiler() if device.startswith("cuda") else CpuProfiler()


class Container(containers.DeclarativeContainer):
    """Which adapter answers which port."""

    store = providers.Singleton(_store)
    open_tokenizer = providers.Singleton(_open_tokenizer)
    strategy = providers.Singleton(_strategy)
    profiler = providers.Callable(_profiler)

    load_model = providers.Factory(LoadModel, store=store, open_tokenizer=open_tokenizer)
    place_model = providers.Factory(PlaceModel, strategy=strategy)


container = Container()


def tokenizer_folder(folder: Path) -> TokenizerFiles:
    """Return the tokenizer files of a folder.

    Raises:
        MissingFile: There is no such folder.

    """
    from litgpt.adapters.checkpoints.small_files import tokenizer_files
    from litgpt.domain.errors import MissingFile

    if not folder.is_dir():
        raise MissingFile(str(folder), "pass a folder that holds tokenizer.json or tokenizer.model.")
    return tokenizer_files(folder)
