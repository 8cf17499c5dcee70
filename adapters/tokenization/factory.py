"""Open a tokenizer in any supported format."""

from collections.abc import Mapping
from pathlib import Path

import attrs

from litgpt.adapters.tokenization.backend import TokenizerBackend
from litgpt.adapters.tokenization.chat_template.chat_template import ChatTemplate
from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.tokenizer_class import DEFAULT_SPECIAL_TOKENS
from litgpt.adapters.tokenization.tokenizer_config import TokenizerConfig, read_tokenizer_config
from litgpt.domain.errors import TokenizerMismatch
from litgpt.domain.tokenizer_source import GgufVocabulary, TokenizerSource
from litgpt.domain.validation.untrusted_files import translate_read_errors


def open_tokenizer(
    source: TokenizerSource, *, name: str, vocab_size: int | None = None
) -> CheckpointTokenizer:
    """Open a tokenizer from `tokenizer.json`, another vocabulary file or a GGUF vocabulary (see the port)."""
    with translate_read_errors(f"the tokenizer of {name}"):
        if isinstance(source, GgufVocabulary):
            parts = _from_vocabulary(name, source)
        else:
            parts = _from_files(name, source.paths)
    size, config = parts.backend.vocab_size, parts.config
    template = None
    if config.chat_template is not None or config.named_templates:
        template = ChatTemplate(
            name, config.chat_template, config.special_tokens, named_templates=config.named_templates
        )
    opened = CheckpointTokenizer(
        name=name,
        backend=parts.backend,
        vocab_size=size if vocab_size is None else min(size, vocab_size),
        embedding_rows=size if vocab_size is None else max(size, vocab_size),
        bos_id=parts.bos_id,
        adds_bos=parts.adds_bos and parts.bos_id is not None,
        eos_ids=parts.eos_ids,
        final_id=parts.final_id,
        chat_template=template,
    )
    if vocab_size is not None and size > vocab_size:
        _check_vocab_size(opened, vocab_size)
    return opened


@attrs.frozen(kw_only=True)
class _OpenedTokenizer:
    backend: TokenizerBackend
    config: TokenizerConfig
    bos_id: int | None
    adds_bos: bool
    eos_ids: tuple[int, ...]
    final_id: int | None


def _from_vocabulary(name: str, vocabulary: GgufVocabulary) -> _OpenedTokenizer:
    from litgpt.adapters.tokenization.backends.gguf_vocabulary import build_backend, tokenizer_config

    return _OpenedTokenizer(
        backend=build_backend(name, vocabulary),
        config=tokenizer_config(vocabulary),
        bos_id=vocabulary.bos_id,
        adds_bos=vocabulary.add_bos,
        eos_ids=vocabulary.eos_ids,
        final_id=next(iter(vocabulary.eos_ids), None) if vocabulary.add_eos else None,
    )


def _from_files(name: str, paths: Mapping[str, Path]) -> _OpenedTokenizer:
    from litgpt.adapters.tokenization.backends.vocab_files import open_vocab_files

    config = read_tokenizer_config(paths)
    backend: TokenizerBackend
    library = open_vocab_files(name, paths, config)
    if library is not None or "tokenizer.json" in paths:
        from litgpt.adapters.tokenization.backends import hf_tokenizers

        backend = hf_backend = (
            hf_tokenizers.open_tokenizer_json(name, paths["tokenizer.json"], config.added_tokens)
            if library is None
            else hf_tokenizers.wrap_tokenizer(name, library, config.added_tokens)
        )
        default_bos, final_id = hf_tokenizers.added_special_tokens(hf_backend)
        default_eos = None
    elif path := paths.get("tokenizer.model"):
        from litgpt.adapters.tokenization.backends.sentencepiece_backend import (
            bos_and_eos,
            open_sentencepiece,
        )

        backend = sp_backend = open_sentencepiece(path, config)
        default_bos, default_eos = bos_and_eos(sp_backend)
        final_id = None
    else:
        raise TokenizerMismatch(name, "has no tokenizer.")
    by_role = {**DEFAULT_SPECIAL_TOKENS.get(config.tokenizer_class or "", {}), **config.special_tokens}
    ids = {role: backend.token_to_id(token) for role, token in by_role.items()}
    bos_id, eos_id = ids.get("bos_token"), ids.get("eos_token")
    eos_id = default_eos if eos_id is None else eos_id
    if config.add_eos and "tokenizer.json" not in paths:  # which would have it, as in transformers
        final_id = eos_id
    return _OpenedTokenizer(
        backend=backend,
        config=config,
        bos_id=default_bos if bos_id is None else bos_id,
        adds_bos=default_bos is not None if config.add_bos is None else config.add_bos,
        eos_ids=() if eos_id is None else (eos_id,),
        final_id=final_id,
    )


def _check_vocab_size(tokenizer: CheckpointTokenizer, num_embeddings: int) -> None:
    """Refuse a tokenizer that is larger than the model's embedding, except for unused special tokens.

    For example, Gemma 3's tokenizer has an image token for which text-only models have no embedding.
    """
    backend = tokenizer.backend
    beyond = {
        token_id: token for token, token_id in backend.special_tokens.items() if token_id >= num_embeddings
    }
    needed = [
        token
        for token in beyond.values()
        if tokenizer.chat_template and token in (tokenizer.chat_template.source or "")
    ]
    roles = {tokenizer.bos_id if tokenizer.adds_bos else None, *tokenizer.eos_ids, tokenizer.final_id}
    if backend.base_vocab_size > num_embeddings or needed or roles & beyond.keys():
        raise TokenizerMismatch(
            tokenizer.name,
            f"has token ids up to {backend.vocab_size - 1}, but the model has {num_embeddings} embeddings "
            f"(0 to {num_embeddings - 1}): the tokenizer belongs to another model, "
            "or tokens were added to it and not to the model.",
        )
