"""`llm.preprocessor`: LitGPT's interface to encode text as tensors on the model's device."""

from typing import TYPE_CHECKING

import attrs

from litgpt.tokenizer import TokenIds, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor


@attrs.define
class Preprocessor:
    """Encodes text as tensors on a device, and decodes them.

    Attributes:
        tokenizer: The model's tokenizer.
        device: The device of encoded ids.
    """

    tokenizer: Tokenizer
    device: str = "cpu"

    def encode(self, text: str) -> "Tensor":
        """Return the token ids of a text, (T,)."""
        return self.tokenizer.encode(text, device=self.device)

    def decode(self, token_ids: TokenIds) -> str:
        """Return the text of token ids."""
        return self.tokenizer.decode(token_ids)
