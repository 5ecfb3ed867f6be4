"""How true the phases are under load: what each side says, against what the server knows."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks.figures import Figure, median, p99
from benchmarks.machine import OTHERS, PROBER
from benchmarks.sides import (
    BLACKBOX,
    Label,
    Truth,
    blackbox,
    exporter_config,
    numbered,
    ours,
    theirs,
    truth,
)
from tests.lab import Lab
from tests.running import ADDRESS, COMMAND, ROOT, Exporter, eventually, http, program
from tests.stack import Server

T = TypeVar("T")
TLS_DELAY: Final = 0.02  # seconds
ANSWER_DELAY: Final = 0.03
GAP: Final = 0.04  # between head and body, where they come apart
NAME_DELAY: Final = 0.05
RATES: Final = (1, 50, 100, 200, 300, 400)  # probes a second
BURSTS: Final = (50, 200, 500, 1000)  # probes at once
PERIOD: Final = 5.0  # seconds in which each target is probed once
PHASES: Final = ("tls", "processing")
_RESOLVER: Final = "127.0.0.53"
_LAY_OVER: Final = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


@dataclass(frozen=True)
class Sample:
    """One phase of one probe: what was said, what was true (seconds), and whether it was marked as late."""

    phase: str
    said: float
    true: float
    late: bool = False

    @property
    def error(self) -> float:
        """Milliseconds off, in either direction."""
        return abs(self.said - self.true) * 1000


def paced(lab: Lab, directory: Path, rates: Sequence[int], rounds: int) -> Iterator[Figure]:
    """Both sides at so many probes a second, answers in one write; and at 100 a second with head and body apart."""
    for rate in rates:
        yield from _both(lab, directory, rate, rounds, "fidelity", tls=TLS_DELAY, answer=ANSWER_DELAY)
    yield from _both(lab, directory, 100, rounds, "fidelity-apart", tls=TLS_DELAY, answer=ANSWER_DELAY, body=GAP)


def _both(lab: Lab, directory: Path, rate: int, rounds: int, part: str, **delays: float) -> Iterator[Figure]:
    targets = numbered(max(1, round(rate * PERIOD)))
    with truth(lab, directory, **delays) as known:
        config = exporter_config(targets, PERIOD, known.ca_file)
        with ours(lab, directory, config, PERIOD) as (exporter, _):
            mine = [sample for _ in range(rounds) for sample in _after(PERIOD, lambda: _said(exporter, known))]
        with theirs(lab, directory, targets, PERIOD, known.ca_file) as programs:
            other = [
                sample for _ in range(rounds) for sample in _after(PERIOD, lambda: _reported(programs.server, known))
            ]
    yield from _figures(part, f"{rate} a second", mine, other)


def _after(seconds: float, read: Callable[[], Iterable[T]]) -> list[T]:
    time.sleep(seconds)
    return list(read())


def _figures(part: str, load: str, mine: Sequence[Sample], other: Sequence[Sample]) -> Iterator[Figure]:
    for phase in PHASES:
        own = [sample for sample in mine if sample.phase == phase]
        peer = [sample.error for sample in other if sample.phase == phase]
        everything = [sample.error for sample in own]
        trusted = [sample.error for sample in own if not sample.late]
        note = f"{load}: {len(own)} and {len(peer)} samples of {phase}"
        for name, figure in (("median", median), ("p99", p99)):
            yield Figure(part, f"{load}, {phase}, {name} error", "ms", figure(everything), figure(peer), note)
        late = 100 * (1 - len(trusted) / len(everything))
        yield Figure(part, f"{load}, {phase}, marked late", "%", late, None, note)
        if trusted:
            yield Figure(part, f"{load}, {phase}, p99 error, not marked", "ms", p99(trusted), None, note)
            yield Figure(part, f"{load}, {phase}, largest error, not marked", "ms", max(trusted), max(peer), note)


def _said(exporter: Exporter, known: Truth) -> Iterator[Sample]:
    """What the exporter shows now of each target's last probe, beside the truth."""
    records = known.records()
    for target in json.loads(exporter.get("/api/v1/status").body)["targets"]:
        record = _nearest(records, "/" + target["target"].rsplit("/", 1)[1], target["last_probe"])
        for phase in PHASES:
            yield Sample(phase, target["phases"][phase], record[phase], phase in target["late"])


def _reported(server: Server, known: Truth) -> Iterator[Sample]:
    """What Prometheus has of each target's last probe, beside the truth."""
    records = known.records()
    moments = {
        row["metric"]["target"]: float(row["value"][1]) for row in server.query("timestamp(probe_duration_seconds)")
    }
    for phase in PHASES:
        for row in server.query(f'probe_http_duration_seconds{{phase="{phase}"}}'):
            target = row["metric"]["target"]
            # Prometheus has the time at which it asked; the answer was written a little later.
            asked = moments[target] + TLS_DELAY + ANSWER_DELAY
            record = _nearest(records, "/" + target.rsplit("/", 1)[1], asked)
            yield Sample(phase, float(row["value"][1]), record[phase])


