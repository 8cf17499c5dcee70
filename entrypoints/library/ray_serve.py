"""A deployment for Ray Serve: `serve run litgpt.ray_serve:app model=smollm2 replicas=2`.

It is the server of `litgpt serve` in the processes of a cluster. Ray routes the requests, and starts again
the processes that end.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from litgpt.domain.errors import InvalidArgument, NotInstalled
from litgpt.domain.validators import integer

_LOG = logging.getLogger("litgpt.server")
_running: dict[str, Any] = {}
"""The app of this process, when its model is loaded."""


def app(arguments: Mapping[str, str]) -> Any:
    """Return an application of Ray Serve that serves a model with OpenAI's API.

    The API keys are those of the variable `LITGPT_API_KEYS`, as for `litgpt serve`.

    Args:
        arguments: `model`, a name as for `LLM.load`; `replicas`, the number of copies of the model, 1 by
            default; `gpus`, the GPUs of a copy, 0 by default; `cpus`, the cores of a copy, 1 by default.

    Raises:
        NotInstalled: Ray is missing.
        InvalidArgument: An argument is not valid.
    """
    options = {"replicas": "1", "gpus": "0", "cpus": "1", **arguments}
    model = options.pop("model", "")
    if not model:
        raise InvalidArgument("model", model, "the name of a model, such as model=smollm2")
    unknown = sorted(options.keys() - {"replicas", "gpus", "cpus"})
    if unknown:
        expected = "omitted: the others are model, replicas, gpus, cpus"
        raise InvalidArgument(unknown[0], options[unknown[0]], expected)
    least = {"replicas": 1, "gpus": 0, "cpus": 0}
    counts = {name: _count(name, value, least[name]) for name, value in options.items()}
    try:
        from ray import serve
    except ImportError as error:
        raise NotInstalled("Ray Serve", "ray", 'pip install "litgpt[ray]"') from error
    deployment = serve.deployment(
        serve.ingress(_Forward())(LLMDeployment),
        name=Path(model).name,
        num_replicas=counts["replicas"],
        max_ongoing_requests=512,  # the engine has a queue of its own, which refuses requests with 429
        ray_actor_options={"num_cpus": counts["cpus"], "num_gpus": counts["gpus"]},
    )
    return deployment.bind(model, counts["cpus"])


class LLMDeployment:
    """The model of a replica, and its server."""

    def __init__(self, model: str, threads: int) -> None:
        os.environ.setdefault("LITGPT_NUM_THREADS", str(max(1, threads)))
        from litgpt.llm import LLM
        from litgpt.server.app import create_app
        from litgpt.server.http.protect import ProtectedApp
        from litgpt.server.key_file import VARIABLE, keys_of_environment
        from litgpt.server.settings import ServerSettings

        settings = ServerSettings(host="0.0.0.0", api_keys=keys_of_environment())  # noqa: S104 - Ray listens
        if not settings.api_keys:
            _LOG.warning("Everyone who reaches Ray's port can use the model: %s has no keys.", VARIABLE)
        llm = LLM.load(model, quiet=True)
        routes = create_app(llm._served_model(Path(model).name), settings)  # noqa: SLF001 - as LLM.serve
        self._context = routes.state.litgpt
        _running["app"] = ProtectedApp(routes, settings, self._context)

    def check_health(self) -> None:
        """Raise if the engine has stopped or hangs; Ray then starts another process."""
        state = self._context.status().state
        if state not in ("ok", "degraded"):
            message = f"the engine is {state}"
            raise RuntimeError(message)


class _Forward:
    """An ASGI app that can be sent to a process before that has loaded the model."""

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        await _running["app"](scope, receive, send)


def _count(name: str, value: str, least: int) -> int:
    return integer(name, int(value) if value.isdecimal() else value, least)
