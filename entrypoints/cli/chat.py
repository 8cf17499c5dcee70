"""`litgpt chat`: chat with a model in the terminal."""

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from litgpt.cli import console, options
from litgpt.cli.chat_template_options import template_kwargs, warnings_as_notes
from litgpt.cli.constraint_options import constraint_kwargs
from litgpt.cli.error_output import UsageError
from litgpt.cli.model_loading import DistributeArguments, load_model

if TYPE_CHECKING:
    from litgpt.cli.repl.opening import Opening
    from litgpt.cli.repl.session import Session
    from litgpt.domain.reference import ModelReference
    from litgpt.llm import LLM

Model: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="Model: a folder, a GGUF file, an installed model, or a Hub repository (org/name). "
        "With --url, a model of the server, or MODEL:ADAPTER.",
        metavar="MODEL",
        show_default=f"{options.DEFAULT_MODEL}; with --url, the first one of the server",
    ),
]


def chat(  # noqa: PLR0913 - one per option
    model: Model = None,
    *,
    model_option: Annotated[
        str | None, typer.Option("--model", help="The same as MODEL.", metavar="MODEL")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Chat with a model of this server, such as http://127.0.0.1:8000, instead of loading one."
        ),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="With --url: the API key.  [default: LITGPT_API_KEY]")
    ] = None,
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
    from litgpt.domain.reference import ModelReference

    if model is not None and model_option is not None:
        raise UsageError("MODEL and --model exclude each other: pass one of them.")
    name = model if model is not None else model_option
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
    settings |= constraint_kwargs(schema, regex, grammar, choices, check=url is None)
    GenerationOptions(**settings)
    from litgpt.cli.repl.opening import Opening

    opening = Opening(sys_prompt, resume)
    if (saved := opening.saved) is not None:
        settings |= {"tools": saved.tools, "chat_template_kwargs": saved.chat_template_kwargs}
    settings |= template_kwargs(tools, chat_template_kwargs, apply_chat_template=apply_chat_template)
    placement = DistributeArguments(
        accelerator, precision, quantize, devices, generate_strategy, engine, kv_cache
    )
    with ExitStack() as stack:
        if url is None:
            if api_key is not None:
                raise UsageError("--api-key is for a server: pass its --url, too.")
            reference = ModelReference(name or options.DEFAULT_MODEL, revision, offline or None, access_token)
            llm = stack.enter_context(load_model(reference, placement, draft=draft, quiet=quiet))
            stack.enter_context(warnings_as_notes(quiet=quiet))
            session = _local_session(llm, reference, settings, opening, quiet=quiet)
        else:
            from litgpt.cli.remote.client import ServerClient
            from litgpt.cli.remote.start import require_remote_options, server_session

            further = {"draft": draft, "revision": revision, "offline": offline, "access_token": access_token}
            further |= {"parse_special_tokens": settings.pop("parse_special_tokens")}
            further |= {"no_apply_chat_template": not apply_chat_template}
            require_remote_options({**placement._asdict(), **further, "accelerator": accelerator != "auto"})
            client = ServerClient.from_url(url, api_key or os.environ.get("LITGPT_API_KEY"))
            session = server_session(client, name, settings, opening, quiet=quiet)
        if console.stdin_is_terminal() and not quiet:
            console.note(f"Chat with {session.details['model']}. /help lists the commands; Ctrl-D quits.")
        session.run()
    if session.failed and not console.stdin_is_terminal():
        raise typer.Exit(1)  # scripts only see the exit status


def _local_session(
    llm: "LLM", reference: "ModelReference", settings: dict[str, Any], opening: "Opening", *, quiet: bool
) -> "Session":
    from litgpt.cli.repl.adapter_switch import AdapterSwitch
    from litgpt.cli.repl.session import Session

    return Session(
        lambda messages, settings: llm.chat(resume=messages, **settings),
        llm.chat(opening.sys_prompt, resume=opening.messages, **settings),
        settings,
        AdapterSwitch(llm),
        details={"model": str(reference), "prompts": _style(llm)},
        files=opening.files,
        quiet=quiet,
    )


def _style(llm: "LLM") -> str:
    style = llm.prompt_style
    return "the tokenizer's chat template" if style is None else f"prompt style {style.name}"
