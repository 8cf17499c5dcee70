"""Tokenize conversations for fine-tuning and mark the tokens that contribute to the loss."""

from collections.abc import Sequence
from itertools import pairwise

import attrs

from litgpt.application.export_prompt_style import stop_token_ids
from litgpt.application.render_prompt import RenderPrompt
from litgpt.domain.chat.messages import Messages
from litgpt.domain.chat.styles import find_style
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.common_prefix import common_prefix_length
from litgpt.domain.errors import UnsupportedPrompt
from litgpt.domain.ports import Tokenizer
from litgpt.domain.training.sft_example import SFTExample


@attrs.frozen
class EncodeExample:
    """Renders and encodes conversations in the model's prompt style (None: the chat template).

    The text is encoded as a whole and ends with the token that ends an answer in generation: the stop token
    of the style's or template's last turn, or else the tokenizer's end-of-sequence token. With `mask_prompt`,
    only answers and their stop tokens contribute to the loss.
    """

    tokenizer: Tokenizer
    style: PromptStyle | None
    mask_prompt: bool = False
    options: TemplateOptions = NO_TEMPLATE_OPTIONS
    parse_special_tokens: bool = False
    _renderer: RenderPrompt = attrs.field(init=False, repr=False)
    _stop_token_ids: frozenset[int] = attrs.field(init=False, repr=False)

    @_renderer.default
    def _make_renderer(self) -> RenderPrompt:
        return RenderPrompt(
            self.tokenizer, self.style, self.options, parse_special_tokens=self.parse_special_tokens
        )

    @_stop_token_ids.default
    def _find_stop_token_ids(self) -> frozenset[int]:
        return stop_token_ids(self.tokenizer, self.style)

    def __call__(self, messages: Messages) -> SFTExample:
        """Encode a conversation that ends with an answer."""
        text = self._render(messages)
        ids = self._with_eos(text, messages)
        if not self.mask_prompt:
            return SFTExample(tuple(ids), ((0, len(ids)),))
        answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
        starts = [self._answer_start(messages[:number], text, ids) for number in answers]
        known = [start for start in starts if start is not None]
        if len(known) < len(starts):
            raise UnsupportedPrompt(
                "chat template" if self.style is None else self.style.name,
                "it renders earlier messages differently if an answer follows, so answers cannot be located. "
                "Train on the whole text (mask_prompt=False).",
            )
        stops = [
            self._answer_end(messages[: number + 1], ids, start, following)
            for number, (start, following) in zip(answers[:-1], pairwise(known), strict=True)
        ]
        return SFTExample(tuple(ids), tuple(zip(known, (*stops, len(ids)), strict=True)))

    def warn_if_rendered(self, conversation: Messages) -> None:
        prompt = next((message.content for message in conversation if message.role == "user"), None)
        if isinstance(prompt, str):
            self._renderer.warn_if_rendered(prompt)

    def _render(self, conversation: Messages) -> str:
        style = self.style
        if style is None or style.turn_end is not None:
            return self._renderer.render(conversation, add_generation_prompt=False)
        # The style has no end of turn: it renders only the beginning of an answer.
        options = attrs.evolve(self.options, continue_final_message=True)
        return style.render(self._renderer.escape_messages(conversation), options=options)

    def _with_eos(self, text: str, conversation: Messages) -> list[int]:
        """Return the ids of a text, up to the stop token of the last answer."""
        ids = self._renderer.encode(text)
        # The stop token of an earlier turn must not end an empty answer.
        last = conversation[-1].content
        start = (
            0
            if isinstance(last, str) and last.strip()
            else self._answer_start(conversation[:-1], text, ids) or 0
        )
        for number in reversed(range(start, len(ids))):
            if ids[number] in self._stop_token_ids:
                return ids[: number + 1]
            if self.tokenizer.decode([ids[number]]).strip():
                break
        # The text after the answer has no stop token: replace it by the end-of-sequence token.
        stripped = text.rstrip() if self.style is None else text.removesuffix(self.style.turn_end or "")
        eos = self.tokenizer.eos_id
        return self._renderer.encode(stripped) + ([] if eos is None else [eos])

    def _answer_start(self, before: Messages, text: str, ids: Sequence[int]) -> int | None:
        """Return the position at which the answer to `before` starts: the end of the common prefix.

        It may be a token early, if the end of the prompt and the beginning of the answer are one token. None:
        the text does not begin with the prompt.
        """
        prompt = self._renderer.render(before)
        history = self._renderer.render(before, add_generation_prompt=False) if self.style is None else prompt
        if not text.startswith(history):
            return None
        return common_prefix_length(self._renderer.encode(prompt), list(ids))

    def _answer_end(self, conversation: Messages, ids: Sequence[int], start: int, following: int) -> int:
        """Return the end (exclusive) of an answer and its stop token; the next answer is at `following`."""
        for number in range(start, following):
            if ids[number] in self._stop_token_ids:
                return number + 1
        prefix = self._renderer.encode(self._render(conversation))
        stop = common_prefix_length(prefix, list(ids[:following]))
        if stop < len(prefix):  # white space is tokenized differently at the end of a text
            while stop < following and not self.tokenizer.decode([ids[stop]]).strip():
                stop += 1
        return stop


def training_style(tokenizer: Tokenizer, requested: PromptStyle | None) -> PromptStyle | None:
    """Return the style of training examples: the requested style, the chat template (None), or Alpaca."""
    if requested is not None or tokenizer.has_chat_template:
        return requested
    return find_style("alpaca")
