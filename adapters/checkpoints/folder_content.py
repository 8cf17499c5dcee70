"""Detect the content of a folder: a model in any format, an adapter, or neither."""

from pathlib import Path

from litgpt.adapters.checkpoints.files.atomic_folder import check_not_interrupted
from litgpt.adapters.checkpoints.hf.config_files import read_json
from litgpt.adapters.checkpoints.hf.safetensors_index import INDEX_FILE
from litgpt.adapters.checkpoints.litgpt import checkpoint
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.checkpoints.peft import folder_files
from litgpt.adapters.checkpoints.peft.config import parse_peft_config
from litgpt.domain.errors import CorruptFile, LitGPTError
from litgpt.domain.overwrite_check import SavedContent, adapter_content, model_content
from litgpt.domain.reference import ModelReference

_CONFIG = "config.json"
_WEIGHTS = (INDEX_FILE, "*.safetensors", "pytorch_model*.bin", checkpoint.WEIGHTS_FILE, "*.gguf")
_MODEL = (_CONFIG, checkpoint.CONFIG_FILE, *_WEIGHTS)


def folder_content(folder: Path) -> SavedContent | None:
    """Return the model or the adapter in a folder; None for other folders and for an interrupted save."""
    try:
        check_not_interrupted(folder)
    except CorruptFile:
        return None  # saving again repairs the folder
    if folder_files.is_adapter(folder):
        return _adapter_content(folder)
    if folder.is_dir() and any(next(folder.glob(pattern), None) for pattern in _MODEL):
        return _model_content(folder)
    return None


def _adapter_content(folder: Path) -> SavedContent:
    path = folder / folder_files.CONFIG_FILE
    try:
        settings = parse_peft_config(read_json(path), location=str(path))
    except LitGPTError:
        return SavedContent("another adapter", is_adapter=True)
    return adapter_content(settings.base_model, settings.config)


def _model_content(folder: Path) -> SavedContent:
    try:
        if (folder / _CONFIG).is_file():  # read directly, to keep `quantization_config`
            return model_content(read_json(folder / _CONFIG))
        checkpoint = LocalStore().open(ModelReference(str(folder)))
        try:
            return model_content(checkpoint.config)
        finally:
            checkpoint.close()
    except LitGPTError:
        return SavedContent("another model")
