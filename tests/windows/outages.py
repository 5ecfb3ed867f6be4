"""The service on Windows among hosts that hang, reset, stall and come back: what it says of each, in every interval.

usage: python -m tests.windows.outages [--minutes N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

from exporter.model.vocabulary import Reason
from tests.lab import EXTRA_HOSTS, Lab, catalogue_hosts
from tests.lab.scripts import sleep
from tests.lab.windows import Windows, windows_in, windows_path
from tests.running import ACTING, ADDRESS, Exporter, eventually

INTERVAL: Final = 10.0  # seconds
UP: Final = "configmgr_endpoint_up"
FAILURE: Final = "configmgr_endpoint_failure"
LONG: Final = 3600.0  # seconds that nobody waits for
WITHIN: Final = 300.0  # seconds that a busy machine may take for three intervals

_HOSTS: Final = sorted(catalogue_hosts())[:40]
HANGING, CHANGING, WELL = _HOSTS[:10], _HOSTS[10:14], _HOSTS[14:]
SETTINGS: Final = f"""
probe: {{interval: {INTERVAL:g}s, timeout: 8s, attempts: 1}}
site: {{features: [hanging, changing, well], roles: [client]}}
groups:
- {{feature: hanging, endpoints: [{", ".join(f"{{pattern: '{host}'}}" for host in HANGING)}]}}
- {{feature: changing, endpoints: [{", ".join(f"{{pattern: '{host}'}}" for host in CHANGING)}]}}
- {{feature: well, endpoints: [{", ".join(f"{{pattern: '{host}'}}" for host in WELL)}]}}
"""

Fault = Callable[[Lab, str], AbstractContextManager[object]]
STAGES: Final[Mapping[str, tuple[Fault, Reason | None]]] = {
    "reset": (lambda lab, host: lab.reset(host), Reason.CONNECT_REFUSED),
    "stall": (lambda lab, host: lab.script(host, 443, (sleep(LONG),)), Reason.TLS_TIMEOUT),
    "drop": (lambda lab, host: lab.drop(host), Reason.CONNECT_TIMEOUT),
    "come back": (lambda _lab, _host: nullcontext(), None),
}


@dataclass(frozen=True)
class Use:
    """What a process holds at a moment."""

    kilobytes: int
    threads: int
    handles: int  # what the wine server has open: handles of Windows are its descriptors


@dataclass
class Served:
    """What was seen of it."""

    wrong: list[str] = field(default_factory=list)  # what was said and was not true
    looks: int = 0
    stages: int = 0
    uses: list[Use] = field(default_factory=list)  # after each round of stages


@contextmanager
def served(
    lab: Lab, windows: Windows, directory: Path, before: Sequence[str | Path] = (), settings: str = SETTINGS
) -> Iterator[Exporter]:
    """The service on Windows, until the block ends. `before`: a command of this machine that starts others."""
    config = directory / "exporter.yaml"
    config.write_text(settings, encoding="utf-8")
    arguments = [
        "-m",
        "exporter",
        "serve",
        "--web.listen-address",
        ADDRESS,
        *ACTING,
        "--config.file",
        windows_path(config),
    ]
    log = directory / "exporter.log"
    with log.open("wb") as output:
        # A file as its output is more than wine's CPython can begin with; what goes through `cat` is a pipe.
        argv = ["sh", "-c", '"$@" 2>&1 </dev/null | cat', "sh", *before, *windows.argv(windows.python, *arguments)]
        process = lab.popen(argv, env=windows.env, stdin=DEVNULL, stdout=output, stderr=output)
    exporter = Exporter(lab, process, log)
    try:
        eventually("the exporter answers", exporter.ready, within=WITHIN)
        yield exporter
    finally:
        windows.end(windows.python.name)
        process.wait()


def watch(lab: Lab, windows: Windows, exporter: Exporter, seconds: float) -> Served:
    """Bring the outages one after the other, for so long at least, and compare what is said with what is true."""
    seen, until = Served(), time.monotonic() + seconds
    with ExitStack() as hanging:
        for host in HANGING:
            hanging.enter_context(lab.drop(host))
        while time.monotonic() < until:
            for name, (fault, reason) in STAGES.items():
                with ExitStack() as changing:
                    for host in CHANGING:
                        changing.enter_context(fault(lab, host))
                    truth = _truth(reason)
                    eventually(f"{name} is told", lambda: _told(exporter) == truth, within=WITHIN)  # noqa: B023
                    _hold(exporter, truth, name, seen)
                seen.stages += 1
            seen.uses.append(_use(windows))
    return seen


def _hold(exporter: Exporter, truth: Mapping[str, str], name: str, seen: Served) -> None:
    """Two intervals in which nothing changes, and so nothing else may be said."""
    until = time.monotonic() + 2 * INTERVAL
    while time.monotonic() < until:
        told = _told(exporter)
        seen.looks += 1
        seen.wrong += [
            f"{name}: {host} is {truth[host] or 'up'}, and told {told.get(host)!r}"
            for host in truth
            if told.get(host) != truth[host]
        ]
        time.sleep(1)


def _truth(changing: Reason | None) -> dict[str, str]:
    """The reason why each host is down; empty: it is up."""
    return {
        **dict.fromkeys(HANGING, str(Reason.CONNECT_TIMEOUT)),
        **dict.fromkeys(CHANGING, str(changing or "")),
        **dict.fromkeys(WELL, ""),
    }


def _told(exporter: Exporter) -> dict[str, str]:
    series = exporter.series()
    found: dict[str, str] = {}
    for (name, labels), value in series.items():
        told = dict(labels)
        if name == UP and value == 1:
            found.setdefault(_host(told["target"]), "")
        elif name == FAILURE and value == 1:
            found[_host(told["target"])] = told["reason"]
    return found


def _host(target: str) -> str:
    return target.removeprefix("https://").rstrip("/")


def _use(windows: Windows) -> Use:
    pid = windows.pid_of(windows.python.name)
    said = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Use(int(said["VmRSS"].split()[0]), int(said["Threads"]), windows.handles())


def grown(uses: Sequence[Use]) -> list[str]:
    """What has grown since the first round, in which everything has happened once; what stays is no leak."""
    first, last = uses[0], uses[-1]
    most = Use(first.kilobytes * 11 // 10, first.threads + 10, first.handles + 20)
    return [
        f"{name} from {getattr(first, name)} to {getattr(last, name)}"
        for name in ("kilobytes", "threads", "handles")
        if getattr(last, name) > getattr(most, name)
    ]


def main() -> int:
    """Watch it for minutes, and say what was seen; 1 if anything was not true, or grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    with (
        Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab,
        windows_in(lab) as windows,
        tempfile.TemporaryDirectory() as scratch,
        served(lab, windows, Path(scratch)) as exporter,
    ):
        seen = watch(lab, windows, exporter, minutes * 60)
    for use in seen.uses:
        sys.stdout.write(f"{use}\n")
    for wrong in seen.wrong:
        sys.stdout.write(f"wrong: {wrong}\n")
    for leak in grown(seen.uses):
        sys.stdout.write(f"grew: {leak}\n")
    sys.stdout.write(f"{seen.stages} stages, {seen.looks} looks at {len(_HOSTS)} targets, {len(seen.wrong)} wrong\n")
    return 1 if seen.wrong or grown(seen.uses) else 0


if __name__ == "__main__":
    sys.exit(main())
