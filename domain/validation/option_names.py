"""Suggestions for misspelled options and for names from transformers, llama.cpp, Ollama or vLLM."""

from collections.abc import Collection
from difflib import get_close_matches

_OTHER_NAMES = {
    "max_length": "max_new_tokens",
    "max_tokens": "max_new_tokens",
    "n_predict": "max_new_tokens",
    "num_predict": "max_new_tokens",
    "temp": "temperature",
    "do_sample": "temperature",
    "system": "sys_prompt",
    "system_prompt": "sys_prompt",
    "stop_strings": "stop",
    "stop_sequences": "stop",
    "num_return_sequences": "num_samples",
    "dtype": "precision",
    "torch_dtype": "precision",
    "device": "accelerator",
    "device_map": "accelerator",
    "tensor_parallel_size": "devices",
    "num_gpus": "devices",
    "lr": "learning_rate",
    "min_lr": "min_learning_rate",
    "bs": "batch_size",
    "micro_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "max_grad_norm": "max_norm",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "output_dir": "out_dir",
    "dataset": "data",
    "r": "lora_rank",
    "lora_r": "lora_rank",
    "target_modules": "lora_targets",
    "checkpoint_dir": "model",
    "model_name_or_path": "model",
    "hf_token": "access_token",
    "token": "access_token",
}


def suggest_name(unknown: str, names: Collection[str]) -> str | None:
    """Return the name that is meant by an unknown one, with underscores; None if none is similar."""
    other = _OTHER_NAMES.get(unknown)
    candidates = (other, other and other.removeprefix("lora_"))  # add_lora has rank, TrainConfig lora_rank
    if known := next((name for name in candidates if name in names), None):
        return known
    return next(iter(get_close_matches(unknown, names, n=1)), None)
