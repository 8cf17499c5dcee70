"""Validate generation options and build requests for the generator."""

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
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.validators import flag, is_flag, is_flag_or_none


@attrs.frozen(kw_only=True)
class GenerationOptions:
    """Generation options of a call, validated before any work is done.

    Attributes:
        max_new_tokens: The maximum length of each answer; None: up to the context length.
        temperature: See `SamplingParams`, also for the next three; MODEL_DEFAULT: the model's setting.
        parse_special_tokens: Whether special tokens in a prompt become control tokens. None: only in a text
            that is the whole prompt, not in messages of a chat template or prompt style.
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
        """Return the sampling parameters, with the model's `defaults` for MODEL_DEFAULT."""
        own = {field.name: getattr(self, field.name) for field in attrs.fields(SamplingParams)}
        return attrs.evolve(
            defaults, **{name: value for name, value in own.items() if value is not MODEL_DEFAULT}
        )

    def to_request(
        self,
        prompt_ids: list[int],
        stop_token_ids: frozenset[int],
        defaults: SamplingParams,
        *,
        context_length: int,
    ) -> GenerationRequest:
        """Return a request for a prompt of token ids, with the model's stop tokens and defaults."""
        return GenerationRequest(
            prompt=prompt_ids,
            max_new_tokens=context_length if self.max_new_tokens is None else self.max_new_tokens,
            sampling_params=self.sampling_params(defaults),
            stop_token_ids=stop_token_ids,
            logprobs=self.logprobs,
        )


@attrs.frozen
class PreparedRequests:
    """Requests for the generator, and how their answers are parsed.

    `is_batch` is whether the caller passed a list of prompts.
    """

    requests: list[GenerationRequest]
    syntaxes: list[AnswerSyntax | None]
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
    """Return the prompt renderer of a model; see `LLM.generate` for the options."""
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
    split_reasoning: bool = True,
) -> PreparedRequests:
    """Return the requests for one prompt (a string or a list of messages) or a list of them.

    `split_reasoning` is whether reasoning is split from the answers if there are no tools.

    Raises:
        InvalidArgument: A prompt is empty.
        WrongType: A prompt has another type.
        UnsupportedPrompt: The model's prompt style does not support the messages.
    """
    renderer = renderer or make_prompt_renderer(loaded)
    prompts, is_batch = split_prompts(prompt)
    requests, syntaxes = [], []
    for entry in prompts:
        if isinstance(entry, str):
            renderer.warn_if_rendered(entry)
        parse = options.parse_special_tokens
        if parse is None:
            parse = renderer.raw or (isinstance(entry, str) and loaded.prompt_style is PLAIN)
        parser = attrs.evolve(renderer, parse_special_tokens=parse)
        rendered = parser.render(to_messages(entry, sys_prompt))
        ids = parser.encode(rendered)
        syntaxes.append(parser.answer_syntax(rendered, split_reasoning=split_reasoning))
        requests.append(
            options.to_request(
                ids, loaded.stop_token_ids, loaded.sampling_params, context_length=context_length
            )
        )
    return PreparedRequests(requests, syntaxes, (*options.stop_strings, *loaded.stop_strings), is_batch)
