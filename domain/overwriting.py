"""What a folder holds already, and whether something may be saved there.

Two models are the same if their configs describe the same structure (family, layers, sizes): weights that
were trained further are saved over the earlier ones. Two adapters are the same if they have the same base and
rank. Weights that are quantized when they are saved are not the same as those in full precision.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.families import describe
from litgpt.domain.lora import Lora


@attrs.define(eq=False)
class WouldOverwrite(LitGPTError, FileExistsError):
    """Saving would replace a different model, run or file.

    Attributes:
        path: The folder or file.
        holds: Its present contents, to follow "already contains".
        remedy: How to replace or to keep them, as a sentence.

    """

    path: str
    holds: str
    remedy: str = "Pass overwrite=True to replace it, or choose another path."

    def __str__(self) -> str:
        return f"{self.path} already contains {self.holds}. {self.remedy}"


@attrs.frozen
class Held:
    """A model or an adapter, in a folder or to be saved.

    Attributes:
        what: It, in words, such as "a llama model".
        identity: What is equal for the same model; None where that is not known.
        quantized: The `quant_method` of its config; None for full precision.
        is_adapter: Whether it is an adapter.

    """

    what: str
    identity: object | None = None
    quantized: str | None = None
    is_adapter: bool = False

    def replaced_by(self, new: "Held") -> str | None:
        """Return what saving `new` here would replace, to follow "already contains"; None for nothing."""
        if self.identity is None or self.identity != new.identity:
            return f"{self.what}, not the one to be saved"
        if new.quantized not in (None, self.quantized):
            return f"{self.what} whose weights are not quantized in this way ({new.quantized})"
        return None


Look: TypeAlias = Callable[[Path], Held | None]
"""Returns what a folder holds; None: neither a model nor an adapter."""


def held_model(config: Mapping[str, object]) -> Held:
    """Return the model of a `config.json`."""
    kind, quantization = config.get("model_type"), config.get("quantization_config")
    plain = {name: value for name, value in config.items() if name != "quantization_config"}
    method = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
    try:
        # A head that was the embedding may have been trained apart from it.
        identity = (kind, attrs.evolve(describe(str(kind), plain), tied=True))
    except LitGPTError:
        return Held("another model")
    return Held(f"a {kind} model", identity, None if method is None else str(method))


def held_adapter(base: str | None, lora: Lora) -> Held:
    """Return the LoRA adapter for a base model."""
    what = f"a LoRA adapter of rank {lora.rank} for {base or 'a model'}"
    return Held(what, (base, lora.rank), is_adapter=True)
