"""The use cases and adapters that an `LLM` is given."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.application.files.overwrite_guard import OverwriteGuard
from litgpt.application.place_model import PlaceModel
from litgpt.application.save_model import SaveModel
from litgpt.domain.ports import ConstraintCompiler, DistributionStrategy, ExportTokenizer, Profiler
from litgpt.domain.reference import ModelReference

if TYPE_CHECKING:
    from litgpt.domain.lora.config import LoraAdapter


@attrs.frozen(kw_only=True)
class Services:
    """Use cases and adapters of an `LLM`, created by the container."""

    strategy: DistributionStrategy[Any]
    place_model: PlaceModel[Any]
    save_model: SaveModel[Any]
    overwrite_guard: OverwriteGuard
    export_tokenizer: ExportTokenizer
    read_adapter: "Callable[[ModelReference], LoraAdapter[Any]]"
    write_adapter: "Callable[[Path, LoraAdapter[Any], Mapping[str, bytes]], None]"
    profiler: Callable[[str], Profiler]
    constraint_compiler: ConstraintCompiler
