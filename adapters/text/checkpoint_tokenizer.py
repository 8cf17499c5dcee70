"""The Tokenizer port over any codec: BOS and EOS tokens, and chat templates."""

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

_SAID = "Zyzzyva"  # probe for the text after an answer; does not occur in templates


@attrs.define(kw_only=True)
class CheckpointTokenizer:
    """A checkpoint's tokenizer; it implements the port Tokenizer.

    Attributes:
        name: Name of the model in error messages.
        codec: The vocabulary.
        vocab_size: Largest id that `encode` can return, plus 1.
        rows: Number of ids of the model; ids beyond the vocabulary are padding and decode to nothing.
        bos_id: BOS token.
        adds_bos: Whether `encode` adds the BOS token.
        eos_ids: EOS tokens of the tokenizer's files.
        template: Chat template.

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
        """The first EOS token, if there is one."""
        return self.eos_ids[0] if self.eos_ids else None

    @property
    def end_ids(self) -> frozenset[int]:
        """EOS tokens, and the token with which the chat template ends an answer."""
        if self._end_ids is None:  # computed lazily, because it imports Jinja
            self._end_ids = frozenset((*self.eos_ids, *self._turn_ends()))
        return self._end_ids

    @property
    def has_chat_template(self) -> bool:
        return self.template is not None

    def escape(self, text: str) -> str:
        """Return `text` with special tokens escaped; `encode(…, escaped=True)` encodes them as plain text.

        Raises:
            WrongType: `text` is not a string.
            BadArgument: `text` cannot be encoded in UTF-8.

        """
        _check(text)
        return self._special.escape(text)

    def encode(self, text: str, *, bos: bool | None = None, escaped: bool = False) -> list[int]:
        """Return the ids of `text`, including special tokens in it. See the port.

        Raises:
            WrongType: `text` is not a string.
            BadArgument: `text` cannot be encoded in UTF-8, or has a token without an embedding in the model.

        """
        _check(unescape(text) if escaped else text)
        ids = self.codec.encode(text)
        add_bos = self.adds_bos if bos is None else bos
        if add_bos and self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids = [self.bos_id, *ids]
        if self.codec.size > self.vocab_size and (
            beyond := [token for token in ids if token >= self.vocab_size]
        ):
            written = self.codec.spell(beyond[0]).decode()
            raise BadArgument("text", written, f"free of tokens for which {self.name} has no embedding")
        return ids

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Return the text of `ids`, without special tokens unless `special`.

        Raises:
            BadArgument: An id is outside the vocabulary.

        """
        spell = self._spell_all if special else self._spell
        return decode(spell, ids, leading_spaces=self.codec.leading_spaces)

    def decoder(self) -> TextDecoder:
        """Return an incremental decoder of one sequence; its chunks concatenate to `decode` of all ids."""
        return StreamDecoder(self._spell, self.codec.leading_spaces)

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token such as `<|im_end|>`, or None."""
        token_id = self.codec.id_of(token)
        return None if token_id is None or token_id >= self.vocab_size else token_id

    def render(
        self,
        messages: Messages,
        *,
        answer: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        continue_final_message: bool | str = False,
    ) -> str:
        """Render messages with the checkpoint's chat template in a sandbox. See the port.

        Raises:
            BadPrompt: There is no template, it rejects the messages, or it violates the sandbox.

        """
        if self.template is None:
            raise BadPrompt(f"of {self.name}", "it has no chat template. Pass the prompt as text.")
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
        """Return the special token that the chat template writes after an answer, if any."""
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
