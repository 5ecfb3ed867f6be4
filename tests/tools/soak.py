"""A bad week in minutes: hundreds of targets a second, through a laboratory that breaks at random.

Run by `make soak`. While things are broken, one thing is asked: no counter goes back. When all is fixed, it must be as
before: every target is probed in its last interval, there is no task, socket or thread more, memory has not grown, and
there is nothing in the log that is not an event.

"Before" is after a third of the time, for the exporter remembers the last ten failures of each target, and has to fail
as often until that costs no more. Tasks, sockets and threads are counted at rest, when no probe is under way: the same
targets, but an hour to go until the next probe.

Four of five targets are plain HTTP: a TLS handshake costs more than the rest of a probe, on both sides of one machine,
and how fast it is is not what is tested here.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final, TextIO, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from tests.lab import EXTRA_HOSTS, Flaw, Lab, catalogue_hosts, unavailable
from tests.lab.wall_clock import wall_clock
from tests.running import ADDRESS, Exporter, Series, eventually, program

TARGETS: Final = 500
INTERVAL: Final = 1.0  # seconds
SLOWER: Final = 3.0  # times as long, which others on the machine may cause from one minute to the next
RELOAD: Final = 5.0  # seconds between two reloads
STILL: Final = 1.5  # seconds, longer than the interval
STORM: Final = 50  # scrapes at a time
RENAME: Final = 0.3  # seconds from one name of the proxy to the next
STEP: Final = 600.0  # seconds by which the clock jumps
DISK: Final = 16  # megabytes, for the log
GROWTH: Final = 2.0  # megabytes of memory that are no leak
HOUR: Final = 3600.0  # seconds
REST: Final = 20.0  # seconds: an idle thread ends after ten
RECOVERY: Final = 60.0  # seconds that a busy machine may take to come to rest again
EVENT: Final = re.compile(r"ts=\S+ level=(info|warning|error) logger=exporter msg=(?!.* exception=).+")
PROXIES: Final = ("corporate", "renamed")  # names of the one that there is
ROLES: Final = ("client", "console", "management-point")  # the first goes through the proxy
PATIENCE: Final = "RES_OPTIONS=timeout:2 attempts:1"  # of the C library, for longer than a probe may take

# Inside the namespace a program has mounts of its own, so nobody else sees this one.
_ON_A_SMALL_DISK: Final = f'mount -t tmpfs -o size={DISK}m tmpfs "$1" && log=$1/log && shift && exec "$@" 2>"$log"'


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at rest."""

    tasks: int
    sockets: int
    threads: int
    megabytes: float

    def no_more_than(self, other: Held) -> bool:
        return (
            self.tasks <= other.tasks
            and self.sockets <= other.sockets
            and self.threads <= other.threads
            and self.megabytes < other.megabytes + GROWTH
        )

    def __str__(self) -> str:
        return f"{self.tasks} tasks, {self.sockets} sockets, {self.threads} threads, {self.megabytes:.1f} MB"


@dataclass(frozen=True, slots=True)
class Rounds:
    """How long two of them took, and the targets that were not probed in them."""

    seconds: float
    left_out: list[str]

    def as_good_as(self, other: Rounds) -> bool:
        return not self.left_out and self.seconds < SLOWER * other.seconds


