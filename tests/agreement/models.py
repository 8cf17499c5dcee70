"""The same tiny random model twice: as transformers runs it, and as we do from the folder it wrote."""

from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.folder import open_folder
from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.single_device import SingleDevice
from litgpt.domain.families import describe, family_of
from litgpt.domain.placement import Placement
from litgpt.domain.reporting import silent
from litgpt.domain.weights import plan
from tests.adapters.tiny_models import VOCAB_SIZE, tiny_model

WINDOW = 8


@attrs.frozen
class Variant:
    """A row of the agreement tests: a family, and what is special about this member of it."""

    name: str
    family: str
    settings: dict[str, Any] = attrs.field(factory=dict)


VARIANTS = (
    Variant("llama", "llama"),
    Variant("llama, head tied to the embedding", "llama", {"tie_word_embeddings": True}),
    Variant("llama, every projection with a bias", "llama", {"attention_bias": True, "mlp_bias": True}),
    Variant("llama, a head size of its own", "llama", {"head_dim": 20}),
    Variant("llama, one key-value head", "llama", {"num_key_value_heads": 1}),
    Variant("llama, as many key-value heads as query heads", "llama", {"num_key_value_heads": 4}),
    Variant("llama, gelu", "llama", {"hidden_act": "gelu"}),
    Variant(
        "llama, positions stretched linearly",
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    ),
    Variant(
        "llama 3.1, long wavelengths stretched",
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
                "rope_theta": 500.0,
            }
        },
    ),
    Variant("qwen2", "qwen2"),
    Variant("qwen2, tied", "qwen2", {"tie_word_embeddings": True}),
    Variant(
        "qwen2, windows from the second layer on",
        "qwen2",
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    Variant("gemma3", "gemma3_text"),
    Variant("gemma3, head apart from the embedding", "gemma3_text", {"tie_word_embeddings": False}),
    Variant("gemma3, attention with a bias", "gemma3_text", {"attention_bias": True}),
    Variant(
        "gemma3, full layers stretched",
        "gemma3_text",
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 100_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
            }
        },
    ),
)


@attrs.frozen(eq=False)
class Pair:
    """Two runnings of one model."""

    theirs: Any
    ours: GPT

    def expected(self, ids: Tensor) -> Tensor:
        """Return transformers' logits (B, T, V)."""
        with torch.inference_mode():
            logits: Tensor = self.theirs(ids).logits
            return logits

    def cache(self, starts: tuple[int, ...] = (0,)) -> KVCache:
        """Return an empty cache for our model."""
        return KVCache.empty(
            self.ours.architecture, limit=128, device=torch.device("cpu"), dtype=torch.float32, starts=starts
        )


def pair(variant: Variant, folder: Path) -> Pair:
    """Return both, ours loaded from `folder`, to which transformers saves its own."""
    theirs = tiny_model(variant.family, **variant.settings)
    theirs.save_pretrained(folder)
    checkpoint = open_folder(folder, variant.name)
    architecture = describe(variant.name, checkpoint.config)
    rules = family_of(variant.name, checkpoint.config).weights
    joins = plan(variant.name, architecture, rules, checkpoint.tensors)
    placement = Placement(device="cpu", dtype="float32")
    return Pair(theirs, SingleDevice().build(placement, architecture, joins, checkpoint, silent))


def random_ids(rows: int, tokens: int) -> Tensor:
    """Return ids (rows, tokens), the same each time."""
    return torch.randint(VOCAB_SIZE, (rows, tokens), generator=torch.Generator().manual_seed(1))
