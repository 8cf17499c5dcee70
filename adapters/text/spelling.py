"""What a token is in bytes: the rules by which vocabularies write bytes as text.

Every decoder of a tokenizer for language models comes down to this: each token stands for some bytes, the
text is those bytes read as UTF-8, and some vocabularies put a space before the text that is not part of it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import TypeAlias

import attrs

from litgpt.domain.errors import UnsupportedModel

Spell: TypeAlias = Callable[[str], bytes]
"""Turns a token, as its vocabulary writes it, into the bytes that it stands for."""

META_SPACE = "\u2581"
"""What sentencepiece writes for a space."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@attrs.frozen
class Spelling:
    """How the tokens of one vocabulary are read.

    Attributes:
        spell: The bytes of one token.
        spell_added: The bytes of a token that was added to the vocabulary later.
        leading_spaces: How many spaces at the beginning of a text belong to the vocabulary.

    """

    spell: Spell
    spell_added: Spell
    leading_spaces: int = 0


@cache
def _bytes_by_letter() -> dict[str, int]:
    """Return the letters that byte-level vocabularies write for the 256 bytes (Radford et al. 2019, GPT-2).

    Printable bytes of Latin-1 stand for themselves, the others for the letters from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def letters_of_bytes() -> Sequence[str]:
    """Return the letter that byte-level vocabularies write for each of the 256 bytes."""
    letters = {byte: letter for letter, byte in _bytes_by_letter().items()}
    return [letters[byte] for byte in range(0x100)]


def spell_byte_level(token: str) -> bytes:
    """Return the bytes of a token in a byte-level vocabulary; one with other letters is as written."""
    letters = _bytes_by_letter()
    try:
        return bytes([letters[letter] for letter in token])
    except KeyError:
        return token.encode()


def spell_pieces(token: str, *, replaced: Sequence[tuple[str, str]], byte_tokens: bool) -> bytes:
    """Return the bytes of a token in a sentencepiece vocabulary.

    Args:
        token: A piece such as `▁the`, or `<0x0A>`.
        replaced: What is written in place of what, such as `("▁", " ")`.
        byte_tokens: Whether `<0x0A>` stands for a byte.

    """
    if byte_tokens and (byte := _BYTE_TOKEN.fullmatch(token)):
        return bytes.fromhex(byte[1])
    for written, meant in replaced:
        token = token.replace(written, meant)
    return token.encode()


def spell_word_piece(token: str, *, prefix: str, cleanup: bool) -> bytes:
    """Return the bytes of a token in a vocabulary of words and pieces of words.

    Args:
        token: A word, which is written after a space, or a piece that goes on with one.
        prefix: What a piece begins with, such as `##`.
        cleanup: Whether there is no space before a full stop and its like.

    """
    if token.startswith(prefix):
        return token.removeprefix(prefix).encode()
    text = f" {token}"
    for written, meant in _CLEANUP if cleanup else ():
        text = text.replace(written, meant)
    return text.encode()


_CLEANUP = (  # of the library tokenizers, token by token
    *((f" {mark}", mark) for mark in (".", "?", "!", ",")),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    *((f" '{end}", f"'{end}") for end in ("s", "ve", "re")),
)


BYTE_LEVEL = Spelling(spell_byte_level, str.encode)
"""GPT-2's letters for bytes. What was added later is written as it is."""


_spell_meta_space = partial(spell_pieces, replaced=((META_SPACE, " "),), byte_tokens=True)

META_SPACED = Spelling(_spell_meta_space, _spell_meta_space)
"""UTF-8 with `▁` for a space, and tokens for single bytes."""


def spelling_of(name: str, decoder: Mapping[str, object] | None) -> Spelling:
    """Return the spelling that the `decoder` of a `tokenizer.json` describes.

    Args:
        name: What to call the model in an error.
        decoder: That part of the file.

    Raises:
        UnsupportedModel: It is one that no language model that is implemented here uses.

    """
    replaced: list[tuple[str, str]] = []
    byte_tokens, leading_spaces = False, 0
    for step in _steps(decoder):
        match step:
            case {"type": "ByteLevel"}:
                return BYTE_LEVEL
            case {"type": "WordPiece", "prefix": str(prefix)}:
                word = partial(spell_word_piece, prefix=prefix, cleanup=step.get("cleanup") is not False)
                return Spelling(word, word, leading_spaces=1)
            case {"type": "Replace", "pattern": {"String": str(written)}, "content": str(meant)}:
                replaced.append((written, meant))
            case {"type": "Metaspace", "replacement": str(written)}:
                replaced.append((written, " "))
                leading_spaces = int(step.get("prepend_scheme") != "never")
            case {"type": "ByteFallback"}:
                byte_tokens = True
            case {"type": "Strip", "content": " ", "start": int(start)}:
                leading_spaces = start
            case {"type": "Fuse"}:
                pass
            case _:
                raise UnsupportedModel(name, f"its tokenizer.json decodes by an unknown rule: {step!r}.")
    if not replaced and not byte_tokens:
        raise UnsupportedModel(name, "its tokenizer.json does not say how tokens are joined to text.")
    spell = partial(spell_pieces, replaced=tuple(replaced), byte_tokens=byte_tokens)
    return Spelling(spell, spell, leading_spaces)


def _steps(decoder: Mapping[str, object] | None) -> Iterable[Mapping[str, object]]:
    if decoder is None:
        return ()
    steps = decoder.get("decoders") if decoder.get("type") == "Sequence" else [decoder]
    return steps if isinstance(steps, list) else ()
