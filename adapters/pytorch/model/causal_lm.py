"""What generation, training and LoRA need of a network: the base class of all of them.

Shapes: B batch, T tokens of this call, V vocabulary size, D hidden size.
"""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.loss import Reduction
from litgpt.adapters.pytorch.runtime.gradient_memory import check_gradients
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.model import Architecture


class CausalLM(nn.Module):
    """A decoder-only language model.

    Attributes:
        gradient_checkpointing: Recompute the activations within each layer in the backward pass instead of
            storing them (arXiv:1604.06174).
        layer_devices: The device of each layer; None if the model is on a single device.
        adapter: The active LoRA adapter. KV caches that were computed with another one are invalid.
        adapters: All LoRA adapters by name, for requests that name one.
        embedding_name: The name of the module that embeds the tokens.
        head_name: The name of the output head, whose `weight` (V, D) has the model's dtype.
    """

    gradient_checkpointing = False
    supports_lora = True
    has_whole_head = True  # otherwise, logits are computed by calls of the model only
    layer_devices: Sequence[torch.device] | None = None
    divides_prompts = True  # otherwise, a prompt is best computed in one forward pass
    embedding_name = "transformer.wte"
    head_name = "lm_head"

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.adapter: object = None
        self.adapters: dict[str, Any] = {}

    def __repr__(self) -> str:
        return summary_repr(type(self).__name__, architecture=self.architecture)

    __str__ = nn.Module.__repr__  # `print(llm.model)` lists the modules, as for any nn.Module

    runs_on_each_rank = (
        False  # whether each rank runs the whole program, so that all ranks must fail together
    )
    ranks_on_host = 1  # they share its memory

    def rank0_value(self, number: int) -> int:
        """Return rank 0's value of a number that is less than 2**63 and may differ between ranks."""
        return number

    def least_value(self, number: int) -> int:
        """Return the least value of such a number on all ranks."""
        return number

    def generation_context(self) -> AbstractContextManager[object]:
        """Return the context manager within which all steps of one generation run."""
        return nullcontext()

    def require_trainable(self) -> None:
        """Raise if the loss of this model could not be backpropagated."""
        check_gradients(self)

    # LitGPT's `llm.model` is a Lightning Fabric wrapper; programs access the wrapped module by this name.
    _forward_module = property(lambda self: self)

    @property
    def head_weight(self) -> Tensor:
        return self.get_submodule(self.head_name).get_parameter("weight")

    @property
    def is_tied(self) -> bool:
        """Whether the head and the embedding share their weight."""
        return self.head_weight is self.get_submodule(self.embedding_name).weight

    @property
    def input_device(self) -> torch.device:
        """The device on which `input_ids` must be."""
        return self.get_submodule(self.embedding_name).get_parameter("weight").device

    @abstractmethod
    def empty_cache(
        self,
        *,
        max_length: int,
        row_offsets: Sequence[int] = (0,),
        lengths: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> KVCache:
        """Return an empty cache with the dtype and devices of this model; see `KVCache.empty`."""

    @abstractmethod
    def tie_weights(self) -> None:
        """Make the head share the weight of the embedding, if it is tied."""

    @abstractmethod
    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the next-token cross-entropy.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted; -100 is ignored.
            reduction: `mean` or `sum` over the targets.

        Raises:
            InvalidArgument: `reduction` is `mean` and all targets are ignored.
        """

    @abstractmethod
    def hidden_states(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return the input of the head, (B, T, D); the arguments are as in `forward`."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (…, V) of hidden states (…, D)."""
