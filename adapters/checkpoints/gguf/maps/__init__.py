"""The architecture maps of GGUF.

Source: `gguf-py/gguf/constants.py` (keys and tensor names), `convert_hf_to_gguf.py` (changes to tensors) and
`src/llama-model.cpp` (defaults of absent keys), all in llama.cpp.
"""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap
from litgpt.adapters.checkpoints.gguf.reader.metadata import GgufMetadata
from litgpt.domain.lazy_values import LazyValues

ARCHITECTURE_MAPS: Mapping[str, ArchitectureMap] = LazyValues(
    "litgpt.adapters.checkpoints.gguf.maps",
    {
        "llama": "llama:LLAMA",
        "qwen2": "qwen:QWEN2",
        "qwen3": "qwen:QWEN3",
        "qwen3moe": "qwen:QWEN3_MOE",
        "gemma": "gemma:GEMMA",
        "gemma2": "gemma:GEMMA2",
        "gemma3": "gemma:GEMMA3",
        "phi2": "phi:PHI2",
        "phi3": "phi:PHI3",
        "phimoe": "phi:PHIMOE",
        "gptneox": "neox:GPT_NEOX",
        "falcon": "neox:FALCON",
        "stablelm": "olmo:STABLELM",
        "olmo": "olmo:OLMO",
        "olmo2": "llama_like:OLMO2_OR_3",
        "olmoe": "olmo:OLMOE",
        "deepseek2": "deepseek:DEEPSEEK2",
        "minicpm3": "deepseek:MINICPM3",
        "gpt-oss": "gpt_oss:GPT_OSS",
        "gemma3n": "gemma3n:GEMMA3N",
        "gemma4": "gemma4:GEMMA4",
        "qwen35": "qwen_next:QWEN35",
        "qwen35moe": "qwen_next:QWEN35_MOE",
        "qwen3next": "qwen_next:QWEN3_NEXT",
        "qwen2moe": "qwen:QWEN2_MOE",
        "glm4": "glm:GLM4",
        "glm4moe": "glm:GLM4_MOE",
        "mistral3": "mistral:MISTRAL3",
        "smollm3": "llama_like:SMOLLM3",
        "granite": "granite:GRANITE",
        "gpt2": "gpt2:GPT2",
        "starcoder2": "gpt2:STARCODER2",
        "ernie4_5": "llama_like:ERNIE4_5",
        "exaone4": "llama_like:EXAONE4",
        "seed_oss": "llama_like:SEED_OSS",
        "hunyuan-dense": "llama_like:HUNYUAN_DENSE",
        "minimax-m2": "llama_like:MINIMAX_M2",
        "llama4": "llama4:LLAMA4",
        "command-r": "cohere:COMMAND_R",
        "cohere2": "cohere:COHERE2",
        "nemotron": "llama_like:NEMOTRON",
        "apertus": "llama_like:APERTUS",
        "granitemoe": "granite:GRANITE_MOE",
        "starcoder": "gpt2:STARCODER",
        "bloom": "alibi:BLOOM",
        "mpt": "alibi:MPT",
        "qwen2vl": "qwen:QWEN2_VL",
        "qwen3vl": "qwen:QWEN3_VL",
        "qwen3vlmoe": "qwen:QWEN3_VL_MOE",
        "arcee": "llama_like:ARCEE",
        "exaone": "llama_like:EXAONE",
        "lfm2": "lfm2:LFM2",
        "lfm2moe": "lfm2:LFM2_MOE",
    },
)
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
