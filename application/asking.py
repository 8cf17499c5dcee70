"""Ask: a caller's arguments, checked, as requests to the generator."""

from collections.abc import Sequence
from typing import Any

import attrs

from litgpt.application.loading import LoadedModel, TensorT
from litgpt.application.prompting import WritePrompt, conversation, prompts
from litgpt.domain.generation import Request
from litgpt.domain.prompts.questions import PLAIN
from litgpt.domain.sampling import MODEL_DEFAULT, ModelDefault, Sampling
from litgpt.domain.stopping import stop_strings
from litgpt.domain.template_options import TemplateOptions
from litgpt.domain.validators import flag, is_flag, is_flag_or_none


@attrs.frozen(kw_only=True)
class Settings:
    """How answers are to be generated; every bad argument ends here, before any work is done.

    Attributes:
        max_new_tokens: A bound on each answer; None is the context's end.
        temperature: See `Sampling`, as for the next three. MODEL_DEFAULT is the model's own setting.
        top_k: How many of the likeliest tokens to keep.
        top_p: How much of the probability to keep.
        seed: Makes the draws repeatable.
        stop: A string, or several, that end an answer.
        logprobs: Whether to return each token's log-probability.
        parse_special_tokens: Whether special tokens in a prompt become control tokens. None: only in a text
            that is the whole prompt, and not in the messages that a chat template or a prompt style writes.

    """

    max_new_tokens: int | None = 50
    temperature: float | ModelDefault = MODEL_DEFAULT
    top_k: int | ModelDefault | None = MODEL_DEFAULT
    top_p: float | ModelDefault = MODEL_DEFAULT
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    logprobs: bool = attrs.field(default=False, validator=is_flag)
    parse_special_tokens: bool | None = attrs.field(default=None, validator=is_flag_or_none)
    stop_strings: tuple[str, ...] = attrs.field(init=False)

    @stop_strings.default
    def _stop_strings(self) -> tuple[str, ...]:
        return stop_strings(self.stop)

    def __attrs_post_init__(self) -> None:
        self.request([0], frozenset(), Sampling(), context=1)

    def sampling(self, defaults: Sampling) -> Sampling:
        """Return how to draw, where `defaults` are the model's."""
        given = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not MODEL_DEFAULT}
        return attrs.evolve(defaults, **changes, seed=self.seed)

    def request(
        self, ids: list[int], end_ids: frozenset[int], defaults: Sampling, *, context: int
    ) -> Request:
        """Return a request for the answer to a prompt in ids, with a model's end tokens and defaults."""
        return Request(
            prompt=ids,
            max_new_tokens=context if self.max_new_tokens is None else self.max_new_tokens,
            sampling=self.sampling(defaults),
            end_ids=end_ids,
            logprobs=self.logprobs,
        )


@attrs.frozen
class Asked:
    """What goes to the generator.

    Attributes:
        requests: One for each prompt.
        stop: Strings that end an answer.
        several: Whether the caller passed a list of prompts.

    """

    requests: list[Request]
    stop: tuple[str, ...]
    several: bool


def prompt_writer(
    loaded: LoadedModel[TensorT],
    *,
    tools: Any = None,
    chat_template_kwargs: Any = None,
    continue_final_message: bool | str = False,
    apply_chat_template: bool = True,
    parse_special_tokens: bool | None = None,
) -> WritePrompt:
    """Return what writes the prompts of a model.

    Args:
        loaded: The model.
        tools: JSON schemas, or Python functions, of the tools that it may call.
        chat_template_kwargs: Further variables of the chat template.
        continue_final_message: Whether the last message is to be continued, or which field of it.
        apply_chat_template: False writes prompts as they are.
        parse_special_tokens: Whether special tokens in prompts become control tokens. None: only in those
            that are written as they are.

    Raises:
        BadArgument: One of these cannot be right, or is of no use without a chat template.

    """
    flag("apply_chat_template", apply_chat_template)
    options = TemplateOptions(
        tools=tools, variables=chat_template_kwargs, continue_final_message=continue_final_message
    )
    raw = not apply_chat_template
    parse = raw if parse_special_tokens is None else parse_special_tokens
    return WritePrompt(loaded.tokenizer, loaded.style, options, raw=raw, parse_special_tokens=parse)


def ask(
    loaded: LoadedModel[TensorT],
    prompt: object,
    sys_prompt: str | None,
    settings: Settings,
    *,
    context: int,
    write: WritePrompt | None = None,
) -> Asked:
    """Return the requests for one prompt or a list of them.

    Args:
        loaded: The model that is asked.
        prompt: A text, a list of messages, or a list of those.
        sys_prompt: What the system says first, to each of them.
        settings: How answers are to be generated.
        context: The longest text that the model holds.
        write: Writes the prompts; None is as `prompt_writer` makes it.

    Raises:
        BadArgument: A prompt is empty.
        WrongType: It is none of these.
        BadPrompt: The model's prompt style cannot express it.

    """
    write = write or prompt_writer(loaded)
    listed, several = prompts(prompt)
    requests = []
    for one in listed:
        if isinstance(one, str):
            write.warn_if_rendered(one)
        parse = settings.parse_special_tokens
        if parse is None:
            parse = write.raw or (isinstance(one, str) and loaded.style is PLAIN)
        writer = attrs.evolve(write, parse_special_tokens=parse)
        ids = writer.encode(writer.render(conversation(one, sys_prompt)))
        requests.append(settings.request(ids, loaded.end_ids, loaded.sampling, context=context))
    return Asked(requests, (*settings.stop_strings, *loaded.stop), several)
