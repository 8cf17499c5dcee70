"""The tokenizer files of a checkpoint, or the vocabulary in a GGUF file."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr

CONFIG_FILES = ("config.json", "generation_config.json")
"""The `TOKENIZER_FILES` that belong to the model; they contain the EOS token ids."""

VOCABULARY_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tekken.json",
    "tiktoken.model",
)

TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    *CONFIG_FILES,
)
"""Files from which a tokenizer is read."""


def has_tokenizer_files(files: Collection[str]) -> bool:
    """Return whether files of these names include the vocabulary of a tokenizer."""
    pair = {"vocab.json", "merges.txt"}
    return (
        pair <= {*files}
        or not ({*VOCABULARY_FILES} - pair).isdisjoint(files)
        or any(name.endswith(".tiktoken") for name in files)
    )


NAMED_TEMPLATES = "additional_chat_templates"
"""The folder of named chat templates (`NAME.jinja`) beside a tokenizer's files."""


@attrs.frozen
class TokenizerFiles:
    """A tokenizer in files such as `tokenizer.json`, `tokenizer.model` and `tokenizer_config.json`."""

    paths: Mapping[str, Path]

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class GgufVocabulary:
    """A tokenizer in the metadata of a GGUF file.

    Attributes:
        kind: `bpe` (byte-level, with merges) or `spm` (sentencepiece, with scores).
        tokens: The text of each token, by id.
        types: The token types, by id: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
        scores: The score of each token, by id (`spm`).
        merges: Merges by priority, as pairs separated by a space (`bpe`).
        pre: The name of the pre-tokenizer (`bpe`).
        add_space_prefix: Whether a space is prepended to the text (`spm`).
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
    add_eos: bool = False
    add_space_prefix: bool = True
    chat_template: str | None = attrs.field(default=None, repr=False)
    named_templates: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    __repr__ = brief_repr


TokenizerSource: TypeAlias = TokenizerFiles | GgufVocabulary
