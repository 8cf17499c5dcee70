"""Decode tokens to bytes.

All supported decoders map each token to bytes and decode their concatenation as UTF-8; some vocabularies add
a leading space, which is removed.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import TypeAlias

import attrs

from litgpt.domain.errors import UnsupportedModel

ToBytes: TypeAlias = Callable[[str], bytes]
"""Function from a token's text in the vocabulary to its bytes."""

METASPACE = "\u2581"
"""The character that sentencepiece uses for a space."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@attrs.frozen
class TokenByteDecoder:
    """The functions that return the bytes of tokens, and the number of spaces to remove from a text."""

    to_bytes: ToBytes
    added_to_bytes: ToBytes
    leading_spaces: int = 0


@cache
def _bytes_by_letter() -> dict[str, int]:
    """Return the byte of each character in byte-level vocabularies (Radford et al. 2019, GPT-2).

    Printable Latin-1 bytes are mapped to themselves, the others to the characters from U+0100, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def byte_level_alphabet() -> Sequence[str]:
    """Return the character of each of the 256 bytes in byte-level vocabularies."""
    letters = {byte: letter for letter, byte in _bytes_by_letter().items()}
    return [letters[byte] for byte in range(0x100)]


def byte_level_to_bytes(token: str) -> bytes:
    """Return the bytes of a token in a byte-level vocabulary; with other characters, its UTF-8 encoding."""
    letters = _bytes_by_letter()
    try:
        return bytes([letters[letter] for letter in token])
    except KeyError:
        return token.encode()


def sentencepiece_to_bytes(token: str, *, replaced: Sequence[tuple[str, str]], byte_tokens: bool) -> bytes:
    """Return the bytes of a token in a sentencepiece vocabulary, such as `▁the`.

    `replaced` has pairs of a string in the vocabulary and its replacement, such as `("▁", " ")`; with
    `byte_tokens`, `<0x0A>` is a byte.
    """
    if byte_tokens and (byte := _BYTE_TOKEN.fullmatch(token)):
        return bytes.fromhex(byte[1])
    for old, new in replaced:
        token = token.replace(old, new)
    return token.encode()


def wordpiece_to_bytes(token: str, *, prefix: str, cleanup: bool) -> bytes:
    """Return the bytes of a WordPiece token: a word, which follows a space, or a continuation of a word.

    Continuations begin with `prefix`, such as `##`; `cleanup` removes spaces before punctuation.
    """
    if token.startswith(prefix):
        return token.removeprefix(prefix).encode()
    text = f" {token}"
    for written, meant in _CLEANUP if cleanup else ():
        text = text.replace(written, meant)
    return text.encode()


_CLEANUP = (  # as in the library tokenizers
    *((f" {mark}", mark) for mark in (".", "?", "!", ",")),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    *((f" '{end}", f"'{end}") for end in ("s", "ve", "re")),
)


BYTE_LEVEL_DECODER = TokenByteDecoder(byte_level_to_bytes, str.encode)
"""GPT-2's byte-level encoding; added tokens are plain UTF-8."""


_metaspace_to_bytes = partial(sentencepiece_to_bytes, replaced=((METASPACE, " "),), byte_tokens=True)

METASPACE_DECODER = TokenByteDecoder(_metaspace_to_bytes, _metaspace_to_bytes)
"""UTF-8 with `▁` for a space, and byte tokens such as `<0x0A>`."""


def parse_decoder(name: str, decoder: Mapping[str, object] | None) -> TokenByteDecoder:
    """Return the decoding defined by the `decoder` of a `tokenizer.json`."""
    replaced: list[tuple[str, str]] = []
    byte_tokens, leading_spaces = False, 0
    for step in _steps(decoder):
        match step:
            case {"type": "ByteLevel"}:
                return BYTE_LEVEL_DECODER
            case {"type": "WordPiece", "prefix": str(prefix)}:
                word = partial(wordpiece_to_bytes, prefix=prefix, cleanup=step.get("cleanup") is not False)
                return TokenByteDecoder(word, word, leading_spaces=1)
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
                raise UnsupportedModel(name, f"its tokenizer.json has an unsupported decoder: {step!r}.")
    if not replaced and not byte_tokens:
        raise UnsupportedModel(name, "its tokenizer.json has no decoder.")
    spell = partial(sentencepiece_to_bytes, replaced=tuple(replaced), byte_tokens=byte_tokens)
    return TokenByteDecoder(spell, spell, leading_spaces)


def _steps(decoder: Mapping[str, object] | None) -> Iterable[Mapping[str, object]]:
    if decoder is None:
        return ()
    steps = decoder.get("decoders") if decoder.get("type") == "Sequence" else [decoder]
    return steps if isinstance(steps, list) else ()
