"""How byte-level vocabularies split a text before they merge, by the names that GGUF files give the rules.

Sources: the `pre_tokenizer` in each family's tokenizer.json; the names are those of `tokenizer.ggml.pre`, as
llama.cpp's converter writes them.
"""

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class Split:
    """A rule by which text is split.

    Attributes:
        patterns: Regular expressions, applied one after another to what the one before left.
        whole_words: Whether a word that is a token is taken as it is, even if no merges lead to it.
        composed: Whether text is brought to Unicode's composed form (NFC) first.

    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    composed: bool = False


_GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    r"%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

GPT2 = Split(patterns=(_GPT2_WORDS,))
SMOLLM = Split(patterns=(r"\p{N}", _GPT2_WORDS))
LLAMA3 = Split(patterns=(_CL100K_WORDS % r"\p{N}{1,3}",), whole_words=True)
QWEN2 = Split(patterns=(_CL100K_WORDS % r"\p{N}",), composed=True)

SPLITS: Mapping[str, Split] = {
    "gpt-2": GPT2,
    "smollm": SMOLLM,
    "llama-bpe": LLAMA3,
    "llama3": LLAMA3,
    "llama-v3": LLAMA3,
    "falcon3": LLAMA3,
    "qwen2": QWEN2,
    "deepseek-r1-qwen": QWEN2,
}
"""The rules by name. `default` is missing on purpose: converters write it where they know no better."""
