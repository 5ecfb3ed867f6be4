"""Count what a scrape brings of a site where all is well, by metric: `python -m tests.tools.series`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from exporter.metrics.families import Conditions, Events, ReloadStatus, State, Timing, registry_for
from exporter.metrics.text import Exposition, render
from exporter.model.vocabulary import (
    Answer,
    Certificate,
    Check,
    ClockSource,
    Contact,
    Evidence,
    Plan,
    Result,
    Root,
    TlsFacts,
    Tried,
)
from exporter.results.store import ResultStore
from exporter.service.load import Source, deploy
from tests.strategies import phases_of

_SERVER: Final = [
    *("service-connection-point", "cmg-connection-point", "management-point", "software-update-point"),
    *("distribution-point", "endpoint-protection-point", "site-server", "console"),
]
_BY_PROXY: Final = {
    "proxies": {"corporate": {"url": "http://proxy.corp.example:3128"}},
    "via": dict.fromkeys(_SERVER, "corporate"),
}
SITES: Final[Mapping[str, Mapping[str, Any]]] = {  # configurations, as docs/operations.md calls them
    "Without a configuration": {},
    "A site server with eight roles": {"site": {"roles": _SERVER}},
    "The same, through a proxy": {"site": {"roles": _SERVER}, **_BY_PROXY},
    "All roles, two clouds": {"site": {"clouds": ["azure-public", "azure-us-government"]}},
}
_CERTIFICATE: Final = Certificate("CN=host", "CN=issuer", 1e9, 2e9, "ab")
_TLS: Final = TlsFacts("TLSv1.3", (_CERTIFICATE,), Root.PUBLIC, path=(_CERTIFICATE,), verified=True)


@dataclass(frozen=True)
class Scrape:
    """A scrape of a site: its targets, its series by metric, its bytes, and seconds of CPU once lines are kept."""

    targets: int
    series: Counter[str]
    size: int
    packed: int
    seconds: float


def scrape(configuration: Mapping[str, Any]) -> Scrape:
    """Scrape an exporter with this configuration, each of whose targets answered at once; nothing is probed."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "exporter.yaml"
        config.write_text(json.dumps(configuration))
        plan = deploy(Source(config)).plan
    registry = _registry(plan)
    body, _ = render(registry, "", "")
    packed, _ = render(registry, "", "gzip")
    took = []
    for _ in range(5):
        begun = time.process_time()
        render(registry, "", "")
        took.append(time.process_time() - begun)
    names = (re.split(r"[{ ]", line)[0] for line in body.decode().splitlines() if not line.startswith("#"))
    series = Counter(re.sub(r"_(bucket|sum|count)$", "", name) for name in names)
    return Scrape(len(plan.checks), series, len(body), len(packed), min(took))


def _registry(plan: Plan) -> Exposition:
    store = ResultStore(plan)
    registry = registry_for(State(store))
    events = Events(registry)
    events.adopt(plan)
    Timing(registry, ClockSource.KERNEL)
    ReloadStatus(registry).set(successful=True)
    Conditions(registry).set(60.0, {"DigiCert Global Root G2": True, "Baltimore CyberTrust Root": False})
    for check in plan.checks:
        result = _well(check)
        store.record(result)
        events.count(check, result)
    return registry


def _well(check: Check) -> Result:
    tls = _TLS if check.key.target.scheme == "https" else None
    tried = (Tried("192.0.2.1", Contact.OPENED, 0.25),)
    seen = Evidence(("192.0.2.1",), "192.0.2.1", (), tls, Answer(200), tried=tried)
    return Result(check.key, 1.7e9, dict.fromkeys(phases_of(check.key), 0.25), seen)


def _report() -> Iterator[str]:
    for who, configuration in SITES.items():
        found = scrape(configuration)
        yield (
            f"{who}: {found.targets} targets, {found.series.total():,} series, {found.size:,} bytes "
            f"({found.packed:,} packed), {1000 * found.seconds:.1f} ms of CPU\n"
        )
        yield from (f"{number:8,} {name}\n" for name, number in found.series.most_common())


if __name__ == "__main__":
    sys.stdout.writelines(_report())
