"""Where an adapter can be in a network, by the names of transformers."""

from collections.abc import Mapping, Sequence

import attrs
from torch import nn

from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.moe import Router
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.lora.adapter_matching import text_model_name
from litgpt.domain.lora.config import LoraConfig
from litgpt.domain.lora.expert_targets import find_parameter_targets, stacked_targets
from litgpt.domain.lora.targets import LoraTarget, find_targets, is_inside, matches_name
from litgpt.domain.weights.mapping import ParameterSource, TensorTarget, invert_mapping

EMBEDDING, HEAD = "transformer.wte", "lm_head"


@attrs.frozen(eq=False)
class ModelTargets:
    """Where an adapter can be.

    Attributes:
        model: The network.
        targets: Where pairs can be.
        tensor_targets: Every tensor of transformers 5, and the parameters that it holds.
        legacy_tensor_targets: The same by the names in files, which transformers 4 has too, where they
            differ.

    """

    model: GPT
    targets: tuple[LoraTarget, ...] = attrs.field(repr=False)
    tensor_targets: Mapping[str, tuple[TensorTarget, ...]] = attrs.field(repr=False)
    legacy_tensor_targets: Mapping[str, tuple[TensorTarget, ...]] = attrs.field(repr=False)

    @classmethod
    def from_model(cls, model: GPT, sources: Sequence[ParameterSource], model_type: str) -> "ModelTargets":
        """Return those of a network.

        Args:
            model: The network.
            sources: How transformers writes its tensors, the head among them also where it is the embedding.
            model_type: The family.

        """
        linear, embeddings, routers = (
            {name for name, module in model.named_modules() if isinstance(module, kinds)}
            for kinds in ((nn.Linear, QuantizedLinear), nn.Embedding, Router)
        )
        found = (
            *find_targets(sources, linear, embeddings),
            *find_parameter_targets(sources, routers, model_type),
        )
        stacked = stacked_targets(sources, model_type)
        former = {name: those for name, those in invert_mapping(sources).items() if name not in stacked}
        return cls(model, found, stacked, former)

    def resolve_name(self, saved: str) -> str | None:
        """Return the name here of a tensor that an adapter has whole; None if there is no such tensor."""
        for name in (saved, text_model_name(saved)):
            if name in self.tensor_targets:
                return name
            if (those := self.legacy_tensor_targets.get(name)) is not None:
                now = (one for one, its in self.tensor_targets.items() if its == those)
                return next(now, name)
        return None

    def targets_of(self, tensor: str) -> tuple[TensorTarget, ...]:
        """Return the parameters that a tensor of transformers 5, or 4, holds."""
        return (
            self.tensor_targets[tensor]
            if tensor in self.tensor_targets
            else self.legacy_tensor_targets[tensor]
        )

    @property
    def embedding(self) -> LoraTarget | None:
        """The input embedding."""
        return next((place for place in self.targets if place.rows[0].layer == EMBEDDING), None)

    @property
    def head(self) -> LoraTarget | None:
        """The head."""
        return next((place for place in self.targets if place.rows[0].layer == HEAD), None)

    @property
    def is_tied(self) -> bool:
        """Whether the head is the embedding."""
        embedding = self.model.get_submodule(EMBEDDING)
        return self.model.lm_head.weight is embedding.weight

    def modules_to_save(self, config: LoraConfig) -> list[str]:
        """Return the tensors of the modules that are to be trained whole.

        Raises:
            BadArgument: The model has no such module.

        """
        found = dict.fromkeys(
            name for name in self.tensor_targets if is_inside(name.rpartition(".")[0], config.modules_to_save)
        )
        for module in config.modules_to_save:
            if not any(is_inside(name.rpartition(".")[0], [module]) for name in found):
                leaves = dict.fromkeys(name.split(".")[-2] for name in self.tensor_targets)
                raise InvalidArgument(
                    "modules_to_save", module, f"a module of the model: {', '.join(leaves)}"
                )
        return list(found)

    def biases(self, config: LoraConfig, targets: Sequence[LoraTarget]) -> list[str]:
        """Return the biases that are to be trained."""
        if config.bias == "all":
            return [name for name in self.tensor_targets if "bias" in name]
        if config.bias == "lora_only":
            names = dict.fromkeys(f"{place.name}.bias" for place in targets)
            return [name for name in names if name in self.tensor_targets]
        return []

    def trained_tokens(self, config: LoraConfig) -> dict[str, tuple[int, ...]]:
        """Return the tokens that are to be trained, by embedding or head.

        Raises:
            BadArgument: It is neither, or has no such token.

        """
        found = {}
        there = [place for place in (self.embedding, self.head) if place is not None]
        for module, ids in config.trainable_token_indices:
            place = next((one for one in there if module is None or matches_name(one.name, module)), None)
            if place is None:
                expected = f"token ids by {' or '.join(one.name for one in there)}"
                raise InvalidArgument("trainable_token_indices", module, expected)
            if max(ids) >= place.out_features:
                expected = f"token ids below {place.out_features}, the size of the vocabulary"
                raise InvalidArgument("trainable_token_indices", max(ids), expected)
            found[place.name] = ids
        return found
