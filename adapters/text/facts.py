"""What a tokenizer's own small files say: its special tokens, whether it begins texts, its chat template."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from litgpt.adapters.text.added_tokens import AddedTokens, read_added_tokens
from litgpt.adapters.text.tokenizer_class import ASSUMED, TEKKEN, tokenizer_class
from litgpt.domain.errors import DamagedFile
from litgpt.domain.reading import parse_json, reading
from litgpt.domain.vocabulary import NAMED_TEMPLATES

DEFAULT_TEMPLATE = "default"
"""What files call the template that is rendered unless another one is chosen."""

_COMPLETE = {"tokenizer.json", "tokenizer.model"}
"""Vocabularies that say which of their tokens are special, so that none is to be assumed."""


@attrs.frozen(kw_only=True)
class Facts:
    """What is known of a tokenizer besides its vocabulary.

    Attributes:
        named: The special tokens by name: `bos_token`, `eos_token`, …, `image_token`.
        add_bos: Whether a text is encoded with `bos_token` before it; None if these files do not say.
        added: The tokens that these files add to the vocabulary, the named ones among them.
        legacy: Whether sentencepiece puts a space before the text that follows a special token.
        tokenizer_class: The class in transformers, without its suffix `Fast`; None if it is the general one.
        settings: All of `tokenizer_config.json`.
        chat_template: How messages become text, in jinja.
        named_templates: Further chat templates by name, such as `tool_use`.

    """

    named: Mapping[str, str] = attrs.field(factory=dict)
    add_bos: bool | None = None
    added: AddedTokens = attrs.field(factory=AddedTokens, repr=False)
    legacy: bool = True
    tokenizer_class: str | None = None
    settings: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    chat_template: str | None = attrs.field(default=None, repr=False)
    named_templates: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def read_facts(paths: Mapping[str, Path]) -> Facts:
    """Return what the small files beside a vocabulary say.

    Args:
        paths: Where they are, by name: `tokenizer_config.json`, `special_tokens_map.json`,
            `added_tokens.json`, `chat_template.jinja`, `chat_template.json`, `config.json`. None of them has
            to be there.

    Raises:
        DamagedFile: One of them cannot be read.

    """
    config = _read_object(paths, "tokenizer_config.json")
    class_name = tokenizer_class(config, _read_object(paths, "config.json"))
    assumed = {} if paths.keys() & _COMPLETE else ASSUMED.get(class_name or "", {})
    if "tekken.json" in paths.keys() - _COMPLETE:
        assumed = TEKKEN
    added = read_added_tokens(
        {**assumed, **config},
        _read_object(paths, "special_tokens_map.json"),
        _read_object(paths, "added_tokens.json"),
    )
    add_bos = config.get("add_bos_token")
    templates = _chat_templates(paths, config)
    return Facts(
        named={name: token.text for name, token in added.named.items() if name.endswith("_token")},
        add_bos=add_bos if isinstance(add_bos, bool) else None,
        added=added,
        legacy=config.get("legacy", class_name != "LlamaTokenizer") is not False,
        tokenizer_class=class_name,
        settings=config,
        chat_template=templates.pop(DEFAULT_TEMPLATE, None),
        named_templates=templates,
    )


def _chat_templates(paths: Mapping[str, Path], config: Mapping[str, object]) -> dict[str, str]:
    """Return the templates by name; files of their own come before those in tokenizer_config.json."""
    folder = f"{NAMED_TEMPLATES}/"
    files = {name.removeprefix(folder): path for name, path in paths.items() if name.startswith(folder)}
    if "chat_template.jinja" in paths:
        files[DEFAULT_TEMPLATE] = paths["chat_template.jinja"]
    found: object = {name.removesuffix(".jinja"): _read(path) for name, path in files.items()}
    if not found:
        found = config.get("chat_template") or _read_object(paths, "chat_template.json").get("chat_template")
    if isinstance(found, list):
        found = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
    if not isinstance(found, dict):
        found = {DEFAULT_TEMPLATE: found}
    templates = {name: one for name, one in found.items() if isinstance(name, str) and isinstance(one, str)}
    return dict.fromkeys((DEFAULT_TEMPLATE,), *templates.values()) if len(templates) == 1 else templates


def _read_object(paths: Mapping[str, Path], name: str) -> dict[str, object]:
    if name not in paths:
        return {}
    path = paths[name]
    text = _read(path)
    with reading(str(path), reason="it is not JSON"):
        found = parse_json(text)
    if not isinstance(found, dict):
        raise DamagedFile(str(path), "it is not a JSON object.")
    return found


def _read(path: Path) -> str:
    with reading(path):
        return path.read_text(encoding="utf-8")
