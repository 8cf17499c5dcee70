"""Describe a model of transformers from its config and the headers of its tensors."""

from collections.abc import Mapping
from math import prod

import torch
from torch import nn

from litgpt.adapters.pytorch.bridge.cache import can_truncate
from litgpt.adapters.pytorch.bridge.config import first_setting, model_class, read_config
from litgpt.domain.bridge import BridgedArchitecture
from litgpt.domain.bridge.architecture import bridged_layers
from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.families import ResolvedModel
from litgpt.domain.families.multimodal import is_multimodal, text_config
from litgpt.domain.model import ParameterSpec
from litgpt.domain.validation.untrusted_files import translate_read_errors
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import TensorInfo
from litgpt.domain.weights.tensor_view import TensorView

_UNKNOWN_CONTEXT = 2**20
"""The context length of models without one, such as state-space models."""


def describe(
    name: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo], reason: str
) -> ResolvedModel:
    """Return the structure of a model that transformers computes, whose weights have not been read.

    The module is built without memory for its weights.

    Args:
        name: The name of the model, for errors.
        config: The contents of `config.json`.
        tensors: The tensors of the checkpoint.
        reason: Why this library's own network does not compute the model.

    Raises:
        NotInstalled: transformers is not installed.
        UnsupportedModel: transformers has no text decoder of this type.
        CorruptFile: A setting is not valid.
        CheckpointMismatch: The config describes more weights than the checkpoint has.
    """
    text = text_config(config)
    read = read_config(name, text, num_tensors=len(tensors))
    with translate_read_errors(f"config.json of {name}"), torch.device("meta"):
        network = model_class(name, read.model_type)._from_config(read)  # noqa: SLF001 - of from_config
        specs = tuple(_specs(network))
        head, embedding = network.get_output_embeddings(), network.get_input_embeddings()
        hidden_size = first_setting(read, "hidden_size", "n_embd", "d_model") or embedding.weight.shape[1]
    _check_sizes(name, specs, tensors)
    # A state without heads is estimated as the keys and values of one head as wide as the model.
    heads = first_setting(read, "num_attention_heads", "n_head", default=1)
    architecture = BridgedArchitecture(
        family=read.model_type,
        hidden_size=hidden_size,
        vocab_size=head.weight.shape[0],
        context_length=first_setting(
            read,
            "max_position_embeddings",
            "n_positions",
            "context_length",
            "max_seq_len",
            "seq_length",
            default=_UNKNOWN_CONTEXT,
        ),
        layers=bridged_layers(
            read.num_hidden_layers,
            hidden_size=hidden_size,
            intermediate_size=first_setting(
                read, "intermediate_size", "n_inner", "ffn_dim", "dff", default=4 * hidden_size
            ),
            num_kv_heads=first_setting(read, "num_key_value_heads", default=heads),
            head_dim=first_setting(read, "head_dim", default=max(1, hidden_size // heads)),
        ),
        final_norm=None,
        tie_word_embeddings=head.weight is embedding.weight,
        reason=reason,
        tensors=specs,
        can_truncate=can_truncate(network),
    )
    notes = [f"transformers computes it, as {reason}. {_COST}"]
    if is_multimodal(config):
        notes.append(
            f"it is a multimodal model ({config['model_type']}): only its text model is loaded "
            f"({read.model_type})."
        )
    return ResolvedModel(architecture=architecture, sources=tuple(map(_source, specs)), notes=tuple(notes))


_COST = (
    "It is slower than this library's own engines, needs more memory, and runs on one device and without "
    "quantization."
)


def _specs(network: nn.Module) -> list[ParameterSpec]:
    kinds = {
        f"{owner}.{leaf}" if owner else leaf: module
        for owner, module in network.named_modules()
        for leaf, _ in module.named_parameters(recurse=False)
    }
    specs = []
    for name, parameter in network.named_parameters():
        shape = tuple(parameter.shape)
        is_embedding = isinstance(kinds[name], nn.Embedding)
        role = "embedding" if is_embedding else "projection" if len(shape) > 1 else "bias"
        specs.append(ParameterSpec(name, shape, shape[:1], role))  # type: ignore[arg-type]  # a literal
    return specs


def _source(parameter: ParameterSpec) -> ParameterSource:
    """Return a source whose tensor has the name and shape of the parameter, as transformers writes it."""
    rows = parameter.shape[0] if parameter.shape else 1
    return ParameterSource(parameter, (TensorView(parameter.name, parameter.shape, 0, rows),))


def _check_sizes(name: str, specs: tuple[ParameterSpec, ...], tensors: Mapping[str, TensorInfo]) -> None:
    """Check that there are tensors for all weights, so that none of any size is allocated without one."""
    needed, stored = sum(prod(spec.shape) for spec in specs), sum(info.numel for info in tensors.values())
    if needed > stored:
        missing = tuple(spec.name for spec in specs if spec.name not in tensors)
        sizes = f"{needed:,} weights are described by the config, {stored:,} are stored"
        raise CheckpointMismatch(name, missing, shape_mismatches=(sizes,))
