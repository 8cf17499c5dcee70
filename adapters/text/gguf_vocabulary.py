"""Build a tokenizer in memory from the vocabulary in a GGUF file."""

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from tokenizers.normalizers import NFC, Replace

from litgpt.adapters.text import sentencepiece_proto as proto
from litgpt.adapters.text.codec import Codec
from litgpt.adapters.text.facts import Facts
from litgpt.adapters.text.sentencepiece_model import codec_of as sentencepiece_codec
from litgpt.adapters.text.sentencepiece_model import load
from litgpt.adapters.text.spelling import BYTE_LEVEL, META_SPACE, META_SPACED
from litgpt.adapters.text.splitting import SPLITS
from litgpt.adapters.text.tokenizers_json import codec_of as tokenizers_codec
from litgpt.domain.errors import DamagedFile, UnsupportedModel
from litgpt.domain.vocabulary import Vocabulary

_MARKED = (proto.CONTROL, proto.UNKNOWN, proto.USER_DEFINED)  # types matched anywhere in a text


def codec_of(name: str, vocabulary: Vocabulary) -> Codec:
    """Return the codec for a vocabulary.

    Args:
        name: Name of the model in error messages.
        vocabulary: The vocabulary in the GGUF file.

    Raises:
        DamagedFile: The vocabulary is inconsistent.
        UnsupportedModel: Its pre-tokenizer is not supported.

    """
    types = _types(name, vocabulary)
    make = _merged if vocabulary.kind == "bpe" else _pieces
    try:
        return make(name, vocabulary, types)
    except (ValueError, IndexError) as error:
        raise _damaged(name, f"the tokenizer library rejects it ({error}).") from error


def facts_of(vocabulary: Vocabulary) -> Facts:
    """Return the vocabulary's special tokens and chat templates."""
    eos_id = next(iter(vocabulary.eos_ids), None)
    ids = {"bos_token": vocabulary.bos_id, "eos_token": eos_id, "unk_token": vocabulary.unk_id}
    return Facts(
        named={role: vocabulary.tokens[place] for role, place in ids.items() if place is not None},
        add_bos=vocabulary.add_bos,
        chat_template=vocabulary.chat_template,
        named_templates=vocabulary.named_templates,
    )


def _types(name: str, vocabulary: Vocabulary) -> list[int]:
    """Return the type of each token; BOS, EOS and UNK are control tokens even if a converter omitted it."""
    tokens, types = vocabulary.tokens, list(vocabulary.types)
    if len(types) != len(tokens):
        raise _damaged(name, f"it has {len(tokens)} tokens and {len(types)} types of tokens.")
    special = (vocabulary.bos_id, vocabulary.unk_id, *vocabulary.eos_ids)
    roles = [token for token in special if token is not None]
    if outside := [token for token in roles if token not in range(len(tokens))]:
        raise _damaged(name, f"the special token {outside[0]} is not one of its {len(tokens)} tokens.")
    for place in roles:
        types[place] = proto.CONTROL
    return types


def _merged(name: str, vocabulary: Vocabulary, types: list[int]) -> Codec:
    if vocabulary.pre not in SPLITS:
        known = ", ".join(SPLITS)
        raise UnsupportedModel(
            name,
            f"the pre-tokenizer {vocabulary.pre!r} of its GGUF file is not supported. Supported: {known}. "
            "If the file is old, convert the model again or use the original repository.",
        )
    split = SPLITS[vocabulary.pre]
    ids = {token: place for place, token in enumerate(vocabulary.tokens)}
    joined = " ".join(vocabulary.merges)  # splitting one string is many times faster
    halves = joined.split(" ") if joined else []
    if len(halves) != 2 * len(vocabulary.merges):
        raise _damaged(name, "a merge is not a pair of tokens.")
    unknown = None if vocabulary.unk_id is None else vocabulary.tokens[vocabulary.unk_id]
    by_bytes = {"unk_token": unknown, "fuse_unk": True, "byte_fallback": True} if split.meta_space else {}
    try:
        library = Tokenizer(
            BPE(
                ids,
                list(zip(halves[::2], halves[1::2], strict=True)),
                ignore_merges=split.whole_words,
                **by_bytes,
            )
        )
    except Exception as error:  # the library raises a bare Exception for a merge of unknown tokens
        raise ValueError(error) from error
    steps = [pre.Split(Regex(pattern), behavior="isolated") for pattern in split.patterns]
    if split.meta_space:
        library.normalizer = Replace(" ", META_SPACE)
    else:
        library.pre_tokenizer = pre.Sequence([*steps, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
        library.normalizer = NFC() if split.composed else None
    library.add_tokens(
        [
            AddedToken(vocabulary.tokens[place], special=kind != proto.USER_DEFINED, normalized=False)
            for place, kind in enumerate(types)
            if kind in _MARKED
        ]
    )
    return tokenizers_codec(library, META_SPACED if split.meta_space else BYTE_LEVEL, ids.values())


def _pieces(name: str, vocabulary: Vocabulary, types: list[int]) -> Codec:
    texts = list(vocabulary.tokens)
    if len(vocabulary.scores) != len(texts):
        raise _damaged(name, f"it has {len(texts)} tokens and {len(vocabulary.scores)} scores.")
    if vocabulary.unk_id is not None:
        types[vocabulary.unk_id] = proto.UNKNOWN
    if types.count(proto.UNKNOWN) != 1:
        raise _damaged(name, f"it has {types.count(proto.UNKNOWN)} unknown tokens instead of one.")
    marked = {place: kind for place, kind in enumerate(types) if kind in _MARKED}
    user_defined = [place for place, kind in marked.items() if kind == proto.USER_DEFINED]
    for place in user_defined:  # stored with spaces instead of the library's meta space
        texts[place] = texts[place].replace(" ", META_SPACE)
    model = proto.sentencepiece_model(
        texts, vocabulary.scores, types, space_before=vocabulary.add_space_prefix
    )
    return sentencepiece_codec(
        load(model),
        control=[place for place, kind in marked.items() if kind != proto.USER_DEFINED],
        user_defined=user_defined,
        facts=facts_of(vocabulary),
    )


def _damaged(name: str, reason: str) -> DamagedFile:
    return DamagedFile(f"the vocabulary of {name}", reason)
