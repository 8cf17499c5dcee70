"""Open a tokenizer in any supported format."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from litgpt.adapters.text.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.text.codec import Codec
from litgpt.adapters.text.facts import Facts, read_facts
from litgpt.adapters.text.templates import ChatTemplate
from litgpt.adapters.text.tokenizer_class import ASSUMED
from litgpt.domain.errors import TokenizerMismatch
from litgpt.domain.reading import reading
from litgpt.domain.vocabulary import TokenizerSource, Vocabulary


def open_tokenizer(
    source: TokenizerSource, *, name: str, vocab_size: int | None = None
) -> CheckpointTokenizer:
    """Open a tokenizer from `tokenizer.json`, another vocabulary file, or a GGUF vocabulary.

    Args:
        source: Tokenizer files or vocabulary.
        name: Name of the model in error messages.
        vocab_size: Rows of the model's embedding; None disables the check of the tokenizer's size.

    Raises:
        TokenizerMismatch: There is no tokenizer, or it produces ids that the model does not have.
        DamagedFile: A file cannot be read.
        UnsupportedModel: The tokenizer's algorithm is not supported.

    """
    with reading(f"the tokenizer of {name}"):
        if isinstance(source, Vocabulary):
            parts = _from_vocabulary(name, source)
        else:
            parts = _from_files(name, source.paths)
    size, facts = parts.codec.size, parts.facts
    template = None
    if facts.chat_template is not None or facts.named_templates:
        template = ChatTemplate(name, facts.chat_template, facts.named, named=facts.named_templates)
    opened = CheckpointTokenizer(
        name=name,
        codec=parts.codec,
        vocab_size=size if vocab_size is None else min(size, vocab_size),
        rows=size if vocab_size is None else max(size, vocab_size),
        bos_id=parts.bos_id,
        adds_bos=parts.adds_bos and parts.bos_id is not None,
        eos_ids=parts.eos_ids,
        template=template,
    )
    if vocab_size is not None and size > vocab_size:
        _check_fit(opened, vocab_size)
    return opened


@attrs.frozen(kw_only=True)
class _Found:
    codec: Codec
    facts: Facts
    bos_id: int | None
    adds_bos: bool
    eos_ids: tuple[int, ...]


def _from_vocabulary(name: str, vocabulary: Vocabulary) -> _Found:
    from litgpt.adapters.text.gguf_vocabulary import codec_of, facts_of

    codec = codec_of(name, vocabulary)
    return _Found(
        codec=codec,
        facts=facts_of(vocabulary),
        bos_id=vocabulary.bos_id,
        adds_bos=vocabulary.add_bos,
        eos_ids=vocabulary.eos_ids,
    )


def _from_files(name: str, paths: Mapping[str, Path]) -> _Found:
    from litgpt.adapters.text.vocabulary_files import build_library

    facts = read_facts(paths)
    codec: Codec
    if path := paths.get("tokenizer.json"):
        from litgpt.adapters.text.tokenizers_json import first_token, open_tokenizer_json

        codec = of_library = open_tokenizer_json(name, path, facts.added)
        first, last = first_token(of_library), None
    elif (library := build_library(name, paths, facts)) is not None:
        from litgpt.adapters.text.tokenizers_json import first_token, open_library

        codec = of_library = open_library(name, library, facts.added)
        first, last = first_token(of_library), None
    elif path := paths.get("tokenizer.model"):
        from litgpt.adapters.text.sentencepiece_model import first_and_last, open_sentencepiece

        codec = of_pieces = open_sentencepiece(path, facts)
        first, last = first_and_last(of_pieces)
    else:
        raise TokenizerMismatch(
            name,
            "has no tokenizer.",
        )
    by_role = {**ASSUMED.get(facts.tokenizer_class or "", {}), **facts.named}
    named = {role: codec.id_of(token) for role, token in by_role.items()}
    bos_id, eos_id = named.get("bos_token"), named.get("eos_token")
    eos_id = last if eos_id is None else eos_id
    return _Found(
        codec=codec,
        facts=facts,
        bos_id=first if bos_id is None else bos_id,
        adds_bos=first is not None if facts.add_bos is None else facts.add_bos,
        eos_ids=() if eos_id is None else (eos_id,),
    )


def _check_fit(tokenizer: CheckpointTokenizer, rows: int) -> None:
    """Refuse a tokenizer that is larger than the model's embedding, except for unused special tokens.

    For example, Gemma 3's tokenizer has an image token for which text-only models have no embedding.
    """
    codec = tokenizer.codec
    beyond = {place: token for token, place in codec.marked.items() if place >= rows}
    needed = [
        token
        for token in beyond.values()
        if tokenizer.template and token in (tokenizer.template.source or "")
    ]
    roles = {tokenizer.bos_id if tokenizer.adds_bos else None, *tokenizer.eos_ids}
    if codec.learnt > rows or needed or roles & beyond.keys():
        raise TokenizerMismatch(
            tokenizer.name,
            f"has token ids up to {codec.size - 1}, but the model has {rows} embeddings (0 to {rows - 1}): "
            "the tokenizer belongs to another model, or tokens were added to it and not to the model.",
        )
