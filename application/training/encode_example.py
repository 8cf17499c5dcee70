"""Teach: conversations as the ids that a model learns from: those that it will be asked and answer with."""

from collections.abc import Sequence
from itertools import pairwise

import attrs

from litgpt.application.export_prompt_style import stop_token_ids
from litgpt.application.render_prompt import RenderPrompt
from litgpt.domain.chat.messages import Messages
from litgpt.domain.chat.styles import find_style
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.errors import UnsupportedPrompt
from litgpt.domain.ports import Tokenizer
from litgpt.domain.training.sft_example import SFTExample


@attrs.frozen
class EncodeExample:
    """Writes conversations that end with an answer, in the model's prompt style.

    The text is encoded once, as a whole, and ends with the token that ends an answer in generation: the one
    that the style or the template closes the last turn with, or else the tokenizer's own end.

    Attributes:
        tokenizer: The model's tokenizer.
        style: The prompt style; None is the chat template of the tokenizer.
        mask_prompt: Whether only the answers are learned, each with what ends it, and not what they answer.
        options: Tools and variables for the chat template.
        parse_special_tokens: Whether special tokens in the messages become control tokens; see
            `RenderPrompt`.

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
        """Return a conversation that ends with an answer, as a lesson.

        Raises:
            BadPrompt: The style cannot express it, or not so that the answers in it can be told apart.

        """
        text = self._render(messages)
        ids = self._with_eos(text, messages)
        if not self.mask_prompt:
            return SFTExample(tuple(ids), ((0, len(ids)),))
        answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
        begins = [self._answer_start(messages[:number], text, ids) for number in answers]
        known = [begin for begin in begins if begin is not None]
        if len(known) < len(begins):
            raise UnsupportedPrompt(
                "chat template" if self.style is None else self.style.name,
                "it writes what was said before an answer in another way when that is given. Learn from "
                "all of the text (mask_prompt=False).",
            )
        stops = [
            self._answer_end(messages[: number + 1], ids, begin, before)
            for number, (begin, before) in zip(answers[:-1], pairwise(known), strict=True)
        ]
        return SFTExample(tuple(ids), tuple(zip(known, (*stops, len(ids)), strict=True)))

    def warn_if_rendered(self, conversation: Messages) -> None:
        """Warn of a conversation whose first question has been through the chat template already."""
        asked = next((one.content for one in conversation if one.role == "user"), None)
        if isinstance(asked, str):
            self._renderer.warn_if_rendered(asked)

    def _render(self, conversation: Messages) -> str:
        style = self.style
        if style is None or style.turn_end is not None:
            return self._renderer.render(conversation, add_generation_prompt=False)
        # It knows no answers, only where one begins.
        options = attrs.evolve(self.options, continue_final_message=True)
        return style.render(self._renderer.escape_messages(conversation), options=options)

    def _with_eos(self, text: str, conversation: Messages) -> list[int]:
        """Return the ids of a text, up to what ends the last answer in generation."""
        ids = self._renderer.encode(text)
        # An answer of nothing must not take its end from what stands before it.
        last = conversation[-1].content
        begin = (
            0
            if isinstance(last, str) and last.strip()
            else self._answer_start(conversation[:-1], text, ids) or 0
        )
        for number in reversed(range(begin, len(ids))):
            if ids[number] in self._stop_token_ids:
                return ids[: number + 1]
            if self.tokenizer.decode([ids[number]]).strip():
                break
        # Nothing that is written after an answer tells the model to end: what there is would be in the way.
        kept = text.rstrip() if self.style is None else text.removesuffix(self.style.turn_end or "")
        end = self.tokenizer.eos_id
        return self._renderer.encode(kept) + ([] if end is None else [end])

    def _answer_start(self, before: Messages, text: str, ids: Sequence[int]) -> int | None:
        """Return where the answer to these messages begins: where the ids part from those of the prompt.

        They may do so a token early, where the end of the prompt and the beginning of the answer are one
        token. None: the text does not begin as the prompt does.
        """
        asked = self._renderer.render(before)
        said = self._renderer.render(before, add_generation_prompt=False) if self.style is None else asked
        if not text.startswith(said):
            return None
        return _common_prefix_length(self._renderer.encode(asked), ids)

    def _answer_end(self, conversation: Messages, ids: Sequence[int], begin: int, before: int) -> int:
        """Return where an answer has ended after which the conversation goes on, what ends it included."""
        for number in range(begin, before):
            if ids[number] in self._stop_token_ids:
                return number + 1
        upto = self._renderer.encode(self._render(conversation))
        stop = _common_prefix_length(upto, ids[:before])
        if stop < len(upto):  # tokenizers cut white space in another way where a text ends with it
            while stop < before and not self.tokenizer.decode([ids[stop]]).strip():
                stop += 1
        return stop


def training_style(tokenizer: Tokenizer, requested: PromptStyle | None) -> PromptStyle | None:
    """Return the style to write examples in; None is the chat template.

    Args:
        tokenizer: The model's tokenizer.
        requested: A style; None is the tokenizer's chat template if it has one, and otherwise Alpaca's style,
            as a
            model that has never been taught to answer has none of its own.

    """
    if requested is not None or tokenizer.has_chat_template:
        return requested
    return find_style("alpaca")


def _common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many ids the two begin with alike."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(place for place in range(shorter) if one[place] != other[place])
