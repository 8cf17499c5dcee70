"""A folder of PEFT's: `adapter_config.json` and `adapter_model.safetensors`.

Source: https://huggingface.co/docs/peft/main/en/developer_guides/checkpoint
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litgpt.adapters.checkpoints.mapped_file import MappedFile
from litgpt.adapters.checkpoints.peft_settings import read_settings
from litgpt.adapters.checkpoints.safetensors_header import LENGTH_BYTES, Entry, header_size, parse_header
from litgpt.adapters.checkpoints.small_files import read_json
from litgpt.domain.errors import BadCheckpoint, DamagedFile, MissingFile, UnsafeFile, UnsupportedModel
from litgpt.domain.lora import Adapter, Pair

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"
PREFIX = "base_model.model."

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<which>[AB])\.weight")
_MOST_NAMES = 5
# What names of tensors say, that LoRA of linear layers alone does not.
_REFUSED = {
    "lora_magnitude_vector": "DoRA",
    "lora_embedding_": "LoRA on an embedding",
    "modules_to_save": "layers that were trained whole (modules_to_save)",
    ".bias": "trained biases",
    "trainable_tokens": "trained tokens",
}


def is_adapter(folder: Path) -> bool:
    """Return whether there is an adapter in a folder, and no model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def read_adapter(folder: Path) -> "Adapter[torch.Tensor]":
    """Return the adapter in a folder. Its tensors are views of the file.

    What is adapted is what the tensors say; `target_modules` may be a pattern.

    Raises:
        MissingFile: A file is not there.
        DamagedFile: It is cut short, or what it says of itself cannot be true.
        UnsafeFile: The tensors are a pickle.
        UnsupportedModel: It is no LoRA of linear layers, or one of a kind that is not implemented.

    """
    settings = read_settings(read_json(folder / CONFIG), where=str(folder / CONFIG))
    file, entries = _headed(folder)
    pairs: dict[str, Pair[torch.Tensor]] = {}
    for module, (a, b) in _by_module(entries, str(file.path)).items():
        rank = a.info.shape[0]
        if rank != settings.rank_of(module):
            said = f"{module} has the rank {rank}, and {CONFIG} says {settings.rank_of(module)}."
            raise DamagedFile(str(file.path), said)
        pairs[module] = Pair(
            file.tensor(f"{module}.lora_A", a, None),
            file.tensor(f"{module}.lora_B", b, None),
            rank,
            settings.alpha_of(module),
        )
    return Adapter(
        lora=settings.lora,
        pairs=pairs,
        base=settings.base,
        revision=settings.revision,
        transposed=settings.transposed,
    )


def _by_module(entries: Mapping[str, Entry], where: str) -> dict[str, tuple[Entry, Entry]]:
    found: dict[str, dict[str, Entry]] = {}
    for name, entry in entries.items():
        matched = _KEY.fullmatch(name)
        if matched is None:
            raise _refused(name, where)
        if len(entry.info.shape) != 2 or not entry.info.numel:
            raise DamagedFile(where, f"{name} is {list(entry.info.shape)}, which is no matrix.")
        found.setdefault(matched["module"], {})[matched["which"]] = entry
    if alone := [module for module, pair in found.items() if len(pair) != 2]:
        raise DamagedFile(where, f"of {', '.join(alone[:_MOST_NAMES])} an A or a B is alone.")
    if not found:
        raise DamagedFile(where, "there is no tensor in it.")
    return {module: (pair["A"], pair["B"]) for module, pair in found.items()}


def _refused(name: str, where: str) -> BadCheckpoint | UnsupportedModel:
    for part, what in _REFUSED.items():
        if part in name:
            return UnsupportedModel(where, f"it has {what} ({name}), which is not implemented.")
    reason = f"it has the tensor {name}, which is no LoRA of a linear layer; no other kind is implemented."
    return UnsupportedModel(where, reason)


def _headed(folder: Path) -> tuple[MappedFile, Mapping[str, Entry]]:
    path = folder / WEIGHTS
    if not path.is_file():
        if (folder / _PICKLE).is_file():
            raise UnsafeFile(str(folder / _PICKLE), "Open it with peft and save it again as safetensors.")
        raise MissingFile(str(path), f"{CONFIG} is there, and what was learnt is not.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(LENGTH_BYTES)
            beginning += file.read(header_size(beginning, file_size=size, where=str(path)) - LENGTH_BYTES)
    except OSError as error:
        raise DamagedFile(str(path), f"it cannot be read ({error.strerror}).") from error
    return MappedFile(path, size), parse_header(beginning, file_size=size, where=str(path))


def tensors_of(adapter: "Adapter[torch.Tensor]") -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the tensors of a file, by PEFT's names."""
    for module, pair in adapter.pairs.items():
        yield f"{PREFIX}{module}.lora_A.weight", pair.a
        yield f"{PREFIX}{module}.lora_B.weight", pair.b


def settings_of(adapter: Adapter[Any]) -> dict[str, object]:
    """Return what `adapter_config.json` says of an adapter."""
    lora = adapter.lora
    ranks = {module: pair.rank for module, pair in adapter.pairs.items() if pair.rank != lora.rank}
    alphas = {module: pair.alpha for module, pair in adapter.pairs.items() if pair.alpha != lora.alpha}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base,
        "revision": adapter.revision,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "target_modules": list(adapter.targets),
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "fan_in_fan_out": adapter.transposed,
        "bias": "none",
    }
