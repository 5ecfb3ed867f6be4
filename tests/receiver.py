"""Whoever is paged: takes Alertmanager's web hooks and writes each notification as a line of JSON to stdout."""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    """The path is the receiver's name."""

    def do_POST(self) -> None:
        notification = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        line = {"time": time.time(), "receiver": self.path.strip("/"), **notification}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"ok")  # as a chat does: what answers otherwise has not taken it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Say nothing beside the notifications."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
