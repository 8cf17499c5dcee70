"""The architecture maps of GGUF.

Source: `gguf-py/gguf/constants.py` (keys and tensor names), `convert_hf_to_gguf.py` (changes to tensors) and
`src/llama-model.cpp` (defaults of absent keys), all in llama.cpp.
"""

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap
from litgpt.adapters.checkpoints.gguf.maps.alibi import BLOOM, MPT
from litgpt.adapters.checkpoints.gguf.maps.cohere import COHERE2, COMMAND_R
from litgpt.adapters.checkpoints.gguf.maps.deepseek import DEEPSEEK2
from litgpt.adapters.checkpoints.gguf.maps.gemma import GEMMA, GEMMA2, GEMMA3
from litgpt.adapters.checkpoints.gguf.maps.gemma3n import GEMMA3N
from litgpt.adapters.checkpoints.gguf.maps.gemma4 import GEMMA4
from litgpt.adapters.checkpoints.gguf.maps.glm import GLM4, GLM4_MOE
from litgpt.adapters.checkpoints.gguf.maps.gpt2 import GPT2, STARCODER, STARCODER2
from litgpt.adapters.checkpoints.gguf.maps.gpt_oss import GPT_OSS
from litgpt.adapters.checkpoints.gguf.maps.granite import GRANITE, GRANITE_MOE
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.llama4 import LLAMA4
from litgpt.adapters.checkpoints.gguf.maps.llama_like import (
    APERTUS,
    ERNIE4_5,
    EXAONE4,
    HUNYUAN_DENSE,
    MINIMAX_M2,
    NEMOTRON,
    OLMO2_OR_3,
    SEED_OSS,
    SMOLLM3,
)
from litgpt.adapters.checkpoints.gguf.maps.mistral import MISTRAL3
from litgpt.adapters.checkpoints.gguf.maps.neox import FALCON, GPT_NEOX
from litgpt.adapters.checkpoints.gguf.maps.olmo import OLMO, STABLELM
from litgpt.adapters.checkpoints.gguf.maps.phi import PHI2, PHI3, PHIMOE
from litgpt.adapters.checkpoints.gguf.maps.qwen import QWEN2, QWEN2_MOE, QWEN3, QWEN3_MOE
from litgpt.adapters.checkpoints.gguf.maps.qwen_next import QWEN3_NEXT, QWEN35, QWEN35_MOE
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata

ARCHITECTURE_MAPS: dict[str, ArchitectureMap] = {
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
        PHIMOE,
        GPT_NEOX,
        FALCON,
        STABLELM,
        OLMO,
        OLMO2_OR_3,
        DEEPSEEK2,
        GPT_OSS,
        GEMMA3N,
        GEMMA4,
        QWEN35,
        QWEN35_MOE,
        QWEN3_NEXT,
        QWEN2_MOE,
        GLM4,
        GLM4_MOE,
        MISTRAL3,
        SMOLLM3,
        GRANITE,
        GPT2,
        STARCODER2,
        ERNIE4_5,
        EXAONE4,
        SEED_OSS,
        HUNYUAN_DENSE,
        MINIMAX_M2,
        LLAMA4,
        COMMAND_R,
        COHERE2,
        NEMOTRON,
        APERTUS,
        GRANITE_MOE,
        STARCODER,
        BLOOM,
        MPT,
    )
}
"""All supported architectures, by GGUF's name."""


def architecture_map_of(metadata: GgufMetadata) -> ArchitectureMap:
    """Return the map of a model's architecture; raise UnsupportedModel if there is none."""
    if (kind := metadata.text("general.type") or "model") != "model":
        raise metadata.unsupported(f"its general.type is {kind!r}; only models are supported.")
    architecture = metadata.text("general.architecture")
    if architecture is None:
        raise metadata.missing("general.architecture")
    if architecture not in ARCHITECTURE_MAPS:
        known = ", ".join(sorted(ARCHITECTURE_MAPS))
        raise metadata.unsupported(
            f"its architecture {architecture!r} is not supported; supported are: {known}."
        )
    return ARCHITECTURE_MAPS[architecture]
