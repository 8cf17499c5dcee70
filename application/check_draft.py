"""Whether a draft model can be used with a placed model."""

from litgpt.application.load_model import LoadedModel, TensorT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture


def check_draft(
    loaded: LoadedModel[TensorT],
    draft: LoadedModel[TensorT],
    placement: Placement,
    missing_part: str | None,
) -> None:
    """Check a draft model before anything is built.

    Args:
        loaded: The model whose texts it drafts.
        draft: The draft model.
        placement: The placement of the former.
        missing_part: A part of the draft model that the native engine does not have; None: it has all.

    Raises:
        UnsupportedOperation: The engine, or one of the models, does not support drafts.
    """
    name, draft_name = loaded.checkpoint.name, draft.checkpoint.name
    requested = f"Drafting for {name} with {draft_name}"
    if placement.engine != "native":
        reason = (
            f"only the native engine does, and {name} is computed with torch. Use engine='native' in "
            "distribute(), after LLM.load(..., distribute=None), or leave out the draft model."
        )
        raise UnsupportedOperation(requested, reason)
    if missing_part is not None:
        reason = f"the native engine does not have {missing_part} of {draft_name}. Use another draft model."
        raise UnsupportedOperation(requested, reason)
    for model in (loaded, draft):
        if not _can_truncate(model.architecture):
            reason = (
                f"tokens that are rejected cannot be removed from the KV cache of {model.checkpoint.name}, "
                "which has sliding windows or recurrent states. Leave out the draft model."
            )
            raise UnsupportedOperation(requested, reason)


def _can_truncate(architecture: Architecture) -> bool:
    mixers = [layer.mixer for layer in architecture.layers]
    return not any(
        it.sliding_window or it.cache_spec.recurrent_state or it.cache_spec.conv_state for it in mixers
    )
