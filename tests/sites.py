"""Many sites on one machine: real exporters whose probes come to what a file says.

    python -m tests.sites PORT CONFIG FAULTS

`/NUMBER/metrics` is what a scrape of that exporter brings, as far as the rules read it. FAULTS is a JSON object: what
is broken, by the number of the exporter it is broken for. Schedule, confirmation, paths, readiness and metrics are
those of the product; only an attempt is made here. Each exporter has a thread and a clock of its own, so that no two
probe the same target at the same moment.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import anyio

from exporter.model.vocabulary import Certificate, CheckKey, Evidence, Failure, Phase, Reason, Result, Root, TlsFacts
from exporter.probe.runner import Network
from exporter.service.exporter import Exporter
from exporter.service.load import Deployment, Source, deploy, network_of
from exporter.system.log import LogFormat, LogLevel, configure
from tests.running import ROOT

EXPORTERS: Final = 12
APART: Final = 1000.0  # seconds between the clocks of two exporters, and no multiple of an interval:
PART: Final = 7.3
WELL: Final = 0.05  # seconds that a probe takes that goes well
SILENT: Final = frozenset({Reason.CONNECT_TIMEOUT, Reason.DNS_TIMEOUT})
ADDRESS: Final = "198.18.0.1"
CHAIN: Final = (Certificate("CN=host", "CN=issuer", 0.0, 4e9, "ab"),)
RULES: Final = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dashboards/rules").glob("*.yaml"))
READ: Final = "|".join(sorted(set(re.findall(r"\bconfigmgr_\w+", RULES))))
UNREAD: Final = re.compile(rf"^(?!(?:{READ})[{{ ]).*\n".encode(), re.MULTILINE)


Why = tuple[Phase, Reason] | None
_NO_PROXY: Final = (Phase.CONNECT, Reason.PROXY_UNREACHABLE)
# What a probe comes to that goes direct, and one that goes by the proxy, while something is broken.
FAULTS: Final[Mapping[str, tuple[Why, Why]]] = {
    "line": ((Phase.CONNECT, Reason.CONNECT_TIMEOUT), None),  # the proxy is reached by another
    "site": ((Phase.CONNECT, Reason.CONNECT_TIMEOUT), _NO_PROXY),
    "proxy": (None, _NO_PROXY),
    "resolver": ((Phase.RESOLVE, Reason.DNS_TIMEOUT), (Phase.RESOLVE, Reason.DNS_TIMEOUT)),
    "inspection": ((Phase.TLS, Reason.TLS_UNTRUSTED), None),
}
REFUSED: Final = ((Phase.CONNECT, Reason.CONNECT_REFUSED), (Phase.PROXY, Reason.PROXY_ERROR))  # a host


def failed(key: CheckKey, fault: str) -> Why:
    """What a probe comes to while something is broken: a host, or one of FAULTS."""
    why = FAULTS.get(fault, REFUSED if key.target.host == fault else (None, None))[key.proxy is not None]
    plain = why is not None and why[0] is Phase.TLS and not key.target.url.startswith("https:")
    return None if plain else why


def result(key: CheckKey, started: float, fault: str) -> Result:
    """The same as a result, with what an attempt sees that comes so far."""
    why = failed(key, fault)
    last = why[0] if why else Phase.PROCESSING
    phases = [phase for phase in Phase if phase is not Phase.PROXY or key.proxy is not None]
    reached = phases[: phases.index(last) + 1]
    tls = None
    if Phase.TLS in reached and key.target.url.startswith("https:"):
        tls = TlsFacts("TLSv1.3", CHAIN, Root.PRIVATE if why else Root.PUBLIC)
    addresses = () if last is Phase.RESOLVE else (ADDRESS,)
    seen = Evidence(addresses=addresses, address=addresses[0] if addresses else None, tls=tls, by_dns=True)
    failure = Failure(*why, "as the laboratory says") if why else None
    return Result(key, started, dict.fromkeys(reached, WELL / len(reached)), seen, failure)


class Scripted(Exporter):
    """An exporter that asks nobody."""

    def __init__(self, source: Source, deployment: Deployment, network: Network, number: int, faults: Path) -> None:
        super().__init__(source, deployment, network)
        self._timeout = deployment.settings.probing.timeout
        self._number, self._faults = str(number), faults
        self.loop: asyncio.AbstractEventLoop | None = None

    async def _attempt(self, key: CheckKey, within: float) -> Result:
        started = time.time()
        faults: Mapping[str, str] = json.loads(self._faults.read_text())
        came_to = result(key, started, fault := faults.get(self._number, ""))
        silent = fault == "site" or (came_to.failure is not None and came_to.failure.reason in SILENT)
        await anyio.sleep(min(self._timeout, within) if silent else WELL)
        return came_to

    def run(self) -> None:
        """Probe, for ever."""
        anyio.run(self._run, backend_options={"loop_factory": lambda: _Apart(int(self._number))})

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with anyio.create_task_group() as group:
            self.start(group)
            await anyio.sleep_forever()

    def scraped(self) -> bytes:
        """What a scrape brings."""
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(self._scraped(), self.loop).result()

    async def _scraped(self) -> bytes:
        self.store.snapshot()
        pieces, _ = self.registry.pieces("")
        return UNREAD.sub(b"", b"".join(pieces))


class _Apart(asyncio.SelectorEventLoop):
    """A loop whose clock is some way off."""

    def __init__(self, number: int) -> None:
        self._shift = number * (APART + PART)
        super().__init__()

    def time(self) -> float:
        return time.monotonic() + self._shift


def serve(port: int, exporters: list[Scripted]) -> None:
    """Answer scrapes, for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporters[int(self.path.split("/")[1])].scraped()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def main() -> None:
    """Run them."""
    port, config, faults = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    configure(LogLevel.ERROR, LogFormat.LOGFMT)
    source = Source(config)
    deployment = deploy(source)
    network = network_of(deployment)
    exporters = [Scripted(source, deployment, network, number, faults) for number in range(EXPORTERS)]
    for exporter in exporters:
        Thread(target=exporter.run, daemon=True).start()
    serve(port, exporters)


if __name__ == "__main__":
    main()
