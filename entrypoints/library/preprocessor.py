"""`llm.preprocessor`: text to ids on the model's device and back, as LitGPT's users know it."""

import attrs
from torch import Tensor

from litgpt.tokenizer import TokenIds, Tokenizer


@attrs.define
class Preprocessor:
    """Encodes to, and decodes from, tensors on a device.

    Attributes:
        tokenizer: The model's tokenizer.
        device: The device of encoded ids.

    """

    tokenizer: Tokenizer
    device: str = "cpu"

    def encode(self, text: str) -> Tensor:
        """Return the ids of a text, (T,)."""
        return self.tokenizer.encode(text, device=self.device)

    def decode(self, token_ids: TokenIds) -> str:
        """Return the text of ids."""
        return self.tokenizer.decode(token_ids)