@dataclass
class Soak:
    """The exporter under way, and what is wrong with it so far."""

    lab: Lab
    directory: Path
    exporter: Exporter
    hosts: Sequence[str]
    targets: int
    move_clock: Callable[[float], None]
    disk: Path  # the exporter's own, which nobody else sees, from outside
    log: TextIO  # on it; open from the start, for when the exporter ends, its disk is gone
    suffered: Counter[str] = field(default_factory=Counter)
    compared: int = 0  # scrapes
    reloads: int = 0
    wrong: list[str] = field(default_factory=list)
    writing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pid(self) -> int:
        return self.exporter.process.pid

    # ------------------------------------------------------------ what it holds

    def held(self) -> Held:
        told, process = self.directory / "tasks", Path(f"/proc/{self.pid}")
        told.unlink(missing_ok=True)
        self.exporter.process.send_signal(signal.SIGUSR1)
        tasks = int(eventually("the tasks are counted", lambda: told.read_text() if told.exists() else ""))
        sockets = sum(map(is_socket, (process / "fd").iterdir()))
        status = dict(re.findall(r"^(Threads|VmRSS):\s+(\d+)", (process / "status").read_text(), re.MULTILINE))
        return Held(tasks, sockets, int(status["Threads"]), int(status["VmRSS"]) / 1024)

    def at_rest(self, expected: Held | None = None) -> Held:
        """What it holds when what is under way has ended: after a while, or once that is no more than expected."""
        self.configure(interval=HOUR)
        end = time.monotonic() + (RECOVERY if expected else REST)
        while True:
            time.sleep(1)
            self.exporter.get("/metrics")  # who asks lets idle threads end
            held = self.held()
            if (expected and held.no_more_than(expected)) or time.monotonic() > end:
                self.configure()
                return held

    def two_rounds(self) -> Rounds:
        """Watch while twice as many probes are made as there are targets: two intervals, if the machine can do it."""
        made, before, begun = probes(self.exporter), self.last_probes(), time.monotonic()
        eventually("two rounds", lambda: probes(self.exporter) >= made + 2 * self.targets)
        seconds, now = time.monotonic() - begun, self.last_probes()
        return Rounds(seconds, [target for target, moment in now.items() if moment == before.get(target)])

    def last_probes(self) -> Mapping[str, float]:
        """When each target was probed last, by the exporter's clock."""
        targets = json.loads(self.exporter.get("/api/v1/status").body)["targets"]
        return {target["target"]: target.get("last_probe", 0.0) for target in targets}

    # ------------------------------------------------------------ what goes on all the while

    def watch(self, done: threading.Event) -> None:
        """Scrape, and see that no counter goes back."""
        before: Series = {}
        while not done.wait(0.5):
            answer = self.exporter.get("/metrics")
            if answer.status == 200:  # else it is out of descriptors, or in a storm
                now = counters(answer.body)
                self.wrong += [f"{key}: {before[key]} -> {now.get(key)}" for key in gone_back(before, now)]
                self.compared += 1
                before = now

    def reload(self, done: threading.Event) -> None:
        """Have it read another configuration, with one target more or less, and every other time a renamed proxy."""
        while not done.wait(RELOAD):
            self.reloads += 1
            self.configure(extra=self.reloads % 2, proxy=PROXIES[self.reloads // 2 % len(PROXIES)])

    def configure(self, *, interval: float = INTERVAL, extra: int = 0, proxy: str = PROXIES[0]) -> None:
        with self.writing:  # others do so, too
            write(self.directory / "soak.yaml", self.lab, self.hosts, self.targets + extra, interval, proxy)
        self.exporter.process.send_signal(signal.SIGHUP)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Watch and reload until the block ends."""
        done = threading.Event()
        beside = [threading.Thread(target=each, args=(done,)) for each in (self.watch, self.reload)]
        for thread in beside:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in beside:
                thread.join()

    def suffer(self, faults: Sequence[str], hosts: Sequence[str], seconds: float) -> None:
        """These faults at once, each on its host, for so long."""
        with ExitStack() as trouble:
            for fault, host in zip(faults, hosts, strict=True):
                trouble.enter_context(FAULTS[fault](self, host))
            time.sleep(seconds)
        self.suffered.update(faults)

    def suffer_at_random(self, chance: random.Random, seconds: float) -> None:
        """Two faults at a time for a moment each, until the time is over; none comes again before all have come."""
        end, rest = time.monotonic() + seconds, list[str]()
        while time.monotonic() < end and self.exporter.process.poll() is None:
            rest = rest or chance.sample(sorted(FAULTS), len(FAULTS))
            self.suffer([rest.pop(), rest.pop()], chance.sample(self.hosts, 2), chance.uniform(0.5, 3.0))


# ---------------------------------------------------------------- what can go wrong


@contextmanager
def clock_jumps(soak: Soak, seconds: float) -> Iterator[None]:
    """Its wall clock jumps, and later back."""
    soak.move_clock(seconds)
    try:
        yield
    finally:
        soak.move_clock(0)


@contextmanager
def full_disk(soak: Soak, _: str) -> Iterator[None]:
    """There is no room where the log is written."""
    filler = soak.disk / "filler"
    with suppress(OSError):
        filler.write_bytes(bytes(DISK << 20))
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextmanager
def no_descriptors(soak: Soak, _: str) -> Iterator[None]:
    """It may open no more than it has open now."""
    before = resource.prlimit(soak.pid, resource.RLIMIT_NOFILE)
    held = len(list(Path(f"/proc/{soak.pid}/fd").iterdir()))
    resource.prlimit(soak.pid, resource.RLIMIT_NOFILE, (held, before[1]))
    try:
        yield
    finally:
        resource.prlimit(soak.pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def storm(soak: Soak, _: str) -> Iterator[None]:
    """It is scraped a thousand times, as fast as it answers; what is not answered in the end is broken off."""
    urls = f"http://{ADDRESS}/metrics?[1-1000]"
    argv = ["curl", "--silent", "--parallel", "--parallel-max", str(STORM), "--output", "/dev/null", urls]
    scraping = soak.lab.popen(argv, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        scraping.terminate()
        scraping.wait()


@contextmanager
def proxy_is_renamed(soak: Soak, _: str) -> Iterator[None]:
    """Over and over, while probes go through it."""
    done = threading.Event()

    def rename() -> None:
        for proxy in cycle(PROXIES[::-1]):
            soak.configure(proxy=proxy)
            if done.wait(RENAME):
                break

    renaming = threading.Thread(target=rename)
    renaming.start()
    try:
        yield
    finally:
        done.set()
        renaming.join()


@contextmanager
def stands_still(soak: Soak, _: str) -> Iterator[None]:
    """It is stopped, as a container is paused: for longer than an interval."""
    end = time.monotonic() + STILL
    soak.exporter.process.send_signal(signal.SIGSTOP)
    try:
        yield
        time.sleep(max(0.0, end - time.monotonic()))
    finally:
        soak.exporter.process.send_signal(signal.SIGCONT)


Fault: TypeAlias = Callable[[Soak, str], AbstractContextManager[object]]

FAULTS: Final[Mapping[str, Fault]] = {
    "name is missing": lambda soak, host: soak.lab.dns_missing(host),
    "resolver fails": lambda soak, host: soak.lab.dns_servfail(host),
    "resolver is silent": lambda soak, _: soak.lab.dns_silent(),
    "connection is reset": lambda soak, host: soak.lab.reset(host),
    "packets are dropped": lambda soak, host: soak.lab.drop(host),
    "certificate has expired": lambda soak, host: soak.lab.certificate(host, Flaw.EXPIRED),
    "proxy restarts and denies": lambda soak, host: soak.lab.proxy_denies(host),
    "clock jumps forwards": lambda soak, _: clock_jumps(soak, STEP),
    "clock jumps backwards": lambda soak, _: clock_jumps(soak, -STEP),
    "disk of the log is full": full_disk,
    "descriptors are exhausted": no_descriptors,
    "storm of scrapes": storm,
    "exporter stands still": stands_still,
    "proxy is renamed": proxy_is_renamed,
}


# ---------------------------------------------------------------- what is compared


def is_socket(descriptor: Path) -> bool:
    """Whether this is one; if it is closed meanwhile, it is none."""
    with suppress(FileNotFoundError):
        return str(descriptor.readlink()).startswith("socket:")
    return False


def counters(text: str) -> Series:
    """All samples of ours that may only grow."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for block in re.split(r"^(?=# HELP )", text, flags=re.MULTILINE)
        if re.search(r"^# TYPE configmgr_\S+ (counter|histogram)$", block, re.MULTILINE)
        for family in text_string_to_metric_families(block)
        for sample in family.samples
    }


def gone_back(before: Series, now: Series) -> list[tuple[str, frozenset[tuple[str, str]]]]:
    """What became less or has gone, but of a proxy's path: that ends with the name of the proxy, which changes."""
    kept = {key: value for key, value in before.items() if not dict(key[1]).get("path", "").startswith("proxy:")}
    return [key for key, value in kept.items() if now.get(key, -1.0) < value]


def not_events(log: str) -> list[str]:
    """The lines that are no event of ours."""
    return [line for line in log.splitlines() if not EVENT.fullmatch(line)]


def write(path: Path, lab: Lab, hosts: Sequence[str], count: int, interval: float, proxy: str = PROXIES[0]) -> None:
    """A configuration with so many targets, a third of them through the proxy."""
    urls = [f"{'http' if n % 5 else 'https'}://{hosts[n % len(hosts)]}/{n}" for n in range(count)]
    groups = [
        {
            "feature": f"soak-{role}",
            "title": "Soak",
            "docs": "https://www.example/",
            "roles": [role],
            "endpoints": [{"pattern": url} for url in urls[place :: len(ROLES)]],
        }
        for place, role in enumerate(ROLES)
    ]
    settings = {
        "site": {"features": [group["feature"] for group in groups], "roles": ROLES},
        "probe": {"interval": f"{interval:.0f}s", "timeout": "900ms", "attempts": 1},
        "proxies": {proxy: {"url": lab.proxy_url}},
        "via": {ROLES[0]: proxy},
        "groups": groups,
    }
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(settings))
    partial.replace(path)


# ---------------------------------------------------------------- the run


@contextmanager
def soaking(lab: Lab, directory: Path, targets: int) -> Iterator[Soak]:
    """The exporter with a wall clock and a disk of its own, all first results there."""
    hosts = sorted(host for host in catalogue_hosts() if host in lab.address_of)[:100]
    config, disk, tasks = directory / "soak.yaml", directory / "disk", directory / "tasks"
    write(config, lab, hosts, targets, INTERVAL)
    disk.mkdir()
    with wall_clock(directory) as (living_by_it, move):
        argv: list[str | Path] = ["sh", "-c", _ON_A_SMALL_DISK, "sh", disk, *living_by_it, PATIENCE]
        argv += [sys.executable, "-m", "tests.counted", tasks]
        argv += ["serve", "--web.listen-address", ADDRESS, "--config.file", config]
        with program(lab, directory / "soak.log", argv) as process:
            exporter = Exporter(lab, process, directory / "soak.log")
            eventually("first results", exporter.ready, within=60)
            inside = Path(f"/proc/{process.pid}/root{disk}")
            with (inside / "log").open() as log:
                try:
                    yield Soak(lab, directory, exporter, hosts, targets, move, inside, log)
                finally:  # whatever else went wrong, this is why
                    assert process.poll() is None, f"it ended with status {process.returncode}: {log.read()[-9999:]}"


def run(lab: Lab, directory: Path, targets: int, seconds: float, seed: int, tell: Callable[[str], None]) -> list[str]:
    """Soak for about so long; gives what is wrong in the end, and tells figures."""
    tell(f"soak, seed {seed}")
    chance, begun = random.Random(seed), time.monotonic()  # noqa: S311 - it only varies what breaks when
    with soaking(lab, directory, targets) as soak:
        with soak.under_way():
            soak.suffer_at_random(chance, seconds / 3)
        first = soak.at_rest()
        rounds = soak.two_rounds()
        with soak.under_way():
            made, since = probes(soak.exporter), time.monotonic()
            soak.suffer_at_random(chance, seconds - REST - (time.monotonic() - begun))
            rate = (probes(soak.exporter) - made) / (time.monotonic() - since)
        eventually("all are probed, and as fast as before", lambda: soak.two_rounds().as_good_as(rounds))
        last = soak.at_rest(first)
        log = soak.log.read()
    tell(f"  {time.monotonic() - begun:.0f} s, {rate:.0f} probes a second of {targets} that are due")
    tell(f"  {soak.compared} scrapes compared, {soak.reloads} reloads, {len(log.splitlines())} lines of log")
    tell(f"  suffered: {', '.join(f'{fault} {times}' for fault, times in sorted(soak.suffered.items()))}")
    tell(f"  before: {first}")
    tell(f"  after:  {last}")
    wrong = [*soak.wrong, *(f"no event: {line}" for line in not_events(log))]
    if not last.no_more_than(first):
        wrong.append(f"more is held than before: {first} -> {last}")
    return wrong


def probes(exporter: Exporter) -> float:
    """How many were made so far."""
    return sum(exporter.values("configmgr_exporter_probes_total").values())


def main() -> int:
    """Soak, and say what came of it."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=900.0, help="default: 900")
    parser.add_argument("--targets", type=int, default=TARGETS, help=f"default: {TARGETS}")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of what breaks when")  # noqa: S311 - as above
    options = parser.parse_args()
    if reason := unavailable():
        sys.stderr.write(f"no laboratory here, nothing tried: {reason}\n")
        return 1
    with tempfile.TemporaryDirectory() as directory, Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab:
        wrong = run(lab, Path(directory), options.targets, options.seconds, options.seed, print)
    sys.stdout.write(
        "\n".join([*wrong[:20], f"{len(wrong)} things are wrong"] if wrong else ["all is as before"]) + "\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
