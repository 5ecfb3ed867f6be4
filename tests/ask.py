"""Ask Prometheus many questions at once: a program for the laboratory, where nobody outside reaches it.

From standard input a list of [path, parameters]; to standard output the list of answers, as they came.
"""

from __future__ import annotations

import json
import sys
from http.client import HTTPConnection
from urllib.parse import urlencode


def main() -> None:
    """Ask one after the other."""
    connection = HTTPConnection("127.0.0.1", 9090, timeout=30)
    answers = []
    for path, parameters in json.load(sys.stdin):
        connection.request("GET", f"/api/v1/{path}?{urlencode(parameters, doseq=True)}")
        answers.append(json.load(connection.getresponse()))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
