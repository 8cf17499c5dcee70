"""`litgpt chat`: chat with a model in the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litgpt.cli import console, options
from litgpt.cli.chat_template_options import template_kwargs, warnings_as_notes
from litgpt.cli.constraint_options import constraint_kwargs
from litgpt.cli.model_loading import DistributeArguments, load_model

if TYPE_CHECKING:
    from litgpt.llm import LLM


def chat(  # noqa: PLR0913 - one per option
    model: options.Model = options.DEFAULT_MODEL,
    *,
    sys_prompt: options.SysPrompt = None,
    resume: Annotated[str | None, typer.Option(help="Continue a conversation saved with /save.")] = None,
    max_new_tokens: options.MaxNewTokensOrAll = None,
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
    apply_chat_template: options.ApplyChatTemplate = True,
    parse_special_tokens: options.ParseSpecialTokens = None,
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
    """Chat with a model in the terminal."""
    from litgpt.application.generation_options import GenerationOptions
    from litgpt.chat import read_chat
    from litgpt.cli.repl.adapter_switch import AdapterSwitch
    from litgpt.cli.repl.chat_files import ChatFiles
    from litgpt.cli.repl.session import Session
    from litgpt.domain.reference import ModelReference

    settings = options.sampling_kwargs(
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
        "seed": seed,
        "stop": stop,
        "parse_special_tokens": parse_special_tokens,
    }
    settings |= constraint_kwargs(schema, regex, grammar, choices)
    GenerationOptions(**settings)
    saved = read_chat(resume) if resume else None
    if saved is not None:
        settings |= {"tools": saved.tools, "chat_template_kwargs": saved.chat_template_kwargs}
    settings |= template_kwargs(tools, chat_template_kwargs, apply_chat_template=apply_chat_template)
    reference = ModelReference(model, revision, offline or None, access_token)
    placement = DistributeArguments(
        accelerator, precision, quantize, devices, generate_strategy, engine, kv_cache
    )
    with load_model(reference, placement, draft=draft, quiet=quiet) as llm, warnings_as_notes(quiet=quiet):
        session = Session(
            lambda messages, settings: llm.chat(resume=messages, **settings),
            llm.chat(sys_prompt, resume=None if saved is None else saved.messages, **settings),
            settings,
            AdapterSwitch(llm),
            details={"model": str(reference), "prompts": _style(llm)},
            files=ChatFiles(set() if resume is None else {Path(resume)}),
            quiet=quiet,
        )
        if console.stdin_is_terminal() and not quiet:
            console.note(f"Chat with {reference}. /help lists the commands; Ctrl-D quits.")
        session.run()
    if session.failed and not console.stdin_is_terminal():
        raise typer.Exit(1)  # scripts only see the exit status


def _style(llm: "LLM") -> str:
    style = llm.prompt_style
    return "the tokenizer's chat template" if style is None else f"prompt style {style.name}"
