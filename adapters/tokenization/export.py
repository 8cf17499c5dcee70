"""Save a tokenizer of any source format as files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litgpt.adapters.tokenization.tokenizer_config import DEFAULT_TEMPLATE
from litgpt.domain.tokenizer_source import GgufVocabulary, TokenizerSource
from litgpt.domain.validation.untrusted_files import translate_read_errors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from litgpt.adapters.tokenization.backends.hf_tokenizers import HFTokenizersBackend
    from litgpt.adapters.tokenization.backends.sentencepiece_backend import SentencePieceBackend


def export_tokenizer(source: TokenizerSource, *, name: str) -> Mapping[str, bytes]:
    """Return the files of a tokenizer by name.

    Files with a `tokenizer.json` or sentencepiece model are copied; other formats and GGUF vocabularies are
    converted to a `tokenizer.json`.
    """
    if isinstance(source, GgufVocabulary):
        with translate_read_errors(f"the tokenizer of {name}"):
            return _convert_gguf_vocabulary(name, source)
    with translate_read_errors(f"the tokenizer of {name}"):
        return _convert_vocab_files(name, source.paths) or {
            file: path.read_bytes() for file, path in source.paths.items()
        }


_AUXILIARY_FILES = {"config.json", "generation_config.json", "chat_template.jinja", "chat_template.json"}
_EXPORTED_KEYS = {"added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "auto_map"}
"""Settings that `tokenizer.json` replaces."""


def _convert_vocab_files(name: str, paths: Mapping[str, Path]) -> dict[str, bytes]:
    """Return a `tokenizer.json` for vocabularies without a pre-tokenizer; empty for other files."""
    from tokenizers import processors

    from litgpt.adapters.tokenization.backends.hf_tokenizers import wrap_tokenizer
    from litgpt.adapters.tokenization.backends.vocab_files import open_vocab_files
    from litgpt.adapters.tokenization.tokenizer_config import read_tokenizer_config

    source = read_tokenizer_config(paths)
    files = {file: path.read_bytes() for file, path in paths.items() if file in _AUXILIARY_FILES}
    library = open_vocab_files(name, paths, source)
    if library is None:
        return {}
    backend = wrap_tokenizer(name, library, source.added_tokens)
    begin = source.special_tokens.get("bos_token") if source.add_bos else None
    end = source.special_tokens.get("eos_token") if source.add_eos else None
    if begin is not None or end is not None:
        _add_tokens(library, begin, end, backend.special_tokens)
    elif source.add_bos is False:
        library.post_processor = processors.ByteLevel(trim_offsets=False)
    settings = {key: value for key, value in source.settings.items() if key not in _EXPORTED_KEYS}
    config = {**settings, **source.special_tokens, "tokenizer_class": "PreTrainedTokenizerFast"}
    files["tokenizer.json"] = library.to_str().encode()
    files["tokenizer_config.json"] = _json(config)
    return files


def _json(config: Mapping[str, object]) -> bytes:
    return json.dumps(config, indent=2, ensure_ascii=False).encode()


def _convert_gguf_vocabulary(name: str, vocabulary: GgufVocabulary) -> dict[str, bytes]:
    from litgpt.adapters.tokenization.backends.gguf_vocabulary import build_backend, tokenizer_config
    from litgpt.adapters.tokenization.backends.hf_tokenizers import HFTokenizersBackend
    from litgpt.adapters.tokenization.backends.sentencepiece_backend import SentencePieceBackend

    backend = build_backend(name, vocabulary)
    config: dict[str, object] = {
        **tokenizer_config(vocabulary).special_tokens,
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": vocabulary.add_eos,
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
    if isinstance(backend, HFTokenizersBackend):
        files["tokenizer.json"] = _bpe_json(backend, vocabulary)
    elif isinstance(backend, SentencePieceBackend):
        # The sentencepiece model, and the same vocabulary for readers that require tokenizer.json.
        files["tokenizer.model"] = backend.library.serialized_model_proto()
        files["tokenizer.json"] = _sentencepiece_json(backend, vocabulary)
    return files | {"tokenizer_config.json": _json(config)}


def _bpe_json(backend: "HFTokenizersBackend", vocabulary: GgufVocabulary) -> bytes:
    from tokenizers import Tokenizer, decoders

    from litgpt.adapters.tokenization.pre_tokenizers import PRE_TOKENIZERS
    from litgpt.adapters.tokenization.token_bytes import METASPACE

    # A copy, because the file's decoder and post-processor must not change the backend.
    library = Tokenizer.from_str(backend.library.to_str())
    if PRE_TOKENIZERS[vocabulary.pre].metaspace:
        steps = [decoders.Replace(METASPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        library.decoder = decoders.Sequence(steps)
    else:
        library.decoder = decoders.ByteLevel()
    return _to_json(library, vocabulary)


def _sentencepiece_json(backend: "SentencePieceBackend", vocabulary: GgufVocabulary) -> bytes:
    """Convert pieces and scores to BPE merges: every split of a piece into two pieces, by score."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers
    from tokenizers.models import BPE

    from litgpt.adapters.tokenization.backends import sentencepiece_proto as proto
    from litgpt.adapters.tokenization.token_bytes import METASPACE

    pieces = [backend.library.id_to_piece(token_id) for token_id in range(backend.library.get_piece_size())]
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    marked = set(backend.special_tokens.values())
    normal = [token_id for token_id in range(len(pieces)) if token_id not in marked]
    by_score = sorted(normal, key=lambda token_id: -vocabulary.scores[token_id])
    merges = [
        (piece[:at], piece[at:])
        for piece in (pieces[token_id] for token_id in by_score)
        for at in range(1, len(piece))
        if piece[:at] in ids and piece[at:] in ids
    ]
    unknown = None if vocabulary.unk_id is None else pieces[vocabulary.unk_id]
    by_bytes = proto.BYTE in set(vocabulary.types)
    library = Tokenizer(BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=by_bytes))
    spaces: list[Any] = [normalizers.Replace(" ", METASPACE)]
    if vocabulary.add_space_prefix:
        spaces.insert(0, normalizers.Prepend(METASPACE))
    library.normalizer = normalizers.Sequence(spaces)
    steps: list[Any] = [decoders.Replace(METASPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.add_space_prefix:
        steps.append(decoders.Strip(content=" ", left=1, right=0))
    library.decoder = decoders.Sequence(steps)
    library.add_tokens(
        [
            AddedToken(
                pieces[token_id],
                special=token_id in backend.skipped_ids,
                normalized=METASPACE in pieces[token_id],
            )
            for token_id in sorted(marked)
        ]
    )
    return _to_json(library, vocabulary)


def _to_json(library: "Tokenizer", vocabulary: GgufVocabulary) -> bytes:
    """Return the library's file, with a post-processor if the vocabulary adds BOS or EOS."""
    bos_id = vocabulary.bos_id if vocabulary.add_bos else None
    eos_id = next(iter(vocabulary.eos_ids), None) if vocabulary.add_eos else None
    begin, end = (None if token is None else vocabulary.tokens[token] for token in (bos_id, eos_id))
    if begin is not None or end is not None:
        ids = {vocabulary.tokens[token]: token for token in (bos_id, eos_id) if token is not None}
        _add_tokens(library, begin, end, ids)
    return library.to_str().encode()


def _add_tokens(library: "Tokenizer", begin: str | None, end: str | None, ids: Mapping[str, int]) -> None:
    """Set a post-processor that adds tokens before and after a text; None: no token."""
    from tokenizers import processors

    first, second = (" ".join(filter(None, (begin, text, end))) for text in ("$A", "$B"))
    library.post_processor = processors.TemplateProcessing(
        single=first,
        pair=f"{first} {second}",
        special_tokens=[(token, ids[token]) for token in dict.fromkeys((begin, end)) if token is not None],
    )
