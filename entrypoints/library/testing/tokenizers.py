"""A Tokenizer whose tokens are bytes, without files."""

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from litgpt.domain.chat.messages import Messages
from litgpt.domain.chat.special_token_escapes import ESCAPE, unescape
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.tokenizer_source import TokenizerSource

SPECIAL = ("<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
"""Its special tokens; the first has the id 256, after the bytes."""

BEGIN, END, SYSTEM, USER, ASSISTANT = range(256, 256 + len(SPECIAL))
SIZE = 256 + len(SPECIAL)

_SPECIAL = re.compile(f"({'|'.join(map(re.escape, SPECIAL))})")


@attrs.frozen
class ByteTokenizer:
    """Each byte of UTF-8 is the token of its value; above them are five special tokens.

    Attributes:
        adds_bos: Whether `encode` puts `<|begin|>` first.
        has_chat_template: Whether it can render messages. `Hi` from a user is `<|user|>Hi<|end|>`.
        rows: How many ids its model has. Those above the special tokens are padding and stand for no text.

    """

    adds_bos: bool = False
    has_chat_template: bool = True
    rows: int = SIZE

    @property
    def vocab_size(self) -> int:
        """One more than the id of the last special token."""
        return SIZE

    @property
    def bos_id(self) -> int:
        """`<|begin|>`."""
        return BEGIN

    @property
    def eos_id(self) -> int:
        """`<|end|>`."""
        return END

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Only `<|end|>`."""
        return frozenset((END,))

    def escape(self, text: str) -> str:
        """Return `text` with its special tokens escaped."""
        _utf8(text)
        return _SPECIAL.sub(lambda found: f"{found[0][:-1]}{ESCAPE}{found[0][-1]}", text)

    def encode(self, text: str, *, bos: bool | None = None, escaped: bool = False) -> list[int]:
        """Return the bytes of `text`, and the ids of the special tokens in it that are not escaped."""
        _utf8(unescape(text) if escaped else text)
        parts = [(part, _utf8(unescape(part))) for part in _SPECIAL.split(text)]
        ids = [one for part, spelt in parts for one in ((_id(part),) if part in SPECIAL else spelt)]
        begins = self.adds_bos if bos is None else bos
        return [BEGIN, *ids] if begins and ids[:1] != [BEGIN] else ids

    def decode(self, ids: Sequence[int], *, include_special_tokens: bool = False) -> str:
        """Return the text of `ids`; special tokens are left out unless `include_special_tokens`."""
        return b"".join(self._spell(one, special=include_special_tokens) for one in ids).decode(
            "utf-8", "replace"
        )

    def decoder(self) -> "ByteDecoder":
        """Return a decoder for one stream of ids."""
        return ByteDecoder(self)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a special token, or of a letter of ASCII."""
        if token in SPECIAL:
            return _id(token)
        return ord(token) if len(token) == 1 and token.isascii() else None

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        continue_final_message: bool | str = False,
    ) -> str:
        """Return messages as `<|role|>content<|end|>`, then `<|assistant|>` if an answer is to follow.

        Tools and variables come first, as JSON in a turn of the system; a message's other fields follow its
        content as JSON.
        """
        if not self.has_chat_template:
            raise UnsupportedPrompt("of bytes", "it has no chat template.")
        if unknown := [one.role for one in messages if f"<|{one.role}|>" not in SPECIAL[2:]]:
            raise UnsupportedPrompt("of bytes", f"it knows no role {unknown[0]!r}.")
        given = {**({"tools": tools} if tools else {}), **(variables or {})}
        turns = [f"<|system|>{_json(given)}"] if given else []
        turns += [f"<|{one.role}|>{one.text}{_json(one.fields) if one.fields else ''}" for one in messages]
        said = "<|end|>".join(turns)
        if continue_final_message:
            return said
        return said + "<|end|>" + ("<|assistant|>" if add_generation_prompt else "")

    def _spell(self, token: int, *, special: bool = False) -> bytes:
        if not 0 <= token < self.rows:
            raise InvalidArgument("token", token, f"from 0 to {self.rows - 1}")
        if token < 256:
            return bytes((token,))
        return SPECIAL[token - 256].encode() if special and token < SIZE else b""


@attrs.define
class ByteDecoder:
    """Holds bytes back until they are a character."""

    tokenizer: ByteTokenizer
    _utf8: codecs.IncrementalDecoder = attrs.field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), init=False, repr=False
    )

    def push(self, token: int) -> str:
        """Return the text that is certain now that `token` has come."""
        return self._utf8.decode(self.tokenizer._spell(token))  # noqa: SLF001 - two halves of one fake

    def finish(self) -> str:
        """Return U+FFFD for a character that was not completed."""
        return self._utf8.decode(b"", final=True)


def open_byte_tokenizer(
    source: TokenizerSource,  # noqa: ARG001 - it is the same for every model
    *,
    name: str,  # noqa: ARG001
    vocab_size: int | None = None,
) -> ByteTokenizer:
    """Open a ByteTokenizer, as LoadModel opens tokenizers; its ids fill the model's vocabulary."""
    return ByteTokenizer(rows=max(vocab_size or 0, SIZE))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _utf8(text: str) -> bytes:
    if not isinstance(text, str):
        raise WrongType("text", text, "a string")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("text", text, "free of lone surrogates") from error


def _id(special: str) -> int:
    return 256 + SPECIAL.index(special)
