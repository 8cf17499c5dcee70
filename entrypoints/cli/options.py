"""Options shared by several commands."""

from typing import Annotated, Any, TypeAlias

import typer

DEFAULT_MODEL = "smollm2"
"""A small model that is also distributed as a Python package and works without a network."""


def _top_k(text: str | int) -> int:
    """Parse the value of --top-k; `all` is returned as 0, which disables top-k sampling."""
    if text == "all":
        return 0
    try:
        return int(text)
    except ValueError as error:
        message = f"{text!r} is neither an integer nor 'all'."
        raise typer.BadParameter(message) from error


def _is_quiet(option: bool) -> bool:  # noqa: FBT001 - called by typer
    from litgpt.progress_report import quiet_by_environment

    return option or quiet_by_environment()


def sampling_kwargs(
    temperature: float | None, top_k: int | None, top_p: float | None, **further: float | None
) -> dict[str, Any]:
    """Return the sampling options that are set, as keyword arguments of `LLM.generate`."""
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, **further}
    arguments: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if top_k == 0:
        arguments["top_k"] = None
    return arguments


Model: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Model: a folder, a GGUF file, an installed model, or a Hub repository (org/name).",
        metavar="MODEL",
    ),
]
PromptArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(help="Prompt; the same as --prompt.", metavar="PROMPT", show_default=False),
]
Prompt: TypeAlias = Annotated[
    str | None, typer.Option(help="Prompt; - reads it from stdin.", show_default=False)
]
MessagesFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--messages", help="JSON file of messages, as saved by /save in a chat; replaces --prompt."),
]
Tools: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Tools that the model may call: a JSON file with a list of schemas, or the JSON itself."
    ),
]
ChatTemplateKwargs: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Variables for the chat template, as JSON: '{\"enable_thinking\": false}'."),
]
ContinueFinalMessage: TypeAlias = Annotated[
    bool,
    typer.Option("--continue-final-message", help="Continue the last message instead of starting a new one."),
]
ApplyChatTemplate: TypeAlias = Annotated[
    bool,
    typer.Option(help="Whether to apply the chat template, or to use the prompt as it is."),
]
SysPrompt: TypeAlias = Annotated[str | None, typer.Option(help="System prompt.")]
MaxNewTokens: TypeAlias = Annotated[int, typer.Option(help="Maximum number of tokens to generate.")]
MaxNewTokensOrAll: TypeAlias = Annotated[
    int | None, typer.Option(help="Maximum number of tokens per answer.  [default: up to the context length]")
]
Temperature: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Sampling temperature; 0 is greedy decoding.  "
        "[default: the model's generation_config.json, else 0.8]",
        show_default=False,
    ),
]
TopK: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Sample from the k most likely tokens; 0 or all disables this.  "
        "[default: the model's generation_config.json, else 50]",
        show_default=False,
        metavar="INTEGER|all",
        parser=_top_k,
    ),
]
TopP: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Nucleus sampling: sample from the most likely tokens with this total probability.  "
        "[default: the model's generation_config.json, else 1]",
        show_default=False,
    ),
]
MinP: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Sample from the tokens with at least this fraction of the highest probability.",
        show_default=False,
    ),
]
RepetitionPenalty: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Above 1: make tokens of the prompt and the answer less likely.", show_default=False),
]
PresencePenalty: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Subtract this from the logits of tokens of the answer.", show_default=False),
]
FrequencyPenalty: TypeAlias = Annotated[
    float | None,
    typer.Option(help="The same, times their number in the answer.", show_default=False),
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Random seed, for reproducible output.")]
Stop: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Stop generating at this string; can be repeated.", metavar="TEXT")
]
ReasoningBudget: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Maximum number of tokens of the reasoning before an answer.", show_default=False),
]
Schema: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Answer in JSON of this schema: a JSON file, or the JSON itself.",
        metavar="FILE|JSON",
        show_default=False,
    ),
]
Regex: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Answer with a text that this regular expression matches.", show_default=False),
]
Grammar: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Answer with a text of the grammar in this file, in Lark's syntax.",
        metavar="FILE",
        show_default=False,
    ),
]
Choices: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Answer with one of these texts: A,B,C or a list in JSON.", metavar="A,B,…", show_default=False
    ),
]
ParseSpecialTokens: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        help="Encode special tokens written in the prompt, such as <|im_end|>, as control tokens.  "
        "[default: only for models without a chat template]",
        show_default=False,
    ),
]
Precision: TypeAlias = Annotated[
    str | None,
    typer.Option(help="bf16-true, 16-true or 32-true.  [default: chosen for the device and the weights]"),
]
Quantize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="int8 or int4; bnb.nf4, bnb.nf4-dq, bnb.fp4, bnb.fp4-dq or bnb.int8 with bitsandbytes.  "
        "[default: no quantization]"
    ),
]
Accelerator: TypeAlias = Annotated[str, typer.Option(help="Device type: cpu, cuda, mps, gpu or auto.")]
Devices: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Number of devices.  [default: 1; with --generate-strategy, all]"),
]
CopyDevices: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Number of devices. Each has a copy of the model, or with --generate-strategy a part.  "
        "[default: 1]",
        show_default=False,
    ),
]
GenerateStrategy: TypeAlias = Annotated[
    str | None,
    typer.Option(help="How to distribute the model over devices: sequential or tensor_parallel."),
]
Engine: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="native (C++ kernels, on a CPU), torch or transformers.  [default: native if possible]",
        show_default=False,
    ),
]
KVCache: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--kv-cache",
        help="int8: keys and values in 8 bits, with the native engine.  [default: the model's precision]",
        show_default=False,
    ),
]
Draft: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Draft model: a smaller model with the same vocabulary, which proposes tokens. The texts are "
        "the same and take less time.",
        metavar="MODEL",
        show_default=False,
    ),
]
InfoDevices: TypeAlias = Annotated[
    int, typer.Option(help="Also show the memory that each of this many devices needs.")
]
Revision: TypeAlias = Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")]
Offline: TypeAlias = Annotated[
    bool, typer.Option("--offline", help="Do not access the network; use local files only.")
]
AccessToken: TypeAlias = Annotated[
    str | None, typer.Option(help="Hugging Face token.  [default: HF_TOKEN, or the token of `hf auth login`]")
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Overwrite another model or an earlier run in the output directory.")
]
Quiet: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--quiet", callback=_is_quiet, help="Print only the result and errors, as with LITGPT_QUIET=1."
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
