"""Attack the exporter for ten minutes from all sides at once, and print what it cost. Run by `make attack`.

There are two exporters, both on the loopback: one probes hostile servers, the other the whole catalogue through a
hostile proxy and is scraped by TLS. First the servers and the proxy are friendly; then they are hostile, strangers do
what they can on both ports, and Prometheus scrapes every second. It must always get an answer, memory may grow by 40
MB, no descriptor may be left over, and a server that means no harm must never seem down.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio

from tests.attacks import web, wire
from tests.running import COMMAND, ROOT, eventually
from tests.tools.fuzz import a_chain

SECONDS: Final = 600.0
FRIENDLY: Final = 0.1  # of the time
GROWTH: Final = 40.0  # megabytes
STRANGERS: Final = 4  # who attack in the same way beside each other
COPIES: Final = 3  # of each hostile target
RECOVERY: Final = 60.0  # seconds that a busy machine may take to come to rest again
LEFT_OVER: Final = 8  # descriptors that may be of what goes on
ROLES: Final = (
    "service-connection-point",
    "cmg-connection-point",
    "management-point",
    "software-update-point",
    "distribution-point",
    "site-server",
    "console",
    "client",
    "asset-intelligence-synchronization-point",
    "endpoint-protection-point",
    "exchange-server-connector",
)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each there is."""

    seconds: float
    requests: int
    handshakes: int
    chains: int
    probes: int  # of hostile servers and through the hostile proxy, at least
    interval: int = 5  # seconds between two probes of a target
    patience: float = 10.0  # seconds that a scrape waits; as long as Prometheus, unless the machine has other work

    def part(self, share: float) -> Amount:
        return Amount(
            self.seconds * share,
            int(self.requests * share),
            int(self.handshakes * share),
            int(self.chains * share),
            int(self.probes * share),
            self.interval,
            self.patience,
        )


ALL: Final = Amount(SECONDS, 20_000, 5_000, 50_000, 2_000)


@dataclass
class Exporter:
    """One under attack, and what its scrapes came to."""

    name: str
    process: subprocess.Popen[bytes]
    address: web.Address
    tls: ssl.SSLContext | None
    patience: float
    friendly: list[web.Scraped] = field(default_factory=list)  # scrapes before it is attacked
    scrapes: list[web.Scraped] = field(default_factory=list)  # while it is
    down: Counter[str] = field(default_factory=Counter)  # friendly targets, by reason

    def scrape(self) -> web.Scraped:
        return web.scrape(self.address, tls=self.tls, within=self.patience)

    def watch(self, done: threading.Event) -> None:
        """Scrape every second."""
        while not done.wait(1):
            scraped = self.scrape()
            self.scrapes.append(web.Scraped(scraped.status, scraped.seconds))
            self.down.update(_DOWN.findall(scraped.body.decode()))

    def value(self, name: str) -> float:
        """What a series without labels says."""
        found = re.search(rf"^{name} (\S+)$", self.scrape().body.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[0]) / 1024

    @property
    def descriptors(self) -> int:
        """Those that belong to no probe under way, of which a busy machine has many."""
        probing = int(self.value(_IN_FLIGHT))
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir())) - probing

    def failed(self) -> int:
        return sum(scraped.status != 200 for scraped in self.scrapes)


_DOWN: Final = re.compile(r'^configmgr_endpoint_failure\{feature="good".*reason="(\w+)"', re.MULTILINE)
_PROBES: Final = "configmgr_exporter_probes_total"
_IN_FLIGHT: Final = "configmgr_exporter_probes_in_flight"


