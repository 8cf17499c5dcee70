"""LitGPT checkpoint folders: `lit_model.pth`, `model_config.yaml` and tokenizer files."""

from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from litgpt.adapters.checkpoints.files.file_checks import missing_file_error
from litgpt.adapters.checkpoints.hf.checkpoint import folder_checkpoint
from litgpt.adapters.checkpoints.hf.config_files import read_optional_json, read_yaml
from litgpt.adapters.checkpoints.litgpt.config_reader import to_hf_config
from litgpt.adapters.checkpoints.litgpt.hf_config_copy import choose_config
from litgpt.adapters.checkpoints.litgpt.tensors import LitGptTensors
from litgpt.domain.errors import CorruptFile, MissingFile, UnsafeFile
from litgpt.domain.validation.untrusted_files import translate_read_errors
from litgpt.domain.validation.untrusted_pickles import check_archive

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import Checkpoint

WEIGHTS_FILE = "lit_model.pth"
CONFIG_FILE = "model_config.yaml"


def open_litgpt_folder(path: Path, name: str) -> "Checkpoint[torch.Tensor]":
    """Open a folder written by LitGPT 0.5. Its tensors are memory-mapped views of `lit_model.pth`.

    torch opens the pickle, because only it contains names, shapes and whether the head is tied.

    Raises:
        MissingFile: `lit_model.pth` or `model_config.yaml` does not exist.
        CorruptFile: A file is truncated, or a setting is invalid.
        UnsafeFile: `lit_model.pth` is a bare pickle, or its pickle contains more than tensors.
        UnsupportedModel: No supported family has the structure described by `model_config.yaml`.
    """
    for needed, why in (
        (WEIGHTS_FILE, "it contains the weights."),
        (CONFIG_FILE, f"it describes the architecture of {WEIGHTS_FILE}."),
    ):
        if error := missing_file_error(path / needed):
            raise error
        if not (path / needed).is_file():
            raise MissingFile(str(path / needed), why)
    settings = read_yaml(path / CONFIG_FILE)
    to_hf_config(str(path / CONFIG_FILE), settings)  # raises for unsupported settings
    weights = _load(path / WEIGHTS_FILE)
    embedding, head = weights.get("transformer.wte.weight"), weights.get("lm_head.weight")
    # LitGPT never ties the head; a conversion from a tied model saves the same storage twice.
    tied = head is None or (embedding is not None and _is_same_tensor(embedding, head))
    if tied:
        weights.pop("lm_head.weight", None)
    bare_norms = "transformer.ln_f.weight" not in weights
    translated = to_hf_config(str(path / CONFIG_FILE), settings, bare_norms=bare_norms)
    translated["tie_word_embeddings"] = tied
    config, architecture = choose_config(name, translated, read_optional_json(path / "config.json"))
    source = LitGptTensors.from_weights(str(path / WEIGHTS_FILE), weights, architecture)
    return folder_checkpoint(path, name, kind="LitGPT folder", config=config, source=source)


def _load(path: Path) -> dict[str, "torch.Tensor"]:
    import torch

    with translate_read_errors(path):
        with path.open("rb") as file:
            check_archive(path, file)
        try:
            loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except UnpicklingError as error:
            raise UnsafeFile(str(path), _REMEDY) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("model"), dict):
        loaded = loaded["model"]
    if not isinstance(loaded, dict):
        raise CorruptFile(str(path), "it does not contain a mapping of names to tensors.")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            raise CorruptFile(str(path), f"it contains {str(key)[:60]!r}, which is not a dense tensor.")
    return loaded


_REMEDY = (
    "It contains more than tensors. If it is a checkpoint from the middle of training with LitGPT, extract "
    "the weights with `litgpt convert_pretrained_checkpoint` (LitGPT 0.5)."
)


def _is_same_tensor(a: "torch.Tensor", b: "torch.Tensor") -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()
