"""LitGPT checkpoint folders: `lit_model.pth`, `model_config.yaml` and tokenizer files."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.file_checks import missing_file_error
from litgpt.adapters.checkpoints.hf.config_files import (
    read_optional_json,
    read_prompt_style,
    read_yaml,
    tokenizer_files,
)
from litgpt.adapters.checkpoints.litgpt.config_reader import to_hf_config
from litgpt.adapters.checkpoints.litgpt.hf_config_copy import choose_config
from litgpt.adapters.checkpoints.litgpt.tensors import LitGptTensors
from litgpt.domain.errors import CorruptFile, InvalidArgument, MissingFile, UnsafeFile
from litgpt.domain.progress import Reporter
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.domain.validation.untrusted_files import check_archive, translate_read_errors
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    import torch

WEIGHTS_FILE = "lit_model.pth"
CONFIG_FILE = "model_config.yaml"


@attrs.frozen
class _Opened:
    """The config and tensors, which are available after the weights were opened."""

    config: Mapping[str, object]
    tensors: LitGptTensors


@attrs.define
class LitGptCheckpoint:
    """A model in a LitGPT folder. Its tensors are memory-mapped views of `lit_model.pth`.

    Only the pickle contains names, shapes and whether the head is tied, so torch opens it when one of these
    is first needed.
    """

    name: str
    folder: Path
    generation_config: Mapping[str, object] = attrs.field(repr=False)
    prompt_style: str | None
    tokenizer: TokenizerFiles = attrs.field(repr=False)
    _settings: Mapping[str, object] = attrs.field(repr=False)
    _beside: Mapping[str, object] = attrs.field(repr=False)
    _opened: _Opened | None = attrs.field(default=None, init=False, repr=False)

    @property
    def origin(self) -> str:
        return f"the LitGPT folder {self.folder}"

    @property
    def path(self) -> Path:
        return self.folder

    @property
    def config(self) -> Mapping[str, object]:
        return self._weights().config

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        tensors = self._weights().tensors
        return {name: tensors.info(name) for name in tensors.targets}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are local."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of the file in the stored dtype, otherwise a converted copy."""
        import torch

        tensors = self._weights().tensors
        if name not in tensors.targets:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        tensor = tensors.read(name)
        return tensor if dtype is None else tensor.to(getattr(torch, dtype))

    def close(self) -> None:
        self._opened = None

    def _weights(self) -> _Opened:
        if self._opened is None:
            weights = _load(self.folder / WEIGHTS_FILE)
            embedding, head = weights.get("transformer.wte.weight"), weights.get("lm_head.weight")
            # LitGPT never ties the head; a conversion from a tied model saves the same storage twice.
            tied = head is None or (embedding is not None and _is_same_tensor(embedding, head))
            if tied:
                weights.pop("lm_head.weight", None)
            bare_norms = "transformer.ln_f.weight" not in weights
            translated = to_hf_config(str(self.folder / CONFIG_FILE), self._settings, bare_norms=bare_norms)
            translated["tie_word_embeddings"] = tied
            config, architecture = choose_config(self.name, translated, self._beside)
            tensors = LitGptTensors.from_weights(str(self.folder / WEIGHTS_FILE), weights, architecture)
            self._opened = _Opened(config, tensors)
        return self._opened


def open_litgpt_folder(path: Path, name: str) -> LitGptCheckpoint:
    """Open a folder written by LitGPT 0.5: its small files now, its weights on demand.

    Raises:
        MissingFile: `lit_model.pth` or `model_config.yaml` does not exist.
        CorruptFile: A file is truncated, or a setting is invalid.
        UnsafeFile: `lit_model.pth` is a bare pickle. (For an archive whose pickle contains more than tensors,
            this is raised when the weights are first accessed.)
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
    with translate_read_errors(path / WEIGHTS_FILE), (path / WEIGHTS_FILE).open("rb") as file:
        check_archive(path / WEIGHTS_FILE, file)
    return LitGptCheckpoint(
        name=name,
        folder=path,
        generation_config=read_optional_json(path / "generation_config.json"),
        prompt_style=read_prompt_style(path),
        tokenizer=tokenizer_files(path),
        settings=settings,
        beside=read_optional_json(path / "config.json"),
    )


def _load(path: Path) -> dict[str, "torch.Tensor"]:
    import torch

    with translate_read_errors(path, missing="it was removed after the model was opened."):
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
