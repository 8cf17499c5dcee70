"""The commands that LitGPT has and this version has not, and what to do in their place."""

from collections.abc import Sequence

_TRAINING = "this version does not train yet."
_DEVICES = "this version runs on one device. `litgpt generate MODEL --prompt …` generates on that one."
_ANY_FORMAT = (
    "nothing has to be converted: Hugging Face, GGUF and LitGPT files load as they are. "
    "`litgpt convert MODEL OUT_DIR --to litgpt` writes LitGPT's format all the same."
)
_TRAINED = "this version does not read adapters yet. Merged into the weights, they load."

FORMER = {
    "convert_from_litgpt": "`litgpt convert MODEL OUT_DIR` does it.",
    "convert_pretrained_checkpoint": _TRAINING,
    "convert_to_litgpt": _ANY_FORMAT,
    "evaluate": "this version does not evaluate yet. `litgpt benchmark MODEL` measures speed and memory.",
    "finetune": _TRAINING,
    "finetune_adapter": _TRAINING,
    "finetune_adapter_v2": _TRAINING,
    "finetune_full": _TRAINING,
    "finetune_lora": _TRAINING,
    "finetune_lora_legacy": _TRAINING,
    "generate_adapter": _TRAINED,
    "generate_adapter_v2": _TRAINED,
    "generate_full": "`litgpt generate FOLDER --prompt …` does it.",
    "generate_sequentially": _DEVICES,
    "generate_speculatively": "this version does not speculate yet.",
    "generate_tp": _DEVICES,
    "merge_lora": "this version does not read LoRA weights yet.",
    "pretrain": _TRAINING,
    "serve": "this version has no server yet. `litgpt chat MODEL` talks in the terminal.",
}
"""LitGPT 0.5's commands, but for `chat`, `download` and `generate`, which are here."""


def replacement(arguments: Sequence[str]) -> str | None:
    """Return what to say of a command that was LitGPT's and is not ours; None if it is no such command."""
    name = next((one for one in arguments if not one.startswith("-")), "").replace("-", "_")
    return f"`litgpt {name}`: {FORMER[name]}" if name in FORMER else None
