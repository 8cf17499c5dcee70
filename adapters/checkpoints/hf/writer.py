"""Write Hugging Face folders: safetensors, configs, tokenizer files and the prompt style."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.atomic_folder import check_free_space, replace_folder
from litgpt.adapters.checkpoints.hf.config_files import (
    PROMPT_STYLE,
    prompt_style_file,
    tokenizer_file_names,
    with_chat_template,
)
from litgpt.adapters.checkpoints.hf.safetensors_index import INDEX_FILE, SINGLE_FILE, listed_files
from litgpt.adapters.checkpoints.hf.safetensors_writer import (
    SHARD_BYTES,
    plan_shards,
    shard_names,
    write_file,
)
from litgpt.domain.ports import ModelToSave
from litgpt.domain.progress import Notice, Progress, Reporter
from litgpt.domain.tokenizer_source import CONFIG_FILES
from litgpt.domain.weights.tensor_info import STORAGE_FORMATS

if TYPE_CHECKING:
    import torch


@attrs.frozen
class HFWriter:
    """Writes models as Hugging Face folders, with at most `shard_bytes` tensor bytes per file."""

    shard_bytes: int = SHARD_BYTES

    def __call__(self, folder: Path, model: "ModelToSave[torch.Tensor]", report: Reporter) -> None:
        """Write a model atomically, replacing the model in the folder."""
        with replace_folder(folder, "config.json", lambda place: _old_files(place, model)) as staged:
            check_free_space(folder, sum(info.nbytes for info in model.weights.tensors.values()))
            for note in model.weights.notes:
                report(Notice(f"{model.name}: {note}"))
            self._write_weights(staged, model, report)
            for name, content in _config_files(model).items():
                (staged / name).parent.mkdir(exist_ok=True)
                (staged / name).write_bytes(content)

    def _write_weights(self, folder: Path, model: "ModelToSave[torch.Tensor]", report: Reporter) -> None:
        tensors = model.weights.tensors
        shards = plan_shards(tensors, self.shard_bytes)
        files = shard_names(len(shards))
        done = 0

        def values(names: list[str]) -> "Iterator[torch.Tensor]":
            nonlocal done
            for name in names:
                report(Progress(f"Saving {model.name}", done, len(tensors)))
                yield model.weights.read(name)
                done += 1

        for file, names in zip(files, shards, strict=True):
            write_file(folder / file, names, tensors, values(names))
        report(Progress(f"Saving {model.name}", len(tensors), len(tensors)))
        if files != [SINGLE_FILE]:
            weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
            index = {
                "metadata": {"total_size": sum(info.nbytes for info in tensors.values())},
                "weight_map": weight_map,
            }
            (folder / INDEX_FILE).write_bytes(_json(index))


def _old_files(folder: Path, model: "ModelToSave[torch.Tensor]") -> set[str]:
    settings = {*CONFIG_FILES, PROMPT_STYLE}
    tokenizer = tokenizer_file_names(folder) if model.tokenizer else set()
    return {SINGLE_FILE, INDEX_FILE, *listed_files(folder), *settings, *tokenizer}


def _config_files(model: "ModelToSave[torch.Tensor]") -> dict[str, bytes]:
    stored = {info.storage_format for info in model.weights.tensors.values() if len(info.shape) > 1}
    # Of quantized models, some weights are stored in float32 to avoid rounding.
    dtype = next(dtype for dtype in ("float16", "bfloat16", "float32") if STORAGE_FORMATS[dtype] in stored)
    config = {**model.config, "torch_dtype": dtype}
    if model.weights.quantization is not None:
        config["quantization_config"] = model.weights.quantization
    tokenizer = with_chat_template(model.tokenizer, model.chat_template)
    files = {name: content for name, content in tokenizer.items() if name not in CONFIG_FILES}
    if model.prompt_style is not None:
        files[PROMPT_STYLE] = prompt_style_file(model.prompt_style)
    if model.generation_config:
        files["generation_config.json"] = _json(model.generation_config)
    return files | {"config.json": _json(config)}


def _json(values: Mapping[str, object]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
