"""Save a tokenizer of any source format as files."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litgpt.adapters.text.facts import DEFAULT_TEMPLATE
from litgpt.domain.reading import reading
from litgpt.domain.vocabulary import TokenizerSource, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from litgpt.adapters.text.sentencepiece_model import SentencePieceCodec
    from litgpt.adapters.text.tokenizers_json import TokenizersCodec


def tokenizer_files_of(source: TokenizerSource, *, name: str) -> Mapping[str, bytes]:
    """Return the files of a tokenizer by name.

    Args:
        source: Tokenizer files or vocabulary. Files with a `tokenizer.json` or sentencepiece model are
            copied; other formats and GGUF vocabularies are converted to a `tokenizer.json`.
        name: Name of the model in error messages.

    Raises:
        DamagedFile: A file cannot be read.
        UnsupportedModel: The tokenizer's algorithm is not supported.

    """
    if isinstance(source, Vocabulary):
        with reading(f"the tokenizer of {name}"):
            return _of_vocabulary(name, source)
    with reading(f"the tokenizer of {name}"):
        return _of_older_files(name, source.paths) or {
            file: path.read_bytes() for file, path in source.paths.items()
        }


_BESIDE = {"config.json", "generation_config.json", "chat_template.jinja", "chat_template.json"}
_WRITTEN = {"added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "auto_map"}
"""Settings that `tokenizer.json` replaces."""


def _of_older_files(name: str, paths: Mapping[str, Path]) -> dict[str, bytes]:
    """Return a `tokenizer.json` for vocabularies without a pre-tokenizer; empty for other files."""
    from tokenizers import processors

    from litgpt.adapters.text.facts import read_facts
    from litgpt.adapters.text.tokenizers_json import open_library
    from litgpt.adapters.text.vocabulary_files import build_library

    facts = read_facts(paths)
    files = {file: path.read_bytes() for file, path in paths.items() if file in _BESIDE}
    library = build_library(name, paths, facts)
    if library is None:
        return {}
    codec, begin = open_library(name, library, facts.added), facts.named.get("bos_token")
    if facts.add_bos is False:
        library.post_processor = processors.ByteLevel(trim_offsets=False)
    elif facts.add_bos and begin is not None:
        _put_before(library, begin, codec.marked[begin])
    settings = {key: value for key, value in facts.settings.items() if key not in _WRITTEN}
    config = {**settings, **facts.named, "tokenizer_class": "PreTrainedTokenizerFast"}
    files["tokenizer.json"] = library.to_str().encode()
    files["tokenizer_config.json"] = _json(config)
    return files


def _json(config: Mapping[str, object]) -> bytes:
    return json.dumps(config, indent=2, ensure_ascii=False).encode()


def _of_vocabulary(name: str, vocabulary: Vocabulary) -> dict[str, bytes]:
    from litgpt.adapters.text.gguf_vocabulary import codec_of, facts_of
    from litgpt.adapters.text.sentencepiece_model import SentencePieceCodec
    from litgpt.adapters.text.tokenizers_json import TokenizersCodec

    codec = codec_of(name, vocabulary)
    config: dict[str, object] = {
        **facts_of(vocabulary).named,
        "add_bos_token": vocabulary.add_bos,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    if vocabulary.chat_template is not None:
        config["chat_template"] = vocabulary.chat_template
    if templates := vocabulary.named_templates:
        default = {} if vocabulary.chat_template is None else {DEFAULT_TEMPLATE: vocabulary.chat_template}
        config["chat_template"] = [
            {"name": key, "template": template} for key, template in (default | {**templates}).items()
        ]
    files: dict[str, bytes] = {}
    if isinstance(codec, TokenizersCodec):
        files["tokenizer.json"] = _merged_json(codec, vocabulary)
    elif isinstance(codec, SentencePieceCodec):
        # The sentencepiece model, and the same vocabulary for readers that require tokenizer.json.
        files["tokenizer.model"] = codec.library.serialized_model_proto()
        files["tokenizer.json"] = _pieces_json(codec, vocabulary)
    return files | {"tokenizer_config.json": _json(config)}


def _merged_json(codec: "TokenizersCodec", vocabulary: Vocabulary) -> bytes:
    from tokenizers import Tokenizer, decoders

    from litgpt.adapters.text.spelling import META_SPACE
    from litgpt.adapters.text.splitting import SPLITS

    # A copy, because the file's decoder and post-processor must not change the codec.
    library = Tokenizer.from_str(codec.library.to_str())
    if SPLITS[vocabulary.pre].meta_space:
        steps = [decoders.Replace(META_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        library.decoder = decoders.Sequence(steps)
    else:
        library.decoder = decoders.ByteLevel()
    return _finished(library, vocabulary)


def _pieces_json(codec: "SentencePieceCodec", vocabulary: Vocabulary) -> bytes:
    """Convert pieces and scores to BPE merges: every split of a piece into two pieces, by score."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers
    from tokenizers.models import BPE

    from litgpt.adapters.text import sentencepiece_proto as proto
    from litgpt.adapters.text.spelling import META_SPACE

    pieces = [codec.library.id_to_piece(place) for place in range(codec.library.get_piece_size())]
    ids = {piece: place for place, piece in enumerate(pieces)}
    marked = set(codec.marked.values())
    normal = [place for place in range(len(pieces)) if place not in marked]
    merges = [
        (left, right)
        for place in sorted(normal, key=lambda place: -vocabulary.scores[place])
        for left, right in _halves(pieces[place])
        if left in ids and right in ids
    ]
    unknown = None if vocabulary.unk_id is None else pieces[vocabulary.unk_id]
    by_bytes = proto.BYTE in set(vocabulary.types)
    library = Tokenizer(BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=by_bytes))
    spaces: list[Any] = [normalizers.Replace(" ", META_SPACE)]
    if vocabulary.add_space_prefix:
        spaces.insert(0, normalizers.Prepend(META_SPACE))
    library.normalizer = normalizers.Sequence(spaces)
    steps: list[Any] = [decoders.Replace(META_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.add_space_prefix:
        steps.append(decoders.Strip(content=" ", left=1, right=0))
    library.decoder = decoders.Sequence(steps)
    library.add_tokens(
        [
            AddedToken(pieces[place], special=place in codec.hidden, normalized=META_SPACE in pieces[place])
            for place in sorted(marked)
        ]
    )
    return _finished(library, vocabulary)


def _halves(piece: str) -> Iterator[tuple[str, str]]:
    for at in range(1, len(piece)):
        yield piece[:at], piece[at:]


def _finished(library: "Tokenizer", vocabulary: Vocabulary) -> bytes:
    """Return the library's file, with a BOS post-processor if the vocabulary adds BOS."""
    if vocabulary.add_bos and vocabulary.bos_id is not None:
        _put_before(library, vocabulary.tokens[vocabulary.bos_id], vocabulary.bos_id)
    return library.to_str().encode()


def _put_before(library: "Tokenizer", begin: str, token_id: int) -> None:
    """Make the library add a token before every text."""
    from tokenizers import processors

    library.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, token_id)]
    )
