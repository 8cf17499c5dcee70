"""Mistral Small 3, and Ministral 3 with attention temperature scaling; GGUF names both mistral3."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import has_nonzero
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.rope_scaling import DEFAULT_BASE, rope_scaling


def _attention_temperature(model: GgufModel) -> Config:
    multiplier = model.number("rope.scaling.yarn_log_multiplier")
    # mscale / mscale_all_dim is 1, so YaRN does not scale attention.
    mscale = {} if not multiplier else {"mscale": multiplier, "mscale_all_dim": multiplier}
    scaling = rope_scaling(model) or {"rope_type": "default"}
    parameters = {
        "rope_theta": model.number("rope.freq_base") or DEFAULT_BASE,
        "llama_4_scaling_beta": model.number("attention.temperature_scale"),
    }
    return {"rope_scaling": {**scaling, **mscale, **parameters}}


MISTRAL3 = attrs.evolve(
    LLAMA,
    architecture="mistral3",
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_count"),
    variants=(
        (
            has_nonzero("attention.temperature_scale"),
            attrs.evolve(
                LLAMA,
                architecture="mistral3",
                model_type="ministral3",
                extra=(_attention_temperature,),
                attribute_map={"rope_scaling": "rope_parameters"},
                unsupported_keys=(*LLAMA.unsupported_keys, "expert_count", "attention.sliding_window"),
                variants=(),
            ),
        ),
    ),
)
