"""`python -m litgpt.cli.replicas.worker`: the server of one device, which `litgpt serve --devices N` starts.

The first line of its stdin is the job: the model, and the settings of the server with the key that the front
alone knows. It sends its address when the model is loaded, or an error. It ends with its parent process, or
when its engine has failed or hangs, so that it is started again.
"""

import json
import logging
import os
import sys
import time
from typing import Any

from litgpt.cli.device_processes.child import Sender, run_child

_SECONDS = 1.0
"""How often the engine is looked at."""

_LAST_SECONDS = 2.0
"""How long the errors of a failed engine may take to be sent."""


def main() -> None:
    """Serve until the parent process ends this one."""
    run_child(_serve)


def _serve(send: Sender) -> None:
    from litgpt.cli.model_loading import DistributeArguments, load_adapters, load_model
    from litgpt.domain.reference import ModelReference
    from litgpt.server.api.predict import PredictRoute
    from litgpt.server.app import create_app
    from litgpt.server.run import start_in_thread
    from litgpt.server.settings import ServerSettings

    job: dict[str, Any] = json.loads(sys.stdin.buffer.readline() or b"null")
    if not job:  # the parent process is gone
        return
    logging.getLogger("litgpt.server.access").setLevel(logging.WARNING)  # the front logs all requests
    reference, placement = ModelReference(**job["reference"]), DistributeArguments(**job["placement"])
    settings = ServerSettings(**job["settings"])
    with load_model(reference, placement, draft=job["draft"], quiet=job["quiet"]) as llm:
        load_adapters(llm, job["adapters"])
        predict = None if job["predict"] is None else PredictRoute(**job["predict"])
        served = llm._served_model(job["name"])  # noqa: SLF001 - as LLM.serve
        app = create_app(served, settings, predict=predict)
        context = app.state.litgpt
        # In a thread, where no signal ends it: the front finishes the answers, and then ends this process.
        with start_in_thread(app, settings, engine=context) as server:
            device = str(llm.preprocessor.device).partition(":")[0]
            send({"device": device, "host": settings.host, "port": int(server.url.rpartition(":")[2])})
            while context.status().state == "ok":
                time.sleep(_SECONDS)
            time.sleep(_LAST_SECONDS)
            os._exit(1)  # the thread of a failed engine may never end


if __name__ == "__main__":
    main()
