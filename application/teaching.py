"""Teach: conversations as the ids that a model learns from: those that it will be asked and answer with."""

from collections.abc import Sequence
from itertools import pairwise

import attrs

from litgpt.application.exporting import end_ids
from litgpt.application.prompting import WritePrompt
from litgpt.domain.chat import Messages
from litgpt.domain.errors import BadPrompt
from litgpt.domain.ports import Tokenizer
from litgpt.domain.prompts import style_named
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.template_options import NO_OPTIONS, TemplateOptions
from litgpt.domain.training.lesson import Lesson


@attrs.frozen
class WriteLesson:
    """Writes conversations that end with an answer, in the model's prompt style.

    The text is encoded once, as a whole, and ends with the token that ends an answer in generation: the one
    that the style or the template closes the last turn with, or else the tokenizer's own end.

    Attributes:
        tokenizer: The model's tokenizer.
        style: The prompt style; None is the chat template of the tokenizer.
        mask_prompt: Whether only the answers are learnt, each with what ends it, and not what they answer.
        options: Tools and variables for the chat template.
        parse_special_tokens: Whether special tokens in the messages become control tokens; see `WritePrompt`.

    """

    tokenizer: Tokenizer
    style: PromptStyle | None
    mask_prompt: bool = False
    options: TemplateOptions = NO_OPTIONS
    parse_special_tokens: bool = False
    _write: WritePrompt = attrs.field(init=False, repr=False)
    _ends: frozenset[int] = attrs.field(init=False, repr=False)

    @_write.default
    def _write_default(self) -> WritePrompt:
        return WritePrompt(
            self.tokenizer, self.style, self.options, parse_special_tokens=self.parse_special_tokens
        )

    @_ends.default
    def _ends_default(self) -> frozenset[int]:
        return end_ids(self.tokenizer, self.style)

    def __call__(self, conversation: Messages) -> Lesson:
        """Return a conversation that ends with an answer, as a lesson.

        Raises:
            BadPrompt: The style cannot express it, or not so that the answers in it can be told apart.

        """
        text = self._render(conversation)
        ids = self._ended(text, conversation)
        if not self.mask_prompt:
            return Lesson(tuple(ids), ((0, len(ids)),))
        answers = [number for number, message in enumerate(conversation) if message.role == "assistant"]
        begins = [self._begin(conversation[:number], text, ids) for number in answers]
        known = [begin for begin in begins if begin is not None]
        if len(known) < len(begins):
            raise BadPrompt(
                "chat template" if self.style is None else self.style.name,
                "it writes what was said before an answer in another way when that is given. Learn from "
                "all of the text (mask_prompt=False).",
            )
        stops = [
            self._stop(conversation[: number + 1], ids, begin, before)
            for number, (begin, before) in zip(answers[:-1], pairwise(known), strict=True)
        ]
        return Lesson(tuple(ids), tuple(zip(known, (*stops, len(ids)), strict=True)))

    def warn_if_rendered(self, conversation: Messages) -> None:
        """Warn of a conversation whose first question has been through the chat template already."""
        asked = next((one.content for one in conversation if one.role == "user"), None)
        if isinstance(asked, str):
            self._write.warn_if_rendered(asked)

    def _render(self, conversation: Messages) -> str:
        style = self.style
        if style is None or style.end is not None:
            return self._write.render(conversation, answer=False)
        # It knows no answers, only where one begins.
        options = attrs.evolve(self.options, continue_final_message=True)
        return style.render(self._write.escaped(conversation), options=options)

    def _ended(self, text: str, conversation: Messages) -> list[int]:
        """Return the ids of a text, up to what ends the last answer in generation."""
        ids = self._write.encode(text)
        # An answer of nothing must not take its end from what stands before it.
        last = conversation[-1].content
        begin = (
            0 if isinstance(last, str) and last.strip() else self._begin(conversation[:-1], text, ids) or 0
        )
        for number in reversed(range(begin, len(ids))):
            if ids[number] in self._ends:
                return ids[: number + 1]
            if self.tokenizer.decode([ids[number]]).strip():
                break
        # Nothing that is written after an answer tells the model to end: what there is would be in the way.
        kept = text.rstrip() if self.style is None else text.removesuffix(self.style.end or "")
        end = self.tokenizer.eos_id
        return self._write.encode(kept) + ([] if end is None else [end])

    def _begin(self, before: Messages, text: str, ids: Sequence[int]) -> int | None:
        """Return where the answer to these messages begins: where the ids part from those of the prompt.

        They may do so a token early, where the end of the prompt and the beginning of the answer are one
        token. None: the text does not begin as the prompt does.
        """
        asked = self._write.render(before)
        said = self._write.render(before, answer=False) if self.style is None else asked
        if not text.startswith(said):
            return None
        return _in_common(self._write.encode(asked), ids)

    def _stop(self, conversation: Messages, ids: Sequence[int], begin: int, before: int) -> int:
        """Return where an answer has ended after which the conversation goes on, what ends it included."""
        for number in range(begin, before):
            if ids[number] in self._ends:
                return number + 1
        upto = self._write.encode(self._render(conversation))
        stop = _in_common(upto, ids[:before])
        if stop < len(upto):  # tokenizers cut white space in another way where a text ends with it
            while stop < before and not self.tokenizer.decode([ids[stop]]).strip():
                stop += 1
        return stop


def style_to_teach(tokenizer: Tokenizer, wish: PromptStyle | None) -> PromptStyle | None:
    """Return the style to write examples in; None is the chat template.

    Args:
        tokenizer: The model's tokenizer.
        wish: A style; None is the tokenizer's chat template if it has one, and otherwise Alpaca's style, as a
            model that has never been taught to answer has none of its own.

    """
    if wish is not None or tokenizer.has_chat_template:
        return wish
    return style_named("alpaca")


def _in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many ids the two begin with alike."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(place for place in range(shorter) if one[place] != other[place])
