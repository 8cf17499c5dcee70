"""`litgpt generate`: generate one or more completions of a prompt."""

from typing import TYPE_CHECKING, Annotated

import typer

from litgpt.cli import console, options
from litgpt.cli.arguments import one_prompt
from litgpt.cli.chat_template_options import parse_conversation, template_kwargs, warnings_as_notes
from litgpt.cli.constraint_options import constraint_kwargs, require_complete
from litgpt.cli.model_loading import DistributeArguments, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litgpt.domain.generation.request import Completion, CompletionChunk


def generate(  # noqa: PLR0913 - one per option
    model: options.Model = options.DEFAULT_MODEL,
    words: options.PromptArgument = None,
    *,
    prompt: options.Prompt = None,
    messages: options.MessagesFile = None,
    sys_prompt: options.SysPrompt = None,
    max_new_tokens: options.MaxNewTokens = 50,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    seed: options.Seed = None,
    stop: options.Stop = None,
    reasoning_budget: options.ReasoningBudget = None,
    schema: options.Schema = None,
    regex: options.Regex = None,
    grammar: options.Grammar = None,
    choices: options.Choices = None,
    tools: options.Tools = None,
    chat_template_kwargs: options.ChatTemplateKwargs = None,
    continue_final_message: options.ContinueFinalMessage = False,
    apply_chat_template: options.ApplyChatTemplate = True,
    parse_special_tokens: options.ParseSpecialTokens = None,
    num_samples: Annotated[int, typer.Option(help="Number of completions.")] = 1,
    stream: Annotated[
        bool | None, typer.Option(help="Print the text while it is generated.  [default: on a terminal]")
    ] = None,
    precision: options.Precision = None,
    quantize: options.Quantize = None,
    accelerator: options.Accelerator = "auto",
    devices: options.Devices = None,
    generate_strategy: options.GenerateStrategy = None,
    engine: options.Engine = None,
    kv_cache: options.KVCache = None,
    draft: options.Draft = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
) -> None:
    """Generate text from a prompt."""
    from litgpt.application.generation_options import GenerationOptions
    from litgpt.cli.repl.answer_speed import AnswerSpeed, truncation_notice
    from litgpt.domain.reference import ModelReference
    from litgpt.domain.validators import integer

    conversation, from_file = parse_conversation(
        one_prompt(words, prompt), messages, sys_prompt, model="" if model == options.DEFAULT_MODEL else model
    )
    template_options = from_file | template_kwargs(
        tools,
        chat_template_kwargs,
        apply_chat_template=apply_chat_template,
        continue_final_message=continue_final_message,
    )
    integer("num_samples", num_samples, 1)
    generation = options.sampling_kwargs(
        temperature,
        top_k,
        top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        reasoning_budget=reasoning_budget,
    ) | {
        "max_new_tokens": max_new_tokens,
        "stop": stop,
        "parse_special_tokens": parse_special_tokens,
    }
    constraint = constraint_kwargs(schema, regex, grammar, choices)
    generation |= constraint
    GenerationOptions(**generation, seed=seed)
    reference = ModelReference(model, revision, offline or None, access_token)
    streamed = console.stdout_is_terminal() if stream is None else stream
    placement = DistributeArguments(
        accelerator, precision, quantize, devices, generate_strategy, engine, kv_cache
    )
    with load_model(reference, placement, draft=draft, quiet=quiet) as llm, warnings_as_notes(quiet=quiet):
        for number in range(num_samples):
            if number:
                console.show("")
            nth_seed = None if seed is None else seed + number
            pace = AnswerSpeed()
            chunks = llm.complete(
                conversation, sys_prompt, **generation, **template_options, seed=nth_seed, stream=True
            )
            completion = write_answer(pace.measure(chunks), streamed=streamed)
            if not quiet and completion.finish_reason == "length" and not constraint:
                console.note(truncation_notice(completion, max_new_tokens, "--max-new-tokens"))
            if not quiet and console.stderr_is_terminal():
                console.note(pace.summary())
            require_complete(completion, constraint)


def write_answer(chunks: "Iterator[CompletionChunk]", *, streamed: bool) -> "Completion":
    """Write a completion to stdout, and return it."""
    from litgpt.cli.answer_text import AnswerText

    answer, whole, completion = AnswerText(), "", None
    try:
        for chunk in chunks:
            text = answer.push(chunk)
            whole += text
            if streamed and text:
                console.show(text, end="")
            completion = chunk.completion or completion
    except KeyboardInterrupt:
        console.show("")  # later output starts on a new line
        raise
    assert completion is not None  # noqa: S101 - the last chunk always has it
    console.show("" if streamed else whole)
    return completion
