"""What a tokenizer's own small files say: its special tokens, whether it begins texts, its chat template."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from litgpt.domain.errors import DamagedFile

_IDS = 10**9  # more than any vocabulary has
_ID = re.compile(r"[0-9]{1,9}")
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@attrs.frozen
class AddedToken:
    """A token that was added to a vocabulary.

    Attributes:
        text: How it is written in a text.
        special: Whether it is left out when ids become text.

    """

    text: str
    special: bool


@attrs.frozen(kw_only=True)
class Facts:
    """What is known of a tokenizer besides its vocabulary.

    Attributes:
        named: The special tokens that have a role, by the role: `bos_token`, `eos_token`, …
        add_bos: Whether a text is encoded with `bos_token` before it; None if these files do not say.
        added: Tokens that were added to the vocabulary, by id.
        legacy: Whether sentencepiece puts a space before the text that follows a special token.
        chat_template: How messages become text, in jinja.

    """

    named: Mapping[str, str] = attrs.field(factory=dict)
    add_bos: bool | None = None
    added: Mapping[int, AddedToken] = attrs.field(factory=dict, repr=False)
    legacy: bool = True
    chat_template: str | None = attrs.field(default=None, repr=False)


def read_facts(paths: Mapping[str, Path]) -> Facts:
    """Return what the small files beside a vocabulary say.

    Args:
        paths: Where they are, by name: `tokenizer_config.json`, `special_tokens_map.json`,
            `added_tokens.json`, `chat_template.jinja`, `chat_template.json`. None of them has to be there.

    Raises:
        DamagedFile: One of them cannot be read.

    """
    config = _read_object(paths, "tokenizer_config.json")
    by_role = {**_read_object(paths, "special_tokens_map.json"), **_without_nulls(config)}
    texts = {role: _text_of(by_role[role]) for role in _NAMED if role in by_role}
    add_bos = config.get("add_bos_token")
    return Facts(
        named={role: text for role, text in texts.items() if text is not None},
        add_bos=add_bos if isinstance(add_bos, bool) else None,
        added=_added(config, _read_object(paths, "added_tokens.json")),
        legacy=config.get("legacy") is not False,
        chat_template=_chat_template(paths, config),
    )


def _chat_template(paths: Mapping[str, Path], config: Mapping[str, object]) -> str | None:
    """Return the template; a file of its own comes before the one in tokenizer_config.json."""
    if "chat_template.jinja" in paths:
        return _read(paths["chat_template.jinja"])
    found = config.get("chat_template") or _read_object(paths, "chat_template.json").get("chat_template")
    if isinstance(found, list):
        entries = [one for one in found if isinstance(one, dict)]
        by_name = {one.get("name"): one.get("template") for one in entries}
        found = by_name.get("default", next(iter(by_name.values())) if len(by_name) == 1 else None)
    return found if isinstance(found, str) else None


def _added(config: Mapping[str, object], older: Mapping[str, object]) -> dict[int, AddedToken]:
    """Return added tokens from tokenizer_config.json and, in the older way, from added_tokens.json."""
    added = {
        place: AddedToken(text, special=True)
        for text, place in older.items()
        if isinstance(place, int) and not isinstance(place, bool) and 0 <= place < _IDS and text
    }
    entries = config.get("added_tokens_decoder")
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        text = _text_of(entry)
        if text is not None and _ID.fullmatch(key):
            special = entry.get("special") if isinstance(entry, dict) else None
            added[int(key)] = AddedToken(text, special=special is not False)
    return added


def _text_of(value: object) -> str | None:
    """Return the text of a token that is written as a string, or as an object with more about it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _without_nulls(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _read_object(paths: Mapping[str, Path], name: str) -> dict[str, object]:
    if name not in paths:
        return {}
    path = paths[name]
    try:
        found = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(str(path), f"it is no JSON ({error}).") from error
    if not isinstance(found, dict):
        raise DamagedFile(str(path), "it holds no JSON object.")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DamagedFile(str(path), f"it cannot be read ({error}).") from error
