"""Trainer checkpoints: what is in a `.ckpt` of Lightning's, and which of its tensors are a model's."""

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
    """Return what is in a Trainer checkpoint, in one file or in one from each process.

    Nothing but tensors and plain values is read: a checkpoint that holds more is refused, not run. Those of a
    single file are mapped from it.

    Raises:
        MissingFile: There is none.
        CorruptFile: It is no checkpoint, or it is cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    with translate_read_errors(printable(path)):
        is_folder, is_there = path.is_dir(), path.exists()
    if is_folder:
        from litgpt.adapters.training.dcp_checkpoint import is_sharded_checkpoint, read_sharded

        if not is_sharded_checkpoint(path):
            raise MissingFile(str(path / ".metadata"), "the folder is no Trainer checkpoint.")
        return read_sharded(path)
    if not is_there:
        raise MissingFile(printable(path), "no Trainer checkpoint is there.")
    content = load_archive(path, mmap=True)
    state = content.get(_STATE) if isinstance(content, dict) else None
    if not isinstance(state, Mapping):
        raise CorruptFile(str(path), f"a Trainer checkpoint has a {_STATE!r}, and it has none.")
    return {**content, _STATE: {name: value for name, value in state.items() if isinstance(value, Tensor)}}


def check_readable(path: Path) -> None:
    """Check that there is a checkpoint, without reading what of it is large.

    Raises:
        MissingFile: There is none.
        CorruptFile: It is no checkpoint, or it is cut short.
        UnsafeFile: It holds objects whose making could run code.

    """
    if not path.is_dir():
        read_checkpoint(path)  # its tensors are mapped
        return
    from litgpt.adapters.training.dcp_checkpoint import SafeReader, read_plain_values

    read_plain_values(path)
    metadata = SafeReader(path).read_metadata()
    with translate_read_errors(str(path / ".metadata")):  # any attribute may be missing or of a wrong type
        for part in (metadata.storage_data or {}).values():
            file = path / part.relative_path
            if not file.is_file() or file.stat().st_size < part.offset + part.length:
                raise CorruptFile(str(file), "a part of a sharded checkpoint is missing or cut short.")


def restore(model: nn.Module, state: Mapping[str, Tensor], *, origin: str, name: str) -> None:
    """Give a model the tensors that a checkpoint has for it, wherever in the trained module it was.

    Every tensor of the model must be there, but for those of parameters that are not trained where some are
    and some are not. Nothing is changed before all is checked.

    Args:
        model: The model.
        state: The tensors of the whole module that was trained; the model may have been an attribute of it,
            and other attributes may have had tensors too.
        origin: What to call the checkpoint in an error.
        name: What to call the model.

    Raises:
        TrainerCheckpointMismatch: Tensors are missing, left over or misshapen; the error lists all of them.

    """
    wanted = model.state_dict()
    prefix = _prefix(state, wanted)
    found = {one.removeprefix(prefix): tensor for one, tensor in state.items() if one.startswith(prefix)}
    trained = {
        one for one, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad
    }
    some_rest = any(not parameter.requires_grad for parameter in model.parameters())
    needed = trained if some_rest else set(wanted)
    check_weights(found, wanted, origin=origin, name=name, needed=needed, prefix=prefix)
    with torch.no_grad():
        for one, tensor in found.items():
            wanted[one].copy_(tensor)


def check_weights(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    *,
    origin: str,
    name: str,
    needed: Collection[str] | None = None,
    prefix: str = "",
) -> None:
    """Check that tensors are those that are wanted.

    Args:
        found: What there is.
        wanted: What there should be.
        origin: What to call the checkpoint in an error.
        name: What to call the model.
        needed: Which of those must be there; None is all.
        prefix: What stood before the names that were found.

    Raises:
        TrainerCheckpointMismatch: They are not; the error lists all that differ.

    """
    missing = [one for one in wanted if one not in found and (needed is None or one in needed)]
    unread = [prefix + one for one in found if one not in wanted]
    misshapen = [
        f"{one} is {list(tensor.shape)}, expected {list(wanted[one].shape)}"
        for one, tensor in found.items()
        if one in wanted and tensor.shape != wanted[one].shape
    ]
    if missing or unread or misshapen:
        raise TrainerCheckpointMismatch(origin, missing, unread, misshapen, name)


def _prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Return what stands before most of the model's names in a checkpoint, such as `llm.`."""
    before: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in wanted:
                before[".".join([*parts[:at], ""])] += 1
                break
    return before.most_common(1)[0][0] if before else ""
