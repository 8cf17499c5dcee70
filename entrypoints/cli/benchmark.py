"""`litgpt benchmark`: measure the generation speed and memory use of a model."""

import math
from typing import Annotated

import typer

from litgpt.cli import console, options
from litgpt.cli.arguments import one_prompt, prompt_text
from litgpt.cli.error_output import UsageError
from litgpt.cli.model_loading import DistributeArguments, load_model


def benchmark(  # noqa: PLR0913 - one per option
    model: options.Model = options.DEFAULT_MODEL,
    words: options.PromptArgument = None,
    *,
    prompt: options.Prompt = None,
    num_iterations: Annotated[int, typer.Option(help="Number of measured runs, after a warm-up.")] = 5,
    sys_prompt: options.SysPrompt = None,
    max_new_tokens: options.MaxNewTokens = 50,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    seed: options.Seed = None,
    stop: options.Stop = None,
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
    as_json: options.AsJson = False,
) -> None:
    """Measure generation speed and memory."""
    from litgpt.application.generation_options import GenerationOptions
    from litgpt.domain.benchmark import benchmark_dict_to_markdown_table
    from litgpt.domain.reference import ModelReference
    from litgpt.domain.validators import integer

    text = one_prompt(words, prompt)
    if text is None:
        raise UsageError("Missing prompt: pass it after MODEL or with --prompt.")
    text = prompt_text(text, sys_prompt)
    integer("num_iterations", num_iterations, 1)
    generation = options.sampling_kwargs(temperature, top_k, top_p) | {
        "seed": seed,
        "max_new_tokens": max_new_tokens,
        "stop": stop,
    }
    GenerationOptions(**generation)
    reference = ModelReference(model, revision, offline or None, access_token)
    placement = DistributeArguments(
        accelerator, precision, quantize, devices, generate_strategy, engine, kv_cache
    )
    with load_model(reference, placement, draft=draft, quiet=quiet) as llm:
        _, figures = llm.benchmark(num_iterations, prompt=text, sys_prompt=sys_prompt, **generation)
        run = {"model": str(reference), "device": llm.preprocessor.device, "iterations": num_iterations}
        arithmetic = llm.arithmetic
    if as_json:
        numbers = {name: _without_nan(values) for name, values in figures.items()}
        console.show_json(run | {"figures": numbers, "arithmetic": arithmetic})
        return
    console.show(benchmark_dict_to_markdown_table(figures), end="")
    console.note(f"Computed with {arithmetic}.")


def _without_nan(values: list[float]) -> list[float | None]:
    """Return the values with NaN as None, since JSON does not support NaN."""
    return [None if math.isnan(value) else value for value in values]
