"""The files by which PEFT adapter folders are recognized."""

from pathlib import Path

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"

_MODELS = ("model*.safetensors", "pytorch_model*.bin", "lit_model.pth", "*.gguf")
"""Weight files of a complete model."""


def is_adapter(folder: Path) -> bool:
    """Return whether a folder contains an adapter and no model weights; a `config.json` is allowed."""
    return (folder / CONFIG_FILE).is_file() and not has_model_weights(folder)


def has_model_weights(folder: Path) -> bool:
    """Return whether a folder contains the weights of a complete model."""
    return any(next(folder.glob(pattern), None) for pattern in _MODELS)
