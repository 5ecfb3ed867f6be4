"""Programs of the product and of its users, run inside the laboratory."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import certifi
from prometheus_client.parser import text_string_to_metric_families

from tests.lab import Lab

T = TypeVar("T")
COMMAND: Final = [sys.executable, "-m", "exporter"]
ADDRESS: Final = "127.0.0.1:10965"
ACTING: Final = ("--web.enable-lifecycle", "--web.enable-probe")  # for who shows no password
MOMENTS: Final = 12
ROOT: Final = Path(__file__).parents[1]


def command(lab: Lab, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the exporter's command line to its end."""
    return lab.run([*COMMAND, *arguments], cwd=ROOT, **options)


def at_a_terminal(lab: Lab, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same before a terminal of 80 columns without colours; of stderr, where progress is shown, nothing is kept."""
    called = f"{shlex.join(map(str, (*COMMAND, *arguments)))} 2>/dev/null"
    environment = {**lab.env, "COLUMNS": "80", "TERM": "dumb"}
    return lab.run(["script", "--quiet", "--return", "--command", called, "/dev/null"], cwd=ROOT, env=environment)


@dataclass
class Answer:
    """What an HTTP server answered."""

    status: int
    body: str


def http(lab: Lab, url: str, *options: str) -> Answer:
    """Ask by curl."""
    done = lab.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}", *options, url]
    )
    body, _, status = done.stdout.rpartition("\n")
    return Answer(int(status), body)


def eventually(what: str, found: Callable[[], T | None], *, within: float = 60.0) -> T:
    """The first value that is neither None nor false. The time is what a busy machine may take, not what it should."""
    deadline = time.monotonic() + within
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.05)


def in_a_quiet_moment(measure: Callable[[], T], fits: Callable[[T], bool]) -> T:
    """The first measurement that fits, or else the last of many: a busy machine spoils some, a fault spoils all."""
    for _ in range(MOMENTS):
        measured = measure()
        if fits(measured):
            break
    return measured


async def in_a_quiet_moment_of_the_loop(measure: Callable[[], Awaitable[T]], fits: Callable[[T], bool]) -> T:
    """The same of what is awaited."""
    for _ in range(MOMENTS):
        measured = await measure()
        if fits(measured):
            break
    return measured


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Exporter:
    """A running exporter, and how to ask it."""

    lab: Lab
    process: subprocess.Popen[bytes]
    log: Path
    address: str = ADDRESS

    def get(self, path: str, *options: str) -> Answer:
        return http(self.lab, f"http://{self.address}{path}", *options)

    def series(self) -> Series:
        """All that is exposed now."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.get("/metrics").body)
            for sample in family.samples
        }

    def values(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """The series of one name whose labels include these."""
        wanted = labels.items()
        return {have: value for (found, have), value in self.series().items() if found == name and wanted <= have}

    def ready(self) -> bool:
        return self.get("/-/ready").status == 200

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status. Whatever may hold up the end must last much longer than this waits."""
        self.process.send_signal(how)
        return self.process.wait(60)


# Inside the namespace a program has mounts of its own, so nobody else sees this one.
_LAY_OVER: Final = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def among_public_roots(lab: Lab, argv: Sequence[str | Path], public: str | Path | None = None) -> list[str | Path]:
    """The program with the laboratory's root for Mozilla's list: TLS in here is then no more inspected than outside.

    `public`: where that list is, if the program runs by another Python.
    """
    return ["sh", "-c", _LAY_OVER, "sh", lab.ca_file, public or certifi.where(), *argv]


@contextmanager
def program(lab: Lab, log: Path, argv: Sequence[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the laboratory, what it says kept in a file, until the block ends."""
    with log.open("wb") as output:
        process = lab.popen(argv, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def running(
    lab: Lab,
    directory: Path,
    *arguments: str | Path,
    public: bool = False,
    address: str = ADDRESS,
    by: Sequence[str | Path] = (),
) -> Iterator[Exporter]:
    """Serve until the block ends; returns when it answers. `public`: the laboratory's root is on Mozilla's list.

    `by`: the program that starts it.
    """
    log = directory / f"exporter-{address.rpartition(':')[2]}.log"
    argv = [*by, *COMMAND, "serve", "--web.listen-address", address, *ACTING, *arguments]
    with program(lab, log, among_public_roots(lab, argv) if public else argv) as process:
        exporter = Exporter(lab, process, log, address)
        eventually("the exporter answers", lambda: _answers(exporter), within=120)
        yield exporter


def _answers(exporter: Exporter) -> bool:
    """Whether this one does, and not another at the same address, which ends it a moment later."""
    log = exporter.log.read_text()
    assert exporter.process.poll() is None, log
    return "listening" in log and exporter.get("/-/healthy").status == 200
