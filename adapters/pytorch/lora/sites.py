"""Where an adapter can be in a network, by the names of transformers."""

from collections.abc import Mapping, Sequence

import attrs
from torch import nn

from litgpt.adapters.pytorch.experts import Gate
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.domain.errors import BadArgument
from litgpt.domain.lora import Lora
from litgpt.domain.lora_experts import parameter_places, stacked_uses
from litgpt.domain.lora_fitting import plain_name
from litgpt.domain.lora_places import Place, is_called, is_within, places
from litgpt.domain.weights import Join, Use, uses

EMBEDDING, HEAD = "transformer.wte", "lm_head"


@attrs.frozen(eq=False)
class Sites:
    """Where an adapter can be.

    Attributes:
        model: The network.
        places: Where pairs can be.
        uses: Every tensor of transformers 5, and the parameters that it holds.
        former: The same by the names in files, which transformers 4 has too, where they differ.

    """

    model: GPT
    places: tuple[Place, ...] = attrs.field(repr=False)
    uses: Mapping[str, tuple[Use, ...]] = attrs.field(repr=False)
    former: Mapping[str, tuple[Use, ...]] = attrs.field(repr=False)

    @classmethod
    def of(cls, model: GPT, joins: Sequence[Join], model_type: str) -> "Sites":
        """Return those of a network.

        Args:
            model: The network.
            joins: How transformers writes its tensors, the head among them also where it is the embedding.
            model_type: The family.

        """
        linear, embeddings, routers = (
            {name for name, module in model.named_modules() if isinstance(module, kinds)}
            for kinds in ((nn.Linear, QuantisedLinear), nn.Embedding, Gate)
        )
        found = (*places(joins, linear, embeddings), *parameter_places(joins, routers, model_type))
        stacked = stacked_uses(joins, model_type)
        former = {name: those for name, those in uses(joins).items() if name not in stacked}
        return cls(model, found, stacked, former)

    def named(self, saved: str) -> str | None:
        """Return the name here of a tensor that an adapter has whole; None if there is no such tensor."""
        for name in (saved, plain_name(saved)):
            if name in self.uses:
                return name
            if (those := self.former.get(name)) is not None:
                now = (one for one, its in self.uses.items() if its == those)
                return next(now, name)
        return None

    def uses_of(self, tensor: str) -> tuple[Use, ...]:
        """Return the parameters that a tensor of transformers 5, or 4, holds."""
        return self.uses[tensor] if tensor in self.uses else self.former[tensor]

    @property
    def embedding(self) -> Place | None:
        """The input embedding."""
        return next((place for place in self.places if place.rows[0].layer == EMBEDDING), None)

    @property
    def head(self) -> Place | None:
        """The head."""
        return next((place for place in self.places if place.rows[0].layer == HEAD), None)

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding."""
        embedding = self.model.get_submodule(EMBEDDING)
        return self.model.lm_head.weight is embedding.weight

    def tensors_within(self, lora: Lora) -> list[str]:
        """Return the tensors of the modules that are to be trained whole.

        Raises:
            BadArgument: The model has no such module.

        """
        found = dict.fromkeys(
            name for name in self.uses if is_within(name.rpartition(".")[0], lora.modules_to_save)
        )
        for module in lora.modules_to_save:
            if not any(is_within(name.rpartition(".")[0], [module]) for name in found):
                leaves = dict.fromkeys(name.split(".")[-2] for name in self.uses)
                raise BadArgument("modules_to_save", module, f"a module of the model: {', '.join(leaves)}")
        return list(found)

    def biases(self, lora: Lora, targets: Sequence[Place]) -> list[str]:
        """Return the biases that are to be trained."""
        if lora.bias == "all":
            return [name for name in self.uses if "bias" in name]
        if lora.bias == "lora_only":
            names = dict.fromkeys(f"{place.name}.bias" for place in targets)
            return [name for name in names if name in self.uses]
        return []

    def tokens(self, lora: Lora) -> dict[str, tuple[int, ...]]:
        """Return the tokens that are to be trained, by embedding or head.

        Raises:
            BadArgument: It is neither, or has no such token.

        """
        found = {}
        there = [place for place in (self.embedding, self.head) if place is not None]
        for module, ids in lora.trainable_token_indices:
            place = next((one for one in there if module is None or is_called(one.name, module)), None)
            if place is None:
                expected = f"token ids by {' or '.join(one.name for one in there)}"
                raise BadArgument("trainable_token_indices", module, expected)
            if max(ids) >= place.outputs:
                expected = f"token ids below {place.outputs}, the size of the vocabulary"
                raise BadArgument("trainable_token_indices", max(ids), expected)
            found[place.name] = ids
        return found
