"""Pre-tokenizers of BPE vocabularies by their names in GGUF files.

Source: `pre_tokenizer` in each family's tokenizer.json; the names are the values of `tokenizer.ggml.pre` that
llama.cpp's converter writes.
"""

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class PreTokenizer:
    """Regular expressions that split a text in sequence, and the treatment of the pieces.

    Attributes:
        whole_words: Whether a word in the vocabulary is a single token without merges (`ignore_merges`).
        normalize_nfc: Whether text is normalized to NFC first.
        metaspace: Whether tokens are UTF-8 with `▁` for a space and byte fallback, instead of byte-level.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    normalize_nfc: bool = False
    metaspace: bool = False


_GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    r"%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Words have uppercase before lowercase letters; letters of scripts without case are in both classes.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_WORDS = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%(suffix)s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%(suffix)s|"
    r"%(digits)s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_WITH_MARKS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|"
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHINESE_AND_JAPANESE = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_SEED_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)

GPT2 = PreTokenizer(patterns=(_GPT2_WORDS,))
NEOX = PreTokenizer(patterns=(_GPT2_WORDS,), normalize_nfc=True)
SMOLLM = PreTokenizer(patterns=(r"\p{N}", _GPT2_WORDS))
COMMAND_R = PreTokenizer(patterns=(r"\p{N}", _GPT2_WORDS), normalize_nfc=True)
CL100K = PreTokenizer(patterns=(_CL100K_WORDS % r"\p{N}{1,3}",))
LLAMA3 = PreTokenizer(patterns=(_CL100K_WORDS % r"\p{N}{1,3}",), whole_words=True)
QWEN2 = PreTokenizer(patterns=(_CL100K_WORDS % r"\p{N}",), normalize_nfc=True)
QWEN35 = PreTokenizer(patterns=(_WITH_MARKS,), normalize_nfc=True)
O200K = PreTokenizer(patterns=(_CASED_WORDS % {"suffix": _SUFFIX, "digits": r"\p{N}{1,3}"},))
TEKKEN = PreTokenizer(patterns=(_CASED_WORDS % {"suffix": "", "digits": r"\p{N}"},), whole_words=True)
DEEPSEEK_V3 = PreTokenizer(patterns=(r"\p{N}{1,3}", _CHINESE_AND_JAPANESE, _DEEPSEEK_WORDS))
SEED = PreTokenizer(patterns=(_SEED_WORDS,))
BLOOM = PreTokenizer(patterns=(" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+",))
GEMMA4 = PreTokenizer(patterns=(), metaspace=True)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "gpt-2": GPT2,
    "phi-2": GPT2,
    "olmo": NEOX,
    "mpt": NEOX,
    "smollm": SMOLLM,
    "starcoder": SMOLLM,
    "refact": SMOLLM,
    "command-r": COMMAND_R,
    "llama-bpe": LLAMA3,
    "llama3": LLAMA3,
    "llama-v3": LLAMA3,
    "falcon3": LLAMA3,
    "smaug-bpe": LLAMA3,
    "dbrx": CL100K,
    "glm4": CL100K,
    "chatglm-bpe": CL100K,
    "qwen2": QWEN2,
    "deepseek-r1-qwen": QWEN2,
    "qwen35": QWEN35,
    "gpt-4o": O200K,
    "llama4": O200K,
    "minimax-m2": O200K,
    "tekken": TEKKEN,
    "deepseek-v3": DEEPSEEK_V3,
    "hunyuan-dense": DEEPSEEK_V3,
    "seed-coder": SEED,
    "bloom": BLOOM,
    "gemma4": GEMMA4,
}
"""Pre-tokenizers by name. `default` is excluded, because converters write it for unknown tokenizers."""
