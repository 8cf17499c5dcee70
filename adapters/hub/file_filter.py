"""Select the required files of a repository, and check that it has them."""

import json
from collections.abc import Sequence
from pathlib import Path

from litgpt.domain.errors import MissingFile, UnsafeFile
from litgpt.domain.tokenizer_source import (
    NAMED_TEMPLATES,
    TOKENIZER_FILES,
    VOCABULARY_FILES,
    has_tokenizer_files,
)

CONFIG_FILE = "config.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""The files of a LoRA adapter in PEFT format."""

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")


def check_files(repository: str, files: Sequence[str]) -> None:
    """Check that a repository has a config and safetensors weights, before anything is downloaded."""
    if SINGLE_FILE not in files and INDEX_FILE not in files:
        if ggufs := [file for file in files if file.endswith(".gguf")]:
            command = f"hf download {repository} {ggufs[0]}"
            raise MissingFile(
                f"{repository}/{SINGLE_FILE}",
                f"the repository has GGUF files instead ({', '.join(ggufs)}). Download one, for example with "
                f"`{command}`, and load it from the path that the command prints.",
            )
        if pickles := [file for file in files if file.endswith(PICKLE_SUFFIXES)]:
            raise UnsafeFile(f"{repository}/{pickles[0]}", _REMEDY)
        names = ", ".join(files[:10]) or "no files"
        raise MissingFile(
            f"{repository}/{SINGLE_FILE}", f"the repository has no safetensors weights; it has {names}."
        )
    reason = "it describes the architecture, which the weights do not."
    required_files(repository, files, names=(CONFIG_FILE,), reason=reason)


_REMEDY = (
    "Look for the model in safetensors format: in another repository, or in a pull request of this one "
    "(revision='refs/pr/1')."
)


def non_weight_files(files: Sequence[str]) -> tuple[str, ...]:
    """Return the files to download before the weights."""
    names = [*TOKENIZER_FILES, "prompt_style.yaml", *filter(is_tiktoken, files)]
    if "tokenizer.json" in files:
        unused = {*VOCABULARY_FILES} - {"tokenizer.json", "tokenizer.model"}
        names = [name for name in names if name not in unused and not is_tiktoken(name)]
    if SINGLE_FILE not in files:
        names += [INDEX_FILE]
    return tuple(file for file in (*names, *_named_templates(files)) if file in files)


def _named_templates(files: Sequence[str]) -> list[str]:
    return [file for file in files if file.startswith(f"{NAMED_TEMPLATES}/") and file.endswith(".jinja")]


def tokenizer_files(repository: str, files: Sequence[str]) -> tuple[str, ...]:
    """Return the files to download for the tokenizer alone, or raise MissingFile."""
    if not has_tokenizer_files(files):
        names = ", ".join(files[:10]) or "no files"
        raise MissingFile(
            f"{repository}/tokenizer.json", f"the repository has no supported tokenizer; it has {names}."
        )
    accepted = {*TOKENIZER_FILES, *_named_templates(files)}
    return tuple(file for file in non_weight_files(files) if file in accepted or is_tiktoken(file))


def required_files(
    repository: str, files: Sequence[str], *, names: tuple[str, ...], reason: str
) -> tuple[str, ...]:
    """Return `names`.

    Raises:
        MissingFile: The repository lacks one of them, for this reason.
    """
    if missing := [name for name in names if name not in files]:
        raise MissingFile(f"{repository}/{missing[0]}", reason)
    return names


def is_tiktoken(file: str) -> bool:
    """Return whether a file name is that of a tiktoken vocabulary."""
    return file.endswith(".tiktoken") and "/" not in file


def weight_files(snapshot: Path, files: Sequence[str]) -> tuple[str, ...]:
    """Return the weight files; for an index, the shards that the repository has."""
    if SINGLE_FILE in files:
        return (SINGLE_FILE,)
    try:
        shards = json.loads((snapshot / INDEX_FILE).read_bytes())["weight_map"].values()
        return tuple(file for file in dict.fromkeys(shards) if file in files)
    except Exception:  # noqa: BLE001 - opening the folder reports the error
        return ()
