"""Tokenizers small enough to be trained in a test, of both kinds, for both libraries."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from litgpt.adapters.tokenization.backends.hf_tokenizers import HFTokenizersBackend
from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.domain.tokenizer_source import GgufVocabulary, TokenizerFiles

READ = (
    "The quick brown fox jumps over the lazy dog.",
    "What is the capital of France? It is Paris, and the capital of Italy is Rome.",
    "def add(a, b):\n    return a + b\n",
    "Übung macht den Meister; né à Paris.",
) * 8

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level() -> Tokenizer:
    """Return a byte-level tokenizer that knows ChatML's special tokens and prepends `<|begin|>`."""
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    special = ["<|begin|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[AddedToken(value, special=True) for value in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(READ, trainer)
    library.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    library.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", library.token_to_id("<|begin|>"))]
    )
    return library


def pieces() -> Tokenizer:
    """Return a tokenizer as in Llama 2's tokenizer.json: pieces, byte tokens, a prepended space."""
    unknown = "<unk>"
    library = Tokenizer(models.BPE(unk_token=unknown, byte_fallback=True, fuse_unk=True))
    library.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    special = [unknown, "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=[*special, *byte_tokens], limit_alphabet=30, show_progress=False
    )
    library.train_from_iterator(READ, trainer)
    state = json.loads(
        library.to_str()
    )  # byte tokens are not special tokens, but the trainer requires them here
    state["added_tokens"] = [
        added_token for added_token in state["added_tokens"] if added_token["content"] in special
    ]
    library = Tokenizer.from_str(json.dumps(state))
    library.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    return library


def sentencepiece_bytes(**options: Any) -> bytes:
    """Return a sentencepiece model, trained as Llama 2's was."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(READ),
        model_writer=written,
        **{
            "model_type": "bpe",
            "vocab_size": 340,
            "byte_fallback": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "minloglevel": 2,
            **options,
        },
    )
    return written.getvalue()


def write(folder: Path, files: Mapping[str, object]) -> TokenizerFiles:
    """Write files: bytes and texts unchanged, libraries' tokenizers and other values as JSON."""
    for name, content in files.items():
        path = folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content.to_str() if isinstance(content, Tokenizer) else content
            path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return TokenizerFiles({name: folder / name for name in files})


def letters_for_bytes() -> dict[int, str]:
    """Return the letters of byte-level vocabularies, from the library tokenizers."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "".join(map(chr, (*range(0x800), *range(0x800, 0xD800, 0x40), *range(0xE000, 0x110000, 0x40))))
    return dict(zip(text.encode(), splitter.pre_tokenize_str(text)[0][0], strict=True))


def words_of(tokenizer: CheckpointTokenizer, text: str) -> list[tuple[int, int]]:
    """Return the start and end of the words into which a text is split before merging."""
    codec = tokenizer.backend
    assert isinstance(codec, HFTokenizersBackend)
    splitter = codec.library.pre_tokenizer
    assert splitter is not None
    return [where for _, where in splitter.pre_tokenize_str(text)]


def vocabulary_of(library: SentencePieceProcessor, *, user_defined: list[str]) -> GgufVocabulary:
    """Return a sentencepiece model as a GGUF file would hold it."""
    ids = range(library.get_piece_size())
    tokens = [library.id_to_piece(token_id) for token_id in ids]
    kinds = ((library.is_unknown, 2), (library.is_control, 3), (library.is_unused, 5), (library.is_byte, 6))
    types = [next((kind for is_one, kind in kinds if is_one(token_id)), 1) for token_id in ids]
    for piece in user_defined:
        types[tokens.index(piece)] = 4
    return GgufVocabulary(
        kind="spm",
        tokens=[
            token.replace("\u2581", " ") if kind == 4 else token
            for token, kind in zip(tokens, types, strict=True)
        ],
        types=types,
        scores=[library.get_score(token_id) for token_id in ids],
        bos_id=library.bos_id(),
        eos_ids=(library.eos_id(),),
        unk_id=library.unk_id(),
    )
