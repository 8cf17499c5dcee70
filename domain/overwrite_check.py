"""Decide whether saving would overwrite a different model or adapter.

Trained weights replace earlier weights of the same structure: models are the same if their configs describe
the same family, layers and sizes, adapters if they have the same base model and rank. A copy of weights that
are stored elsewhere replaces only its own source, because the folder may hold a fine-tuned model. Quantized
weights do not replace weights in full precision.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.families import parse_config

if TYPE_CHECKING:
    from litgpt.domain.lora.config import LoraConfig


@attrs.define(eq=False)
class WouldOverwrite(LitGPTError, FileExistsError):
    """Saving would replace a different model, run or file; `holds` follows "already contains"."""

    path: str
    holds: str
    remedy: str = "Pass overwrite=True to replace it, or choose another path."

    def __str__(self) -> str:
        return f"{self.path} already contains {self.holds}. {self.remedy}"


@attrs.frozen
class SavedContent:
    """A model or an adapter, in a folder or to be saved.

    Attributes:
        description: A description such as "a llama model".
        identity: A value that is equal for the same model; None: unknown.
        quant_method: The `quant_method` of its config; None for full precision.
        is_copy: Whether its weights are also stored in another place.
    """

    description: str
    identity: object | None = None
    quant_method: str | None = None
    is_adapter: bool = False
    is_copy: bool = False

    def lost_when_replaced_by(self, new: "SavedContent") -> str | None:
        """Return a description of the content that `new` would overwrite; None if they are the same."""
        if self.identity is None or self.identity != new.identity:
            return f"{self.description}, not the {'adapter' if new.is_adapter else 'model'} to be saved"
        if new.quant_method not in (None, self.quant_method):
            return f"{self.description} whose weights are not quantized in this way ({new.quant_method})"
        if new.is_copy:
            return f"{self.description} with the same structure, whose weights may differ"
        return None


InspectFolder: TypeAlias = Callable[[Path], SavedContent | None]
"""Returns the content of a folder; None: neither a model nor an adapter."""


def model_content(config: Mapping[str, object]) -> SavedContent:
    """Return the model of a `config.json`."""
    kind, quantization = config.get("model_type"), config.get("quantization_config")
    plain = {name: value for name, value in config.items() if name != "quantization_config"}
    method = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
    try:
        # A formerly tied head may have been trained separately.
        identity = (kind, attrs.evolve(parse_config(str(kind), plain), tie_word_embeddings=True))
    except LitGPTError:
        return SavedContent("another model")
    return SavedContent(f"a {kind} model", identity, None if method is None else str(method))


def adapter_content(base: str | None, config: "LoraConfig") -> SavedContent:
    """Return the LoRA adapter for a base model."""
    description = f"a LoRA adapter of rank {config.rank} for {base or 'a model'}"
    return SavedContent(description, (base, config.rank), is_adapter=True)
