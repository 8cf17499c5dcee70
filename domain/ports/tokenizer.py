"""The port Tokenizer: encode and decode text, and render messages with a chat template."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from litgpt.domain.chat.messages import Messages
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.tokenizer_source import TokenizerSource


class TextDecoder(Protocol):
    """Decodes a stream of token ids into whole characters."""

    def push(self, token: int) -> str:
        """Return the text that `token` completes; empty inside a multi-token character."""
        ...

    def finish(self) -> str:
        """Return the remaining text at the end of the stream."""
        ...


class Tokenizer(Protocol):
    """Encodes and decodes text, and renders messages with a chat template."""

    @property
    def vocab_size(self) -> int:
        """The largest id that it can produce, plus one."""
        ...

    @property
    def bos_id(self) -> int | None:
        """The beginning-of-sequence token, if any."""
        ...

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer's files make `encode` prepend `bos_id`."""
        ...

    @property
    def eos_id(self) -> int | None:
        """The end-of-sequence token of the tokenizer's files, if any."""
        ...

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """The end-of-sequence and end-of-turn tokens of the tokenizer's files and chat template."""
        ...

    @property
    def leading_spaces(self) -> int:
        """The number of spaces at the beginning of a text that `decode` drops."""
        ...

    @property
    def has_chat_template(self) -> bool: ...

    def template_source(self, options: TemplateOptions = NO_TEMPLATE_OPTIONS) -> str | None:
        """Return the source of the chat template that `render` uses with `options`; None without one."""
        ...

    def escape(self, text: str) -> str:
        """Return `text` with special tokens escaped, so that `encode(…, escaped=True)` treats them as text.

        Escaped texts can be concatenated and inserted in a chat template or a prompt style. Added tokens
        that are not special, such as `</think>` in most vocabularies, are not escaped.
        """
        ...

    def encode(
        self, text: str, *, bos: bool | None = None, eos: bool = False, escaped: bool = False
    ) -> list[int]:
        """Return the ids of `text`, in which special tokens such as `<|im_end|>` are recognized.

        Args:
            text: Any text; it may be empty.
            bos: Whether to prepend `bos_id`; None follows the tokenizer's files. It is not added to a text
                that already begins with it, such as a rendered chat template.
            eos: Whether to append the token with which the tokenizer's files end a text, if they have one, as
                those of embedding models do. It is not added to a text that already ends with it.
            escaped: Whether special tokens in the text were escaped with `escape`; they are encoded as text.
        """
        ...

    def decode(self, ids: Sequence[int], *, include_special_tokens: bool = False) -> str:
        """Return the text of `ids`, by default without special tokens.

        Raises:
            InvalidArgument: An id is outside the vocabulary.
        """
        ...

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of a token in a decoded text; empty for special tokens and unused ids.

        Raises:
            InvalidArgument: The id is outside the vocabulary.
        """
        ...

    def decoder(self, *, visible: Collection[str] = ()) -> TextDecoder:
        """Return a streaming decoder, whose pieces concatenate to `decode` of all ids.

        Args:
            visible: Special tokens that are part of the text, such as the marks of tool calls.
        """
        ...

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token such as `<|im_end|>`, or None."""
        ...

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        options: TemplateOptions = NO_TEMPLATE_OPTIONS,
    ) -> str:
        """Render messages with the checkpoint's chat template, in a sandbox.

        Args:
            messages: The conversation.
            add_generation_prompt: Whether to end with the beginning of the assistant's answer, unless
                `options` continues the last message.
            options: Tools, further variables, and whether to continue the last message.

        Raises:
            UnsupportedPrompt: The template is missing, rejects the messages, or is unsafe.
        """
        ...


class OpenTokenizer(Protocol):
    """Opens tokenizers of all supported formats."""

    def __call__(self, source: TokenizerSource, *, name: str, vocab_size: int | None) -> Tokenizer:
        """Open a tokenizer; `vocab_size` is the number of rows of the embedding, None skips the check.

        Raises:
            TokenizerMismatch: The tokenizer is missing, or produces ids outside the model's vocabulary.
            CorruptFile: A file cannot be read.
        """
        ...


class ExportTokenizer(Protocol):
    """Exports tokenizers of all supported formats to files."""

    def __call__(self, source: TokenizerSource, *, name: str) -> Mapping[str, bytes]:
        """Return the contents, by file name, of files that define the same tokenizer."""
        ...
