"""A folder that LitGPT wrote: `lit_model.pth`, `model_config.yaml` and the tokenizer's files."""

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
    """What is known once the weights are open: the config, which they complete, and the tensors."""

    config: Mapping[str, object]
    tensors: LitGptTensors


@attrs.define
class LitGptCheckpoint:
    """A model in a LitGPT folder. Its tensors are views of `lit_model.pth`, mapped into memory.

    Names, shapes and whether the head is the embedding stand only in the pickle, so torch opens it when one
    of them is first asked for.
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
        """Where it is, in words."""
        return f"the LitGPT folder {self.folder}"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def config(self) -> Mapping[str, object]:
        """What `config.json` would hold."""
        return self._weights().config

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told: nothing."""
        return ()

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it holds, by Hugging Face's name."""
        tensors = self._weights().tensors
        return {name: tensors.info(name) for name in tensors.targets}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are here."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of the file in the dtype it is stored in, otherwise a converted copy.

        Raises:
            InvalidArgument: There is no tensor of this name.

        """
        import torch

        tensors = self._weights().tensors
        if name not in tensors.targets:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        tensor = tensors.read(name)
        return tensor if dtype is None else tensor.to(getattr(torch, dtype))

    def close(self) -> None:
        """Let go of the file. Tensors that were read stay valid."""
        self._opened = None

    def _weights(self) -> _Opened:
        if self._opened is None:
            weights = _load(self.folder / WEIGHTS_FILE)
            embedding, head = weights.get("transformer.wte.weight"), weights.get("lm_head.weight")
            # LitGPT's network has a head of its own; a conversion from a tied model saves one storage twice
            tied = head is None or (embedding is not None and _is_same_tensor(embedding, head))
            if tied:
                weights.pop("lm_head.weight", None)
            bare_norms = "transformer.ln_f.weight" not in weights
            told = to_hf_config(str(self.folder / CONFIG_FILE), self._settings, bare_norms=bare_norms)
            told["tie_word_embeddings"] = tied
            config, architecture = choose_config(self.name, told, self._beside)
            tensors = LitGptTensors.from_weights(str(self.folder / WEIGHTS_FILE), weights, architecture)
            self._opened = _Opened(config, tensors)
        return self._opened


def open_litgpt_folder(path: Path, name: str) -> LitGptCheckpoint:
    """Open a folder that LitGPT 0.5 wrote: its small files; its weights when they are asked for.

    Args:
        path: The folder.
        name: What it was asked for as.

    Raises:
        MissingFile: There is no `lit_model.pth` or no `model_config.yaml`.
        CorruptFile: A file is cut short, or a setting cannot be right.
        UnsafeFile: `lit_model.pth` is a bare pickle. (If it is an archive whose pickle names more than
            tensors, this is raised when it is first asked for.)
        UnsupportedModel: No family that is implemented has the structure that `model_config.yaml` describes.

    """
    for needed, why in (
        (WEIGHTS_FILE, "it holds the weights."),
        (CONFIG_FILE, f"it says how {WEIGHTS_FILE} is to be read."),
    ):
        if error := missing_file_error(path / needed):
            raise error
        if not (path / needed).is_file():
            raise MissingFile(str(path / needed), why)
    settings = read_yaml(path / CONFIG_FILE)
    to_hf_config(str(path / CONFIG_FILE), settings)  # which refuses what cannot be run
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

    with translate_read_errors(path, missing="it was there when the model was opened."):
        try:
            loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except UnpicklingError as error:
            raise UnsafeFile(str(path), _REMEDY) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("model"), dict):
        loaded = loaded["model"]
    if not isinstance(loaded, dict):
        raise CorruptFile(str(path), "it holds no tensors by name.")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            raise CorruptFile(str(path), f"it holds {str(key)[:60]!r}, which is no plain tensor.")
    return loaded


_REMEDY = (
    "It names more than tensors; weights alone would be read. If it is a checkpoint from the middle of "
    "training with LitGPT, `litgpt convert_pretrained_checkpoint` (LitGPT 0.5) takes the weights out of it."
)


def _is_same_tensor(one: "torch.Tensor", other: "torch.Tensor") -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape and one.stride() == other.stride()
