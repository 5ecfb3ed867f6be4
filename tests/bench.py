"""What a probe and a scrape cost, as ratios against Debian's black-box prober in the same run, in the laboratory.

Run by `make bench`. The machine's own speed drifts, so read the ratios; both sides probe the same targets, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from exporter.app import Source, deploy
from exporter.model import CheckKey
from tests.lab import EXTRA_HOSTS, Lab, catalogue_hosts, unavailable
from tests.running import ADDRESS, Exporter, eventually, http, program, running

TICKS: Final = os.sysconf("SC_CLK_TCK")
ROUND: Final = 10.0  # seconds in which either side probes every target once
BLACKBOX: Final = "127.0.0.1:9115"
# The same verdict as ours on the laboratory's answers, and no more work than that.
MODULE: Final = """
modules:
  probe:
    prober: http
    http: {preferred_ip_protocol: ip4, follow_redirects: false}
"""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, as the kernel counts it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def blackbox(lab: Lab, directory: Path) -> Iterator[int]:
    """Debian's black-box prober; gives its process id."""
    (directory / "blackbox.yml").write_text(MODULE)
    argv = [
        "prometheus-blackbox-exporter",
        f"--config.file={directory / 'blackbox.yml'}",
        f"--web.listen-address={BLACKBOX}",
    ]
    with program(lab, directory / "blackbox.log", argv) as process:
        eventually("the black-box prober answers", lambda: http(lab, f"http://{BLACKBOX}/-/healthy").status == 200)
        yield process.pid


def ours(exporter: Exporter, seconds: float) -> float:
    """CPU milliseconds per probe of the exporter on its own timer; nothing else is asked of it meanwhile."""
    probes = probes_so_far(exporter)
    before = cpu_seconds(exporter.process.pid)
    time.sleep(seconds)
    spent, made = cpu_seconds(exporter.process.pid) - before, probes_so_far(exporter) - probes
    return spent / made * 1000


def probes_so_far(exporter: Exporter) -> float:
    return sum(exporter.values("configmgr_exporter_probes_total").values())


def theirs(lab: Lab, pid: int, keys: list[CheckKey], seconds: float) -> float:
    """CPU milliseconds per probe of the black-box prober, asked for each target once, evenly over as many seconds."""
    urls = "\n".join(
        f'url = "http://{BLACKBOX}/probe?module=probe&target={key.target.url}"\noutput = /dev/null' for key in keys
    )
    before = cpu_seconds(pid)
    rate = f"{round(60 * len(keys) / seconds)}/m"
    lab.run(["curl", "--silent", "--fail", "--rate", rate, "--config", "-"], input=urls, check=True)
    return (cpu_seconds(pid) - before) / len(keys) * 1000


def scrape(exporter: Exporter, *, times: int) -> tuple[float, float, int]:
    """Median wall and mean CPU milliseconds of one scrape as Prometheus makes it, and the bytes that travel."""
    before = cpu_seconds(exporter.process.pid)
    walls, size = [], 0
    curl = ["curl", "--silent", "--fail", "--compressed", "--output", "/dev/null"]
    for _ in range(times):
        timing = exporter.lab.run(
            [*curl, "--write-out", "%{time_total} %{size_download}", f"http://{ADDRESS}/metrics"], check=True
        )
        wall, transferred = timing.stdout.split()
        walls.append(float(wall) * 1000)
        size = int(transferred)
    return statistics.median(walls), (cpu_seconds(exporter.process.pid) - before) / times * 1000, size


def measure(lab: Lab, directory: Path, rounds: int, report: Callable[[str, str], None]) -> None:
    """All figures of one run."""
    plan = deploy(Source()).plan
    keys = [check.key for check in plan.checks]
    config = directory / "bench.yaml"
    config.write_text(f"probe: {{interval: {ROUND:.0f}s, timeout: 2s, attempts: 1}}\n")
    with blackbox(lab, directory) as peer, running(lab, directory, "--config.file", config) as exporter:
        begun = time.monotonic()
        eventually("first results", exporter.ready)
        report("targets, label sets", f"{len(keys)}, {sum(len(check.uses) for check in plan.checks)}")
        report("ready after the server answers", f"{time.monotonic() - begun:.1f} s")
        pairs = [(ours(exporter, ROUND), theirs(lab, peer, keys, ROUND)) for _ in range(rounds)]
        for who, values in (("this exporter", [a for a, _ in pairs]), ("black-box prober", [b for _, b in pairs])):
            report(f"CPU per probe, {who}", f"{statistics.median(values):.2f} ms")
        ratios = sorted(a / b for a, b in pairs)
        report("ratio", f"{statistics.median(ratios):.2f}  [{ratios[0]:.2f} .. {ratios[-1]:.2f}]")
        per_use = len(keys) / sum(len(check.uses) for check in plan.checks)
        report("ratio per label set", f"{statistics.median(ratios) * per_use:.2f}")
        wall, cpu, size = scrape(exporter, times=20)
        series = len(exporter.series())
        report("scrape, time to answer", f"{wall:.1f} ms")
        report("scrape, CPU", f"{cpu:.1f} ms for {series} series ({cpu / series * 1000:.1f} us a series)")
        report("scrape, bytes compressed", f"{size}")
        for who, pid in (("this exporter", exporter.process.pid), ("black-box prober", peer)):
            report(f"resident memory, {who}", f"{resident_megabytes(pid):.0f} MB")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (default 3, about 70 s together)")
    rounds = parser.parse_args().rounds
    if reason := unavailable():
        sys.stderr.write(f"no laboratory here, nothing measured: {reason}\n")
        return 1
    table = Table("figure", "measured", title=f"make bench ({rounds} rounds)")
    with tempfile.TemporaryDirectory() as directory, Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab:
        measure(lab, Path(directory), rounds, table.add_row)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
