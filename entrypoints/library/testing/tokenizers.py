"""A fake Tokenizer with a token for each byte, without files."""

import codecs
import json
import re
from collections.abc import Collection, Sequence

import attrs

from litgpt.domain.chat.messages import Messages
from litgpt.domain.chat.special_token_escapes import ESCAPE, unescape
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.tokenizer_source import TokenizerSource

SPECIAL = ("<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
"""The special tokens; their ids start at 256, after the bytes."""

BEGIN, END, SYSTEM, USER, ASSISTANT = range(256, 256 + len(SPECIAL))
SIZE = 256 + len(SPECIAL)

_SPECIAL = re.compile(f"({'|'.join(map(re.escape, SPECIAL))})")


@attrs.frozen
class ByteTokenizer:
    """Encodes each byte of UTF-8 as the token id of its value; five special tokens follow.

    Attributes:
        adds_bos: Whether `encode` prepends `<|begin|>`.
        has_chat_template: Whether `render` is supported. A user message `Hi` becomes `<|user|>Hi<|end|>`.
        rows: The vocabulary size of the model. Ids above the special tokens are padding without text.
        template: The source of the chat template, from which formats of answers are detected. `render` does
            not use it.
    """

    adds_bos: bool = False
    has_chat_template: bool = True
    rows: int = SIZE
    template: str = ""

    @property
    def vocab_size(self) -> int:
        return SIZE

    @property
    def bos_id(self) -> int:
        return BEGIN

    @property
    def eos_id(self) -> int:
        return END

    @property
    def leading_spaces(self) -> int:
        return 0

    @property
    def stop_token_ids(self) -> frozenset[int]:
        return frozenset((END,))

    def template_source(self, options: TemplateOptions = NO_TEMPLATE_OPTIONS) -> str | None:  # noqa: ARG002
        return self.template if self.has_chat_template else None

    def escape(self, text: str) -> str:
        _utf8(text)
        return _SPECIAL.sub(lambda match: f"{match[0][:-1]}{ESCAPE}{match[0][-1]}", text)

    def encode(
        self,
        text: str,
        *,
        bos: bool | None = None,
        eos: bool = False,  # noqa: ARG002 - it ends no text
        escaped: bool = False,
    ) -> list[int]:
        _utf8(unescape(text) if escaped else text)
        parts = [(_id(part),) if part in SPECIAL else _utf8(unescape(part)) for part in _SPECIAL.split(text)]
        ids = [token for part in parts for token in part]
        begins = self.adds_bos if bos is None else bos
        return [BEGIN, *ids] if begins and ids[:1] != [BEGIN] else ids

    def decode(self, ids: Sequence[int], *, include_special_tokens: bool = False) -> str:
        pieces = [_spell(token, self.rows, special=include_special_tokens) for token in ids]
        return b"".join(pieces).decode("utf-8", "replace")

    def token_bytes(self, token: int) -> bytes:
        return _spell(token, self.rows)

    def decoder(self, *, visible: Collection[str] = ()) -> "ByteDecoder":
        return ByteDecoder(self, frozenset(_id(token) for token in visible if token in SPECIAL))

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a special token or an ASCII character; None for other tokens."""
        if token in SPECIAL:
            return _id(token)
        return ord(token) if len(token) == 1 and token.isascii() else None

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        options: TemplateOptions = NO_TEMPLATE_OPTIONS,
    ) -> str:
        """Render messages as `<|role|>content<|end|>`, and `<|assistant|>` with `add_generation_prompt`.

        Tools and variables come first, as JSON in a system message; further fields of a message follow its
        content as JSON. The role `tool` is rendered as `user`.
        """
        if not self.has_chat_template:
            raise UnsupportedPrompt("of bytes", "it has no chat template.")
        roles = ["user" if turn.role == "tool" else turn.role for turn in messages]
        if unknown := [role for role in roles if f"<|{role}|>" not in SPECIAL[2:]]:
            raise UnsupportedPrompt("of bytes", f"it does not support the role {unknown[0]!r}.")
        context = {**({"tools": options.tools} if options.tools else {}), **options.variables}
        turns = [f"<|system|>{_json(context)}"] if context else []
        turns += [
            f"<|{role}|>{turn.text}{_json(turn.fields) if turn.fields else ''}"
            for role, turn in zip(roles, messages, strict=True)
        ]
        text = "<|end|>".join(turns)
        if options.continue_final_message:
            return text
        return text + "<|end|>" + ("<|assistant|>" if add_generation_prompt else "")


@attrs.define
class ByteDecoder:
    """Decodes a stream of token ids into complete characters."""

    tokenizer: ByteTokenizer
    visible: frozenset[int] = frozenset()
    _utf8: codecs.IncrementalDecoder = attrs.field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), init=False, repr=False
    )

    def push(self, token: int) -> str:
        return self._utf8.decode(_spell(token, self.tokenizer.rows, special=token in self.visible))

    def finish(self) -> str:
        return self._utf8.decode(b"", final=True)


def _spell(token: int, rows: int, *, special: bool = False) -> bytes:
    if not 0 <= token < rows:
        raise InvalidArgument("token", token, f"from 0 to {rows - 1}")
    if token < 256:
        return bytes((token,))
    return SPECIAL[token - 256].encode() if special and token < SIZE else b""


def open_byte_tokenizer(
    source: TokenizerSource,  # noqa: ARG001 - the same for every model
    *,
    name: str,  # noqa: ARG001
    vocab_size: int | None = None,
) -> ByteTokenizer:
    """Return a ByteTokenizer whose ids fill the vocabulary of the model; implements OpenTokenizer."""
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
