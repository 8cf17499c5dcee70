"""LitGPT's `model_config.yaml`: its settings and their defaults.

Field names and defaults are from `litgpt.config.Config` in LitGPT 0.5.13 (Apache-2.0).
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.families.schema.hf_config import MAX_LAYERS
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.validators import is_integer

DEFAULTS: dict[str, object] = {
    "name": "",
    "hf_config": None,
    "block_size": 4096,
    "n_layer": 16,
    "n_embd": 4096,
    "vocab_size": 50254,
    "padding_multiple": 512,
    "padded_vocab_size": None,
    "norm_class_name": "LayerNorm",
    "norm_eps": 1e-5,
    "norm_qk": False,
    "norm_qk_type": "default",
    "norm_1": True,
    "norm_2": True,
    "post_attention_norm": False,
    "post_mlp_norm": False,
    "parallel_residual": True,
    "shared_attention_norm": False,
    "n_head": 32,
    "head_size": None,
    "n_query_groups": None,
    "attn_bias": False,
    "attention_scores_scalar": None,
    "sliding_window_size": None,
    "sliding_window_indices": None,
    "attention_logit_softcapping": None,
    "latent_attention": None,
    "rope_base": 10000,
    "rotary_percentage": 0.25,
    "rope_condense_ratio": 1,
    "rope_adjustments": None,
    "rope_interleave": False,
    "rope_local_base_freq": None,
    "rope_indices": None,
    "intermediate_size": None,
    "bias": True,
    "mlp_class_name": "GptNeoxMLP",
    "gelu_approximate": "none",
    "n_expert": 0,
    "n_expert_per_token": 0,
    "moe_intermediate_size": None,
    "first_k_dense_replace": None,
    "n_shared_expert": None,
    "n_expert_groups": None,
    "n_topk_groups": None,
    "n_topk_scores_per_group": None,
    "routed_scaling_factor": 1.0,
    "norm_topk_prob": False,
    "scale_embeddings": False,
    "lm_head_bias": False,
    "final_logit_softcapping": None,
}
"""All settings of LitGPT, with their defaults."""


@attrs.frozen
class LitGptConfig:
    """The settings of a `model_config.yaml`; `where` names the file in errors."""

    where: str
    values: Mapping[str, object] = attrs.field(repr=False)

    def __getitem__(self, name: str) -> object:
        return self.values.get(name, DEFAULTS[name])

    def integer(self, name: str) -> int:
        value = self[name]
        if not is_integer(value, 1):
            raise CorruptFile(self.where, f"{name} must be a positive integer, not {short_repr(value)}.")
        if name == "n_layer" and value > MAX_LAYERS:
            raise CorruptFile(self.where, f"{name} must be at most {MAX_LAYERS}, not {short_repr(value)}.")
        return value

    def unsupported(self, name: str) -> UnsupportedModel:
        value = self.values.get(name, DEFAULTS.get(name))
        return UnsupportedModel(self.where, f"it sets {name} = {short_repr(value)}, which is not supported.")

    @property
    def name(self) -> str:
        """The model name, which encodes two settings: see `norms_have_unit_offset` and `model_type_of`."""
        origin = self["hf_config"]
        return str(self["name"] or (origin.get("name", "") if isinstance(origin, Mapping) else ""))

    @property
    def norms_have_unit_offset(self) -> bool:
        """Whether 1 is added to the weights of RMSNorms. LitGPT derives this only from the name."""
        return "Gemma" in self.name

    @property
    def attn_bias(self) -> bool:
        """Whether queries, keys and values have a bias and the other projections do not."""
        return bool(self["attn_bias"]) and not self["bias"]

    @property
    def num_kv_heads(self) -> int:
        return self.integer("n_head" if self["n_query_groups"] is None else "n_query_groups")

    @property
    def head_dim(self) -> int:
        if self["head_size"] is None:
            return self.integer("n_embd") // self.integer("n_head")
        return self.integer("head_size")

    @property
    def intermediate_size(self) -> int:
        """The hidden size of the MLP; LitGPT requires the setting only for `LLaMAMLP`."""
        if self["intermediate_size"] is None and self["mlp_class_name"] != "LLaMAMLP":
            return 4 * self.integer("n_embd")
        return self.integer("intermediate_size")

    @property
    def layer_types(self) -> list[str]:
        """Hugging Face's `layer_types`: `sliding_attention` or `full_attention` for each layer."""
        if self["sliding_window_size"] is None:
            return ["full_attention"] * self.integer("n_layer")
        return self.layer_types_of("sliding_window_indices")

    def layer_types_of(self, name: str) -> list[str]:
        """Return `layer_types` for a list with a 1 per sliding-window layer; the default is all."""
        layers = self.integer("n_layer")
        value = self[name]
        indices = [1] * layers if value is None else value
        if (
            not isinstance(indices, list)
            or not set(map(repr, indices)) <= {"0", "1"}
            or len(indices) < layers
        ):
            reason = f"{name} must be a list of {layers} zeros and ones, with one entry per layer."
            raise CorruptFile(self.where, reason)
        return ["sliding_attention" if index else "full_attention" for index in indices[:layers]]

    @property
    def vocab_size(self) -> int:
        """The rows of the embedding. LitGPT pads the vocabulary, so the tokenizer may have fewer tokens."""
        if self["padded_vocab_size"] is None:
            multiple = self.integer("padding_multiple")
            return -(-self.integer("vocab_size") // multiple) * multiple
        return self.integer("padded_vocab_size")
