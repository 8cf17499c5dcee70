"""The small files beside the weights: settings in JSON and YAML, the tokenizer's, a saved prompt style."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from litgpt.adapters.checkpoints.files.file_checks import file_exists, missing_file_error
from litgpt.domain.errors import CorruptFile
from litgpt.domain.tokenizer_source import NAMED_TEMPLATES, TokenizerFiles
from litgpt.domain.validation.untrusted_files import parse_json, printable, translate_read_errors

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tekken.json",
    "tiktoken.model",
    "generation_config.json",
    "config.json",
)
"""The files that a tokenizer may be read from, the two configs for the tokens that end a text."""

_AUXILIARY_TOKENIZER_FILES = {
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "config.json",
}
"""Those that add to a tokenizer and are none."""
CONFIG_FILES = ("config.json", "generation_config.json")
"""Of these, the two that are the model's and not the tokenizer's."""

MAX_JSON_BYTES = 16_000_000
"""Bytes. A larger file of settings is none; the largest known config has a few hundred thousand."""

MAX_YAML_BYTES = 100_000
"""Bytes. PyYAML reads about as many in a second, and a `model_config.yaml` has about 2,000."""

_CLASS_PATH = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)", re.ASCII)


def read_json(path: Path) -> dict[str, object]:
    """Return the object in a JSON file.

    Raises:
        MissingFile: It is not there.
        CorruptFile: It cannot be read, is too large, or is not a JSON object.

    """
    raw = _content(path)
    with translate_read_errors(str(path), reason="it is not JSON"):
        parsed = parse_json(raw)
    if not isinstance(parsed, dict):
        raise CorruptFile(str(path), "it is not a JSON object.")
    return parsed


def read_yaml(path: Path) -> dict[str, object]:
    """Return the mapping in a YAML file, made of plain values only (see `load_plain_yaml`).

    Raises:
        MissingFile: It is not there.
        CorruptFile: It cannot be read, is too large, or is not YAML of names and values.

    """
    from litgpt.adapters.checkpoints.files.plain_yaml import load_plain_yaml

    raw = _content(path, MAX_YAML_BYTES)
    with translate_read_errors(str(path), reason="it is not plain YAML"):
        parsed = load_plain_yaml(raw.decode("utf-8-sig"))  # with or without a byte order mark
    if not isinstance(parsed, dict) or not all(isinstance(name, str) for name in parsed):
        raise CorruptFile(str(path), "it is not YAML of names and values.")
    return parsed


def _content(path: Path, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    with translate_read_errors(printable(path)):
        if error := missing_file_error(path):
            raise error
    with translate_read_errors(path, missing="it belongs to the model."), path.open("rb") as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise CorruptFile(str(path), f"it has more than {max_bytes} bytes, which settings never have.")
    return raw


def read_optional_json(path: Path) -> Mapping[str, object]:
    """Return the object in a JSON file, or nothing if there is no such file.

    Raises:
        CorruptFile: As `read_json`.

    """
    return read_json(path) if path.is_file() else {}


def tokenizer_files(folder: Path) -> TokenizerFiles:
    """Return those of `TOKENIZER_FILES` that the folder has, tiktoken files, and named chat templates.

    Raises:
        MissingFile: In the place of its only tokenizer there is a Git LFS pointer, or a dangling link.

    """
    names = [*TOKENIZER_FILES, *sorted(path.name for path in folder.glob("*.tiktoken"))]
    found = {name: folder / name for name in names if file_exists(folder / name)}
    if found.keys() <= _AUXILIARY_TOKENIZER_FILES:
        for name in names:
            if name not in _AUXILIARY_TOKENIZER_FILES and (error := missing_file_error(folder / name)):
                raise error
    named = sorted((folder / NAMED_TEMPLATES).glob("*.jinja"))
    return TokenizerFiles(
        found | {f"{NAMED_TEMPLATES}/{path.name}": path for path in named if file_exists(path)}
    )


def tokenizer_file_names(folder: Path) -> set[str]:
    """Return the names that a tokenizer's files have in a folder; some may not exist."""
    found = [*folder.glob("*.tiktoken"), *(folder / NAMED_TEMPLATES).glob("*.jinja")]
    return {*TOKENIZER_FILES, *(one.relative_to(folder).as_posix() for one in found)} - {*CONFIG_FILES}


CHAT_TEMPLATE = "chat_template.jinja"
"""Where transformers keeps a chat template since version 4.52; before, in tokenizer_config.json alone."""


def with_chat_template(files: Mapping[str, bytes], template: str | None) -> dict[str, bytes]:
    """Return a tokenizer's files with another chat template: in a file of its own, and in their config.

    Args:
        files: The contents of the files, by name.
        template: The template, in jinja; None leaves the files as they are.

    Raises:
        CorruptFile: `tokenizer_config.json` is not a JSON object.

    """
    if template is None:
        return dict(files)
    written = {name: content for name, content in files.items() if name != "chat_template.json"}
    written[CHAT_TEMPLATE] = template.encode()
    if (content := files.get(_TOKENIZER_CONFIG)) is not None:
        with translate_read_errors(_TOKENIZER_CONFIG, reason="it is not a JSON object"):
            config = {**parse_json(content), "chat_template": template}
        written[_TOKENIZER_CONFIG] = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    return written


_TOKENIZER_CONFIG = "tokenizer_config.json"

PROMPT_STYLE = "prompt_style.yaml"


def prompt_style_file(name: str) -> bytes:
    """Return what LitGPT's `prompt_style.yaml` says of a style."""
    return f"class_path: litgpt.prompts.{name}\n".encode()


def read_prompt_style(folder: Path) -> str | None:
    """Return the name of the prompt style that LitGPT saved in `prompt_style.yaml`; None if it saved none.

    The file names a class, `litgpt.prompts.Alpaca`. Nothing is imported: only the name after the last dot is
    taken from it. (LitGPT 0.5.13 writes no arguments and would ignore them.)

    Raises:
        CorruptFile: It says anything else.

    """
    path = folder / PROMPT_STYLE
    if not path.is_file():
        return None
    said = read_yaml(path)
    class_path = said.get("class_path")
    found = _CLASS_PATH.fullmatch(class_path) if isinstance(class_path, str) else None
    if found is None or not set(said) <= {"class_path", "init_args"}:
        raise CorruptFile(str(path), "it does not name a style as in 'class_path: litgpt.prompts.Alpaca'.")
    return found[1]
