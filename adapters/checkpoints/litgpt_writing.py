"""Writing a folder that LitGPT 0.5.13 opens: `lit_model.pth`, `model_config.yaml` and small files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.litgpt_described import litgpt_settings_of
from litgpt.adapters.checkpoints.litgpt_folder import SETTINGS, WEIGHTS
from litgpt.adapters.checkpoints.replacing import check_room, replacing
from litgpt.adapters.checkpoints.safetensors_index import INDEX, SINGLE
from litgpt.adapters.checkpoints.small_files import (
    CONFIGS,
    PROMPT_STYLE,
    files_of_tokenizer,
    prompt_style_file,
    with_chat_template,
)
from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import CheckpointMismatch, OutOfReach
from litgpt.domain.parameters import parameters
from litgpt.domain.ports import ModelToWrite
from litgpt.domain.reporting import Progress, Report

if TYPE_CHECKING:
    import torch

__all__ = ["LitGptWriter", "litgpt_settings_of", "write_litgpt"]

_EMBEDDING, _HEAD = "transformer.wte.weight", "lm_head.weight"


@attrs.frozen
class LitGptWriter:
    """Writes models as LitGPT's folders."""

    def __call__(self, folder: Path, model: "ModelToWrite[torch.Tensor]", report: Report) -> None:
        """Write a model: its weights, LitGPT's settings, and Hugging Face's small files as LitGPT keeps them.

        Raises:
            UnsupportedModel: LitGPT cannot express it. Nothing has been written then.
            OutOfReach: The folder cannot be written to, or holds weights that would be read in their place.

        """
        settings = litgpt_settings_of(model.architecture, model.name)
        check_room(folder, sum(info.nbytes for info in model.weights.tensors.values()))
        report(Progress(f"Saving {model.name}", 0, 1))
        state = _state(model.name, model.architecture, model.weights.parameters())
        _write(folder, state, settings, _small_files(model), with_tokenizer=bool(model.tokenizer))
        report(Progress(f"Saving {model.name}", 1, 1))


def write_litgpt(
    folder: Path,
    *,
    name: str,
    architecture: Architecture,
    tensors: "Iterable[tuple[str, torch.Tensor]]",
    config: Mapping[str, object] | None = None,
) -> None:
    """Write a model's weights and settings. They replace the model in the folder in one step.

    Args:
        folder: Where to; it is made if it is not there.
        name: What to call the model.
        architecture: Its structure.
        tensors: Its weights by our names, on the CPU. They are not copied, unless they lie apart in memory.
        config: The contents of `config.json`; without it, none is written.

    Raises:
        UnsupportedModel: LitGPT cannot express it. Nothing has been written then.
        CheckpointMismatch: Tensors are missing or left over, or of a wrong shape.
        OutOfReach: The folder cannot be written to, or holds weights that would be read in their place.

    """
    settings = litgpt_settings_of(architecture, name)
    state = _state(name, architecture, tensors)
    _write(folder, state, settings, {} if config is None else {"config.json": _json(config)})


def _write(
    folder: Path,
    state: "Mapping[str, torch.Tensor]",
    settings: Mapping[str, object],
    small_files: Mapping[str, bytes],
    *,
    with_tokenizer: bool = False,
) -> None:
    import yaml

    def old_files(place: Path) -> set[str]:
        tokenizer = files_of_tokenizer(place) if with_tokenizer else set()
        return {WEIGHTS, SETTINGS, PROMPT_STYLE, *CONFIGS, *tokenizer}

    for other in (SINGLE, INDEX):
        if (folder / other).exists():
            reason = f"it holds {other}, which would be read instead. Choose another folder."
            raise OutOfReach(f"Saving to {folder}", reason)
    with replacing(folder, SETTINGS, old_files) as staged:
        for name, content in {**small_files, SETTINGS: yaml.safe_dump(dict(settings)).encode()}.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_bytes(content)
        _save_tensors(state, staged / WEIGHTS)


def _save_tensors(state: "Mapping[str, torch.Tensor]", path: Path) -> None:
    import torch

    try:
        with path.open("wb") as file:  # torch, given a path, does not say what went wrong
            torch.save(dict(state), file)
    except RuntimeError as error:
        raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def _state(
    name: str, architecture: Architecture, tensors: "Iterable[tuple[str, torch.Tensor]]"
) -> "dict[str, torch.Tensor]":
    """Return what LitGPT's network is loaded from, having checked that it is all there."""
    expected = {parameter.name: parameter.shape for parameter in parameters(architecture)}
    state = {one: _alone(tensor) for one, tensor in tensors}
    wrong = [
        f"{one} is {list(tensor.shape)}, expected {list(expected[one])}"
        for one, tensor in state.items()
        if one in expected and tuple(tensor.shape) != expected[one]
    ]
    missing = [one for one in expected if one not in state]
    unread = [one for one in state if one not in expected]
    if missing or unread or wrong:
        raise CheckpointMismatch(name, missing, unread, wrong)
    if architecture.tied:  # LitGPT's head is its own: the same numbers, which are in the file once
        state[_HEAD] = state[_EMBEDDING]
    return state


def _alone(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return the same numbers in the same memory, as a tensor that knows of no more than itself.

    What torch saves of a tensor is all the memory that it is a view of, such as a whole file.
    """
    import torch

    flat = tensor.detach().contiguous().flatten()
    if flat.untyped_storage().nbytes() == flat.nbytes:
        return flat.view(tensor.shape)
    return torch.from_numpy(flat.view(torch.uint8).numpy()).view(tensor.dtype).view(tensor.shape)


def _small_files(model: "ModelToWrite[torch.Tensor]") -> dict[str, bytes]:
    ours = ("config.json", "generation_config.json", PROMPT_STYLE)
    tokenizer = with_chat_template(model.tokenizer, model.chat_template)
    files = {name: content for name, content in tokenizer.items() if name not in ours}
    if model.prompt_style is not None:
        files[PROMPT_STYLE] = prompt_style_file(model.prompt_style)
    if model.generation_config:
        files["generation_config.json"] = _json(model.generation_config)
    return {**files, "config.json": _json(model.config)}


def _json(values: Mapping[str, object]) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()
