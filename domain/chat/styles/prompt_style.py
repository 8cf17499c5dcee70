"""A prompt style: the text format of a conversation for a model."""

from collections.abc import Callable, Iterator

import attrs

from litgpt.domain.chat.messages import Message, Messages
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.errors import UnsupportedPrompt
from litgpt.domain.formatting.bounded_text import brief_repr


@attrs.frozen(kw_only=True)
class PromptStyle:
    """Text templates for the turns of a conversation.

    `{content}` in `system` and `user` is the message. An answer is written between `generation_prompt` and
    `turn_end`; a prompt for generation ends with `generation_prompt`.

    Attributes:
        name: Name of the style, such as `llama3`.
        litgpt_name: Class name in LitGPT's `prompt_style.yaml`, without `litgpt.prompts.`: `Llama3`.
        bos: Text at the beginning of the conversation.
        system: Template of the system prompt. None: system prompts are not supported.
        default_system: System prompt if the conversation has none.
        user: Template of a user turn. `{system}` in it is replaced by the system prompt in the first turn.
        generation_prompt: Text before an answer.
        answer_prefix: Text that the model itself generates first; inserted before earlier answers.
        turn_end: Text after an answer. None: the style supports only a single question.
        stop_sequences: Stop strings or special tokens in addition to the tokenizer's EOS.
        instruction_template: Template of a user turn with an instruction and its input.
        instruction_system: System prompt for `instruction_template`. None uses the usual one.
    """

    name: str
    litgpt_name: str
    bos: str = ""
    system: str | None = None
    default_system: str | None = None
    user: str = "{content}"
    generation_prompt: str = ""
    answer_prefix: str = ""
    turn_end: str | None = None
    stop_sequences: tuple[str, ...] = ()
    instruction_template: str = "{instruction}\n\n{input}"
    instruction_system: str | None = None

    __repr__ = brief_repr

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        options: TemplateOptions = NO_TEMPLATE_OPTIONS,
    ) -> str:
        """Return the conversation as text.

        Args:
            messages: An optional system prompt, then user and assistant messages.
            add_generation_prompt: Whether to add the generation prompt.
            options: May request to continue the last message; tools and variables are not supported.

        Raises:
            UnsupportedPrompt: The style does not support a part of the conversation.
        """
        if options.tools or options.variables:
            raise UnsupportedPrompt(
                self.name, f"{_unsupported_options(options)} need a chat template, and this style is not one."
            )
        if options.continue_final_message:
            last = messages[-1]
            if last.role != "assistant" or options.continue_final_message not in (True, "content"):
                raise UnsupportedPrompt(
                    self.name, "it can only continue the content of an assistant message."
                )
            answer = _text(self, last).removeprefix(self.answer_prefix)
            return f"{self.render(messages[:-1])}{self.answer_prefix}{answer}"
        return (
            self.bos
            + "".join(self._turns(messages))
            + (self.generation_prompt if add_generation_prompt else "")
        )

    def split_stops(self, token_to_id: Callable[[str], int | None]) -> tuple[frozenset[int], tuple[str, ...]]:
        """Return the ids of stops that are tokens of the tokenizer, and the other stops as strings."""
        ids = {stop: token_to_id(stop) for stop in self.stop_sequences}
        tokens = frozenset(token for token in ids.values() if token is not None)
        return tokens, tuple(stop for stop, token in ids.items() if token is None)

    def _turns(self, messages: Messages) -> Iterator[str]:
        system, turns = self._system(messages)
        if "{system}" not in self.user:
            yield system
        for number, message in enumerate(turns):
            if message.role == "user":
                yield _fill(self.user, content=_text(self, message), system=system)
                system = ""
            elif message.role == "assistant" and self.turn_end is not None:
                answer = _text(self, message).removeprefix(self.answer_prefix)
                yield f"{self.generation_prompt}{self.answer_prefix}{answer}{self.turn_end}"
            else:
                raise self._unsupported(message, first=number == 0)
        if self.turn_end is None and len(turns) != 1:
            raise UnsupportedPrompt(
                self.name, "it supports a single question, not a conversation. Ask one question at a time."
            )

    def _system(self, messages: Messages) -> tuple[str, Messages]:
        system = _text(self, messages[0]) if messages and messages[0].role == "system" else None
        content = self.default_system if system is None else system
        if content is None:
            return "", messages
        if self.system is None:
            raise UnsupportedPrompt(
                self.name, "it does not support a system prompt. Put it into the first question."
            )
        return _fill(self.system, content=content), messages[1:] if system is not None else messages

    def _unsupported(self, message: Message, *, first: bool) -> UnsupportedPrompt:
        if message.role == "system" and not first:
            return UnsupportedPrompt(self.name, "a system prompt must be the first message.")
        if message.role == "assistant":
            return UnsupportedPrompt(
                self.name, "it does not support earlier answers. Ask one question at a time."
            )
        return UnsupportedPrompt(
            self.name, f"the role {message.role!r} is not supported. Supported: system, user and assistant."
        )


def instruction_messages(style: PromptStyle | None, instruction: str, input_text: str) -> tuple[Message, ...]:
    """Return an instruction and its input as messages; a chat template (None) gets both in one message."""
    if not input_text:
        return (Message("user", instruction),)
    if style is None:
        return (Message("user", f"{instruction}\n\n{input_text}"),)
    question = Message("user", _fill(style.instruction_template, instruction=instruction, input=input_text))
    return (
        (question,)
        if style.instruction_system is None
        else (Message("system", style.instruction_system), question)
    )


def _text(style: PromptStyle, message: Message) -> str:
    if message.fields:
        listed = ", ".join(message.fields)
        raise UnsupportedPrompt(
            style.name, f"it does not support {listed} of a message, which requires a chat template."
        )
    return message.text


def _unsupported_options(options: TemplateOptions) -> str:
    return " and ".join([*(["tools"] if options.tools else []), *map(repr, options.variables)])


def _fill(template: str, **parts: str) -> str:
    """Replace each name in braces by its part; braces within a part are kept."""
    for name, part in parts.items():
        before, placeholder, after = template.partition(f"{{{name}}}")
        if placeholder:
            others = {key: value for key, value in parts.items() if key != name}
            return _fill(before, **others) + part + _fill(after, **others)
    return template
