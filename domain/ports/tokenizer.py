"""The port Tokenizer: text to ids and back, and messages to text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from litgpt.domain.chat.messages import Messages
from litgpt.domain.tokenizer_source import TokenizerSource


class TextDecoder(Protocol):
    """Turns ids into text as they come, without ever yielding part of a character."""

    def push(self, token: int) -> str:
        """Return the text that is certain now that `token` has come; often empty inside a character."""
        ...

    def finish(self) -> str:
        """Return what is left when no more tokens come."""
        ...


class Tokenizer(Protocol):
    """Text to ids and back, and messages to text."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id that it can produce."""
        ...

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text, if there is one."""
        ...

    @property
    def adds_bos(self) -> bool:
        """Whether `encode` puts `bos_id` first, by the tokenizer's own files."""
        ...

    @property
    def eos_id(self) -> int | None:
        """The token that its own files call the end of a text, if there is one."""
        ...

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Every token that its own files say ends a text or a turn (the chat template's included)."""
        ...

    @property
    def has_chat_template(self) -> bool:
        """Whether it came with a chat template."""
        ...

    def escape(self, text: str) -> str:
        """Return `text` with special tokens escaped, so that `encode(…, escaped=True)` takes them as text.

        Escaped texts may be joined, and put into a chat template or a prompt style. Added tokens that are not
        special, such as `</think>` in most vocabularies, stay tokens.
        """
        ...

    def encode(self, text: str, *, bos: bool | None = None, escaped: bool = False) -> list[int]:
        """Return the ids of `text`, in which special tokens such as `<|im_end|>` are recognized.

        Args:
            text: Any text, also none at all.
            bos: Whether to put the beginning token first; None does as the tokenizer's files say. It is never
                put there twice: a text that begins with it, as rendered chat templates do, is left as it is.
            escaped: Whether `escape` has escaped special tokens in it, which are encoded as text then.

        """
        ...

    def decode(self, ids: Sequence[int], *, include_special_tokens: bool = False) -> str:
        """Return the text of `ids`; special tokens are left out unless `include_special_tokens`.

        Raises:
            BadArgument: An id is outside the vocabulary.

        """
        ...

    def decoder(self) -> TextDecoder:
        """Return a decoder for one stream of ids; its pieces join to `decode` of all of them."""
        ...

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token written out, such as `<|im_end|>`, or None."""
        ...

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        continue_final_message: bool | str = False,
    ) -> str:
        """Return messages as text, by the checkpoint's chat template in a sandbox.

        Args:
            messages: The conversation so far.
            add_generation_prompt: Whether the text should end where the model's answer begins
                (`add_generation_prompt`).
            tools: JSON schemas of the tools that the model may call.
            variables: Further variables of the template, of plain JSON values.
            continue_final_message: Whether the text ends within the last message instead, whatever
                `add_generation_prompt`
                is; a string names the field to continue in place of `content`.

        Raises:
            BadPrompt: There is no template, or it refuses these messages, or it is not to be trusted.

        """
        ...


class OpenTokenizer(Protocol):
    """Opens tokenizers, whatever they are written in."""

    def __call__(self, source: TokenizerSource, *, name: str, vocab_size: int | None) -> Tokenizer:
        """Open a tokenizer.

        Args:
            source: Where it is.
            name: What to call the model in an error.
            vocab_size: The rows of the model's embedding; None asks nothing of the tokenizer's size.

        Raises:
            TokenizerMismatch: There is none, or it produces ids that the model does not have.
            DamagedFile: Its files cannot be read.

        """
        ...


class ExportTokenizer(Protocol):
    """Writes tokenizers down, whatever they are written in."""

    def __call__(self, source: TokenizerSource, *, name: str) -> Mapping[str, bytes]:
        """Return the files, by name, by which anybody can open the same tokenizer again.

        Args:
            source: Where it is.
            name: What to call the model in an error.

        Raises:
            DamagedFile: Its files cannot be read.

        """
        ...
