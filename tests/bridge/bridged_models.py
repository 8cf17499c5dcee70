"""Tiny models that transformers computes: of families that this library does not have, or forced."""

import atexit
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from litgpt import LLM
from litgpt.domain.families import FAMILIES as OWN_FAMILIES
from tests.adapters.tiny_models import randomize, save_byte_tokenizer

VOCAB_SIZE = 384
IDS = torch.arange(24).view(2, 12) * 7 % 200
EXACT: dict[str, Any] = {"precision": "32-true"}

# Other mechanisms, and other interfaces of transformers: a state of RWKV's, states in a cache, attention and
# states in one model, a state in the module, no cache at all, and keys and values.
FAMILIES: dict[str, dict[str, Any]] = {
    "rwkv": {"attention_hidden_size": 32, "intermediate_size": 64, "context_length": 64},
    "xlstm": {"hidden_size": 64, "embedding_dim": 64, "num_heads": 4, "qk_dim_factor": 1.0},
    "mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 2, "expand": 2},
    "zamba2": {
        "num_hidden_layers": 3,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "mamba_d_state": 8,
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
        "n_mamba_heads": 4,
        "use_mamba_kernels": False,
        "layers_block_type": ["mamba", "mamba", "hybrid"],
        "hybrid_layer_ids": [2],
        "num_mem_blocks": 1,
        "adapter_rank": 4,
    },
    "recurrent_gemma": {
        "num_hidden_layers": 3,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "lru_width": 32,
        "attention_window_size": 16,
    },
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "ctrl": {"n_embd": 32, "n_layer": 2, "n_head": 4, "dff": 64, "n_positions": 64},
}
BRIDGED = tuple(FAMILIES)
_HIDDEN = {"hidden_size": 32, "num_hidden_layers": 2}

_HOME = TemporaryDirectory(prefix="bridged-models-", ignore_cleanup_errors=True)
atexit.register(_HOME.cleanup)


@cache
def bridged_model(family: str) -> Any:
    """Return the model, as transformers loads it."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(bridged_folder(family), dtype=torch.float32)
    model.generation_config.eos_token_id = None
    return model.eval()


@cache
def bridged_folder(family: str) -> Path:
    """Return the folder of a model, with a byte-level tokenizer; read-only."""
    from transformers import AutoConfig, AutoModelForCausalLM

    own = FAMILIES[family]
    sizes = own if "n_embd" in own else {**_HIDDEN, **own}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = AutoConfig.for_model(family, vocab_size=VOCAB_SIZE, **ids, **sizes)
    folder = Path(_HOME.name) / family
    randomize(AutoModelForCausalLM.from_config(config, dtype=torch.float32)).save_pretrained(folder)
    save_byte_tokenizer(folder)
    return folder


def load(folder: Path, **options: Any) -> LLM:
    """Return a model in float32."""
    llm = LLM.load(folder, quiet=True, distribute=None)
    if json.loads((folder / "config.json").read_text())["model_type"] in OWN_FAMILIES:
        options = {"engine": "transformers", **options}
    llm.distribute(**(EXACT | options))
    return llm


def folder_with(tmp_path: Path, **settings: Any) -> Path:
    """Write the RWKV model with other settings, and return its folder."""
    source = bridged_folder("rwkv")
    (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    config = json.loads((source / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | settings))
    save_byte_tokenizer(tmp_path)
    return tmp_path
