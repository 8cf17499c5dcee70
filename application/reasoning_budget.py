"""A budget for reasoning: after so many tokens, the mark that ends the reasoning follows."""

from typing import TYPE_CHECKING

import attrs

from litgpt.application.render_prompt import RenderPrompt
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.tool_calls.formats import ChannelFormat, ReasoningFormat

if TYPE_CHECKING:
    from litgpt.domain.constraints.reasoning import ReasoningConstraint


def limit_reasoning(
    request: GenerationRequest, budget: int | None, renderer: RenderPrompt, rendered: str
) -> GenerationRequest:
    """Return a request whose reasoning has at most `budget` tokens; None: any number.

    Args:
        request: A request without a constraint.
        budget: The largest number of tokens.
        renderer: The renderer of the prompt.
        rendered: The prompt.

    Raises:
        UnsupportedOperation: The chat template has no marks of reasoning.
    """
    if budget is None:
        return request
    syntax = renderer.reasoning_syntax(rendered)
    calls = None if syntax is None else syntax.format.tool_calls
    reasoning = (
        calls.reasoning_marks if isinstance(calls, ChannelFormat) else syntax and syntax.format.reasoning
    )
    if syntax is None or reasoning is None:
        reason = "the chat template of the model has no marks of reasoning, such as <think> and </think>."
        raise UnsupportedOperation(f"reasoning_budget={budget}", reason)
    constraint = reasoning_constraint(syntax, reasoning, renderer.tokenizer, request.stop_token_ids)
    return attrs.evolve(request, constraint=attrs.evolve(constraint, budget=budget))


def reasoning_constraint(
    syntax: AnswerSyntax, reasoning: ReasoningFormat, tokenizer: Tokenizer, stop_token_ids: frozenset[int]
) -> "ReasoningConstraint":
    """Return a constraint without a budget, at the beginning of an answer."""
    from litgpt.domain.constraints.reasoning import ReasoningConstraint

    return ReasoningConstraint(
        begin=reasoning.begin,
        end=reasoning.end,
        header=reasoning.header,
        end_ids=_mark_ids(tokenizer, reasoning.end),
        in_reasoning=syntax.in_reasoning,
        vocab_size=tokenizer.vocab_size,
        stop_token_ids=stop_token_ids,
        decoder=lambda: tokenizer.decoder(visible=syntax.format.special_tokens).push,
    )


def _mark_ids(tokenizer: Tokenizer, mark: str) -> tuple[int, ...]:
    """Return the tokens of a mark within a text."""
    token = tokenizer.token_to_id(mark)
    if token is not None:
        return (token,)
    ids, before = tokenizer.encode(f"\n{mark}", bos=False), tokenizer.encode("\n", bos=False)
    return tuple(ids[len(before) :] if ids[: len(before)] == before else tokenizer.encode(mark, bos=False))
