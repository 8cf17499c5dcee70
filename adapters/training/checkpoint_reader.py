"""Read Lightning Trainer checkpoints (`.ckpt`), and restore the weights of a model from them."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from litgpt.adapters.training.unsafe_pickle import load_archive
from litgpt.domain.errors import CorruptFile, MissingFile
from litgpt.domain.training.errors import TrainerCheckpointMismatch
from litgpt.domain.validation.untrusted_files import printable, translate_read_errors

_STATE = "state_dict"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the contents of a Trainer checkpoint, a single file or a sharded folder.

    Only tensors and plain values are loaded; other objects are an error. Tensors of a single file are
    memory-mapped.

    Raises:
        MissingFile: The checkpoint does not exist.
        CorruptFile: It is not a checkpoint, or it is truncated.
        UnsafeFile: It contains objects that could execute code.
    """
    with translate_read_errors(printable(path)):
        is_folder, exists = path.is_dir(), path.exists()
    if is_folder:
        from litgpt.adapters.training.sharded_checkpoint_reader import is_sharded_checkpoint, read_sharded

        if not is_sharded_checkpoint(path):
            raise MissingFile(str(path / ".metadata"), "the folder is not a Trainer checkpoint.")
        return read_sharded(path)
    if not exists:
        raise MissingFile(printable(path), "the Trainer checkpoint does not exist.")
    content = load_archive(path, mmap=True)
    state = content.get(_STATE) if isinstance(content, dict) else None
    if not isinstance(state, Mapping):
        raise CorruptFile(str(path), f"it has no {_STATE!r}, so it is not a Trainer checkpoint.")
    return {**content, _STATE: {name: value for name, value in state.items() if isinstance(value, Tensor)}}


def check_readable(path: Path) -> None:
    """Check that a checkpoint is readable, without reading its tensors; the errors are the same."""
    if not path.is_dir():
        read_checkpoint(path)  # tensors are memory-mapped
        return
    from litgpt.adapters.training.sharded_checkpoint_reader import SafeReader, read_plain_values

    read_plain_values(path)
    metadata = SafeReader(path).read_metadata()
    with translate_read_errors(str(path / ".metadata")):  # any attribute may be missing or of a wrong type
        for part in (metadata.storage_data or {}).values():
            file = path / part.relative_path
            if not file.is_file() or file.stat().st_size < part.offset + part.length:
                raise CorruptFile(str(file), "a shard of the checkpoint is missing or truncated.")


def restore(model: nn.Module, state: Mapping[str, Tensor], *, origin: str, name: str) -> None:
    """Copy the tensors of a checkpoint to a model that was any attribute of the trained LightningModule.

    All tensors of the model are required; if only some parameters are trainable, only these. The model is
    changed only after all checks; a TrainerCheckpointMismatch lists every difference.
    """
    expected = model.state_dict()
    prefix = _prefix(state, expected)
    tensors = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    trainable = {
        key for key, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad
    }
    has_frozen = any(not parameter.requires_grad for parameter in model.parameters())
    needed = trainable if has_frozen else set(expected)
    check_weights(tensors, expected, origin=origin, name=name, needed=needed, prefix=prefix)
    with torch.no_grad():
        for key, tensor in tensors.items():
            expected[key].copy_(tensor)


def check_weights(
    actual: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    origin: str,
    name: str,
    needed: Collection[str] | None = None,
    prefix: str = "",
) -> None:
    """Check the names and shapes of a checkpoint's tensors; TrainerCheckpointMismatch lists all differences.

    `needed` has the required names (None: all), `prefix` was removed from the names in the checkpoint.
    """
    missing = [key for key in expected if key not in actual and (needed is None or key in needed)]
    unexpected = [prefix + key for key in actual if key not in expected]
    shape_mismatches = [
        f"{key} is {list(tensor.shape)}, expected {list(expected[key].shape)}"
        for key, tensor in actual.items()
        if key in expected and tensor.shape != expected[key].shape
    ]
    if missing or unexpected or shape_mismatches:
        raise TrainerCheckpointMismatch(origin, missing, unexpected, shape_mismatches, name)


def _prefix(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return the most common prefix of the model's tensor names in a checkpoint, such as `llm.`."""
    prefixes: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in expected:
                prefixes[".".join([*parts[:at], ""])] += 1
                break
    return prefixes.most_common(1)[0][0] if prefixes else ""
