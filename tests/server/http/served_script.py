"""Serve the small app in a process of its own, with the settings in JSON that are its argument."""

import json
import os
import sys

from litgpt.server.listening import listen
from litgpt.server.run import run
from litgpt.server.settings import ServerSettings
from tests.server.http.small_app import small_app


def show(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    settings = ServerSettings(**json.loads(sys.argv[1]))
    run(small_app(), settings, listener=listen(settings), on_ready=show)
    show("ended")
