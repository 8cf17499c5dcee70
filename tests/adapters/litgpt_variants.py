"""Tiny models of every family that LitGPT supports, in transformers' settings and in LitGPT's."""

import atexit
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import torch
from safetensors.torch import load_file

from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import null_reporter
from litgpt.domain.weights.mapping import validate_mapping
from tests.adapters.litgpt_writer import litgpt_state, settings_of, write_litgpt_folder
from tests.adapters.tiny_models import tiny_model


@attrs.frozen
class LitGptVariant:
    """A model in both formats.

    Attributes:
        name: The special property of the model.
        family: Its `model_type` in transformers, and in `litgpt_writer`.
        settings: The transformers settings that differ from the tiny model of the family.
        changed: The LitGPT settings that differ.
        read_as: The family that is read, where LitGPT's settings do not distinguish two.
    """

    name: str
    family: str
    settings: dict[str, Any] = attrs.field(factory=dict)
    changed: dict[str, Any] = attrs.field(factory=dict)
    read_as: str | None = None

    def written(self) -> "Written":
        """Return its LitGPT folder, written once; read-only."""
        if self.name not in _WRITTEN:
            _WRITTEN[self.name] = self._write(Path(_HOME.name) / str(len(_WRITTEN)))
        return _WRITTEN[self.name]

    def _write(self, folder: Path) -> "Written":
        model = tiny_model(self.family, **self.settings)
        model.save_pretrained(folder / "reference")
        reference = load_file(folder / "reference" / "model.safetensors")
        state = litgpt_state(self.family, reference, **self.changed)
        write_litgpt_folder(folder, settings_of(self.family, **self.changed), state)
        return Written(folder, model, reference)


@attrs.frozen
class Written:
    """A model and the folder that LitGPT would write of it.

    Attributes:
        folder: LitGPT's folder.
        model: The transformers model.
        reference: The tensors that transformers saves.
    """

    folder: Path
    model: Any
    reference: dict[str, torch.Tensor]


_WRITTEN: dict[str, Written] = {}
_HOME = TemporaryDirectory(prefix="litgpt-variants-", ignore_cleanup_errors=True)
atexit.register(_HOME.cleanup)


def built(checkpoint: Checkpoint[torch.Tensor]) -> GPT:
    """Return the library's network for a checkpoint."""
    architecture = parse_config("tiny", checkpoint.config)
    rules = family_of("tiny", checkpoint.config).weights
    joins = validate_mapping("tiny", architecture, rules, checkpoint.tensors)
    placement = Placement(devices=("cpu",), dtype="float32")
    return LayerSplit().build(placement, architecture, joins, checkpoint, null_reporter).network


_LLAMA_3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_YARN = {"factor": 4.0, "beta_fast": 32, "beta_slow": 1}


