"""The port Tokenizer over any codec: where a text begins and ends, and how a conversation is written."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from litgpt.adapters.text.codec import Codec
from litgpt.adapters.text.decoding import StreamDecoder, decode
from litgpt.adapters.text.escaped_search import escaped_by
from litgpt.adapters.text.marks import Marks
from litgpt.adapters.text.templates import ChatTemplate
from litgpt.domain.chat import Message, Messages
from litgpt.domain.errors import BadArgument, BadPrompt, WrongType
from litgpt.domain.ports import TextDecoder
from litgpt.domain.special_tokens import unescape

_SAID = "Zyzzyva"  # what the assistant says while we look for what follows it; no template has this word


@attrs.define(kw_only=True)
class CheckpointTokenizer:
    """A tokenizer that came with a checkpoint. It implements the port Tokenizer.

    Attributes:
        name: What to call the model in an error.
        codec: Its vocabulary.
        vocab_size: One more than the largest id that it can produce.
        rows: How many ids the model has. Those beyond the vocabulary are padding and stand for no text.
        bos_id: The token that begins a text.
        adds_bos: Whether `encode` puts it first.
        eos_id: The token that its files call the end of a text.
        template: Its chat template.

    """

    name: str
    codec: Codec = attrs.field(repr=False)
    vocab_size: int
    rows: int
    bos_id: int | None
    adds_bos: bool
    eos_ids: tuple[int, ...]
    template: ChatTemplate | None
    _end_ids: frozenset[int] | None = attrs.field(default=None, init=False, repr=False)
    _special: Marks = attrs.field(init=False, repr=False)

    @_special.default
    def _special_tokens(self) -> Marks:
        hidden = self.codec.hidden
        return Marks({text: token for text, token in self.codec.marked.items() if token in hidden})

    @property
    def eos_id(self) -> int | None:
        """The token that its own files call the end of a text, if there is one."""
        return self.eos_ids[0] if self.eos_ids else None

    @property
    def end_ids(self) -> frozenset[int]:
        """Every token that its own files say ends a text or a turn (the chat template's included)."""
        if self._end_ids is None:  # looked for late, because it takes jinja
            self._end_ids = frozenset((*self.eos_ids, *self._turn_ends()))
        return self._end_ids

    @property
    def has_chat_template(self) -> bool:
        """Whether it came with a chat template."""
        return self.template is not None

    def escape(self, text: str) -> str:
        """Return `text` with special tokens escaped, so that `encode(…, escaped=True)` takes them as text.

        Raises:
            WrongType: It is not a string.
            BadArgument: It cannot be encoded in UTF-8.

        """
        _check(text)
        return self._special.escape(text)

    def encode(self, text: str, *, bos: bool | None = None, escaped: bool = False) -> list[int]:
        """Return the ids of `text`, in which special tokens are recognized. See the port.

        Raises:
            WrongType: It is not a string.
            BadArgument: It cannot be encoded in UTF-8, or the model lacks one of its special tokens.

        """
        _check(unescape(text) if escaped else text)
        ids = self.codec.encode(text)
        wanted = self.adds_bos if bos is None else bos
        if wanted and self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids = [self.bos_id, *ids]
        if self.codec.size > self.vocab_size and (beyond := [one for one in ids if one >= self.vocab_size]):
            written = self.codec.spell(beyond[0]).decode()
            raise BadArgument("text", written, f"free of tokens that {self.name} has no embedding for")
        return ids

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Return the text of `ids`; special tokens are left out unless `special`.

        Raises:
            BadArgument: An id is outside the vocabulary.

        """
        spell = self._spell_all if special else self._spell
        return decode(spell, ids, leading_spaces=self.codec.leading_spaces)

    def decoder(self) -> TextDecoder:
        """Return a decoder for one stream of ids; its pieces join to `decode` of all of them."""
        return StreamDecoder(self._spell, self.codec.leading_spaces)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token written out, such as `<|im_end|>`, or None."""
        found = self.codec.id_of(token)
        return None if found is None or found >= self.vocab_size else found

    def render(
        self,
        messages: Messages,
        *,
        answer: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        continue_final_message: bool | str = False,
    ) -> str:
        """Return messages as text, by the checkpoint's chat template in a sandbox. See the port.

        Raises:
            BadPrompt: There is no template, or it refuses these messages, or it is not to be trusted.

        """
        if self.template is None:
            raise BadPrompt(f"of {self.name}", "it came without a chat template. Pass a prompt as text.")
        with escaped_by(partial(self._special.escape, part=False)):
            return self.template.render(
                messages,
                answer=answer,
                tools=tools,
                variables=variables,
                continue_final_message=continue_final_message,
            )

    def _spell_all(self, token: int) -> bytes:
        if not 0 <= token < self.rows:
            raise BadArgument("token", token, f"from 0 to {self.rows - 1}, the vocabulary of {self.name}")
        return self.codec.spell(token)

    def _spell(self, token: int) -> bytes:
        return b"" if token in self.codec.hidden else self._spell_all(token)

    def _turn_ends(self) -> Iterable[int]:
        """Return the special token that the chat template puts after an answer, if it puts one there."""
        if self.template is None:
            return ()
        try:
            text = self.render((Message("user", "Well?"), Message("assistant", _SAID)), answer=False)
        except BadPrompt:
            return ()
        after = text.rpartition(_SAID)[2].lstrip()
        following = [token for token in self.codec.marked if after.startswith(token)]
        return (self.codec.marked[max(following, key=len)],) if following else ()


def _check(text: str) -> None:
    if not isinstance(text, str):
        raise WrongType("text", text, "a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadArgument("text", text[error.start], "free of lone surrogates") from error
