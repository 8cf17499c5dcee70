"""Where a checkpoint keeps its tokenizer."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr

_VOCABULARY_FILES = {"tokenizer.json", "tokenizer.model", "tekken.json", "tiktoken.model", "vocab.txt"}


def has_tokenizer_files(files: Collection[str]) -> bool:
    """Return whether files of these names include the vocabulary of a tokenizer."""
    names = set(files)
    return (
        not names.isdisjoint(_VOCABULARY_FILES)
        or {"vocab.json", "merges.txt"} <= names
        or any(name.endswith(".tiktoken") for name in names)
    )


NAMED_TEMPLATES = "additional_chat_templates"
"""The folder of further chat templates, each in a file `NAME.jinja`, beside a tokenizer's files."""


@attrs.frozen
class TokenizerFiles:
    """A tokenizer in files of its own: `tokenizer.json`, `tokenizer.model` and those beside them.

    Attributes:
        paths: File names to where they are.

    """

    paths: Mapping[str, Path]

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class GgufVocabulary:
    """A tokenizer written out inside a GGUF file.

    Attributes:
        kind: `bpe` (byte-level, with merges) or `spm` (sentencepiece, with scores).
        tokens: The text of each token, by id.
        types: What each token is, by id: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
        scores: The score of each token, by id (`spm`).
        merges: Pairs in the order in which they are merged, each with a space between (`bpe`).
        pre: The name of the rule that splits text before merging (`bpe`).
        bos_id: The token that begins a text.
        eos_ids: The tokens that end one.
        unk_id: The token for what has none.
        add_bos: Whether a text is encoded with `bos_id` before it.
        add_space_prefix: Whether a space is put before the text (`spm`).
        chat_template: How messages become text, in jinja.
        named_templates: Further chat templates by name, such as `tool_use`.

    """

    kind: Literal["bpe", "spm"]
    tokens: Sequence[str] = attrs.field(repr=False)
    types: Sequence[int] = attrs.field(repr=False)
    scores: Sequence[float] = attrs.field(default=(), repr=False)
    merges: Sequence[str] = attrs.field(default=(), repr=False)
    pre: str = ""
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    unk_id: int | None = None
    add_bos: bool = False
    add_space_prefix: bool = True
    chat_template: str | None = attrs.field(default=None, repr=False)
    named_templates: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    __repr__ = brief_repr


TokenizerSource: TypeAlias = TokenizerFiles | GgufVocabulary
