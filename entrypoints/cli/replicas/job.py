"""What the servers of the devices have in common."""

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litgpt.cli.model_loading import DistributeArguments
    from litgpt.domain.reference import ModelReference
    from litgpt.server.api.predict import PredictRoute
    from litgpt.server.settings import ServerSettings

_LIMITS = ("max_body_bytes", "max_json_depth", "arrival_timeout", "max_connections", "max_answer_tokens")


def replica_job(
    reference: "ModelReference",
    placement: "DistributeArguments",
    settings: "ServerSettings",
    *,
    name: str,
    draft: str | None,
    quiet: bool,
    adapters: "Mapping[str, str]",
    predict: "PredictRoute | None" = None,
) -> dict[str, Any]:
    """Return the job of the replicas: the model on one device, and the limits that are not the front's.

    Args:
        reference: The model.
        placement: How it is loaded; `devices` is the number of replicas.
        settings: Those of the front. The requests that may wait are divided among the replicas.
        name: The name of the model in the API.
        draft: The name of a draft model.
        quiet: Whether to show no progress.
        adapters: The paths of LoRA adapters by name.
        predict: LitGPT's own route; None: without it.
    """
    limits = {name: getattr(settings, name) for name in _LIMITS}
    limits["max_queue"] = -(-settings.max_queue // (placement.devices or 1))
    limits["max_header_bytes"] = 2 * settings.max_header_bytes  # the front adds some
    return {
        "reference": attrs.asdict(reference),
        "placement": placement._replace(devices=1)._asdict(),
        "settings": limits,
        "name": name,
        "draft": draft,
        "quiet": quiet,
        "adapters": dict(adapters),
        "predict": None if predict is None else attrs.asdict(predict),
    }
