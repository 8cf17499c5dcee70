"""A process of a replica without a model: it says that it lives."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from litgpt.cli.device_processes.child import Sender, run_child


class _Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _serve(send: Sender) -> None:
    if sys.stdin.buffer.readline():
        server = HTTPServer(("127.0.0.1", 0), _Alive)
        send({"device": "cpu", "host": "127.0.0.1", "port": server.server_port})
        server.serve_forever()


if __name__ == "__main__":
    run_child(_serve)
