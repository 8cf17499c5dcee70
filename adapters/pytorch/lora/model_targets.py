"""The LoRA targets of a model, by their Hugging Face names."""

from collections.abc import Mapping, Sequence

import attrs
from torch import nn

from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.model.moe import Router
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.lora.adapter_matching import text_model_name
from litgpt.domain.lora.config import LoraConfig
from litgpt.domain.lora.expert_targets import find_parameter_targets, module_name, stacked_targets
from litgpt.domain.lora.targets import LoraTarget, find_targets, is_inside, matches_name
from litgpt.domain.weights.mapping import ParameterSource, TensorTarget, invert_mapping


@attrs.frozen(eq=False)
class ModelTargets:
    """The LoRA targets of a model.

    Attributes:
        tensor_targets: The parameters that each tensor of transformers 5 contains.
        legacy_tensor_targets: The same for the names in files and in transformers 4.
    """

    model: CausalLM
    targets: tuple[LoraTarget, ...] = attrs.field(repr=False)
    tensor_targets: Mapping[str, tuple[TensorTarget, ...]] = attrs.field(repr=False)
    legacy_tensor_targets: Mapping[str, tuple[TensorTarget, ...]] = attrs.field(repr=False)

    @classmethod
    def from_model(
        cls, model: CausalLM, sources: Sequence[ParameterSource], model_type: str
    ) -> "ModelTargets":
        """Find the targets of a model; `sources` includes the head even if it is tied."""
        linear, embeddings, routers = (
            {name for name, module in model.named_modules() if isinstance(module, kinds)}
            for kinds in ((nn.Linear, QuantizedLinear), nn.Embedding, Router)
        )
        targets = (
            *find_targets(
                sources,
                linear,
                embeddings,
                head=model.head_name,
                model_type=model_type,
                module_name=lambda name: module_name(name, model_type),
            ),
            *find_parameter_targets(sources, routers, model_type),
        )
        stacked = stacked_targets(sources, model_type)
        legacy = {name: group for name, group in invert_mapping(sources).items() if name not in stacked}
        return cls(model, targets, stacked, legacy)

    def resolve_name(self, saved: str) -> str | None:
        """Return the current name of a tensor in an adapter; None if the model does not have it."""
        for name in (saved, text_model_name(saved)):
            if name in self.tensor_targets:
                return name
            if (legacy := self.legacy_tensor_targets.get(name)) is not None:
                return next((key for key, group in self.tensor_targets.items() if group == legacy), name)
        return None

    def targets_of(self, tensor: str) -> tuple[TensorTarget, ...]:
        """Return the parameters that a tensor of transformers 5 or 4 contains."""
        if tensor in self.tensor_targets:
            return self.tensor_targets[tensor]
        return self.legacy_tensor_targets[tensor]

    @property
    def embedding(self) -> LoraTarget | None:
        return self._target_of(self.model.embedding_name)

    @property
    def head(self) -> LoraTarget | None:
        return self._target_of(self.model.head_name)

    def _target_of(self, layer: str) -> LoraTarget | None:
        return next((target for target in self.targets if target.rows[0].layer == layer), None)

    @property
    def is_tied(self) -> bool:
        return self.model.is_tied

    def modules_to_save(self, config: LoraConfig) -> list[str]:
        tensors = dict.fromkeys(
            name for name in self.tensor_targets if is_inside(name.rpartition(".")[0], config.modules_to_save)
        )
        for module in config.modules_to_save:
            if not any(is_inside(name.rpartition(".")[0], [module]) for name in tensors):
                leaves = dict.fromkeys(name.split(".")[-2] for name in self.tensor_targets)
                raise InvalidArgument(
                    "modules_to_save", module, f"a module of the model: {', '.join(leaves)}"
                )
        return list(tensors)

    def biases(self, config: LoraConfig, targets: Sequence[LoraTarget]) -> list[str]:
        if config.bias == "all":
            return [name for name in self.tensor_targets if "bias" in name]
        if config.bias == "lora_only":
            names = dict.fromkeys(f"{target.name}.bias" for target in targets)
            return [name for name in names if name in self.tensor_targets]
        return []

    def trained_tokens(self, config: LoraConfig) -> dict[str, tuple[int, ...]]:
        """Return the token ids in `config.trainable_token_indices`, by embedding or head."""
        tokens = {}
        candidates = [target for target in (self.embedding, self.head) if target is not None]
        for module, ids in config.trainable_token_indices:
            matching = (
                target for target in candidates if module is None or matches_name(target.name, module)
            )
            target = next(matching, None)
            if target is None:
                expected = f"token ids by {' or '.join(candidate.name for candidate in candidates)}"
                raise InvalidArgument("trainable_token_indices", module, expected)
            if max(ids) >= target.out_features:
                expected = f"token ids below {target.out_features}, the size of the vocabulary"
                raise InvalidArgument("trainable_token_indices", max(ids), expected)
            tokens[target.name] = ids
        return tokens
