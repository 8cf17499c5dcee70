"""The configuration and the model class of transformers for the contents of a `config.json`.

Only classes of the installed package are used. `auto_map` is not followed, and settings with which a file
could make transformers load code from the Hub are dropped.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from litgpt.domain.errors import CorruptFile, NotInstalled, UnsupportedModel
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.validation.untrusted_files import translate_read_errors

if TYPE_CHECKING:
    from types import ModuleType

INSTALL = 'pip install "litgpt[transformers]"'

# The weights are dequantized when they are read. The other settings name code or files elsewhere.
_DROPPED = frozenset(
    {
        "auto_map",
        "attn_implementation",
        "base_model_name_or_path",
        "custom_pipelines",
        "experts_implementation",
        "kernel_config",
        "name_or_path",
        "quantization_config",
        "transformers_weights",
        "trust_remote_code",
        "use_kernels",
    }
)

# Models in the table of causal language models that are not text decoders on their own; encoders,
# encoder-decoders and multimodal models are in other tables as well.
_NOT_DECODERS = {
    "bert-generation": "it is part of an encoder-decoder",
    "gemma4_assistant": "it only drafts for another model",
    "gemma4_unified_assistant": "it only drafts for another model",
    "moshi": "it is a speech model",
    "trocr": "it is part of an encoder-decoder",
    "xlnet": "it is not causal",
}
_OTHER_KINDS = {
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES": "it is an encoder-decoder",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES": "it is a speech model",
    "MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES": "it is an audio model",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES": "it is a multimodal model",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES": "it is a multimodal model",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": "it is an encoder",
}


@cache
def import_transformers() -> "ModuleType":
    """Import transformers, without kernels from the Hub, which are code.

    Raises:
        NotInstalled: It is not installed.
    """
    if "transformers" not in sys.modules:
        os.environ["USE_HUB_KERNELS"] = "NO"
    try:
        import transformers
        from transformers.integrations import hub_kernels
    except ImportError as error:
        raise NotInstalled("This model", "transformers", INSTALL) from error
    # The program may have imported it before, with kernels.
    hub_kernels._kernels_enabled = False  # noqa: SLF001 - read once, when it is imported
    return transformers


def is_installed() -> bool:
    """Return whether transformers is installed, without importing it, which takes seconds."""
    from importlib.util import find_spec

    return find_spec("transformers") is not None


def model_class(name: str, model_type: object) -> type[Any]:
    """Return the class of a model.

    Raises:
        UnsupportedModel: transformers has no decoder of this type.
    """
    transformers = import_transformers()
    from transformers.models.auto import modeling_auto

    if not isinstance(model_type, str):
        raise CorruptFile(f"config.json of {name}", "it has no 'model_type'.")
    described = f"its model_type {short_repr(model_type)} is not a text decoder: "
    if (reason := _NOT_DECODERS.get(model_type)) is not None:
        raise UnsupportedModel(name, f"{described}{reason}.")
    for table, kind in _OTHER_KINDS.items():
        if model_type in getattr(modeling_auto, table, {}):
            raise UnsupportedModel(name, f"{described}{kind}.")
    if model_type not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        version = transformers.__version__
        reason = f"transformers {version} has no causal language model of this type (code in a repository is"
        raise UnsupportedModel(
            name, f"its model_type {short_repr(model_type)} is not supported: {reason} not run)."
        )
    config_class = transformers.CONFIG_MAPPING[model_type]
    return cast("type[Any]", transformers.MODEL_FOR_CAUSAL_LM_MAPPING[config_class])


def read_config(name: str, config: Mapping[str, object], *, num_tensors: int) -> Any:
    """Return the configuration of transformers.

    Args:
        name: The name of the model, for errors.
        config: The contents of `config.json`.
        num_tensors: The number of tensors of the checkpoint, which limits the number of layers.

    Raises:
        UnsupportedModel: transformers has no decoder of this type, or it is an encoder-decoder.
        CorruptFile: A setting is not valid.
    """
    kind = model_class(name, config.get("model_type"))
    with translate_read_errors(f"config.json of {name}"):
        read = kind.config_class.from_dict(_readable(config))
    if getattr(read, "is_encoder_decoder", False):
        raise UnsupportedModel(name, "it is an encoder-decoder.")
    layers = getattr(read, "num_hidden_layers", None)
    if not isinstance(layers, int) or not 0 < layers <= num_tensors:
        reason = f"num_hidden_layers is {short_repr(layers)}, and the checkpoint has {num_tensors} tensors."
        raise CorruptFile(f"config.json of {name}", reason)
    if hasattr(read, "rescale_every"):
        # RWKV would divide weights in place for inference, against overflows in float16; what is saved,
        # merged or trained afterwards would be wrong.
        read.rescale_every = 0
    return read


def first_setting(config: Any, *names: str, default: int = 0) -> int:
    """Return the first of some settings that is a positive number."""
    for name in names:
        value = getattr(config, name, None)
        value = next(iter(value), None) if isinstance(value, Sequence) else value
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return default


def _readable(value: object) -> Any:
    """Return a copy of a setting without those that are dropped or private, in nested configs as well."""
    if isinstance(value, Mapping):
        if value.keys() == {_FLOAT}:  # how transformers writes numbers that JSON does not have
            return float(str(value[_FLOAT]))
        return {
            name: _readable(inner)
            for name, inner in value.items()
            if name not in _DROPPED and not name.startswith("_")
        }
    return [_readable(inner) for inner in value] if isinstance(value, list) else value


_FLOAT = "__float__"
