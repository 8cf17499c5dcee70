"""The architectures of GGUF, as data: each says how its models are told in Hugging Face's dialect.

Source: `gguf-py/gguf/constants.py` (keys and tensor names), `convert_hf_to_gguf.py` (what was done to the
numbers) and `src/llama-model.cpp` (what the absence of a key means), all in llama.cpp.
"""

from litgpt.adapters.checkpoints.gguf.architectures.deepseek import DEEPSEEK2
from litgpt.adapters.checkpoints.gguf.architectures.gemma import GEMMA, GEMMA2, GEMMA3
from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.neox import FALCON, GPT_NEOX
from litgpt.adapters.checkpoints.gguf.architectures.olmo import OLMO, OLMO2, STABLELM
from litgpt.adapters.checkpoints.gguf.architectures.phi import PHI2, PHI3
from litgpt.adapters.checkpoints.gguf.architectures.qwen import QWEN2, QWEN3, QWEN3_MOE
from litgpt.adapters.checkpoints.gguf.dialect import Dialect
from litgpt.adapters.checkpoints.gguf.metadata import Metadata

DIALECTS: dict[str, Dialect] = {
    dialect.architecture: dialect
    for dialect in (
        LLAMA,
        QWEN2,
        QWEN3,
        QWEN3_MOE,
        GEMMA,
        GEMMA2,
        GEMMA3,
        PHI2,
        PHI3,
        GPT_NEOX,
        FALCON,
        STABLELM,
        OLMO,
        OLMO2,
        DEEPSEEK2,
    )
}
"""Every architecture that is implemented, by GGUF's name for it."""


def dialect_of(metadata: Metadata) -> Dialect:
    """Return how a model's architecture is written.

    Raises:
        DamagedFile: It names none.
        UnsupportedModel: It is none of these, or no model.

    """
    if (kind := metadata.text("general.type") or "model") != "model":
        raise metadata.refuse(f"it holds no model but what GGUF calls {kind!r}.")
    architecture = metadata.text("general.architecture")
    if architecture is None:
        raise metadata.missing("general.architecture")
    if architecture not in DIALECTS:
        known = ", ".join(sorted(DIALECTS))
        raise metadata.refuse(f"its architecture {architecture!r} is not one of those implemented: {known}.")
    return DIALECTS[architecture]