def _rope(rope_type: str, base: float = 10000.0, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": base, **more}}


VARIANTS = (
    LitGptVariant("llama", "llama"),
    LitGptVariant("llama, tied", "llama", {"tie_word_embeddings": True}),
    LitGptVariant("llama, biases", "llama", {"attention_bias": True, "mlp_bias": True}, {"bias": True}),
    LitGptVariant(
        "llama, scaled as Llama 3",
        "llama",
        _rope("llama3", 500.0, **_LLAMA_3, original_max_position_embeddings=64),
        {"rope_base": 500, "rope_adjustments": {**_LLAMA_3, "original_max_seq_len": 64}},
    ),
    LitGptVariant(
        "llama, stretched", "llama", _rope("linear", factor=4.0), {"rope_adjustments": {"factor": 4.0}}
    ),
    LitGptVariant("llama, condensed", "llama", _rope("linear", factor=4.0), {"rope_condense_ratio": 4}),
    LitGptVariant("llama, all heads", "llama", {"num_key_value_heads": 4}, {"n_query_groups": 4}),
    LitGptVariant("mistral", "mistral"),
    LitGptVariant("mixtral", "mixtral"),
    LitGptVariant("qwen2", "qwen2"),
    LitGptVariant(
        "qwen2, windows",
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
        {"sliding_window_size": 8, "sliding_window_indices": [0, 1, 1]},
    ),
    LitGptVariant("qwen3", "qwen3"),
    LitGptVariant("qwen3_moe", "qwen3_moe", {"norm_topk_prob": True}),
    LitGptVariant(
        "qwen3_moe, the first layer dense",
        "qwen3_moe",
        {"norm_topk_prob": True, "mlp_only_layers": [0]},
        {"first_k_dense_replace": 1},
    ),
    LitGptVariant("gemma", "gemma"),
    LitGptVariant("gemma2", "gemma2"),
    LitGptVariant("gemma3", "gemma3_text"),
    LitGptVariant("gemma3, head apart", "gemma3_text", {"tie_word_embeddings": False}),
    LitGptVariant(
        "gemma3, stretched",
        "gemma3_text",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            }
        },
        {"rope_adjustments": {"factor": 8.0}},
    ),
    LitGptVariant("phi", "phi"),
    LitGptVariant("phi, norms on queries and keys", "phi", {"qk_layernorm": True}, {"norm_qk": True}),
    LitGptVariant("phi3", "phi3", read_as="llama"),
    LitGptVariant("phi3, a window", "phi3", {"sliding_window": 8}, {"sliding_window_size": 8}, "mistral"),
    LitGptVariant(
        "phi3, a part of each head rotated",
        "phi3",
        _rope("default", partial_rotary_factor=0.5),
        {"rotary_percentage": 0.5},
    ),
    LitGptVariant("gpt_neox", "gpt_neox"),
    LitGptVariant(
        "gpt_neox, serial", "gpt_neox", {"use_parallel_residual": False}, {"parallel_residual": False}
    ),
    LitGptVariant("falcon, 7b", "falcon"),
    LitGptVariant("falcon, 7b, head apart", "falcon", {"tie_word_embeddings": False}),
    LitGptVariant(
        "falcon, a head for each query, biases",
        "falcon",
        {"multi_query": False, "bias": True},
        {"n_query_groups": 4, "bias": True},
    ),
    LitGptVariant(
        "falcon, 40b",
        "falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2},
        {"n_query_groups": 2, "shared_attention_norm": False},
    ),
    LitGptVariant(
        "falcon, serial",
        "falcon",
        {"parallel_attn": False},
        {"parallel_residual": False, "shared_attention_norm": False},
    ),
    LitGptVariant("stablelm", "stablelm"),
    LitGptVariant(
        "stablelm, side by side",
        "stablelm",
        {"use_parallel_residual": True, "use_qkv_bias": True},
        {"parallel_residual": True, "shared_attention_norm": True, "attn_bias": True},
    ),
    LitGptVariant("olmo", "olmo"),
    LitGptVariant("olmo2", "olmo2"),
    LitGptVariant("deepseek_v3", "deepseek_v3"),
    LitGptVariant(
        "deepseek_v3, halves rotated",
        "deepseek_v3",
        {"rope_interleave": False, "norm_topk_prob": False},
        {"rope_interleave": False, "norm_topk_prob": False},
    ),
    # LitGPT 0.5.13 swaps the fast and the slow pairs of YaRN. They are read as the models were trained.
    LitGptVariant(
        "llama, YaRN",
        "llama",
        _rope("yarn", 500.0, **_YARN, original_max_position_embeddings=64, attention_factor=1.0),
        {"rope_base": 500, "rope_adjustments": {**_YARN, "original_max_seq_len": 64}},
    ),
    LitGptVariant(
        "deepseek_v3, YaRN",
        "deepseek_v3",
        _rope("yarn", 500.0, **_YARN, original_max_position_embeddings=64, mscale=1.0, mscale_all_dim=0.7),
        {
            "rope_base": 500,
            "rope_adjustments": {**_YARN, "original_max_seq_len": 64, "mscale": 1.0, "mscale_all_dim": 0.7},
        },
    ),
)