def _nearest(records: Mapping[str, Sequence[Mapping[str, Any]]], path: str, moment: float) -> Mapping[str, Any]:
    return min(records[path], key=lambda record: abs(record["time"] - moment))


# ---------------------------------------------------------------- bursts


def bursts(lab: Lab, directory: Path, sizes: Sequence[int]) -> Iterator[Figure]:
    """So many probes at once, without any limit: worse than either side ever does to itself."""
    for size in sizes:
        with truth(lab, directory, tls=TLS_DELAY, answer=ANSWER_DELAY) as known:
            mine = _burst_of_ours(lab, directory, numbered(size), known)
        with (
            truth(lab, directory, tls=TLS_DELAY, answer=ANSWER_DELAY) as known,
            blackbox(lab, directory, known.ca_file),
        ):
            other = _burst_of_theirs(lab, numbered(size), known)
        yield from _figures("burst", f"{size} at once", mine, other)


def _burst_of_ours(lab: Lab, directory: Path, targets: Sequence[Label], known: Truth) -> list[Sample]:
    path = directory / "burst.yaml"
    path.write_text(exporter_config(targets, 3600.0, known.ca_file))
    argv = [*PROBER, sys.executable, "-m", "benchmarks.burst", str(path)]
    return _matched(json.loads(lab.run(argv, cwd=ROOT, check=True).stdout), known)


def _burst_of_theirs(lab: Lab, targets: Sequence[Label], known: Truth) -> list[Sample]:
    argv = [*OTHERS, sys.executable, "-m", "benchmarks.volley", f"http://{BLACKBOX}/probe?module=probe&target="]
    said = lab.run(argv, cwd=ROOT, check=True, input="\n".join(target.url for target in targets)).stdout
    return _matched(json.loads(said), known)


def _matched(said: Sequence[Mapping[str, Any]], known: Truth) -> list[Sample]:
    eventually("the server has noted all", lambda: known.log.read_text().count("\n") > len(said))
    records = known.records()
    return [
        Sample(phase, probe[phase], records[probe["path"]][-1][phase], phase in probe["late"])
        for probe in said
        for phase in PHASES
        if phase in probe
    ]


# ---------------------------------------------------------------- names


def names(lab: Lab, directory: Path, rate: int, rounds: int) -> Iterator[Figure]:
    """The resolve phase against a resolver that takes its time, each name another; the server's answers are instant."""
    targets = numbered(round(rate * PERIOD), scheme="http", host="n{}.bench.example")
    with truth(lab, directory) as known, _slow_names(lab, directory) as resolver:
        config = exporter_config(targets, PERIOD, known.ca_file)
        with _resolving(lab, directory, resolver, config) as exporter:
            mine = [took for _ in range(rounds) for took in _after(PERIOD, lambda: _resolved(exporter))]
    errors = [abs(took - NAME_DELAY) * 1000 for took in mine]
    note = f"{len(errors)} samples, a resolver that answers after {NAME_DELAY * 1000:.0f} ms"
    for name, value in (("median", median(errors)), ("p99", p99(errors))):
        yield Figure("names", f"{rate} a second, resolve, {name} error", "ms", value, None, note)


def _resolved(exporter: Exporter) -> Iterator[float]:
    for target in json.loads(exporter.get("/api/v1/status").body)["targets"]:
        yield target["phases"]["resolve"]


@contextmanager
def _slow_names(lab: Lab, directory: Path) -> Iterator[Path]:
    resolver = directory / "resolv.conf"
    resolver.write_text(f"nameserver {_RESOLVER}\n")
    argv = [*OTHERS, sys.executable, "-m", "benchmarks.names", _RESOLVER, str(NAME_DELAY)]
    with program(lab, directory / "names.log", argv):
        yield resolver


@contextmanager
def _resolving(lab: Lab, directory: Path, resolver: Path, config: str) -> Iterator[Exporter]:
    """The exporter with another resolver than the laboratory's."""
    path = directory / "names.yaml"
    path.write_text(config)
    argv: list[str | Path] = [
        "sh",
        "-c",
        _LAY_OVER,
        "sh",
        resolver,
        *PROBER,
        *COMMAND,
        "serve",
        "--web.listen-address",
        ADDRESS,
    ]
    with program(lab, directory / "exporter.log", [*argv, "--config.file", path]) as process:
        exporter = Exporter(lab, process, directory / "exporter.log")
        eventually("the exporter answers", lambda: http(lab, f"http://{ADDRESS}/-/healthy").status == 200, within=30)
        eventually("first results", exporter.ready, within=60)
        yield exporter
