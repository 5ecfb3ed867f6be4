"""The product run on this machine by itself, without the laboratory, on a free port of the loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.running import ACTING, ROOT

# One target, on a port that nobody listens on.
CONFIG: Final = """
site: {features: [alone], roles: [client]}
probe: {interval: 1s, timeout: 500ms, attempts: 1}
groups: [{feature: alone, endpoints: [{pattern: "http://127.0.0.1:9/"}]}]
"""


@dataclass
class Alone:
    """A running exporter, whose log is in a pipe."""

    process: subprocess.Popen[bytes]
    base: str

    def get(self, path: str) -> str:
        """What it answers; raises HTTPError where that is an error, or where nothing comes for long."""
        return self.ask("GET", path).raise_for_status().text

    def ask(self, method: str, path: str) -> httpx.Response:
        """Its answer, whatever it is."""
        return httpx.request(method, f"{self.base}{path}", timeout=60, trust_env=False)

    def says(self, words: str) -> str:
        """The next line of the log with these words."""
        assert self.process.stderr
        said = b""
        for line in self.process.stderr:
            said += line
            if words.encode() in line:
                return line.decode()
        raise AssertionError(said.decode())

    def value(self, name: str) -> float:
        """The value of a series without labels."""
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics"), re.MULTILINE)
        assert found, name
        return float(found[1])


@contextmanager
def alone(
    folder: Path, *arguments: str, config: str = CONFIG, before: str = "", command: str = "serve"
) -> Iterator[Alone]:
    """Serve until the block ends; returns when it listens. `before`: Python that runs first."""
    (folder / "exporter.yaml").write_text(config)
    script = f"{before}\nfrom exporter.__main__ import main\nmain()"
    argv = [sys.executable, "-c", script, command, "--web.listen-address", "127.0.0.1:0"]
    argv += ["--config.file", str(folder / "exporter.yaml"), *(ACTING if command == "serve" else ()), *arguments]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            found = Alone(process, "")
            found.base = "http://" + found.says("msg=listening").split("addresses=")[1].split()[0]
            yield found
        finally:
            process.kill()
