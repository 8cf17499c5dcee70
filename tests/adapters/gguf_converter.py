"""An independent implementation of llama.cpp's Hugging Face converter, for tests.

Names come from the gguf package's own maps. The tensor transformations follow `convert_hf_to_gguf.py`, with
one class per kind of family, independently of the library's reader.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Changed = Iterator[tuple[str, Tensor]]

_EXPERT = re.compile(r"(.+)\.experts\.([0-9]+)\.([a-z0-9_]+)\.weight")


def tensors_in(folder: Path) -> dict[str, Tensor]:
    """Return the tensors saved by transformers."""
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


class Converter:
    """A family whose tensors are stored unchanged; experts are stacked.

    Attributes:
        config: The content of its `config.json`.
    """

    arch = "LLAMA"

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        self.tensors = tensors_in(folder)

    @property
    def heads(self) -> int:
        return int(self.first("num_attention_heads", "n_head"))

    @property
    def groups(self) -> int:
        return int(self.first("num_key_value_heads", "num_kv_heads") or self.heads)

    @property
    def head_size(self) -> int:
        return int(self.config.get("head_dim") or self.first("hidden_size", "n_embd") // self.heads)

    def first(self, *names: str) -> Any:
        return next((self.config[name] for name in names if self.config.get(name) is not None), None)

    @property
    def rope(self) -> Mapping[str, Any]:
        parameters: Mapping[str, Any] = self.config.get("rope_parameters") or {}
        full: Mapping[str, Any] = parameters.get("full_attention", parameters)
        return full

    def keys(self) -> dict[str, Any]:
        """Return the header keys that each family has, after the architecture's prefix."""
        metadata = {
            "block_count": self.first("num_hidden_layers", "n_layer"),
            "context_length": self.first("max_position_embeddings", "n_positions"),
            "embedding_length": self.first("hidden_size", "n_embd"),
            "feed_forward_length": self.first("intermediate_size", "n_inner", "ffn_hidden_size"),
            "attention.head_count": self.heads,
            "attention.head_count_kv": self.groups,
            "attention.layer_norm_rms_epsilon": self.first("rms_norm_eps"),
            "attention.layer_norm_epsilon": self.first(
                "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"
            ),
            "attention.key_length": self.first("head_dim"),
            "attention.value_length": self.first("head_dim"),
            "rope.freq_base": self.rope.get("rope_theta"),
            "expert_count": self.first("num_local_experts", "num_experts", "n_routed_experts"),
            "expert_used_count": self.first("num_experts_per_tok"),
            **self.extra_keys(),
        }
        return {key: value for key, value in metadata.items() if value is not None}

    def extra_keys(self) -> dict[str, Any]:
        """Return the family's additional keys; None removes a key."""
        return {}

    def array_keys(self) -> dict[str, list[float]]:
        """Return the header keys with array values that have no architecture prefix."""
        return {}

    def convert(self, name: str, tensor: Tensor) -> Changed:
        """Yield the converted tensors, by the names in the gguf package's maps."""
        yield name, tensor

    def stacked(self) -> dict[str, Tensor]:
        """Return the tensors, with all experts of a layer in one."""
        results: dict[str, Any] = {}
        for name, tensor in self.tensors.items():
            expert = _EXPERT.fullmatch(name)
            if expert is None:
                results[name] = tensor
            else:
                results.setdefault(f"{expert[1]}.experts.{expert[3]}.weight", {})[int(expert[2])] = tensor
        return {
            name: torch.stack([value[at] for at in range(len(value))]) if isinstance(value, dict) else value
            for name, value in results.items()
        }

    def named_tensors(self) -> dict[str, Tensor]:
        """Return all tensors by GGUF name."""
        import gguf

        arch = gguf.MODEL_ARCH[self.arch]
        names = gguf.get_tensor_name_map(arch, self.keys()["block_count"])
        results = {}
        for name, tensor in self.stacked().items():
            for actual, changed in self.convert(name, tensor):
                if actual.startswith("blk."):
                    translated = actual
                else:
                    translated = names.get_name(actual, try_suffixes=(".weight", ".bias")) or f"? {actual}"
                results[translated] = changed
        return results

    def write(self, path: Path, stored_as: str = "F32") -> Path:
        import gguf

        arch = gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH[self.arch]]
        writer = gguf.GGUFWriter(path, arch)
        adding: dict[type, Callable[..., None]] = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
            list: writer.add_array,
        }
        for key, value in self.keys().items():
            adding[type(value)](f"{arch}.{key}", value)
        for key, numbers in self.array_keys().items():
            writer.add_array(key, numbers)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([f"t{at}" for at in range(self.first("vocab_size"))])
        writer.add_token_merges(["t 0"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        for name, tensor in self.named_tensors().items():
            whole = tensor.ndim < 2 or tensor.shape[-1] % 32
            kind = gguf.GGMLQuantizationType["F32" if whole else stored_as]
            writer.add_tensor(name, gguf.quantize(tensor.contiguous().numpy(), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


def permuted(tensor: Tensor, heads: int) -> Tensor:
    """Interleave the two halves of each head's rows, for RoPE of adjacent pairs."""
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape)


class Llama(Converter):
    def convert(self, name: str, tensor: Tensor) -> Changed:
        if ".q_proj." in name:
            tensor = permuted(tensor, self.heads)
        if ".k_proj." in name:
            tensor = permuted(tensor, self.groups)
        name = re.sub(r"model\.(.+)\.block_sparse_moe\.experts\.", r"\1.feed_forward.experts.", name)
        yield name, tensor


class Qwen3Moe(Converter):
    arch = "QWEN3MOE"

    def extra_keys(self) -> dict[str, Any]:
        return {"expert_feed_forward_length": self.config["moe_intermediate_size"]}


class Olmoe(Converter):
    arch = "OLMOE"


class Gemma(Converter):
    arch = "GEMMA"

    def convert(self, name: str, tensor: Tensor) -> Changed:
        yield name, tensor + 1 if name.endswith("norm.weight") else tensor


class Gemma2(Gemma):
    arch = "GEMMA2"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "attn_logit_softcapping": self.config["attn_logit_softcapping"],
            "final_logit_softcapping": self.config["final_logit_softcapping"],
            "attention.sliding_window": self.config["sliding_window"],
        }


class Phi2(Converter):
    arch = "PHI2"

    def extra_keys(self) -> dict[str, Any]:
        return {"rope.dimension_count": int(self.rope["partial_rotary_factor"] * self.head_size)}


class Phi2Joined(Phi2):
    """The older layout: Q, K and V in one tensor."""

    def stacked(self) -> dict[str, Tensor]:
        tensors = super().stacked()
        for name in [name for name in tensors if ".q_proj." in name]:
            parts = [tensors.pop(name.replace("q_proj", value)) for value in ("q_proj", "k_proj", "v_proj")]
            kind = name.rpartition(".")[2]
            tensors[f"blk.{name.split('.')[2]}.attn_qkv.{kind}"] = torch.cat(parts)
        return tensors


class Phi3(Converter):
    arch = "PHI3"

    def extra_keys(self) -> dict[str, Any]:
        share = self.rope.get("partial_rotary_factor", 1.0)
        metadata = {
            "rope.dimension_count": int(share * self.head_size),
            "rope.scaling.original_context_length": self.config["original_max_position_embeddings"],
            "attention.sliding_window": self.config.get("sliding_window") or 0,
        }
        if "long_factor" in self.rope:
            import math

            original = self.config["original_max_position_embeddings"]
            scale = self.config["max_position_embeddings"] / original
            metadata["rope.scaling.attn_factor"] = math.sqrt(1 + math.log(scale) / math.log(original))
        return metadata

    def named_tensors(self) -> dict[str, Tensor]:
        tensors = super().named_tensors()
        for name in ("long", "short"):
            if factors := self.rope.get(f"{name}_factor"):
                tensors[f"rope_factors_{name}.weight"] = torch.tensor(factors)
        return tensors


class PhiMoe(Phi3):
    arch = "PHIMOE"


class Neox(Converter):
    arch = "GPTNEOX"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "rope.dimension_count": int(self.rope["partial_rotary_factor"] * self.head_size),
            "rope.freq_base": None,
            "attention.head_count_kv": None,
            "use_parallel_residual": self.config["use_parallel_residual"],
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        if "query_key_value" in name:
            tensor = tensor.reshape(self.heads, 3, -1, *tensor.shape[1:])
            tensor = torch.cat([tensor[:, at].reshape(-1, *tensor.shape[3:]) for at in range(3)])
        yield name, tensor


class Falcon(Converter):
    arch = "FALCON"

    @property
    def groups(self) -> int:
        return int(self.config["num_kv_heads"]) if self.config["new_decoder_architecture"] else 1

    def extra_keys(self) -> dict[str, Any]:
        return {"feed_forward_length": 4 * self.config["hidden_size"]}

    def convert(self, name: str, tensor: Tensor) -> Changed:
        if "query_key_value" in name:
            rest = tensor.shape[1:]
            qkv = tensor.view(self.groups, self.heads // self.groups + 2, self.head_size, *rest)
            parts = (qkv[:, :-2], qkv[:, [-2]], qkv[:, [-1]])
            tensor = torch.cat([part.reshape(-1, *rest) for part in parts])
        yield name, tensor


class StableLm(Converter):
    arch = "STABLELM"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "rope.dimension_count": int(self.rope["partial_rotary_factor"] * self.head_size),
            "use_parallel_residual": True,  # the converter's default if the config does not set it
        }

    def stacked(self) -> dict[str, Tensor]:
        results: dict[str, Any] = {}
        for name, tensor in super().stacked().items():
            norm = re.fullmatch(r"(.+_layernorm)\.norms\.[0-9]+\.weight", name)
            if norm is None:
                results[name] = tensor
            else:
                results.setdefault(f"{norm[1]}.weight", []).append(tensor)
        return {
            name: torch.stack(value) if isinstance(value, list) else value for name, value in results.items()
        }


class Olmo(Llama):
    arch = "OLMO"

    def extra_keys(self) -> dict[str, Any]:
        return {"attention.layer_norm_epsilon": 1e-5, "attention.clamp_kqv": self.config.get("clip_qkv")}


class DeepseekV3(Converter):
    """With K and V in separate tensors, as since llama.cpp caches the latent vector."""

    arch = "DEEPSEEK2"

    def extra_keys(self) -> dict[str, Any]:
        config = self.config
        scaling = {}
        if self.rope["rope_type"] == "yarn":
            scaling = {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": self.rope["factor"],
                "rope.scaling.original_context_length": self.rope["original_max_position_embeddings"],
                "rope.scaling.yarn_log_multiplier": 0.1 * self.rope["mscale_all_dim"],
            }
        return {
            **self.lengths(),
            **scaling,
            "attention.q_lora_rank": config.get("q_lora_rank"),
            "attention.kv_lora_rank": config["kv_lora_rank"],
            "rope.dimension_count": config["qk_rope_head_dim"],
            "leading_dense_block_count": config["first_k_dense_replace"],
            "expert_feed_forward_length": config["moe_intermediate_size"],
            "expert_shared_count": config["n_shared_experts"],
            "expert_weights_scale": float(config["routed_scaling_factor"]),
            "expert_weights_norm": config["norm_topk_prob"],
            "expert_group_count": config["n_group"],
            "expert_group_used_count": config["topk_group"],
            "expert_gating_func": 2,
        }

    def lengths(self) -> dict[str, int]:
        config = self.config
        return {
            "attention.head_count_kv": 1,
            "attention.key_length": config["kv_lora_rank"] + config["qk_rope_head_dim"],
            "attention.value_length": config["kv_lora_rank"],
            "attention.key_length_mla": config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
            "attention.value_length_mla": config["v_head_dim"],
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        name = name.replace("e_score_correction_bias", "e_score_correction.bias")
        if "kv_b_proj" not in name:
            yield name, tensor
            return
        plain, value = self.config["qk_nope_head_dim"], self.config["v_head_dim"]
        both = tensor.view(self.heads, plain + value, -1)
        yield name.replace("kv_b_proj", "k_b_proj"), both[:, :plain].transpose(1, 2)
        yield name.replace("kv_b_proj", "v_b_proj"), both[:, plain:]


class DeepseekV3Joined(DeepseekV3):
    """The older layout: K and V in one tensor."""

    def lengths(self) -> dict[str, int]:
        config = self.config
        return {
            "attention.key_length": config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
            "attention.value_length": config["v_head_dim"],
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        yield name.replace("e_score_correction_bias", "e_score_correction.bias"), tensor


class MiniCpm3(Converter):
    arch = "MINICPM3"

    def extra_keys(self) -> dict[str, Any]:
        config = self.config
        return {
            "attention.q_lora_rank": config["q_lora_rank"],
            "attention.kv_lora_rank": config["kv_lora_rank"],
            "attention.key_length": config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
            "attention.value_length": None,
            "rope.dimension_count": config["qk_rope_head_dim"],
            "rope.freq_base": None,
        }


class Qwen2Moe(Qwen3Moe):
    arch = "QWEN2MOE"

    def extra_keys(self) -> dict[str, Any]:
        shared = self.config["shared_expert_intermediate_size"]
        return super().extra_keys() | {"expert_shared_feed_forward_length": shared}


class GptOss(Converter):
    arch = "GPT_OSS"

    def extra_keys(self) -> dict[str, Any]:
        metadata = {
            "attention.sliding_window": self.config["sliding_window"],
            "expert_feed_forward_length": self.config["intermediate_size"],
        }
        if self.rope["rope_type"] == "yarn":
            metadata |= {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": self.rope["factor"],
                "rope.scaling.original_context_length": self.rope["original_max_position_embeddings"],
                "rope.scaling.yarn_beta_fast": self.rope["beta_fast"],
                "rope.scaling.yarn_beta_slow": self.rope["beta_slow"],
            }
        return metadata

    def convert(self, name: str, tensor: Tensor) -> Changed:
        if name.endswith("_bias"):
            name = f"{name.removesuffix('_bias')}.bias"
        elif ".experts." in name:
            name, tensor = f"{name}.weight", tensor.transpose(-1, -2)
        if "gate_up_proj" in name:
            yield name.replace("gate_up_proj", "gate_proj"), tensor[:, ::2]
            yield name.replace("gate_up_proj", "up_proj"), tensor[:, 1::2]
        else:
            yield f"{name}.weight" if name.endswith("sinks") else name, tensor


class Glm4(Converter):
    arch = "GLM4"

    def extra_keys(self) -> dict[str, Any]:
        return {"rope.dimension_count": int(self.rope["partial_rotary_factor"] * self.head_size)}


class Glm4Moe(Glm4):
    """With the multi-token-prediction layer, which is stored but not run."""

    arch = "GLM4_MOE"

    def extra_keys(self) -> dict[str, Any]:
        config = self.config
        return {
            **super().extra_keys(),
            "block_count": config["num_hidden_layers"] + 1,
            "nextn_predict_layers": 1,
            "expert_feed_forward_length": config["moe_intermediate_size"],
            "expert_shared_count": config["n_shared_experts"],
            "leading_dense_block_count": config["first_k_dense_replace"],
            "expert_gating_func": 2,
            "expert_weights_scale": float(config["routed_scaling_factor"]),
            "expert_weights_norm": config["norm_topk_prob"],
            "expert_group_count": config["n_group"],
            "expert_group_used_count": config["topk_group"],
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        yield name.replace("e_score_correction_bias", "e_score_correction.bias"), tensor

    def named_tensors(self) -> dict[str, Tensor]:
        last = self.config["num_hidden_layers"]
        return super().named_tensors() | {f"blk.{last}.nextn.enorm.weight": torch.ones(4)}


class Ministral3(Llama):
    arch = "MISTRAL3"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": self.rope["factor"],
            "rope.scaling.original_context_length": self.rope["original_max_position_embeddings"],
            "rope.scaling.yarn_log_multiplier": self.rope["mscale_all_dim"],
            "attention.temperature_scale": self.rope["llama_4_scaling_beta"],
        }


class Granite(Llama):
    arch = "GRANITE"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "attention.scale": self.config["attention_multiplier"],
            "embedding_scale": self.config["embedding_multiplier"],
            "residual_scale": self.config["residual_multiplier"],
            "logit_scale": self.config["logits_scaling"],
        }


class Gpt2(Converter):
    arch = "GPT2"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "feed_forward_length": 4 * self.config["n_embd"],
            "context_length": self.config["n_positions"],
            "attention.head_count_kv": None,
            "rope.freq_base": None,
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        turned = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        yield name, tensor.T if turned else tensor


class Windowed(Converter):
    """A family whose header has the sliding window and its layers."""

    def extra_keys(self) -> dict[str, Any]:
        if not self.config.get("sliding_window"):
            return {}
        return {
            "attention.sliding_window": self.config["sliding_window"],
            "attention.sliding_window_pattern": [
                kind == "sliding_attention" for kind in self.config["layer_types"]
            ],
        }


class Olmo3(Windowed):
    arch = "OLMO2"


class Exaone4(Windowed):
    arch = "EXAONE4"


class SmolLm3(Llama):
    arch = "SMOLLM3"


class Hunyuan(Converter):
    arch = "HUNYUAN_DENSE"

    def extra_keys(self) -> dict[str, Any]:
        if "alpha" not in self.rope:
            return {}
        size = self.head_size
        base = self.rope["rope_theta"] * self.rope["alpha"] ** (size / (size - 2))
        return {"rope.freq_base": base, "rope.scaling.type": "none", "rope.scaling.factor": 1}


class MiniMaxM2(Converter):
    arch = "MINIMAXM2"

    def extra_keys(self) -> dict[str, Any]:
        share = self.rope["partial_rotary_factor"]
        return {
            "expert_feed_forward_length": self.config["intermediate_size"],
            "rope.dimension_count": int(share * self.head_size),
            "expert_gating_func": 2,
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        yield name.replace("e_score_correction_bias", "e_score_correction.bias"), tensor


class Cohere(Converter):
    arch = "COMMAND_R"

    def extra_keys(self) -> dict[str, Any]:
        return {"logit_scale": self.config["logit_scale"], "rope.scaling.type": "none"}


class Cohere2(Cohere):
    arch = "COHERE2"

    def extra_keys(self) -> dict[str, Any]:
        return super().extra_keys() | {"attention.sliding_window": self.config["sliding_window"]}


class Nemotron(Gemma):
    arch = "NEMOTRON"

    def extra_keys(self) -> dict[str, Any]:
        return {"rope.dimension_count": int(self.rope["partial_rotary_factor"] * self.head_size)}


class GraniteMoe(Granite):
    arch = "GRANITE_MOE"

    def convert(self, name: str, tensor: Tensor) -> Changed:
        if name.endswith("input_linear.weight"):
            layer = name.split(".")[2]
            for role, half in zip(("gate", "up"), tensor.chunk(2, dim=-2), strict=True):
                yield f"blk.{layer}.ffn_{role}_exps.weight", half
        else:
            yield from super().convert(name, tensor)


class StarCoder(Converter):
    arch = "STARCODER"

    def extra_keys(self) -> dict[str, Any]:
        return {"feed_forward_length": 4 * self.config["n_embd"], "attention.head_count_kv": 1}


class Bloom(Neox):
    arch = "BLOOM"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "context_length": self.config["hidden_size"],
            "feed_forward_length": 4 * self.config["hidden_size"],
            "attention.head_count_kv": self.heads,
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        for actual, changed in super().convert(name, tensor):
            yield actual.removeprefix("transformer."), changed


class Mpt(Converter):
    arch = "MPT"

    def extra_keys(self) -> dict[str, Any]:
        width, config = self.config["d_model"], self.config["attn_config"]
        return {
            "block_count": self.config["n_layers"],
            "context_length": self.config["max_seq_len"],
            "embedding_length": width,
            "feed_forward_length": 4 * width,
            "attention.head_count": self.config["n_heads"],
            "attention.head_count_kv": None,
            "attention.layer_norm_epsilon": 1e-5,
            "attention.max_alibi_bias": float(config["alibi_bias_max"]),
            "attention.clamp_kqv": config["clip_qkv"],
        }

    @property
    def heads(self) -> int:
        return int(self.config["n_heads"])


class Llama4(Converter):
    arch = "LLAMA4"

    def extra_keys(self) -> dict[str, Any]:
        return {
            "feed_forward_length": self.config["intermediate_size_mlp"],
            "expert_feed_forward_length": self.config["intermediate_size"],
            "interleave_moe_layer_step": self.config["interleave_moe_layer_step"],
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        if name.endswith("gate_up_proj"):
            for role, half in zip(("gate", "up"), tensor.transpose(-1, -2).chunk(2, dim=-2), strict=True):
                yield name.replace("gate_up_proj", f"{role}_proj.weight"), half
        elif name.endswith("down_proj"):
            yield f"{name}.weight", tensor.transpose(-1, -2)
        else:
            yield name, tensor


class DeepseekV2(DeepseekV3):
    arch = "DEEPSEEK2"

    def extra_keys(self) -> dict[str, Any]:
        return super().extra_keys() | {"expert_gating_func": 1}


class Apertus(Converter):
    arch = "APERTUS"

    def array_keys(self) -> dict[str, list[float]]:
        layers = range(self.config["num_hidden_layers"])
        return {
            f"xielu.{name}": [self.tensors[f"model.layers.{at}.mlp.act_fn.{name}"].item() for at in layers]
            for name in ("alpha_p", "alpha_n", "beta", "eps")
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        if "act_fn" not in name:
            yield name, tensor

    def named_tensors(self) -> dict[str, Tensor]:
        from transformers import AutoConfig
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        config = AutoConfig.for_model(**self.config)
        stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
        size = self.head_size
        plain = 1 / self.rope["rope_theta"] ** (torch.arange(0, size, 2) / size)
        return super().named_tensors() | {"rope_freqs.weight": plain / stretched}


class Qwen3Next(Qwen2Moe):
    arch = "QWEN3NEXT"

    def extra_keys(self) -> dict[str, Any]:
        config = self.config
        return {
            **(super().extra_keys() if "moe_intermediate_size" in config else {}),
            "ssm.conv_kernel": config["linear_conv_kernel_dim"],
            "ssm.state_size": config["linear_key_head_dim"],
            "ssm.group_count": config["linear_num_key_heads"],
            "ssm.time_step_rank": config["linear_num_value_heads"],
            "ssm.inner_size": config["linear_value_head_dim"] * config["linear_num_value_heads"],
            "full_attention_interval": 1 + config["layer_types"].index("full_attention"),
            "rope.dimension_count": int(self.rope["partial_rotary_factor"] * self.head_size),
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        config = self.config
        if name.endswith(".A_log"):
            yield name, -torch.exp(tensor)
        elif name.endswith(".dt_bias"):
            yield name.replace("dt_bias", "dt_proj.bias"), tensor
        elif "conv1d" in name:
            yield name, tensor.squeeze(1)
        elif name.endswith("norm.weight") and "linear_attn" not in name:
            yield name, tensor + 1
        elif "in_proj_qkvz" in name:
            key, groups = config["linear_key_head_dim"], config["linear_num_key_heads"]
            values = config["linear_num_value_heads"] // groups * config["linear_value_head_dim"]
            by_group = tensor.view(groups, 2 * key + 2 * values, -1)
            q, k, v, z = (
                word.reshape(-1, tensor.shape[1])
                for word in by_group.split([key, key, values, values], dim=1)
            )
            layer = name.split(".")[2]
            yield f"blk.{layer}.attn_qkv.weight", torch.cat([q, k, v])
            yield f"blk.{layer}.attn_gate.weight", z
        else:
            yield name, tensor


class Qwen35(Qwen3Next):
    arch = "QWEN35"

    def tiled(self, tensor: Tensor, axis: int) -> Tensor:
        """Reorder value heads: the first of each group, then the second of each."""
        groups = self.config["linear_num_key_heads"]
        heads = self.config["linear_num_value_heads"] // groups
        by_group: Tensor = tensor.unflatten(axis, (groups, heads, -1))
        return by_group.transpose(axis, axis + 1).flatten(axis, axis + 2)

    def convert(self, name: str, tensor: Tensor) -> Changed:
        keys = 2 * self.config["linear_num_key_heads"] * self.config["linear_key_head_dim"]
        if "in_proj_qkv." in name or "conv1d" in name:
            tensor = torch.cat([tensor[:keys], self.tiled(tensor[keys:], 0)])
        elif "linear_attn.out_proj" in name:
            tensor = self.tiled(tensor, 1)
        elif "linear_attn" in name and "norm" not in name:
            tensor = self.tiled(tensor, 0)
        yield from super().convert(name, tensor)


class Qwen35Moe(Qwen35):
    arch = "QWEN35MOE"


class Gemma3n(Converter):
    arch = "GEMMA3N"

    def extra_keys(self) -> dict[str, Any]:
        config = self.config
        return {
            "altup.active_idx": config["altup_active_idx"],
            "altup.num_inputs": config["altup_num_inputs"],
            "attention.shared_kv_layers": config["num_kv_shared_layers"],
            "attention.sliding_window": config["sliding_window"],
            "attention.sliding_window_pattern": [
                kind == "sliding_attention" for kind in config["layer_types"]
            ],
            "activation_sparsity_scale": [
                float(torch.distributions.Normal(0, 1).icdf(torch.tensor(sparsity)))
                for sparsity in config["activation_sparsity_pattern"]
            ],
            "embedding_length_per_layer_input": config["hidden_size_per_layer_input"],
            "rope.freq_base_swa": config["rope_parameters"]["sliding_attention"]["rope_theta"],
            "final_logit_softcapping": config["final_logit_softcapping"],
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        if name.endswith("correct_output_scale"):
            yield f"{name}.weight", tensor
        elif "altup_projections" not in name and "altup_unembed_projections" not in name:
            yield name, tensor

    def named_tensors(self) -> dict[str, Tensor]:
        others = [
            torch.stack([self.tensors[f"model.altup_{kind}.{at}.weight"] for at in range(3)])
            for kind in ("projections", "unembed_projections")
        ]
        return super().named_tensors() | {
            "altup_proj.weight": others[0],
            "altup_unembd_proj.weight": others[1],
        }


class Gemma4(Converter):
    arch = "GEMMA4"

    @property
    def full_attention(self) -> dict[str, int]:
        """Return the settings of a full-attention layer."""
        return dict(self.config["per_layer_config"][str(self.config["layer_types"].index("full_attention"))])

    def extra_keys(self) -> dict[str, Any]:
        config, kinds = self.config, self.config["layer_types"]
        windowed = [kind == "sliding_attention" for kind in kinds]
        first = len(kinds) - config["num_kv_shared_layers"]
        middle, groups = config["intermediate_size"], config["num_key_value_heads"]
        metadata: dict[str, Any] = {
            "attention.shared_kv_layers": config["num_kv_shared_layers"],
            "embedding_length_per_layer_input": config["hidden_size_per_layer_input"],
            "attention.sliding_window": config["sliding_window"],
            "attention.sliding_window_pattern": windowed,
            "attention.key_length": self.full_attention["head_dim"],
            "attention.value_length": self.full_attention["head_dim"],
            "attention.key_length_swa": config["head_dim"],
            "attention.value_length_swa": config["head_dim"],
            "rope.dimension_count": self.full_attention["head_dim"],
            "rope.dimension_count_swa": config["head_dim"],
            "rope.freq_base_swa": config["rope_parameters"]["sliding_attention"]["rope_theta"],
            "final_logit_softcapping": config["final_logit_softcapping"],
        }
        if config["use_double_wide_mlp"]:
            metadata["feed_forward_length"] = [middle * (1 + (at >= first)) for at in range(len(kinds))]
        if (others := self.full_attention.get("num_key_value_heads")) is not None:
            metadata["attention.head_count_kv"] = [
                groups if is_windowed else others for is_windowed in windowed
            ]
        if config["enable_moe_block"]:
            metadata["expert_used_count"] = config["top_k_experts"]
            metadata["expert_feed_forward_length"] = config["moe_intermediate_size"]
        return metadata

    def convert(self, name: str, tensor: Tensor) -> Changed:
        layer = name.split(".")[2]
        if name.endswith("router.scale"):
            yield f"blk.{layer}.ffn_gate_inp.scale", tensor
        elif name.endswith("per_expert_scale"):
            yield f"blk.{layer}.ffn_down_exps.scale", tensor
        elif name.endswith("layer_scalar") or ".experts." in name:
            yield f"{name}.weight", tensor
        else:
            yield name, tensor

    def named_tensors(self) -> dict[str, Tensor]:
        pairs = self.full_attention["head_dim"] // 2
        rotated = int(pairs * self.rope["partial_rotary_factor"])
        factors = torch.tensor([1.0] * rotated + [1e30] * (pairs - rotated))
        return super().named_tensors() | {"rope_freqs.weight": factors}


class Lfm2(Converter):
    arch = "LFM2"

    def extra_keys(self) -> dict[str, Any]:
        config = self.config
        size = self.tensors["model.layers.0.feed_forward.w1.weight"].shape[0]
        kinds = config["layer_types"]
        return {
            "feed_forward_length": size,
            "attention.head_count_kv": [self.groups if kind == "full_attention" else 0 for kind in kinds],
            "attention.layer_norm_rms_epsilon": config["norm_eps"],
            "attention.layer_norm_epsilon": None,
            "shortconv.l_cache": config["conv_L_cache"],
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        yield name, tensor.squeeze(1) if "conv.conv" in name else tensor


class Lfm2Moe(Lfm2):
    arch = "LFM2MOE"

    def extra_keys(self) -> dict[str, Any]:
        return {
            **super().extra_keys(),
            "leading_dense_block_count": self.config["num_dense_layers"],
            "expert_feed_forward_length": self.config["moe_intermediate_size"],
            "expert_gating_func": 2,
        }

    def convert(self, name: str, tensor: Tensor) -> Changed:
        renamed = name.replace("expert_bias", "expert_bias.bias")
        for own, usual in (("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")):
            renamed = renamed.replace(f"experts.{own}", f"experts.{usual}")
        yield from super().convert(renamed, tensor)


def converter_for(arch: str, base: type[Converter] = Converter) -> type[Converter]:
    """Return the converter of an architecture whose tensors are stored as by `base`, unchanged by default."""
    return type(arch, (base,), {"arch": arch})
