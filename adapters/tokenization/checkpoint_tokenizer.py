"""The Tokenizer port over any backend: BOS and EOS tokens, and chat templates."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial

import attrs

from litgpt.adapters.tokenization.backend import TokenizerBackend
from litgpt.adapters.tokenization.chat_template.chat_template import ChatTemplate
from litgpt.adapters.tokenization.chat_template.escaped_search import escaping_with
from litgpt.adapters.tokenization.detokenizer import IncrementalDetokenizer, decode
from litgpt.adapters.tokenization.special_tokens import SpecialTokenSplitter
from litgpt.domain.chat.messages import Message, Messages
from litgpt.domain.chat.special_token_escapes import unescape
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.ports import TextDecoder

_PROBE_ANSWER = "Zyzzyva"  # probe for the text after an answer; does not occur in templates


@attrs.define(kw_only=True)
class CheckpointTokenizer:
    """A checkpoint's tokenizer; it implements the port Tokenizer.

    `embedding_rows` is the number of ids of the model; ids beyond the vocabulary are padding and decode to
    nothing. `final_id` is the token with which the files end a text, such as EOS; None: they do not.
    """

    name: str
    backend: TokenizerBackend = attrs.field(repr=False)
    vocab_size: int
    embedding_rows: int
    bos_id: int | None
    adds_bos: bool
    eos_ids: tuple[int, ...]
    final_id: int | None = None
    chat_template: ChatTemplate | None
    _stop_token_ids: frozenset[int] | None = attrs.field(default=None, init=False, repr=False)
    _splitter: SpecialTokenSplitter = attrs.field(init=False, repr=False)

    @_splitter.default
    def _make_splitter(self) -> SpecialTokenSplitter:
        hidden = self.backend.skipped_ids
        return SpecialTokenSplitter(
            {text: token for text, token in self.backend.special_tokens.items() if token in hidden}
        )

    @property
    def eos_id(self) -> int | None:
        return self.eos_ids[0] if self.eos_ids else None

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """EOS tokens, and the token with which the chat template ends an answer."""
        if self._stop_token_ids is None:  # computed lazily, because it imports Jinja
            self._stop_token_ids = frozenset((*self.eos_ids, *self._turn_end_ids()))
        return self._stop_token_ids

    @property
    def leading_spaces(self) -> int:
        return self.backend.leading_spaces

    @property
    def has_chat_template(self) -> bool:
        return self.chat_template is not None

    def template_source(self, options: TemplateOptions = NO_TEMPLATE_OPTIONS) -> str | None:
        return None if self.chat_template is None else self.chat_template.select(options)

    def escape(self, text: str) -> str:
        _check(text)
        return self._splitter.escape(text)

    def encode(
        self, text: str, *, bos: bool | None = None, eos: bool = False, escaped: bool = False
    ) -> list[int]:
        _check(unescape(text) if escaped else text)
        ids = self.backend.encode(text)
        add_bos = self.adds_bos if bos is None else bos
        if add_bos and self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids = [self.bos_id, *ids]
        if eos and self.final_id is not None and ids[-1:] != [self.final_id]:
            ids = [*ids, self.final_id]
        if self.backend.vocab_size > self.vocab_size and (
            beyond := [token for token in ids if token >= self.vocab_size]
        ):
            written = self.backend.to_bytes(beyond[0]).decode()
            raise InvalidArgument("text", written, f"free of tokens for which {self.name} has no embedding")
        return ids

    def decode(self, ids: Sequence[int], *, include_special_tokens: bool = False) -> str:
        spell = self._token_bytes if include_special_tokens else self.token_bytes
        return decode(spell, ids, leading_spaces=self.backend.leading_spaces)

    def token_bytes(self, token: int) -> bytes:
        return b"" if token in self.backend.skipped_ids else self._token_bytes(token)

    def decoder(self, *, visible: Collection[str] = ()) -> TextDecoder:
        shown = self.backend.skipped_ids & {self.token_to_id(token) for token in visible}

        def to_bytes(token: int) -> bytes:
            return self._token_bytes(token) if token in shown else self.token_bytes(token)

        return IncrementalDetokenizer(to_bytes if shown else self.token_bytes, self.backend.leading_spaces)

    def token_to_id(self, token: str) -> int | None:
        token_id = self.backend.token_to_id(token)
        return None if token_id is None or token_id >= self.vocab_size else token_id

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        options: TemplateOptions = NO_TEMPLATE_OPTIONS,
    ) -> str:
        if self.chat_template is None:
            raise UnsupportedPrompt(f"of {self.name}", "it has no chat template. Pass the prompt as text.")
        with escaping_with(partial(self._splitter.escape, part=False)):
            return self.chat_template.render(
                messages, add_generation_prompt=add_generation_prompt, options=options
            )

    def _token_bytes(self, token: int) -> bytes:
        if not 0 <= token < self.embedding_rows:
            raise InvalidArgument(
                "token", token, f"from 0 to {self.embedding_rows - 1}, the vocabulary of {self.name}"
            )
        return self.backend.to_bytes(token)

    def _turn_end_ids(self) -> Iterable[int]:
        """Return the special token that the chat template writes after an answer, if any."""
        if self.chat_template is None:
            return ()
        try:
            text = self.render(
                (Message("user", "Well?"), Message("assistant", _PROBE_ANSWER)), add_generation_prompt=False
            )
        except UnsupportedPrompt:
            return ()
        after = text.rpartition(_PROBE_ANSWER)[2].lstrip()
        following = [token for token in self.backend.special_tokens if after.startswith(token)]
        return (self.backend.special_tokens[max(following, key=len)],) if following else ()


def _check(text: str) -> None:
    if not isinstance(text, str):
        raise WrongType("text", text, "a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("text", text[error.start], "free of lone surrogates") from error
