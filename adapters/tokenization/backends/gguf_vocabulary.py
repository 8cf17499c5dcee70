"""Build a tokenizer in memory from the vocabulary in a GGUF file."""

from collections.abc import Iterator, Sequence

import attrs
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from tokenizers.normalizers import NFC, Replace

from litgpt.adapters.tokenization.backend import TokenizerBackend
from litgpt.adapters.tokenization.backends import sentencepiece_proto as proto
from litgpt.adapters.tokenization.backends.hf_tokenizers import make_backend as tokenizers_backend
from litgpt.adapters.tokenization.pre_tokenizers import PRE_TOKENIZERS
from litgpt.adapters.tokenization.token_bytes import BYTE_LEVEL_DECODER, METASPACE, METASPACE_DECODER
from litgpt.adapters.tokenization.tokenizer_config import TokenizerConfig
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.tokenizer_source import GgufVocabulary

_SPECIAL_TYPES = (proto.CONTROL, proto.UNKNOWN, proto.USER_DEFINED)  # types matched anywhere in a text


def build_backend(name: str, vocabulary: GgufVocabulary) -> TokenizerBackend:
    """Return the backend of a vocabulary."""
    types = _types(name, vocabulary)
    make = _bpe_backend if vocabulary.kind == "bpe" else _sentencepiece_backend
    try:
        return make(name, vocabulary, types)
    except (ValueError, IndexError) as error:
        raise _corrupt(name, f"the tokenizer library rejects it ({error}).") from error


def tokenizer_config(vocabulary: GgufVocabulary) -> TokenizerConfig:
    """Return the vocabulary's special tokens and chat templates."""
    eos_id = next(iter(vocabulary.eos_ids), None)
    ids = {"bos_token": vocabulary.bos_id, "eos_token": eos_id, "unk_token": vocabulary.unk_id}
    return TokenizerConfig(
        special_tokens={
            role: vocabulary.tokens[token_id] for role, token_id in ids.items() if token_id is not None
        },
        add_bos=vocabulary.add_bos,
        add_eos=vocabulary.add_eos,
        chat_template=vocabulary.chat_template,
        named_templates=vocabulary.named_templates,
    )


def _types(name: str, vocabulary: GgufVocabulary) -> list[int]:
    """Return the type of each token; BOS, EOS and UNK are control tokens even if a converter omitted it."""
    tokens, types = vocabulary.tokens, list(vocabulary.types)
    if len(types) != len(tokens):
        raise _corrupt(name, f"it has {len(tokens)} tokens and {len(types)} types of tokens.")
    special = (vocabulary.bos_id, vocabulary.unk_id, *vocabulary.eos_ids)
    roles = [token for token in special if token is not None]
    if outside := [token for token in roles if token not in range(len(tokens))]:
        raise _corrupt(name, f"the special token {outside[0]} is not one of its {len(tokens)} tokens.")
    for token_id in roles:
        types[token_id] = proto.CONTROL
    return types


def _bpe_backend(name: str, vocabulary: GgufVocabulary, types: list[int]) -> TokenizerBackend:
    if vocabulary.pre not in PRE_TOKENIZERS:
        known = ", ".join(PRE_TOKENIZERS)
        raise UnsupportedModel(
            name,
            f"the pre-tokenizer {vocabulary.pre!r} of its GGUF file is not supported. Supported: {known}. "
            "If the file is old, convert the model again or use the original repository.",
        )
    split = PRE_TOKENIZERS[vocabulary.pre]
    ids = dict(zip(vocabulary.tokens, range(len(vocabulary.tokens)), strict=True))
    joined = " ".join(vocabulary.merges)  # splitting one string is many times faster
    halves = joined.split(" ") if joined else []
    if len(halves) != 2 * len(vocabulary.merges):
        raise _corrupt(name, "a merge is not a pair of tokens.")
    unknown = None if vocabulary.unk_id is None else vocabulary.tokens[vocabulary.unk_id]
    by_bytes = {"unk_token": unknown, "fuse_unk": True, "byte_fallback": True} if split.metaspace else {}
    try:
        library = Tokenizer(BPE(ids, _Pairs(halves), ignore_merges=split.whole_words, **by_bytes))
    except Exception as error:  # the library raises a bare Exception for a merge of unknown tokens
        raise ValueError(error) from error
    steps = [pre.Split(Regex(pattern), behavior="isolated") for pattern in split.patterns]
    if split.metaspace:
        library.normalizer = Replace(" ", METASPACE)
    else:
        library.pre_tokenizer = pre.Sequence([*steps, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
        library.normalizer = NFC() if split.normalize_nfc else None
    library.add_tokens(
        [
            AddedToken(vocabulary.tokens[token_id], special=kind != proto.USER_DEFINED, normalized=False)
            for token_id, kind in enumerate(types)
            if kind != proto.NORMAL and kind in _SPECIAL_TYPES
        ]
    )
    return tokenizers_backend(
        library, METASPACE_DECODER if split.metaspace else BYTE_LEVEL_DECODER, ids.values()
    )


@attrs.frozen
class _Pairs(Sequence[tuple[str, str]]):
    """A list of strings as pairs, which are made when they are read.

    A list of pairs, of which a vocabulary has 50,000 to 500,000, starts garbage collections at every few
    hundred of them, which take longer than the rest of the function.
    """

    strings: Sequence[str]

    def __len__(self) -> int:
        return len(self.strings) // 2

    def __iter__(self) -> Iterator[tuple[str, str]]:
        strings = iter(self.strings)
        return zip(strings, strings, strict=True)

    def __getitem__(self, index: int) -> tuple[str, str]:  # type: ignore[override]  # no slices
        return self.strings[2 * index], self.strings[2 * index + 1]


def _sentencepiece_backend(name: str, vocabulary: GgufVocabulary, types: list[int]) -> TokenizerBackend:
    from litgpt.adapters.tokenization.backends.sentencepiece_backend import load_processor, make_backend

    texts = list(vocabulary.tokens)
    if len(vocabulary.scores) != len(texts):
        raise _corrupt(name, f"it has {len(texts)} tokens and {len(vocabulary.scores)} scores.")
    if vocabulary.unk_id is not None:
        types[vocabulary.unk_id] = proto.UNKNOWN
    if types.count(proto.UNKNOWN) != 1:
        raise _corrupt(name, f"it has {types.count(proto.UNKNOWN)} unknown tokens instead of one.")
    marked = {token_id: kind for token_id, kind in enumerate(types) if kind in _SPECIAL_TYPES}
    user_defined = [token_id for token_id, kind in marked.items() if kind == proto.USER_DEFINED]
    for token_id in user_defined:  # stored with spaces instead of the library's meta space
        texts[token_id] = texts[token_id].replace(" ", METASPACE)
    model = proto.sentencepiece_model(
        texts, vocabulary.scores, types, space_before=vocabulary.add_space_prefix
    )
    return make_backend(
        load_processor(model),
        control=[token_id for token_id, kind in marked.items() if kind != proto.USER_DEFINED],
        user_defined=user_defined,
        config=tokenizer_config(vocabulary),
    )


def _corrupt(name: str, reason: str) -> CorruptFile:
    return CorruptFile(f"the vocabulary of {name}", reason)
