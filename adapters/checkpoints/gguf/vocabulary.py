"""Read the tokenizer of a GGUF header: tokens, types, merges or scores, and special tokens."""

from typing import Literal

from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata
from litgpt.domain.errors import CorruptFile
from litgpt.domain.tokenizer_source import GgufVocabulary

TOKENIZER_MODELS: dict[str, Literal["bpe", "spm"]] = {"gpt2": "bpe", "llama": "spm", "gemma4": "bpe"}
"""The supported tokenizer models of GGUF."""

# Pre-tokenizers for which add_bos_token defaults to true; for others it defaults to false.
# Source: `llama_vocab::impl::load` in llama.cpp's `llama-vocab.cpp`.
PRE_TOKENIZERS_WITH_BOS = frozenset(
    {
        "chameleon",
        "falcon-h1",
        "falcon3",
        "jina-v5-nano",
        "lfm2",
        "llama-bpe",
        "llama-v3",
        "llama3",
        "midm-2.0",
        "pixtral",
        "tekken",
    }
)

# llama.cpp's default special tokens of SentencePiece vocabularies.
SENTENCEPIECE_IDS = {"bos": 1, "eos": 2, "unknown": 0}

NORMAL, NO_TOKEN_ID = 1, 0xFFFF_FFFF


def token_id(metadata: GgufMetadata, role: str) -> int | None:
    """Return the id of a special token, such as `bos`, or None."""
    number = metadata.integer(f"tokenizer.ggml.{role}_token_id")
    return None if number == NO_TOKEN_ID else number


def eog_token_ids(metadata: GgufMetadata) -> tuple[int, ...]:
    """Return the end-of-generation tokens (EOS, EOT, EOM), starting with EOS."""
    ids = (token_id(metadata, role) for role in ("eos", "eot", "eom"))
    return tuple(dict.fromkeys(number for number in ids if number is not None))


def read_vocabulary(metadata: GgufMetadata) -> GgufVocabulary:
    """Return the vocabulary of a header."""
    model = metadata.text("tokenizer.ggml.model")
    if model is None:
        raise metadata.missing("tokenizer.ggml.model")
    if model not in TOKENIZER_MODELS:
        known = " and ".join(map(repr, TOKENIZER_MODELS))
        raise metadata.unsupported(f"its tokenizer model is {model!r}; only {known} are supported.")
    kind = TOKENIZER_MODELS[model]
    tokens = _texts(metadata, "tokenizer.ggml.tokens")
    count, spm = len(tokens), kind == "spm"
    types = _numbers(metadata, "tokenizer.ggml.token_type", count) or (NORMAL,) * count
    scores = _numbers(metadata, "tokenizer.ggml.scores", count) if spm else ()
    if spm and not scores:
        raise metadata.missing("tokenizer.ggml.scores")
    # gemma4 has a fixed pre-tokenizer.
    pre = model if model == "gemma4" else metadata.text("tokenizer.ggml.pre") or "default"
    add_bos = metadata.flag("tokenizer.ggml.add_bos_token")
    add_space = metadata.flag("tokenizer.ggml.add_space_prefix")
    defaults = SENTENCEPIECE_IDS if spm else {}
    bos, eos, unknown = (
        _checked_id(metadata, role, count, defaults.get(role)) for role in ("bos", "eos", "unknown")
    )
    others = (_checked_id(metadata, role, count) for role in ("eot", "eom"))
    return GgufVocabulary(
        kind=kind,
        tokens=tokens,
        types=tuple(map(int, types)),
        scores=scores,
        merges=() if spm else _texts(metadata, "tokenizer.ggml.merges"),
        pre="" if spm else pre,
        bos_id=bos,
        eos_ids=tuple(dict.fromkeys(number for number in (eos, *others) if number is not None)),
        unk_id=unknown,
        add_bos=add_bos if add_bos is not None else spm or pre in PRE_TOKENIZERS_WITH_BOS,
        add_eos=metadata.flag("tokenizer.ggml.add_eos_token") or False,
        add_space_prefix=add_space if add_space is not None else spm,
        chat_template=metadata.text("tokenizer.chat_template"),
        named_templates=_named_templates(metadata),
    )


def _named_templates(metadata: GgufMetadata) -> dict[str, str]:
    listed = metadata.array("tokenizer.chat_templates", of_text=True)
    names = () if listed is None else listed.strings()
    templates = {name: metadata.text(f"tokenizer.chat_template.{name}") for name in names}
    return {name: template for name, template in templates.items() if template is not None}


def _texts(metadata: GgufMetadata, key: str) -> tuple[str, ...]:
    array = metadata.array(key, of_text=True)
    if array is None or not len(array):
        raise metadata.missing(key)
    return array.strings()


def _numbers(metadata: GgufMetadata, key: str, count: int) -> tuple[float, ...]:
    """Return a number per token; empty if the key is absent."""
    array = metadata.array(key, of_text=False)
    if array is None:
        return ()
    if len(array) != count:
        raise CorruptFile(metadata.path, f"{key!r} has {len(array)} values for {count} tokens.")
    return array.numbers()


def _checked_id(metadata: GgufMetadata, role: str, count: int, default: int | None = None) -> int | None:
    number = token_id(metadata, role)
    if number is None:
        return default if default is not None and default < count else None
    if number >= count:
        raise metadata.invalid(f"tokenizer.ggml.{role}_token_id", f"less than its {count} tokens")
    return number
