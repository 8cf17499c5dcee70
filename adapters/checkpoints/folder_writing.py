"""Writing a Hugging Face folder: safetensors, configs, the tokenizer's files and the prompt style."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.replacing import check_room, replacing
from litgpt.adapters.checkpoints.safetensors_index import INDEX, SINGLE, listed_files
from litgpt.adapters.checkpoints.safetensors_writing import SHARD_BYTES, shard_names, shards, write_file
from litgpt.adapters.checkpoints.small_files import (
    CONFIGS,
    PROMPT_STYLE,
    files_of_tokenizer,
    prompt_style_file,
    with_chat_template,
)
from litgpt.domain.ports import ModelToWrite
from litgpt.domain.reporting import Notice, Progress, Report

if TYPE_CHECKING:
    import torch

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@attrs.frozen
class FolderWriter:
    """Writes models as Hugging Face folders.

    Attributes:
        shard_bytes: How many bytes of tensors go into one file.

    """

    shard_bytes: int = SHARD_BYTES

    def __call__(self, folder: Path, model: "ModelToWrite[torch.Tensor]", report: Report) -> None:
        """Write a model, which replaces the one in the folder in one step.

        Raises:
            OutOfReach: The disk has not the room, or the folder cannot be written to.

        """
        check_room(folder, sum(info.nbytes for info in model.weights.tensors.values()))
        with replacing(folder, "config.json", lambda place: _old_files(place, model)) as staged:
            for note in model.weights.notes:
                report(Notice(f"{model.name}: {note}"))
            self._write_weights(staged, model, report)
            for name, content in _small_files(model).items():
                (staged / name).parent.mkdir(exist_ok=True)
                (staged / name).write_bytes(content)

    def _write_weights(self, folder: Path, model: "ModelToWrite[torch.Tensor]", report: Report) -> None:
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


def _old_files(folder: Path, model: "ModelToWrite[torch.Tensor]") -> set[str]:
    settings = {*CONFIGS, PROMPT_STYLE}
    tokenizer = files_of_tokenizer(folder) if model.tokenizer else set()
    return {SINGLE, INDEX, *listed_files(folder), *settings, *tokenizer}


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
