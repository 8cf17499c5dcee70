"""Read `tokenizer_config.json` and related files: special tokens, `add_bos_token`, chat template."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from litgpt.adapters.tokenization.added_tokens import AddedTokens, read_added_tokens
from litgpt.adapters.tokenization.tokenizer_class import (
    DEFAULT_SPECIAL_TOKENS,
    TEKKEN_SPECIAL_TOKENS,
    tokenizer_class,
)
from litgpt.domain.errors import CorruptFile
from litgpt.domain.tokenizer_source import NAMED_TEMPLATES
from litgpt.domain.validation.untrusted_files import parse_json, translate_read_errors

DEFAULT_TEMPLATE = "default"
"""Name of the default chat template."""

_COMPLETE = {"tokenizer.json", "tokenizer.model"}
"""Vocabularies that define their special tokens, for which the class defaults do not apply."""


@attrs.frozen(kw_only=True)
class TokenizerConfig:
    """A tokenizer's settings, without its vocabulary.

    Attributes:
        special_tokens: Special tokens by name: `bos_token`, `eos_token`, …, `image_token`.
        add_bos: Whether encoding adds the BOS token; None if not specified.
        add_eos: Whether encoding adds the EOS token.
        added_tokens: Tokens that these files add to the vocabulary, including named ones.
        legacy: Whether sentencepiece inserts a space into the text after a special token.
        tokenizer_class: Class in transformers, without the suffix `Fast`; None for the generic class.
        settings: The whole `tokenizer_config.json`.
    """

    special_tokens: Mapping[str, str] = attrs.field(factory=dict)
    add_bos: bool | None = None
    add_eos: bool = False
    added_tokens: AddedTokens = attrs.field(factory=AddedTokens, repr=False)
    legacy: bool = True
    tokenizer_class: str | None = None
    settings: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    chat_template: str | None = attrs.field(default=None, repr=False)
    named_templates: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def read_tokenizer_config(paths: Mapping[str, Path]) -> TokenizerConfig:
    """Read the settings in the files next to a vocabulary, by file name; all are optional.

    They are `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`, `chat_template.jinja`,
    `chat_template.json` and `config.json`.
    """
    config = _read_object(paths, "tokenizer_config.json")
    class_name = tokenizer_class(config, _read_object(paths, "config.json"))
    assumed = {} if paths.keys() & _COMPLETE else DEFAULT_SPECIAL_TOKENS.get(class_name or "", {})
    if "tekken.json" in paths.keys() - _COMPLETE:
        assumed = TEKKEN_SPECIAL_TOKENS
    added = read_added_tokens(
        {**assumed, **config},
        _read_object(paths, "special_tokens_map.json"),
        _read_object(paths, "added_tokens.json"),
    )
    add_bos = config.get("add_bos_token")
    templates = _chat_templates(paths, config)
    return TokenizerConfig(
        special_tokens={
            name: token.text for name, token in added.special_tokens.items() if name.endswith("_token")
        },
        add_bos=add_bos if isinstance(add_bos, bool) else None,
        add_eos=config.get("add_eos_token") is True,
        added_tokens=added,
        legacy=config.get("legacy", class_name != "LlamaTokenizer") is not False,
        tokenizer_class=class_name,
        settings=config,
        chat_template=templates.pop(DEFAULT_TEMPLATE, None),
        named_templates=templates,
    )


def _chat_templates(paths: Mapping[str, Path], config: Mapping[str, object]) -> dict[str, str]:
    """Return the templates by name; separate files take precedence over tokenizer_config.json."""
    folder = f"{NAMED_TEMPLATES}/"
    files = {name.removeprefix(folder): path for name, path in paths.items() if name.startswith(folder)}
    if "chat_template.jinja" in paths:
        files[DEFAULT_TEMPLATE] = paths["chat_template.jinja"]
    value: object = {name.removesuffix(".jinja"): _read(path) for name, path in files.items()}
    if not value:
        value = config.get("chat_template") or _read_object(paths, "chat_template.json").get("chat_template")
    if isinstance(value, list):
        value = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
    if not isinstance(value, dict):
        value = {DEFAULT_TEMPLATE: value}
    templates = {
        name: source for name, source in value.items() if isinstance(name, str) and isinstance(source, str)
    }
    return dict.fromkeys((DEFAULT_TEMPLATE,), *templates.values()) if len(templates) == 1 else templates


def _read_object(paths: Mapping[str, Path], name: str) -> dict[str, object]:
    if name not in paths:
        return {}
    path = paths[name]
    text = _read(path)
    with translate_read_errors(str(path), reason="it is not JSON"):
        value = parse_json(text)
    if not isinstance(value, dict):
        raise CorruptFile(str(path), "it is not a JSON object.")
    return value


def _read(path: Path) -> str:
    with translate_read_errors(path):
        return path.read_text(encoding="utf-8")
