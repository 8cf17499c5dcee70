"""A tokenizer from the vocabulary in a GGUF file, built in memory so that a library does the encoding."""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE
from tokenizers.normalizers import NFC

from litgpt.adapters.text import sentencepiece_proto as proto
from litgpt.adapters.text.codec import Codec
from litgpt.adapters.text.facts import Facts
from litgpt.adapters.text.sentencepiece_model import codec_of as sentencepiece_codec
from litgpt.adapters.text.sentencepiece_model import load
from litgpt.adapters.text.spelling import BYTE_LEVEL, META_SPACE
from litgpt.adapters.text.splitting import SPLITS, Split
from litgpt.adapters.text.tokenizers_json import codec_of as tokenizers_codec
from litgpt.domain.errors import DamagedFile, UnsupportedModel
from litgpt.domain.vocabulary import Vocabulary


def codec_of(name: str, vocabulary: Vocabulary) -> Codec:
    """Return the codec for a vocabulary.

    Args:
        name: What to call the model in an error.
        vocabulary: What the GGUF file holds.

    Raises:
        DamagedFile: It contradicts itself.
        UnsupportedModel: It splits text by a rule that is not implemented.

    """
    tokens, types = vocabulary.tokens, vocabulary.types
    if len(types) != len(tokens):
        raise _damaged(name, f"it has {len(tokens)} tokens and {len(types)} types of tokens.")
    try:
        return _byte_level(name, vocabulary) if vocabulary.kind == "bpe" else _pieces(name, vocabulary)
    except (ValueError, IndexError) as error:
        raise _damaged(name, f"the tokenizer library refuses it ({error}).") from error


def facts_of(vocabulary: Vocabulary) -> Facts:
    """Return what is known of the vocabulary's special tokens."""
    tokens, known = vocabulary.tokens, range(len(vocabulary.tokens))
    eos_id = next(iter(vocabulary.eos_ids), None)
    ids = {"bos_token": vocabulary.bos_id, "eos_token": eos_id, "unk_token": vocabulary.unk_id}
    return Facts(
        named={
            role: tokens[place] for role, place in ids.items() if place is not None and place < len(tokens)
        },
        add_bos=vocabulary.add_bos,
        chat_template=vocabulary.chat_template,
    )


def _byte_level(name: str, vocabulary: Vocabulary) -> Codec:
    if vocabulary.pre not in SPLITS:
        known = ", ".join(SPLITS)
        raise UnsupportedModel(
            name,
            f"its GGUF file names the rule {vocabulary.pre!r} for splitting text; implemented are {known}. "
            "If it was converted long ago, convert it again, or use the repository it was converted from.",
        )
    split = SPLITS[vocabulary.pre]
    ids = {token: place for place, token in reversed(list(enumerate(vocabulary.tokens)))}
    merges = [_pair(merge) for merge in vocabulary.merges]
    try:
        library = Tokenizer(BPE(ids, merges, ignore_merges=split.whole_words))
    except Exception as error:  # the library has no type of its own for a merge of unknown tokens
        raise ValueError(error) from error
    _split_by(library, split)
    for kind, special in ((proto.CONTROL, True), (proto.UNKNOWN, True), (proto.USER_DEFINED, False)):
        marked = [vocabulary.tokens[place] for place in _of_type(vocabulary, kind)]
        library.add_tokens([AddedToken(one, special=special, normalized=False) for one in marked if one])
    return tokenizers_codec(library, BYTE_LEVEL)


def _split_by(library: Tokenizer, split: Split) -> None:
    steps = [pre.Split(Regex(one), behavior="isolated") for one in split.patterns]
    library.pre_tokenizer = pre.Sequence([*steps, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    if split.composed:
        library.normalizer = NFC()


def _pieces(name: str, vocabulary: Vocabulary) -> Codec:
    tokens, types, scores = vocabulary.tokens, list(vocabulary.types), vocabulary.scores
    if len(scores) != len(tokens):
        raise _damaged(name, f"it has {len(tokens)} tokens and {len(scores)} scores.")
    if vocabulary.unk_id is not None and vocabulary.unk_id < len(types):
        types[vocabulary.unk_id] = proto.UNKNOWN  # converters call it a control token
    user_defined = [place for place, kind in enumerate(types) if kind == proto.USER_DEFINED]
    texts = list(tokens)
    for place in user_defined:  # these are stored as a text has them, not as the library writes them
        texts[place] = texts[place].replace(" ", META_SPACE)
    model = proto.sentencepiece_model(
        zip(texts, map(float, scores), types, strict=True),
        byte_fallback=proto.BYTE in types,
        space_before=vocabulary.add_space_prefix,
    )
    control = [place for place, kind in enumerate(types) if kind in (proto.CONTROL, proto.UNKNOWN)]
    facts = facts_of(vocabulary)
    return sentencepiece_codec(load(model), control=control, user_defined=user_defined, facts=facts)


def _of_type(vocabulary: Vocabulary, kind: int) -> Iterable[int]:
    return (place for place, one in enumerate(vocabulary.types) if one == kind)


def _pair(merge: str) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not space:
        raise ValueError(f"the merge {merge!r} is no pair")
    return left, right


def _damaged(name: str, reason: str) -> DamagedFile:
    return DamagedFile(f"the vocabulary of {name}", reason)
