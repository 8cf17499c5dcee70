"""Read the small files next to the weights: JSON and YAML settings, tokenizer files, the prompt style."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from litgpt.adapters.checkpoints.files.file_checks import file_exists, missing_file_error
from litgpt.domain.errors import CorruptFile
from litgpt.domain.tokenizer_source import (
    CONFIG_FILES,
    NAMED_TEMPLATES,
    TOKENIZER_FILES,
    VOCABULARY_FILES,
    TokenizerFiles,
)
from litgpt.domain.validation.untrusted_files import parse_json, printable, translate_read_errors

MAX_JSON_BYTES = 16_000_000
"""Maximum size in bytes; the largest known config has a few hundred thousand."""

MAX_YAML_BYTES = 100_000
"""Maximum size in bytes. PyYAML parses about this much per second; a `model_config.yaml` has about 2,000."""

_CLASS_PATH = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)", re.ASCII)


def read_json(path: Path) -> dict[str, object]:
    """Return the object in a JSON file; raise MissingFile or CorruptFile if there is none."""
    raw = _content(path)
    with translate_read_errors(str(path), reason="it is not JSON"):
        parsed = parse_json(raw)
    if not isinstance(parsed, dict):
        raise CorruptFile(str(path), "it is not a JSON object.")
    return parsed


def read_yaml(path: Path) -> dict[str, object]:
    """Return the mapping in a YAML file of plain values (see `load_plain_yaml`); errors as in `read_json`."""
    from litgpt.adapters.checkpoints.files.plain_yaml import load_plain_yaml

    raw = _content(path, MAX_YAML_BYTES)
    with translate_read_errors(str(path), reason="it is not plain YAML"):
        parsed = load_plain_yaml(raw.decode("utf-8-sig"))  # with or without a byte order mark
    if not isinstance(parsed, dict) or not all(isinstance(name, str) for name in parsed):
        raise CorruptFile(str(path), "it is not a YAML mapping of names to values.")
    return parsed


def _content(path: Path, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    with translate_read_errors(printable(path)):
        if error := missing_file_error(path):
            raise error
    with translate_read_errors(path, missing="it belongs to the model."), path.open("rb") as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise CorruptFile(
            str(path), f"it is larger than {max_bytes} bytes, the limit for configuration files."
        )
    return raw


def read_optional_json(path: Path) -> Mapping[str, object]:
    """Return the object in a JSON file, or an empty mapping if the file does not exist."""
    return read_json(path) if path.is_file() else {}


def tokenizer_files(folder: Path) -> TokenizerFiles:
    """Return the tokenizer files in a folder: `TOKENIZER_FILES`, tiktoken files and named chat templates."""
    names = [*TOKENIZER_FILES, *sorted(path.name for path in folder.glob("*.tiktoken"))]
    paths = {name: folder / name for name in names if file_exists(folder / name)}
    vocabularies = [name for name in names if name in VOCABULARY_FILES or name.endswith(".tiktoken")]
    if paths.keys().isdisjoint(vocabularies):
        for name in vocabularies:
            if error := missing_file_error(folder / name):
                raise error
    named = sorted((folder / NAMED_TEMPLATES).glob("*.jinja"))
    return TokenizerFiles(
        paths | {f"{NAMED_TEMPLATES}/{path.name}": path for path in named if file_exists(path)}
    )


def tokenizer_file_names(folder: Path) -> set[str]:
    """Return the names of tokenizer files in a folder; some may not exist."""
    paths = [*folder.glob("*.tiktoken"), *(folder / NAMED_TEMPLATES).glob("*.jinja")]
    return {*TOKENIZER_FILES, *(path.relative_to(folder).as_posix() for path in paths)} - {*CONFIG_FILES}


CHAT_TEMPLATE = "chat_template.jinja"
"""The chat template file since transformers 4.52; earlier versions use only tokenizer_config.json."""


def with_chat_template(files: Mapping[str, bytes], template: str | None) -> dict[str, bytes]:
    """Return a tokenizer's files with another chat template, unless it is None."""
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
    """Return the content of LitGPT's `prompt_style.yaml` for a style."""
    return f"class_path: litgpt.prompts.{name}\n".encode()


def read_prompt_style(folder: Path) -> str | None:
    """Return the name of the prompt style in LitGPT's `prompt_style.yaml`; None if the file does not exist.

    The file names a class, such as `litgpt.prompts.Alpaca`. Nothing is imported; only the last component of
    the name is used. (LitGPT 0.5.13 writes no arguments and would ignore them.)
    """
    path = folder / PROMPT_STYLE
    if not path.is_file():
        return None
    content = read_yaml(path)
    class_path = content.get("class_path")
    matched = _CLASS_PATH.fullmatch(class_path) if isinstance(class_path, str) else None
    if matched is None or not set(content) <= {"class_path", "init_args"}:
        raise CorruptFile(str(path), "it does not name a style as in 'class_path: litgpt.prompts.Alpaca'.")
    return matched[1]
