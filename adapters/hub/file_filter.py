"""Which files of a repository are needed, and what can be done with one that lacks them."""

import json
from collections.abc import Sequence
from pathlib import Path

from litgpt.domain.errors import MissingFile, UnsafeFile
from litgpt.domain.tokenizer_source import NAMED_TEMPLATES, has_tokenizer_files

CONFIG_FILE = "config.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

CONFIG_FILES = (
    CONFIG_FILE,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "prompt_style.yaml",
)
"""What is needed beside the weights, where a repository has it."""

VOCAB_FILES = ("vocab.json", "merges.txt", "vocab.txt", "tekken.json", "tiktoken.model")
"""What a tokenizer without `tokenizer.json` may need besides."""

TOKENIZER_FILES = (*(one for one in CONFIG_FILES if one != "prompt_style.yaml"), *VOCAB_FILES)
"""The files that a tokenizer may be read from, the two configs for the tokens that end a text."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""The files of an adapter, as PEFT writes it."""

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")


def check_files(repository: str, files: Sequence[str]) -> None:
    """Refuse a repository that has no weights that can be read, before anything of it is downloaded.

    Args:
        repository: `org/name`.
        files: The names of all its files.

    Raises:
        MissingFile: There are no safetensors, or no config; it says what there is instead.
        UnsafeFile: There are only pickles.

    """
    if SINGLE_FILE not in files and INDEX_FILE not in files:
        if ggufs := [file for file in files if file.endswith(".gguf")]:
            found, get = ", ".join(ggufs), f"hf download {repository} {ggufs[0]}"
            raise MissingFile(
                f"{repository}/{SINGLE_FILE}",
                f"there are GGUF files in its place ({found}). Download one, as with `{get}`, and load it by "
                "the path that this prints.",
            )
        if pickles := [file for file in files if file.endswith(PICKLE_SUFFIXES)]:
            raise UnsafeFile(f"{repository}/{pickles[0]}", _REMEDY)
        found = ", ".join(files[:10]) or "nothing"
        raise MissingFile(
            f"{repository}/{SINGLE_FILE}", f"the repository has no weights that can be read, but {found}."
        )
    if CONFIG_FILE not in files:
        raise MissingFile(
            f"{repository}/{CONFIG_FILE}", "it says how the model is built, and the weights do not."
        )


_REMEDY = (
    "Look for the same model in safetensors: in another repository, or in a pull request of this one "
    "(revision='refs/pr/1')."
)


def non_weight_files(files: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be downloaded before anything is known of the model: everything but the weights."""
    wanted = list(CONFIG_FILES)
    if "tokenizer.json" not in files:
        wanted += [*VOCAB_FILES, *(file for file in files if is_tiktoken(file))]
    if SINGLE_FILE not in files:
        wanted += [INDEX_FILE]
    return tuple(file for file in (*wanted, *_named_templates(files)) if file in files)


def _named_templates(files: Sequence[str]) -> list[str]:
    return [one for one in files if one.startswith(f"{NAMED_TEMPLATES}/") and one.endswith(".jinja")]


def tokenizer_files(repository: str, files: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be downloaded of a repository of which the tokenizer alone is wanted.

    Raises:
        MissingFile: It has none that can be read.

    """
    if not has_tokenizer_files(files):
        found = ", ".join(files[:10]) or "nothing"
        raise MissingFile(
            f"{repository}/tokenizer.json", f"the repository has no tokenizer that can be read, but {found}."
        )
    named = _named_templates(files)
    wanted = non_weight_files(files)
    return tuple(file for file in wanted if file in TOKENIZER_FILES or is_tiktoken(file) or file in named)


def is_tiktoken(file: str) -> bool:
    """Return whether a file, by its name, holds the ranks of a tokenizer of tiktoken's."""
    return file.endswith(".tiktoken") and "/" not in file


def weight_files(snapshot: Path, files: Sequence[str]) -> tuple[str, ...]:
    """Return the files that hold the weights; of an index, those that are in the repository.

    What is wrong with an index is found, and said, where the folder is opened.
    """
    if SINGLE_FILE in files:
        return (SINGLE_FILE,)
    try:
        shards = json.loads((snapshot / INDEX_FILE).read_bytes())["weight_map"].values()
        return tuple(file for file in dict.fromkeys(shards) if file in files)
    except Exception:  # noqa: BLE001 - what is wrong with it is said where it is opened
        return ()
