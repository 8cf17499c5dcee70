"""Writing a Hugging Face folder: safetensors, configs, the tokenizer's files and the prompt style."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.safetensors_index import INDEX, SINGLE
from litgpt.adapters.checkpoints.safetensors_writing import SHARD_BYTES, shard_names, shards, write_file
from litgpt.adapters.checkpoints.small_files import (
    CONFIGS,
    PROMPT_STYLE,
    prompt_style_file,
    with_chat_template,
)
from litgpt.adapters.checkpoints.staging import put_in_place, staging
from litgpt.domain.errors import OutOfReach
from litgpt.domain.ports import ModelToWrite
from litgpt.domain.reporting import Notice, Progress, Report
from litgpt.domain.vocabulary import NAMED_TEMPLATES

if TYPE_CHECKING:
    import torch

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
# A folder is read by its files of weights, so those of an earlier model must not stay beside the new ones.
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", INDEX)


@attrs.frozen
class FolderWriter:
    """Writes models as Hugging Face folders.

    Attributes:
        shard_bytes: How many bytes of tensors go into one file.

    """

    shard_bytes: int = SHARD_BYTES

    def __call__(self, folder: Path, model: "ModelToWrite[torch.Tensor]", report: Report) -> None:
        """Write a model. Every file is complete before it takes its name, the weights before the config.

        Raises:
            OutOfReach: The disk has not the room, or the folder cannot be written to.

        """
        with _in_our_words(folder), staging(folder) as staged:
            _check_room(folder, sum(info.nbytes for info in model.weights.tensors.values()))
            for note in model.weights.notes:
                report(Notice(f"{model.name}: {note}"))
            written = self._write_weights(staged, model, report)
            for name, content in _small_files(model).items():
                (staged / name).parent.mkdir(exist_ok=True)
                (staged / name).write_bytes(content)
                written.append(name)
            # Nothing needs room from here on: files change their names, and the old ones go last.
            put_in_place(staged, written, stale=(*_WEIGHTS, PROMPT_STYLE, f"{NAMED_TEMPLATES}/*.jinja"))

    def _write_weights(self, folder: Path, model: "ModelToWrite[torch.Tensor]", report: Report) -> list[str]:
        """Return the names of the files of weights that were written."""
        tensors = model.weights.tensors
        dealt = shards(tensors, self.shard_bytes)
        names = shard_names(len(dealt))
        done = 0

        def values(those: list[str]) -> "Iterator[torch.Tensor]":
            nonlocal done
            for name in those:
                report(Progress(f"Saving {model.name}", done, len(tensors)))
                yield model.weights.read(name)
                done += 1

        for name, those in zip(names, dealt, strict=True):
            write_file(folder / name, those, tensors, values(those))
        report(Progress(f"Saving {model.name}", len(tensors), len(tensors)))
        if names != [SINGLE]:
            where = {tensor: name for name, those in zip(names, dealt, strict=True) for tensor in those}
            total = sum(info.nbytes for info in tensors.values())
            (folder / INDEX).write_bytes(_json({"metadata": {"total_size": total}, "weight_map": where}))
            return [*names, INDEX]
        return names


def _small_files(model: "ModelToWrite[torch.Tensor]") -> dict[str, bytes]:
    stored = {info.stored_as for info in model.weights.tensors.values() if len(info.shape) > 1}
    # Of quantised weights, some are stored in float32 for nothing to be lost.
    dtype = _DTYPES[min(stored & _DTYPES.keys(), key=[*reversed(_DTYPES)].index)]
    config = {**model.config, "torch_dtype": dtype}
    if model.weights.quantization is not None:
        config["quantization_config"] = model.weights.quantization
    tokenizer = with_chat_template(model.tokenizer, model.chat_template)
    files = {name: content for name, content in tokenizer.items() if name not in CONFIGS}
    if model.prompt_style is not None:
        files[PROMPT_STYLE] = prompt_style_file(model.prompt_style)
    if model.generation_config:
        files["generation_config.json"] = _json(model.generation_config)
    return files | {"config.json": _json(config)}


def _json(values: Mapping[str, object]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        has = f"the disk has {free / 1e9:.1f} GB"
        reason = f"it takes {needed / 1e9:.1f} GB, and {has}. Free some, or save elsewhere."
        raise OutOfReach(f"Saving to {folder}", reason)


@contextmanager
def _in_our_words(folder: Path) -> Iterator[None]:
    """Turn what the system says into ours."""
    try:
        yield
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()}. Choose a folder that can be written to."
        raise OutOfReach(f"Saving to {folder}", reason) from error
