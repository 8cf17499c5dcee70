"""The state of an `LLM`, which all its parts use."""

from pathlib import Path

from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.model_adapters import ModelAdapters
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.ops.tensor_versions import weights_version
from litgpt.application.concurrency.model_lock import ModelLock
from litgpt.application.concurrency.shared_generator import SharedGenerator
from litgpt.application.load_model import LoadedModel
from litgpt.domain.errors import NotDistributed, UnsupportedOperation
from litgpt.domain.ports import Generator, PlacedModel
from litgpt.domain.progress import Reporter
from litgpt.services import Services


class BaseLLM(nn.Module):
    """A loaded model, and the network that was built of it.

    Attributes:
        model: The network; None until `distribute` or `trainer_setup`.
    """

    model: GPT | None

    def __init__(self, loaded: LoadedModel[Tensor], report: Reporter, services: Services) -> None:
        super().__init__()
        self.model = None
        self._loaded = loaded
        self._report = report
        self._services = services
        self._lock = ModelLock()
        self._placed: PlacedModel[Tensor] | None = None
        self._is_closed = False
        self._adapters: ModelAdapters | None = None
        self._trainer_ckpt: Path | None = None
        self._is_loaded = False  # by load_state_dict, after placement and before trainer_setup
        self._adapter_weights: dict[str, Tensor] = {}  # from a checkpoint, for add_lora

    @property
    def is_sharded(self) -> bool:
        """Whether this process has only a part of each weight."""
        # Importing DTensor for an isinstance check would take half a second.
        head = getattr(self.model, "lm_head", None)
        return hasattr(getattr(head, "weight", None), "full_tensor")

    @property
    def _is_trainable(self) -> bool:
        return self._placed is not None and self._placed.placement.trainable

    def _place(self, loaded: LoadedModel[Tensor], placed: PlacedModel[Tensor]) -> None:
        self._loaded, self._placed, self.model = loaded, placed, placed.network
        self._is_closed = False

    def _not_distributed(self) -> NotDistributed:
        return NotDistributed(is_closed=self._is_closed)

    def _release(self) -> None:
        if self._placed is not None:
            self._placed.close()
        self.model = self._placed = self._trainer_ckpt = self._adapters = None
        self._is_loaded = False

    def _require_full_model(self, operation: str) -> PlacedModel[Tensor]:
        if self._placed is None:
            raise self._not_distributed()
        if self.is_sharded:
            reason = (
                "each has a part. Load the model that `litgpt convert` makes of the Trainer's checkpoint."
            )
            raise UnsupportedOperation(f"{operation} weights that are sharded over processes", reason)
        self._placed.network = self.model  # which users may have replaced, with torch.compile for example
        return self._placed

    def _generator(self) -> Generator:
        """Return a thread-safe generator; raise NotDistributed if the model is not on a device."""
        with self._lock.using():
            self._current_generator()
        return SharedGenerator(self._lock, self._current_generator, self._weights_version)

    def _current_generator(self) -> Generator:
        return self._require_full_model("Generating with").generator()

    def _weights_version(self) -> object:
        """Return the version of trainable weights, which optimizers change in place; None for others."""
        return weights_version(self.model) if self.model is not None and self._is_trainable else None
