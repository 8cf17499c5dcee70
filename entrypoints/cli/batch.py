"""`litgpt batch`: answer a file of prompts, one per line."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from litgpt.cli import console, options
from litgpt.cli.batches.progress import BatchDisplay
from litgpt.cli.batches.signals import DrainOnSignal
from litgpt.cli.batches.source import open_source, read_lines
from litgpt.cli.chat_template_options import template_kwargs, warnings_as_notes
from litgpt.cli.constraint_options import constraint_kwargs
from litgpt.cli.error_output import UsageError
from litgpt.cli.model_loading import DistributeArguments

if TYPE_CHECKING:
    from litgpt.application.batch.lines import BatchLine
    from litgpt.application.batch.shard import Shard
    from litgpt.application.files.json_lines import JsonLinesOutput
    from litgpt.cli.batches.run import BatchJob

INTERRUPTED = 130


def batch(  # noqa: PLR0913 - one per option
    context: typer.Context,
    input_file: Annotated[
        str | None,
        typer.Argument(
            help="File of prompts, one JSON object per line, perhaps gzipped; - reads stdin.", metavar="INPUT"
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Argument(
            help="File of answers; - is stdout. If it exists, the run continues it.", metavar="OUTPUT"
        ),
    ] = None,
    *,
    model: Annotated[
        str,
        typer.Option(
            help="Model: a folder, a GGUF file, an installed model, or a Hub repository (org/name)."
        ),
    ] = options.DEFAULT_MODEL,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard the answers in OUTPUT.")] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Answer the lines whose number modulo WORLD is RANK.  [default: that of torchrun, Slurm or "
            "Kubernetes]",
            metavar="RANK/WORLD",
            show_default=False,
        ),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option(help="Join the files of all shards into this OUTPUT.", metavar="OUTPUT"),
    ] = None,
    sys_prompt: options.SysPrompt = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of tokens per answer.  [default: 50; for OpenAI's lines, that of its API]",
            show_default=False,
        ),
    ] = None,
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
    precision: options.Precision = None,
    quantize: options.Quantize = None,
    accelerator: options.Accelerator = "auto",
    devices: options.CopyDevices = None,
    generate_strategy: options.GenerateStrategy = None,
    engine: options.Engine = None,
    kv_cache: options.KVCache = None,
    draft: options.Draft = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
) -> int:
    """Answer a file of prompts; run again to continue after an interruption.

    The options of a line take precedence over those of the command.
    """
    if merge is not None:
        for name in context.params.keys() - {"merge", "quiet"}:
            origin = context.get_parameter_source(name)
            if origin is not None and origin.name == "COMMANDLINE":
                raise UsageError("--merge takes no options but --quiet: litgpt batch --merge OUTPUT")
        return _merge(Path(merge), quiet=quiet)
    if input_file is None or output is None:
        raise UsageError("Missing files: litgpt batch INPUT OUTPUT")
    from litgpt.application.batch.shard import Shard
    from litgpt.application.files.json_lines import STDOUT, JsonLinesOutput
    from litgpt.application.generation_options import GenerationOptions
    from litgpt.cli.batches.run import BatchJob
    from litgpt.domain.errors import InvalidArgument
    from litgpt.domain.reference import ModelReference

    if devices is not None and devices < 1:
        raise InvalidArgument("devices", devices, "a positive integer")
    part = Shard.parse(shard)
    defaults: dict[str, Any] = options.sampling_kwargs(
        temperature,
        top_k,
        top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        max_new_tokens=max_new_tokens,
        seed=seed,
        reasoning_budget=reasoning_budget,
    )
    if stop is not None:
        defaults["stop"] = stop
    defaults |= constraint_kwargs(schema, regex, grammar, choices)
    GenerationOptions(**defaults)
    defaults |= template_kwargs(tools, chat_template_kwargs, apply_chat_template=apply_chat_template)
    reference = ModelReference(model, revision, offline or None, access_token)
    placement = DistributeArguments(
        accelerator, precision, quantize, devices, generate_strategy, engine, kv_cache
    )
    job = BatchJob(
        reference=reference,
        placement=placement,
        draft=draft,
        defaults=defaults,
        sys_prompt=sys_prompt,
        quiet=quiet,
    )
    path = STDOUT if output == "-" else part.path(Path(output))
    if input_file != "-" and Path(input_file).exists() and path.exists() and path.samefile(input_file):
        raise InvalidArgument("output", str(path), "another file than the input")
    with (
        open_source(input_file) as source,
        JsonLinesOutput(path).open(overwrite=overwrite) as answers,
    ):
        try:
            return _answer(job, source, part, answers, overwrite=overwrite)
        except BrokenPipeError as error:
            raise typer.Exit(console.BROKEN_PIPE) from error


def _answer(
    job: "BatchJob", source: "BinaryIO", part: "Shard", answers: "JsonLinesOutput", *, overwrite: bool
) -> int:
    """Answer the lines of a shard, and return the exit status."""
    from litgpt.application.files.json_lines import count_lines, translated_errors

    with translated_errors("Reading the input"):
        total = count_lines(source, part.has)
    display = BatchDisplay(total, quiet=job.quiet)
    with (
        job.start(answers, total) as run,
        warnings_as_notes(quiet=job.quiet),
        DrainOnSignal() as drain,
    ):
        if overwrite:
            answers.clear()

        def lines() -> "Iterator[BatchLine | None]":
            for line in read_lines(source, part, drain, lambda: run.is_answering):
                display.show(run.counts, is_draining=drain.is_requested)
                yield line

        with display:
            for counts in run(lines()):
                display.show(counts, is_draining=drain.is_requested)
        display.summarize(run.counts, answers.path, earlier_errors=answers.num_errors)
        if drain.has_left_lines:
            display.advise_to_continue()
            return INTERRUPTED
    return 1 if run.counts.errors or run.counts.repeated or answers.num_errors else 0


def _merge(output: Path, *, quiet: bool) -> int:
    from litgpt.application.batch.shard import shard_paths
    from litgpt.application.files.json_lines import merge
    from litgpt.domain.formatting.units import format_count

    paths = shard_paths(output)
    count, num_errors = merge(paths, output)
    if not quiet:
        console.note(
            f"Merged {format_count(len(paths), 'file')} into {output}: {format_count(count, 'line')}, "
            f"{format_count(num_errors, 'error')}."
        )
    return 1 if num_errors else 0