@contextmanager
def servers(directory: Path) -> Iterator[dict[str, dict[str, int]]]:
    """The hostile servers, in a process of their own; where each kind is."""
    argv = [sys.executable, "-m", "tests.attacks.wire", str(directory)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as one:
        assert one.stdout
        try:
            yield json.loads(one.stdout.readline())
        finally:
            one.kill()


@contextmanager
def exporter(
    name: str, directory: Path, configuration: str, patience: float, tls: ssl.SSLContext | None = None
) -> Iterator[Exporter]:
    """One that serves, by TLS if there is a context for its clients."""
    path = directory / f"{name}.yaml"
    path.write_text(configuration, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [*COMMAND, "serve", "--config.file", str(path), "--web.listen-address", f"127.0.0.1:{port}"]
    if tls is not None:
        secured = directory / "web.yaml"
        secured.write_text("tls_server_config: {cert_file: server.pem, key_file: server.pem}\n", encoding="utf-8")
        argv += ["--web.config.file", str(secured)]
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
    try:
        found = Exporter(name, process, ("127.0.0.1", port), tls, patience)
        eventually(f"{name} answers", lambda: found.scrape().status == 200)
        yield found
    finally:
        process.terminate()
        process.wait(60)


def of_servers(ports: dict[str, dict[str, int]], directory: Path, interval: int) -> str:
    """Probes hostile servers, and one that means no harm."""
    hostile = [f"http://127.0.0.1:{port}" for port in ports["http"].values()]
    hostile += [f"https://localhost:{port}" for port in ports["https"].values()]
    lines = [f"  - pattern: {url}/{copy}" for url in hostile for copy in range(COPIES)]
    good = [f"  - pattern: http://127.0.0.1:{ports['good']['good']}/{copy}" for copy in range(COPIES)]
    return "\n".join(
        [
            "site: {features: [hostile, good]}",
            f"probe: {{interval: {interval}s, timeout: 2s, attempts: 1}}",
            f"tls: {{ca_file: {directory / 'root.pem'}}}",
            "groups:",
            "- feature: hostile",
            "  roles: [client]",
            "  endpoints:",
            *lines,
            "- feature: good",
            "  roles: [client]",
            "  endpoints:",
            *good,
            "",
        ]
    )


def of_proxy(ports: dict[str, dict[str, int]], interval: int) -> str:
    """Probes the whole catalogue through a hostile proxy: by an account for some of the roles."""
    url = f"http://127.0.0.1:{ports['proxy']['any']}"
    via = ", ".join(f"{role}: {'known' if role == 'console' else 'hostile'}" for role in ROLES)
    return (
        f"probe: {{interval: {2 * interval}s, timeout: 2s, attempts: 1}}\n"
        f"proxies:\n  hostile: {{url: '{url}'}}\n  known: {{url: '{url}', username: user, password_file: password}}\n"
        f"via: {{{via}}}\n"
    )


# ---------------------------------------------------------------- what strangers do


Row = tuple[str, int, str]  # what was tried, how often, and what came of it


def attacks(one: Exporter, other: Exporter, amount: Amount, seed: int) -> list[Callable[[], Row]]:
    """Each of them to be run beside the others."""

    def in_words(found: Counter[Any]) -> str:
        return ", ".join(f"{what}: {count}" for what, count in sorted(found.items(), key=str))

    def requests() -> Row:
        found = _shared(web.mutated_requests, one.address, amount.requests, seed)
        return "mutated requests", found.total(), in_words(found)

    def handshakes() -> Row:
        found = _shared(wire.mutated_handshakes, other.address, amount.handshakes, seed)
        return "mutated handshakes", found.total(), in_words(found)

    def chains() -> Row:
        anyio.run(_chains, amount.chains, seed)
        return "mutated chains, read in another process", amount.chains, "no exception"

    def connections() -> Row:
        count = max(amount.requests // 100, 16)
        sources = ["127.0.66.2", "127.0.66.3"]
        for address in (one.address, other.address):
            with web.half_requests(address, count, sources), web.slow_readers(address, 64, ["127.0.66.4"]):
                web.flood(address, web.request("/"), count, "127.0.66.5")
        return "half requests, slow readers, requests of who is gone", 4 * count + 128, "over"

    def foreign() -> Row:
        found = {**web.from_another_site(one.address), **web.by_a_name_of_theirs(one.address)}
        return "requests of other sites and by other names", len(found), in_words(Counter(found.values()))

    return [requests, handshakes, chains, connections, foreign]


def _shared(attack: Callable[..., Counter[Any]], address: web.Address, times: int, seed: int) -> Counter[Any]:
    """An attack by several strangers beside each other, as most of it is to wait for answers."""
    each = -(-times // STRANGERS)
    with ThreadPoolExecutor(STRANGERS) as pool:
        found = [
            pool.submit(attack, address, each, STRANGERS * seed + number, f"127.0.67.{number + 1}")
            for number in range(STRANGERS)
        ]
    return sum((one.result() for one in found), Counter[Any]())


async def _chains(count: int, seed: int) -> None:
    chance = random.Random(f"{seed} chains")  # noqa: S311 - chance, no secret
    for _ in range(count):
        await a_chain(chance)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one of the two exporters held while all was friendly, and what it holds afterwards."""

    name: str
    megabytes: tuple[float, float]
    descriptors: tuple[int, int]
    scrapes: int
    failed: int
    median: tuple[float, float]  # seconds of a scrape
    slowest: tuple[float, float]
    down: int  # times that a friendly target seemed so
    probes: int  # while all was hostile

    def wrong(self) -> Iterator[str]:
        """What must not be."""
        if self.failed or not self.scrapes:
            yield f"{self.name}: {self.failed} of {self.scrapes} scrapes failed"
        if self.megabytes[1] > self.megabytes[0] + GROWTH:
            yield f"{self.name}: memory grew from {self.megabytes[0]:.0f} to {self.megabytes[1]:.0f} MB"
        if self.descriptors[1] > self.descriptors[0] + LEFT_OVER:
            yield f"{self.name}: descriptors grew from {self.descriptors[0]} to {self.descriptors[1]}"
        if self.down:
            yield f"{self.name}: a friendly target seemed down {self.down} times"

    def __str__(self) -> str:
        return (
            f"{self.name:<9} {self.probes:>6} probes, {self.scrapes} scrapes, {self.failed} failed; half within "
            f"{self.median[0]:.2f} -> {self.median[1]:.2f} s, slowest {self.slowest[0]:.2f} -> {self.slowest[1]:.2f} s"
            f"; {self.megabytes[0]:.0f} -> {self.megabytes[1]:.0f} MB; "
            f"{self.descriptors[0]} -> {self.descriptors[1]} descriptors"
        )


def run(amount: Amount, seed: int, directory: Path, tell: Callable[[str], None]) -> list[str]:
    """Attack, and print a table; what must not have been."""
    (directory / "password").write_text("a password\n", encoding="utf-8")
    with ExitStack() as stack:
        ports = stack.enter_context(servers(directory))
        client = ssl.create_default_context(cafile=str(directory / "root.pem"))
        both = [
            stack.enter_context(
                exporter("servers", directory, of_servers(ports, directory, amount.interval), amount.patience)
            ),
            stack.enter_context(
                exporter("proxy", directory, of_proxy(ports, amount.interval), amount.patience, client)
            ),
        ]
        rounds = 4.0 * amount.interval
        done = threading.Event()
        watching = [threading.Thread(target=one.watch, args=(done,), daemon=True) for one in both]
        for thread in watching:
            thread.start()
        time.sleep(max(amount.seconds * FRIENDLY, rounds))
        before = [(one.megabytes, one.descriptors, one.value(_PROBES)) for one in both]
        for one in both:
            one.friendly, one.scrapes = one.scrapes, []
        (directory / "hostile").touch()
        for what, attempts, came in at_once(attacks(both[0], both[1], amount, seed), amount.seconds):
            tell(f"{what:<52} {attempts:>6}  {came}")
        eventually(
            "as many probes as are meant",
            lambda: (
                sum(one.value(_PROBES) - begun for one, (_, _, begun) in zip(both, before, strict=True))
                >= amount.probes
            ),
            within=SECONDS,
        )
        hostile = [int(one.value(_PROBES) - begun) for one, (_, _, begun) in zip(both, before, strict=True)]
        done.set()
        for thread in watching:
            thread.join()
        (directory / "hostile").unlink()
        end = time.monotonic() + RECOVERY
        while time.monotonic() < end and any(
            one.descriptors > held + LEFT_OVER for one, (_, held, _) in zip(both, before, strict=True)
        ):
            time.sleep(1)  # what was under way comes to its end
        costs = [
            Cost(
                one.name,
                (megabytes, one.megabytes),
                (descriptors, one.descriptors),
                len(one.scrapes),
                one.failed(),
                (_median(one.friendly), _median(one.scrapes)),
                (_slowest(one.friendly), _slowest(one.scrapes)),
                one.down.total(),
                probes,
            )
            for one, (megabytes, descriptors, _), probes in zip(both, before, hostile, strict=True)
        ]
    for cost in costs:
        tell(str(cost))
    logs = "".join(path.read_text(encoding="utf-8", errors="replace") for path in directory.glob("*.log"))
    wrong = [line for cost in costs for line in cost.wrong()]
    return wrong + [f"{count} tracebacks in the log" for count in [logs.count("Traceback")] if count]


def _median(scrapes: Sequence[web.Scraped]) -> float:
    return statistics.median([scraped.seconds for scraped in scrapes] or [0.0])


def _slowest(scrapes: Sequence[web.Scraped]) -> float:
    return max((scraped.seconds for scraped in scrapes), default=0.0)


def at_once(things: Sequence[Callable[[], Row]], seconds: float) -> list[Row]:
    """Do all beside each other, and last so many seconds at least. Raises what one of them raises."""
    begun, rows = time.monotonic(), list[Row]()
    failures = list[BaseException]()

    def do(thing: Callable[[], Row]) -> None:
        try:
            rows.append(thing())
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=do, args=(thing,)) for thing in things]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    return sorted(rows)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Attack and tell."""
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        wrong = run(ALL.part(given.seconds / SECONDS), given.seed, Path(directory), _tell)
    for line in wrong:
        _tell(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
