"""Ask: a caller's arguments, checked, as requests to the generator."""

from collections.abc import Sequence
from typing import Any

import attrs

from litgpt.application.load_model import LoadedModel, TensorT
from litgpt.application.render_prompt import RenderPrompt, split_prompts, to_messages
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import MODEL_DEFAULT, ModelDefault, SamplingParams
from litgpt.domain.generation.stop_strings import parse_stop_strings
from litgpt.domain.validators import flag, is_flag, is_flag_or_none


@attrs.frozen(kw_only=True)
class GenerationOptions:
    """How answers are to be generated; every bad argument ends here, before any work is done.

    Attributes:
        max_new_tokens: A bound on each answer; None is the context's end.
        temperature: See `SamplingParams`, as for the next three. MODEL_DEFAULT is the model's own setting.
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
        return parse_stop_strings(self.stop)

    def __attrs_post_init__(self) -> None:
        self.to_request([0], frozenset(), SamplingParams(), context_length=1)

    def sampling_params(self, defaults: SamplingParams) -> SamplingParams:
        """Return how to draw, where `defaults` are the model's."""
        given = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not MODEL_DEFAULT}
        return attrs.evolve(defaults, **changes, seed=self.seed)

    def to_request(
        self,
        prompt_ids: list[int],
        stop_token_ids: frozenset[int],
        defaults: SamplingParams,
        *,
        context_length: int,
    ) -> GenerationRequest:
        """Return a request for the answer to a prompt in ids, with a model's end tokens and defaults."""
        return GenerationRequest(
            prompt=prompt_ids,
            max_new_tokens=context_length if self.max_new_tokens is None else self.max_new_tokens,
            sampling_params=self.sampling_params(defaults),
            stop_token_ids=stop_token_ids,
            logprobs=self.logprobs,
        )


@attrs.frozen
class PreparedRequests:
    """What goes to the generator.

    Attributes:
        requests: One for each prompt.
        stop_strings: Strings that end an answer.
        is_batch: Whether the caller passed a list of prompts.

    """

    requests: list[GenerationRequest]
    stop_strings: tuple[str, ...]
    is_batch: bool


def make_prompt_renderer(
    loaded: LoadedModel[TensorT],
    *,
    tools: Any = None,
    chat_template_kwargs: Any = None,
    continue_final_message: bool | str = False,
    apply_chat_template: bool = True,
    parse_special_tokens: bool | None = None,
) -> RenderPrompt:
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
    return RenderPrompt(loaded.tokenizer, loaded.prompt_style, options, raw=raw, parse_special_tokens=parse)


def prepare_requests(
    loaded: LoadedModel[TensorT],
    prompt: object,
    sys_prompt: str | None,
    options: GenerationOptions,
    *,
    context_length: int,
    renderer: RenderPrompt | None = None,
) -> PreparedRequests:
    """Return the requests for one prompt or a list of them.

    Args:
        loaded: The model that is asked.
        prompt: A text, a list of messages, or a list of those.
        sys_prompt: What the system says first, to each of them.
        options: How answers are to be generated.
        context_length: The longest text that the model holds.
        renderer: Writes the prompts; None is as `prompt_writer` makes it.

    Raises:
        BadArgument: A prompt is empty.
        WrongType: It is none of these.
        BadPrompt: The model's prompt style cannot express it.

    """
    renderer = renderer or make_prompt_renderer(loaded)
    listed, several = split_prompts(prompt)
    requests = []
    for one in listed:
        if isinstance(one, str):
            renderer.warn_if_rendered(one)
        parse = options.parse_special_tokens
        if parse is None:
            parse = renderer.raw or (isinstance(one, str) and loaded.prompt_style is PLAIN)
        writer = attrs.evolve(renderer, parse_special_tokens=parse)
        ids = writer.encode(writer.render(to_messages(one, sys_prompt)))
        requests.append(
            options.to_request(
                ids, loaded.stop_token_ids, loaded.sampling_params, context_length=context_length
            )
        )
    return PreparedRequests(requests, (*options.stop_strings, *loaded.stop_strings), several)
