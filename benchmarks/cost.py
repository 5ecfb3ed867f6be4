"""What monitoring costs: the shipped catalogue on both sides, by size, at the start, and for each scrape."""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, median
from benchmarks.machine import PROBER, cpu_seconds, resident_megabytes, sockets
from benchmarks.sides import (
    BLACKBOX,
    Label,
    Programs,
    exporter_config,
    numbered,
    ours,
    theirs,
    truth,
)
from exporter.service.load import Source, deploy
from tests.lab import Lab
from tests.running import ADDRESS, COMMAND, ROOT, Exporter, eventually, http, program

ROUND: Final = 10.0  # seconds in which each label set of the catalogue is probed once
MINUTE: Final = 60.0
SIZES: Final = (100, 1_000, 10_000)  # targets a minute
SETTLING: Final = 15.0  # seconds in which what was due during the first round, as fast as can be, has its turn
SERIES: Final = (100, 1_000, 5_000)  # targets in one scrape


def catalogue(lab: Lab, directory: Path, rounds: int) -> Iterator[Figure]:
    """CPU and memory of prober and Prometheus for each label set of the shipped catalogue, direct, in turns."""
    plan = deploy(Source()).plan
    labels = [
        Label(
            check.key.target.url,
            {**{key: getattr(use.consumer, key) for key in ("feature", "role", "cloud")}, "pattern": use.pattern},
        )
        for check in plan.checks
        for use in check.uses
    ]
    note = f"{len(plan.checks)} targets, {len(labels)} label sets, each probed every {ROUND:.0f} s"
    config = f"probe: {{interval: {ROUND:.0f}s, timeout: 2s, attempts: 1}}\n"
    mine: list[tuple[float, float]] = []
    other: list[tuple[float, float]] = []
    for _ in range(rounds):
        with ours(lab, directory, config, ROUND) as (_exporter, programs):
            mine.append(_spent(programs, 3 * ROUND))
            memory = [resident_megabytes(pid) for pid in (programs.prober, programs.prometheus)]
        with theirs(lab, directory, labels, ROUND, lab.ca_file) as programs:
            other.append(_spent(programs, 3 * ROUND))
            peers = [resident_megabytes(pid) for pid in (programs.prober, programs.prometheus)]
    probes = 3 * len(labels)
    names = ("CPU of prober and Prometheus per label set and probe", "CPU of the prober alone, the same")
    for number, name in enumerate(names):
        pair = [statistics.median(turn[number] for turn in side) / probes * 1e6 for side in (mine, other)]
        yield Figure("catalogue", name, "us", pair[0], pair[1], note)
    yield Figure("catalogue", "memory of prober and Prometheus", "MB", sum(memory), sum(peers), note)
    yield Figure("catalogue", "memory of the prober alone", "MB", memory[0], peers[0], note)


def _spent(programs: Programs, seconds: float) -> tuple[float, float]:
    """CPU seconds of both processes, and of the prober, while so many seconds pass."""
    both, prober = programs.cpu(), cpu_seconds(programs.prober)
    time.sleep(seconds)
    return programs.cpu() - both, cpu_seconds(programs.prober) - prober


def layers(lab: Lab, directory: Path, count: int) -> Iterator[Figure]:
    """What the CPU of a probe is made of, on a core that does nothing else."""
    for scheme in ("https", "http"):
        with truth(lab, directory) as known:
            path = directory / "layers.yaml"
            path.write_text(exporter_config(numbered(count, scheme=scheme), 3600.0, known.ca_file))
            argv = [*PROBER, sys.executable, "-m", "benchmarks.layers", str(path)]
            spent: dict[str, float] = json.loads(lab.run(argv, cwd=ROOT, check=True).stdout)
        note = f"{scheme}: {count} probes, eight at once"
        yield Figure("layers", f"a probe over {scheme.upper()}", "ms", sum(spent.values()), None, note)
        for name, each in sorted(spent.items(), key=lambda layer: -layer[1]):
            yield Figure("layers", f"{scheme}: {name}", "ms", each, None, note)


def scale(lab: Lab, directory: Path, sizes: Sequence[int], seconds: float) -> Iterator[Figure]:
    """CPU per probe, memory, sockets and late starts at so many targets a minute, one core each."""
    with truth(lab, directory) as known:
        for size in sizes:
            targets = numbered(size)
            config = exporter_config(targets, MINUTE, known.ca_file)
            with ours(lab, directory, config, MINUTE / 4) as (exporter, programs):
                time.sleep(SETTLING)
                begun = _starts(exporter)
                mine = _at_work(programs.prober, seconds)
                lag = _late(_starts(exporter) - begun, 0.99)
            with theirs(lab, directory, targets, MINUTE, known.ca_file) as programs:
                other = _at_work(programs.prober, seconds)
            probes = size * seconds / MINUTE
            yield Figure(
                "scale", f"{size} a minute, CPU per probe", "ms", mine[0] / probes * 1e3, other[0] / probes * 1e3
            )
            yield Figure("scale", f"{size} a minute, memory", "MB", mine[1], other[1])
            yield Figure("scale", f"{size} a minute, sockets at most", "", mine[2], other[2])
            yield Figure("scale", f"{size} a minute, p99 of late starts at most", "ms", lag * 1e3)


