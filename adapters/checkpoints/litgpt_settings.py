"""LitGPT's `model_config.yaml`: its settings, and what the absence of one means.

Field names and defaults are those of `litgpt.config.Config` in LitGPT 0.5.13 (Apache-2.0).
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.errors import DamagedFile, UnsupportedModel

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
    "scale_embeddings": False,
    "lm_head_bias": False,
    "final_logit_softcapping": None,
}
"""Every setting that is read, and what its absence means."""

OF_EXPERTS = frozenset(
    {
        "moe_intermediate_size",
        "n_shared_expert",
        "n_expert_groups",
        "n_topk_groups",
        "n_topk_scores_per_group",
        "n_expert_per_token",
        "first_k_dense_replace",
        "routed_scaling_factor",
        "norm_topk_prob",
    }
)
"""Settings of experts, which say nothing where `n_expert` is 0."""


@attrs.frozen
class LitGptSettings:
    """A `model_config.yaml`.

    Attributes:
        where: The file, for errors.
        values: What it says.

    """

    where: str
    values: Mapping[str, object] = attrs.field(repr=False)

    def __getitem__(self, name: str) -> object:
        """Return a setting, or LitGPT's default."""
        return self.values.get(name, DEFAULTS[name])

    def integer(self, name: str) -> int:
        """Return a setting that counts something.

        Raises:
            DamagedFile: It is no whole number above 0.

        """
        value = self[name]
        if type(value) is not int or value < 1:
            raise DamagedFile(self.where, f"{name} must be a whole number from 1, not {str(value)[:60]}.")
        return value

    def refused(self, name: str) -> UnsupportedModel:
        """Return the error for a setting that is not implemented, to be raised."""
        value = self.values.get(name, DEFAULTS.get(name))
        return UnsupportedModel(
            self.where, f"it asks for {name} = {str(value)[:60]}, which is not implemented."
        )

    @property
    def groups(self) -> int:
        """Key-value heads."""
        return self.integer("n_head" if self["n_query_groups"] is None else "n_query_groups")

    @property
    def head_size(self) -> int:
        """Numbers in a head."""
        if self["head_size"] is None:
            return self.integer("n_embd") // self.integer("n_head")
        return self.integer("head_size")

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding: LitGPT pads the vocabulary, and the tokenizer may know fewer tokens."""
        if self["padded_vocab_size"] is None:
            multiple = self.integer("padding_multiple")
            return -(-self.integer("vocab_size") // multiple) * multiple
        return self.integer("padded_vocab_size")
