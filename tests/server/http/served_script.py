"""Serve the small app in a process of its own, with the settings in JSON that are its argument."""

import json
import os
import sys

from litgpt.server.listening import listen
from litgpt.server.run import run
from litgpt.server.settings import ServerSettings
from tests.server.http.small_app import small_app

if __name__ == "__main__":
    settings = ServerSettings(**json.loads(sys.argv[1]))
    run(
        small_app(),
        settings,
        listener=listen(settings),
        on_ready=lambda url: os.write(1, f"{url}\n".encode()),
    )
    os.write(1, b"ended\n")
