"""A prompt style: how a conversation is written for a model that learnt to read it so."""

from collections.abc import Iterator

import attrs

from litgpt.domain.chat import Message, Messages
from litgpt.domain.errors import BadPrompt
from litgpt.domain.messages import brief_repr
from litgpt.domain.ports import Tokenizer
from litgpt.domain.template_options import NO_OPTIONS, TemplateOptions


@attrs.frozen(kw_only=True)
class PromptStyle:
    """How the turns of a conversation are written, as data.

    In `system` and `user`, `{content}` stands for what was said. An answer is written between `answer` and
    `end`, so a text that ends with `answer` is where the model begins to speak.

    Attributes:
        name: What people call it: `llama3`.
        saved_as: What LitGPT's `prompt_style.yaml` calls it, without `litgpt.prompts.`: `Llama3`.
        begin: Before everything else.
        system: A system prompt. None: this style cannot express one.
        default_system: The system prompt where none is given. None: there is none then.
        user: A user's turn. If `{system}` is in it, the system prompt stands there, in the first such turn.
        answer: What the model's answer follows.
        lead: What the model writes first of all, by itself: put before an answer that was given earlier.
        end: What follows an answer when the conversation goes on. None: this style knows one question only.
        stops: What ends an answer besides the tokenizer's own end: special tokens, or any text.
        task: How an instruction and what it is about are put to the model in one turn.
        task_system: The system prompt then. None: as it is otherwise.

    """

    name: str
    saved_as: str
    begin: str = ""
    system: str | None = None
    default_system: str | None = None
    user: str = "{content}"
    answer: str = ""
    lead: str = ""
    end: str | None = None
    stops: tuple[str, ...] = ()
    task: str = "{instruction}\n\n{input}"
    task_system: str | None = None

    __repr__ = brief_repr

    def render(
        self, messages: Messages, *, answer: bool = True, options: TemplateOptions = NO_OPTIONS
    ) -> str:
        """Return the conversation as text.

        Args:
            messages: What was said: a system prompt or none, then users and assistants.
            answer: Whether the text should end where the model's answer begins.
            options: May ask to continue the last message; a style has no place for tools and variables.

        Raises:
            BadPrompt: This style cannot express it; nothing is ever left out in silence.

        """
        if options.tools or options.variables:
            raise BadPrompt(self.name, f"{_listed(options)} need a chat template, and this style is not one.")
        if options.continue_final_message:
            last = messages[-1]
            if last.role != "assistant" or options.continue_final_message not in (True, "content"):
                raise BadPrompt(self.name, "it can only continue the content of an assistant message.")
            return f"{self.render(messages[:-1])}{self.lead}{_text(self, last).removeprefix(self.lead)}"
        return self.begin + "".join(self._turns(messages)) + (self.answer if answer else "")

    def stops_in(self, tokenizer: Tokenizer) -> tuple[frozenset[int], tuple[str, ...]]:
        """Return `stops` as those that are tokens of this tokenizer, and those that are not."""
        ids = {one: tokenizer.token_to_id(one) for one in self.stops}
        tokens = frozenset(found for found in ids.values() if found is not None)
        return tokens, tuple(one for one, found in ids.items() if found is None)

    def _turns(self, messages: Messages) -> Iterator[str]:
        system, said = self._system(messages)
        if "{system}" not in self.user:
            yield system
        for number, message in enumerate(said):
            if message.role == "user":
                yield _fill(self.user, content=_text(self, message), system=system)
                system = ""
            elif message.role == "assistant" and self.end is not None:
                yield f"{self.answer}{self.lead}{_text(self, message).removeprefix(self.lead)}{self.end}"
            else:
                raise self._refuse(message, first=number == 0)
        if self.end is None and len(said) != 1:
            raise BadPrompt(self.name, "it knows one question and no conversation. Ask one thing at a time.")

    def _system(self, messages: Messages) -> tuple[str, Messages]:
        """Return the system prompt as it is written, and the messages after it."""
        given = _text(self, messages[0]) if messages and messages[0].role == "system" else None
        content = self.default_system if given is None else given
        if content is None:
            return "", messages
        if self.system is None:
            raise BadPrompt(self.name, "it has no place for a system prompt. Put it into the first question.")
        return _fill(self.system, content=content), messages[1:] if given is not None else messages

    def _refuse(self, message: Message, *, first: bool) -> BadPrompt:
        if message.role == "system" and not first:
            return BadPrompt(self.name, "a system prompt can only come first.")
        if message.role == "assistant":
            return BadPrompt(self.name, "it has no place for earlier answers. Ask one thing at a time.")
        return BadPrompt(self.name, f"it knows no role {message.role!r}, only system, user and assistant.")


def task(style: PromptStyle | None, instruction: str, given: str) -> tuple[Message, ...]:
    """Return an instruction and what it is about as messages.

    Args:
        style: How they are put; None (a chat template) is one below the other.
        instruction: What to do.
        given: What to do it with; empty if there is nothing.

    """
    if not given:
        return (Message("user", instruction),)
    if style is None:
        return (Message("user", f"{instruction}\n\n{given}"),)
    asked = Message("user", _fill(style.task, instruction=instruction, input=given))
    return (asked,) if style.task_system is None else (Message("system", style.task_system), asked)


def _text(style: PromptStyle, message: Message) -> str:
    """Return what a message says, which must be all that it holds."""
    if message.fields:
        listed = ", ".join(message.fields)
        raise BadPrompt(style.name, f"it has no place for {listed} of a message, which a chat template has.")
    return message.text


def _listed(options: TemplateOptions) -> str:
    return " and ".join([*(["tools"] if options.tools else []), *map(repr, options.variables)])


def _fill(template: str, **parts: str) -> str:
    """Put each part where its name stands; braces in a part stay what they are."""
    for name, part in parts.items():
        before, here, after = template.partition(f"{{{name}}}")
        if here:
            ahead = {key: value for key, value in parts.items() if key != name}
            return _fill(before, **ahead) + part + _fill(after, **ahead)
    return template
