"""The options that several commands have, each with its help."""

from typing import Annotated, TypeAlias

import typer

DEFAULT_MODEL = "smollm2"
"""A small model in a package of its own, so that the first answer needs no network."""

Model: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="A folder, a GGUF file, an installed model's name, or org/name on the Hub.",
        metavar="MODEL",
    ),
]
Prompt: TypeAlias = Annotated[
    str, typer.Option(help="What to say; - reads it from stdin.", show_default=False)
]
PromptOrMessages: TypeAlias = Annotated[
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
    float, typer.Option(help="Divides the logits; 0 takes the likeliest token.")
]
TopK: TypeAlias = Annotated[int | None, typer.Option(help="Draw from this many of the likeliest tokens.")]
TopP: TypeAlias = Annotated[
    float, typer.Option(help="Draw from the likeliest tokens that have this much of the probability.")
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
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="Write nothing but the answer, and errors.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