def _at_work(pid: int, seconds: float) -> tuple[float, float, int]:
    """CPU seconds, resident megabytes and the most sockets seen while so many seconds pass."""
    before, most, end = cpu_seconds(pid), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, sockets(pid))
        time.sleep(0.25)
    return cpu_seconds(pid) - before, resident_megabytes(pid), most


def _starts(exporter: Exporter) -> Counter[float]:
    """How many probes so far started no later than each bound, seconds."""
    buckets = exporter.values("configmgr_exporter_probe_lag_seconds_bucket")
    return Counter({float(dict(labels)["le"]): int(count) for labels, count in buckets.items()})


def _late(starts: Counter[float], share: float) -> float:
    """The bound below which this share of them lies."""
    return min(bound for bound, count in starts.items() if count >= share * starts[math.inf])


def scrapes(lab: Lab, directory: Path, sizes: Sequence[int], times: int) -> Iterator[Figure]:
    """Time, CPU and size of one scrape by the number of targets, while their probes go on."""
    with truth(lab, directory) as known:
        for size in sizes:
            with ours(lab, directory, exporter_config(numbered(size), MINUTE, known.ca_file), MINUTE) as (exporter, _):
                wall, cpu, transferred = _scrape(exporter, times)
                series = len(exporter.series())
            note = f"{series} series, compressed"
            yield Figure("scrape", f"{size} targets, time to answer", "ms", wall, None, note)
            yield Figure("scrape", f"{size} targets, CPU of the exporter", "ms", cpu, None, note)
            yield Figure("scrape", f"{size} targets, size", "KB", transferred / 1e3, None, note)


def _scrape(exporter: Exporter, times: int) -> tuple[float, float, float]:
    """Median wall and mean CPU milliseconds of one scrape as Prometheus makes it, and the bytes that travel."""
    curl = ["curl", "--silent", "--fail", "--compressed", "--output", "/dev/null"]
    curl += ["--write-out", "%{time_total} %{size_download}", f"http://{ADDRESS}/metrics"]
    walls, size = [], 0.0
    before, begun = cpu_seconds(exporter.process.pid), time.monotonic()
    for _ in range(times):
        wall, transferred = exporter.lab.run(curl, check=True).stdout.split()
        walls.append(float(wall) * 1000)
        size = float(transferred)
    spent, passed = cpu_seconds(exporter.process.pid) - before, time.monotonic() - begun
    before = cpu_seconds(exporter.process.pid)
    time.sleep(passed)
    probing = cpu_seconds(exporter.process.pid) - before  # what its probes took in as long a time is not the scrape's
    return median(walls), max(spent - probing, 0.0) / times * 1000, size


def start(lab: Lab, directory: Path, times: int) -> Iterator[Figure]:
    """From the start of the process to its first answer, and resident memory: without targets, and with all of them."""
    (directory / "nothing.yaml").write_text("site: {features: [asset-intelligence], roles: [console]}\n")
    (directory / "blackbox.yml").write_text("modules: {probe: {prober: http}}\n")
    peer = ["prometheus-blackbox-exporter", f"--config.file={directory / 'blackbox.yml'}"]
    peer += [f"--web.listen-address={BLACKBOX}"]
    serve = [*COMMAND, "serve", "--web.listen-address", ADDRESS]
    waits, memory = _started(lab, directory, serve, ADDRESS, times)
    other, theirs_memory = _started(lab, directory, peer, BLACKBOX, times)
    _, idle = _started(lab, directory, [*serve, "--config.file", str(directory / "nothing.yaml")], ADDRESS, 1)
    yield Figure("start", "start to first answer, full catalogue", "ms", median(waits), median(other))
    yield Figure("start", "memory, idle", "MB", idle, theirs_memory)
    yield Figure("start", "memory, full catalogue", "MB", memory)


def _started(lab: Lab, directory: Path, argv: Sequence[str], address: str, times: int) -> tuple[list[float], float]:
    """Milliseconds to the first answer, each time, and resident megabytes a while after."""
    waits, memory = [], 0.0
    for _ in range(times):
        begun = time.perf_counter()
        with program(lab, directory / "start.log", [*PROBER, *argv]) as process:
            eventually("it answers", lambda: http(lab, f"http://{address}/-/healthy").status == 200, within=30)
            waits.append((time.perf_counter() - begun) * 1000)
            time.sleep(8)
            memory = resident_megabytes(process.pid)
    return waits, memory
