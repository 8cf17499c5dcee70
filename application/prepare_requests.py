"""Build requests for the generator from prompts and generation options."""

import inspect
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from litgpt.application.generation_options import GenerationOptions
from litgpt.application.load_model import LoadedModel, TensorT
from litgpt.application.reasoning_budget import limit_reasoning
from litgpt.application.render_prompt import RenderPrompt, split_prompts, to_messages
from litgpt.application.structured_output import OutputFormat
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.stop_strings import StopStrings
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.tool_calls.tool_choice import parse_tool_choice
from litgpt.domain.validators import flag, integer

T = TypeVar("T")


@attrs.frozen
class PreparedRequests:
    """Requests for the generator, and how their answers are parsed.

    Attributes:
        requests: `n` consecutive ones for each prompt.
        syntaxes: For each request; None: the answer is not parsed.
        stop_strings: See `GenerateText.stream`.
        is_batch: Whether the caller passed a list of prompts.
        n: The number of answers to a prompt; None: one, which is not in a list.
        output: The form of the answers; None: any text.
    """

    requests: list[GenerationRequest]
    syntaxes: list[AnswerSyntax | None]
    stop_strings: StopStrings
    is_batch: bool
    n: int | None = None
    output: OutputFormat | None = None

    @property
    def has_several(self) -> bool:
        """Whether there is a list of answers."""
        return self.is_batch or self.n is not None

    @property
    def answer_options(self) -> dict[str, Any]:
        """The options of `GenerateText` for these requests."""
        return {"stop_strings": self.stop_strings, "syntaxes": self.syntaxes, "output": self.output}

    def group(self, answers: Sequence[T]) -> T | list[T] | list[list[T]]:
        """Return the answer to a prompt; or a list, for a list of prompts or with `n`; or a list of lists."""
        if self.n is None:
            return list(answers) if self.is_batch else answers[0]
        groups = [list(answers[at : at + self.n]) for at in range(0, len(answers), self.n)]
        return groups if self.is_batch else groups[0]


def make_prompt_renderer(
    loaded: LoadedModel[TensorT],
    *,
    tools: Any = None,
    tool_choice: Any = "auto",
    parallel_tool_calls: bool = True,
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
    choice = parse_tool_choice(tool_choice, parallel_tool_calls, options.tools or ())
    if choice.mode == "none":
        options = attrs.evolve(options, tools=None)
    raw = not apply_chat_template
    parse = raw if parse_special_tokens is None else parse_special_tokens
    return RenderPrompt(
        loaded.tokenizer,
        loaded.prompt_style,
        options,
        raw=raw,
        parse_special_tokens=parse,
        tool_choice=choice,
    )


TEMPLATE_OPTIONS = (
    frozenset(inspect.signature(make_prompt_renderer).parameters)
    - {"loaded"}
    - {field.name for field in attrs.fields(GenerationOptions)}
)
"""The options of the chat template; the others are those of `GenerationOptions`."""


def prepare_requests(
    loaded: LoadedModel[TensorT],
    prompt: object,
    sys_prompt: str | None,
    options: GenerationOptions,
    *,
    context_length: int,
    renderer: RenderPrompt | None = None,
    n: int | None = None,
    split_reasoning: bool = True,
) -> PreparedRequests:
    """Return the requests for one prompt (a string or a list of messages) or a list of them.

    `split_reasoning` is whether reasoning is split from answers without tools. It always is from answers of
    a certain form, which do not call tools.

    Raises:
        InvalidArgument: A prompt is empty, or a token id is outside the vocabulary.
        WrongType: A prompt has another type.
        UnsupportedPrompt: The model's prompt style does not support the messages.
        UnsupportedOperation: There is a reasoning budget, and the model has no marks of reasoning.
    """
    if n is not None:
        n = integer("n", n, 1, "a positive integer or None")
    renderer = renderer or make_prompt_renderer(loaded)
    to_request = options.request_factory(loaded, context_length=context_length)
    output = options.output
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
        syntax = parser.answer_syntax(
            rendered, split_reasoning=split_reasoning or output is not None, calls=output is None
        )
        request = to_request(parser.encode(rendered))
        request = limit_reasoning(request, options.reasoning_budget, parser, rendered)
        requests += repeat_request(request, n or 1)
        syntaxes += [syntax] * (n or 1)
    return PreparedRequests(requests, syntaxes, options.all_stop_strings(loaded), is_batch, n, output)


def repeat_request(request: GenerationRequest, n: int) -> list[GenerationRequest]:
    """Return a request `n` times, with the seeds that follow its seed, as in vLLM."""
    params = request.sampling_params
    seeds = [None if params.seed is None else params.seed + number for number in range(n)]
    return [attrs.evolve(request, sampling_params=attrs.evolve(params, seed=seed)) for seed in seeds]
