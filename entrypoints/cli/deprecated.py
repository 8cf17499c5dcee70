"""Renamed and removed commands of LitGPT 0.5 and similar programs."""

from collections.abc import Mapping, Sequence

ALIASES: Mapping[str, tuple[str, ...]] = {
    "finetune_full": ("finetune", "--method", "full"),
    "finetune_lora": ("finetune", "--method", "lora"),
    "generate_full": ("generate",),
    "generate_sequentially": ("generate", "--generate-strategy", "sequential"),
    "generate_tp": ("generate", "--generate-strategy", "tensor_parallel"),
}
"""Commands of LitGPT 0.5, and the arguments that replace them."""

_TO_LITGPT = (
    "Hugging Face, GGUF and LitGPT files are loaded without conversion. To open a model in LitGPT 0.5, run "
    "`litgpt convert MODEL OUT_DIR`, and then LitGPT's own `litgpt convert_to_litgpt OUT_DIR`."
)
_LORA = "this version trains LoRA instead: `litgpt finetune MODEL --data DATA --method lora`."
_ADAPTER = "use `litgpt generate ADAPTER_FOLDER --prompt …`, for LoRA adapters."

REMOVED = {
    "convert_from_litgpt": "use `litgpt convert MODEL OUT_DIR`.",
    "convert_pretrained_checkpoint": "`litgpt convert X.ckpt OUT_DIR` saves the model of a checkpoint.",
    "convert_to_litgpt": _TO_LITGPT,
    "evaluate": "this version has no evaluation yet. `litgpt benchmark MODEL` measures speed and memory.",
    "finetune_adapter": _LORA,
    "finetune_adapter_v2": _LORA,
    "finetune_lora_legacy": _LORA,
    "generate_adapter": _ADAPTER,
    "generate_adapter_v2": _ADAPTER,
    "generate_speculatively": "this version has no speculative decoding yet.",
    "merge_lora": "`litgpt convert ADAPTER_FOLDER OUT_DIR` merges an adapter into its base model.",
    "delete": "`litgpt rm MODEL` deletes a model.",
    "ls": "`litgpt list` lists the models on this machine.",
    "pull": "`litgpt download MODEL` downloads a model.",
    "remove": "`litgpt rm MODEL` deletes a model.",
    "run": "`litgpt chat MODEL` starts a chat, `litgpt generate MODEL PROMPT` completes one prompt.",
    "show": "`litgpt info MODEL` describes a model.",
    "train": "`litgpt finetune MODEL --data FILE` trains on examples, `litgpt pretrain` on texts.",
}
"""Unsupported commands of LitGPT 0.5 and similar programs, with advice on alternatives."""


def replacement(arguments: Sequence[str]) -> str | None:
    """Return the advice for an unsupported command; None for other commands."""
    name = command_name(arguments).replace("-", "_")
    return f"`litgpt {name}`: {REMOVED[name]}" if name in REMOVED else None


def translate_alias(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a renamed command replaced by its current name."""
    name = command_name(arguments)
    current = ALIASES.get(name.replace("-", "_"))
    if current is None:
        return list(arguments)
    at = list(arguments).index(name)
    return [*arguments[:at], *current, *arguments[at + 1 :]]


def command_name(arguments: Sequence[str]) -> str:
    """Return the name of the command, the first argument that is not an option; empty if absent."""
    return next((word for word in arguments if not word.startswith("-")), "")
