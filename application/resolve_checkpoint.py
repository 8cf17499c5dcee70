"""Resolve a checkpoint for this library's own network, or else for the bridge."""

from typing import Any

from litgpt.domain.errors import CorruptFile, NotInstalled, UnsupportedModel
from litgpt.domain.families import FAMILIES, ResolvedModel, resolve_model
from litgpt.domain.families.multimodal import text_config
from litgpt.domain.ports import Checkpoint, ModelBridge


def resolve_checkpoint(checkpoint: Checkpoint[Any], bridge: ModelBridge | None) -> ResolvedModel:
    """Return the structure of a model and the tensors of its parameters.

    A model whose family, or one of its settings, this library's own network does not have is described by
    the bridge, if there is one.

    Raises:
        InvalidCheckpoint: The files cannot be used.
        UnsupportedModel: Neither has the model.
    """
    name, config = checkpoint.name, checkpoint.config
    try:
        return resolve_model(name, config, checkpoint.tensors)
    except UnsupportedModel as error:
        if bridge is None:
            raise
        unsupported = error
    what = unsupported.reason.partition(" Supported: ")[0].removesuffix(".")
    reason = f"{what} by this library's own network"
    try:
        return bridge(name, config, checkpoint.tensors, reason)
    except NotInstalled as error:
        remedy = f"transformers may be able to compute it. Run: {error.command}"
        raise UnsupportedModel(unsupported.name, f"{unsupported.reason} {remedy}") from unsupported
    except (UnsupportedModel, CorruptFile) as error:
        if isinstance(error, CorruptFile) and text_config(config).get("model_type") not in FAMILIES:
            raise
        raise UnsupportedModel(
            unsupported.name, f"{unsupported.reason} Nor can transformers compute it: {error.reason}"
        ) from unsupported
