"""What a folder holds: a model in any format, an adapter, or neither."""

from pathlib import Path

from litgpt.adapters.checkpoints import litgpt_folder, peft_folder
from litgpt.adapters.checkpoints.local import LocalStore
from litgpt.adapters.checkpoints.peft_settings import read_settings
from litgpt.adapters.checkpoints.replacing import check_finished
from litgpt.adapters.checkpoints.safetensors_index import INDEX
from litgpt.adapters.checkpoints.small_files import CONFIGS, read_json
from litgpt.domain.errors import DamagedFile, LitGPTError
from litgpt.domain.overwriting import Held, held_adapter, held_model
from litgpt.domain.reference import ModelReference

_CONFIG = CONFIGS[0]
_WEIGHTS = (INDEX, "*.safetensors", "pytorch_model*.bin", litgpt_folder.WEIGHTS, "*.gguf")
_MODEL = (_CONFIG, litgpt_folder.SETTINGS, *_WEIGHTS)


def held_in(folder: Path) -> Held | None:
    """Return the model or the adapter in a folder; None if there is neither, or an interrupted save."""
    try:
        check_finished(folder)
    except DamagedFile:
        return None  # saving again is what mends it
    if peft_folder.is_adapter(folder):
        return _adapter(folder)
    if folder.is_dir() and any(next(folder.glob(pattern), None) for pattern in _MODEL):
        return _model(folder)
    return None


def _adapter(folder: Path) -> Held:
    path = folder / peft_folder.CONFIG
    try:
        settings = read_settings(read_json(path), where=str(path))
    except LitGPTError:
        return Held("another adapter", is_adapter=True)
    return held_adapter(settings.base, settings.lora)


def _model(folder: Path) -> Held:
    try:
        if (folder / _CONFIG).is_file():  # as it is, with what it says of quantized weights
            return held_model(read_json(folder / _CONFIG))
        checkpoint = LocalStore().open(ModelReference(str(folder)))
        try:
            return held_model(checkpoint.config)
        finally:
            checkpoint.close()
    except LitGPTError:
        return Held("another model")
