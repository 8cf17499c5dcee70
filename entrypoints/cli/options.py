"""The options that several commands have, each with its help."""

from typing import Annotated, Any, TypeAlias

import typer

DEFAULT_MODEL = "smollm2"
"""A small model in a package of its own, so that the first answer needs no network."""


def _top_k(text: str | int) -> int:
    """Return the value of --top-k; 0 stands for every token."""
    if text == "all":
        return 0
    try:
        return int(text)
    except ValueError as error:
        message = f"{text!r} is neither an integer nor 'all'."
        raise typer.BadParameter(message) from error


def sampling(temperature: float | None, top_k: int | None, top_p: float | None) -> dict[str, Any]:
    """Return the sampling options that were given, as keyword arguments of `LLM.generate`."""
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    arguments: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if top_k == 0:
        arguments["top_k"] = None
    return arguments


Model: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="A folder, a GGUF file, an installed model's name, or org/name on the Hub.",
        metavar="MODEL",
    ),
]
PromptArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(help="What to say, in place of --prompt.", metavar="[PROMPT]", show_default=False),
]
Prompt: TypeAlias = Annotated[
    str | None, typer.Option(help="What to say; - reads it from stdin.", show_default=False)
]
MessagesFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--messages", help="A JSON file of messages, as /save writes them, in place of --prompt."),
]
Tools: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Tools that the model may call: a JSON file with a list of schemas, or the JSON."),
]
ChatTemplateKwargs: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Variables of the chat template, as JSON: '{\"enable_thinking\": false}'."),
]
ContinueFinalMessage: TypeAlias = Annotated[
    bool, typer.Option("--continue-final-message", help="Continue the last message instead of answering it.")
]
ApplyChatTemplate: TypeAlias = Annotated[
    bool,
    typer.Option(help="Whether the prompt goes through the chat template, or is sent as it is."),
]
SysPrompt: TypeAlias = Annotated[str | None, typer.Option(help="What the system says first.")]
MaxNewTokens: TypeAlias = Annotated[int, typer.Option(help="A bound on the answer, in tokens.")]
MaxNewTokensOrAll: TypeAlias = Annotated[
    int | None, typer.Option(help="A bound on each answer, in tokens.  [default: the model's context]")
]
Temperature: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Divides the logits; 0 takes the likeliest token.  "
        "[default: the model's generation_config.json, else 0.8]",
        show_default=False,
    ),
]
TopK: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Draw from this many of the likeliest tokens; 0 or all for no bound.  "
        "[default: the model's generation_config.json, else 50]",
        show_default=False,
        metavar="INTEGER|all",
        parser=_top_k,
    ),
]
TopP: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Draw from the likeliest tokens that have this much of the probability.  "
        "[default: the model's generation_config.json, else 1]",
        show_default=False,
    ),
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Makes the answer repeatable.")]
Stop: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="A text that ends the answer; may be given several times.")
]
ParseSpecialTokens: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        help="Make control tokens of special tokens that are written in the prompt, such as <|im_end|>.  "
        "[default: only for a model without a chat template]",
        show_default=False,
    ),
]
Precision: TypeAlias = Annotated[
    str | None,
    typer.Option(help="bf16-true, 16-true or 32-true.  [default: the best that the device supports]"),
]
Quantize: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="int8 or int4; bnb.nf4, bnb.nf4-dq, bnb.fp4, bnb.fp4-dq or bnb.int8 with bitsandbytes.  "
        "[default: the weights stay as they are]"
    ),
]
Accelerator: TypeAlias = Annotated[
    str, typer.Option(help="cpu, cuda, mps, gpu, or auto for the best there is.")
]
Devices: TypeAlias = Annotated[
    int | None,
    typer.Option(help="How many devices.  [default: one, or all there are with --generate-strategy]"),
]
GenerateStrategy: TypeAlias = Annotated[
    str | None,
    typer.Option(help="How to spread the model over devices: sequential or tensor_parallel."),
]
DevicesToTell: TypeAlias = Annotated[
    int, typer.Option(help="Tell what each of so many devices would hold, too.")
]
Revision: TypeAlias = Annotated[str | None, typer.Option(help="A branch, tag or commit of the repository.")]
Offline: TypeAlias = Annotated[bool, typer.Option("--offline", help="Never ask the Hub.")]
AccessToken: TypeAlias = Annotated[
    str | None, typer.Option(help="What the Hub knows you by.  [default: HF_TOKEN, or your login]")
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace another model, or an earlier run, in the folder.")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="Write nothing but the answer, and errors.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
