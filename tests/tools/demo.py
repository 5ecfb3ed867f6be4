"""`make demo`: the whole chain in the laboratory; things break one after the other, and who is told what is printed.

make demo                                                 five faults, with the words of their pages
make demo ARGS="--table FILE [--pace TIMES] [NAME ...]"   twenty outages, as rows of a table in Markdown
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from exporter.config.catalogue import load
from tests.lab import EXTRA_HOSTS, PROXY_HOST, Flaw, Lab, Port, catalogue_hosts, unavailable
from tests.paging import INTERVAL, PACE, Chain, Notification, chain
from tests.running import ADDRESS

PATIENCE: Final = 45.0  # seconds for a page
FIXED_WITHIN: Final = 60.0  # seconds for the end of one
HOST: Final = "definitionupdates.microsoft.com"  # that one feature needs
SHARED: Final = "go.microsoft.com"  # that several features need
WILDCARD: Final = "*.manage.microsoft.com"

Fault = Callable[[Lab], AbstractContextManager[None]]
FAULTS: Final[dict[str, Fault]] = {
    "The firewall rejects definitionupdates.microsoft.com": lambda lab: lab.reset("definitionupdates.microsoft.com"),
    "The DNS does not know sts.windows.net": lambda lab: lab.dns_missing("sts.windows.net"),
    "The certificate of download.visualstudio.microsoft.com has expired": lambda lab: lab.certificate(
        "download.visualstudio.microsoft.com", Flaw.EXPIRED
    ),
    "The proxy of the clients is dead": lambda lab: lab.reset(PROXY_HOST),
    "One packet to definitionupdates.microsoft.com is lost": lambda lab: lab.drop_one(HOST),
}


def main() -> int:
    """Show each fault and what it pages, or measure each outage."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--table", type=Path, metavar="FILE", help="measure outages and keep each row in this file")
    parser.add_argument("--pace", type=float, default=PACE, metavar="TIMES", help="how much faster than as shipped")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these outages")
    asked = parser.parse_args()
    console = Console()
    if reason := unavailable():
        console.print(f"no demonstration: {reason}")
        return 1
    if unknown := set(asked.names) - OUTAGES.keys():
        parser.error(f"no such outage: {', '.join(sorted(unknown))}; there are {', '.join(OUTAGES)}")
    with Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab, tempfile.TemporaryDirectory() as directory:
        console.print("Starting exporter, Prometheus, Alertmanager and a receiver in the laboratory ...")
        with chain(lab, Path(directory), asked.pace) as running:
            if asked.table is None:
                _demonstrate(console, lab, running)
            else:
                _measure(console, Site(lab, running, asked.pace), asked.table, asked.names or list(OUTAGES))
    return 0


def _demonstrate(console: Console, lab: Lab, running: Chain) -> None:
    console.print(f"A probe every {INTERVAL:g} s instead of every minute; all waiting is {PACE} times shorter too.\n")
    for what, fault in FAULTS.items():
        with told(console, running, what):
            _wait(running.pages, fault(lab))
        console.print()


@contextmanager
def told(console: Console, running: Chain, what: str) -> Iterator[None]:
    """Print what was paged inside, and when it ended."""
    console.rule(what, align="left")
    begun = time.time()
    yield
    pages = running.pages(begun)
    if not pages:
        console.print("nobody is paged", style="green")
    for page in pages:
        _print(console, page, begun)
    fixed = time.time()
    while not running.quiet() and time.time() < fixed + FIXED_WITHIN:
        time.sleep(0.5)
    if pages:
        console.print(f"fixed, and all is quiet {time.time() - fixed:.0f} s later", style="green")


def _wait(paged: Callable[[float], list[Notification]], fault: AbstractContextManager[None]) -> None:
    begun = time.time()
    with fault:
        while not paged(begun) and time.time() < begun + PATIENCE:
            time.sleep(0.5)
        time.sleep(2 * INTERVAL)  # for whatever else might come


def _print(console: Console, page: Notification, begun: float) -> None:
    console.print(f"[bold red]page[/] to {page.receiver} after {page.time - begun:.0f} s")
    for alert in page.firing:
        said = alert["annotations"]
        console.print(f"  [bold]{said['summary']}[/]")
        console.print(Padding(Text(said["description"]), (0, 2)))
        console.print(
            f"  runbook   {said['runbook_url']}\n  dashboard {said['dashboard_url']}", style="dim", soft_wrap=True
        )


# ---------------------------------------------------------------- the table of outages

LASTS: Final = 420.0  # seconds of an outage, where it does not end by itself
ENDS: Final = 900.0  # seconds in which everybody has heard that it is over
HEAD: Final = (
    "| Outage | Pages | Tickets | First page (s) | Over, after its end (s) |",
    "|---|--:|--:|--:|--:|",
)


@dataclass(frozen=True)
class Site:
    """What is broken, and what watches it. Seconds are as at the shipped pace."""

    lab: Lab
    chain: Chain
    pace: float

    def wait(self, seconds: float) -> None:
        """Let so many seconds go by."""
        time.sleep(seconds / self.pace)

    @contextmanager
    def redirected(self, port: Port) -> Iterator[None]:
        """Have the proxy behave as on another of its ports."""
        address = self.lab.addresses_of[PROXY_HOST][0]
        rule = ["OUTPUT", "--destination", address, "--protocol", "tcp", "--dport", str(int(Port.OPEN))]
        rule += ["--jump", "DNAT", "--to-destination", f"{address}:{int(port)}"]
        table = ["iptables", "--wait", "--table", "nat"]
        self.lab.run([*table, "--insert", *rule], check=True)
        try:
            yield
        finally:
            self.lab.run([*table, "--delete", *rule], check=True)

    @contextmanager
    def suspended(self, how: signal.Signals = signal.SIGSTOP) -> Iterator[None]:
        """Have the exporter stand still."""
        self.chain.exporter.process.send_signal(how)
        try:
            yield
        finally:
            self.chain.exporter.process.send_signal(signal.SIGCONT)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Let no scrape through to the exporter."""
        rule = ["INPUT", "--protocol", "tcp", "--dport", ADDRESS.rpartition(":")[2], "--jump", "DROP"]
        self.lab.run(["iptables", "--wait", "--insert", *rule], check=True)
        try:
            yield
        finally:
            self.lab.run(["iptables", "--wait", "--delete", *rule], check=True)

    @contextmanager
    def configured(self, change: Callable[[str], str]) -> Iterator[None]:
        """Reload a changed configuration, and in the end the one before."""
        file = self.chain.told.parent / "exporter.yaml"
        before = file.read_text()
        self._reload(file, change(before))
        try:
            yield
        finally:
            self._reload(file, before)

    def _reload(self, file: Path, text: str) -> None:
        file.write_text(text)
        self.chain.exporter.get("/-/reload", "--request", "POST")

    @contextmanager
    def all_of(self, faults: Iterable[AbstractContextManager[None]]) -> Iterator[None]:
        """Several at once."""
        with ExitStack() as together:
            for fault in faults:
                together.enter_context(fault)
            yield


def _below(wildcard: str) -> tuple[str, ...]:
    return tuple(found.host for found in load().wildcards[wildcard].representatives)


@dataclass(frozen=True)
class Outage:
    """What is broken, and for how many seconds."""

    begins: Callable[[Site], AbstractContextManager[None]]
    lasts: float = LASTS


OUTAGES: Final[Mapping[str, Outage]] = {
    "The line is cut": Outage(lambda site: site.lab.cut_line()),
    "A proxy refuses connections": Outage(lambda site: site.lab.reset(PROXY_HOST)),
    "A proxy is silent": Outage(lambda site: site.lab.drop(PROXY_HOST)),
    "A proxy restarts, 20 s": Outage(lambda site: site.lab.reset(PROXY_HOST), 20.0),
    "A proxy wants a login": Outage(lambda site: site.redirected(Port.AUTH)),
    "A proxy begins to inspect TLS": Outage(lambda site: site.redirected(Port.INSPECTING)),
    "A proxy is slow": Outage(lambda site: site.lab.delay_data(PROXY_HOST, Port.OPEN, 1.0), 1200.0),
    "The resolver is silent": Outage(lambda site: site.lab.dns_silent()),
    "A name is not known": Outage(lambda site: site.lab.dns_missing("sts.windows.net")),
    "A host of one feature is refused": Outage(lambda site: site.lab.reset(HOST)),
    "A host of many features is refused": Outage(lambda site: site.lab.reset(SHARED)),
    "One target of a wildcard is refused": Outage(lambda site: site.lab.reset(_below(WILDCARD)[0])),
    "The rule for a wildcard is missing": Outage(lambda site: site.all_of(map(site.lab.reset, _below(WILDCARD)))),
    "A certificate has expired": Outage(
        lambda site: site.lab.certificate("download.visualstudio.microsoft.com", Flaw.EXPIRED)
    ),
    "A packet is lost": Outage(lambda site: site.lab.drop_one(HOST)),
    "A connection is reset": Outage(lambda site: site.lab.reset_one(HOST)),
    "The exporter's machine stands still": Outage(lambda site: site.suspended()),
    "The exporter is not reached": Outage(lambda site: site.unreachable()),
    "A broken configuration is reloaded": Outage(
        lambda site: site.configured(lambda text: f"{text}prob: {{}}\n"), 900.0
    ),
    "A good configuration is reloaded": Outage(lambda site: site.configured(lambda text: f"{text}# the same\n"), 120.0),
}


def _measure(console: Console, site: Site, document: Path, names: Iterable[str]) -> None:
    """Break one after the other, and keep each row as soon as it is there."""
    for name in names:
        row = _row(name, OUTAGES[name], site)
        console.print(row)
        _keep(document, name, row)


def _row(name: str, outage: Outage, site: Site) -> str:
    begun = time.time()
    with outage.begins(site):
        site.wait(outage.lasts)
    ended = time.time()
    over = _over(site, begun, ended)
    firing = [sent for sent in site.chain.notifications() if sent.time >= begun and sent.firing]
    pages = [sent for sent in firing if sent.receiver.endswith("page")]
    tickets = {(sent.receiver, *sorted(sent.labels.items())) for sent in firing if sent.receiver.endswith("ticket")}
    first = f"{(pages[0].time - begun) * site.pace:.0f}" if pages else ""
    return f"| {name} | {len(_groups(pages))} | {len(tickets)} | {first} | {over} |"


def _groups(sent: Iterable[Notification]) -> set[tuple[object, ...]]:
    return {(one.receiver, *sorted(one.labels.items())) for one in sent}


def _over(site: Site, begun: float, ended: float) -> str:
    """Seconds from the end of an outage until nobody who was paged has not heard that it is over; waits for it."""
    while time.time() < ended + ENDS / site.pace:
        sent = [one for one in site.chain.notifications() if one.time >= begun and one.receiver.endswith("page")]
        open_, last = dict[tuple[object, ...], bool](), ended
        for one in sent:
            open_[(one.receiver, *sorted(one.labels.items()))] = bool(one.firing)
            last = max(last, one.time)
        if site.chain.quiet() and not any(open_.values()):
            return f"{(last - ended) * site.pace:.0f}" if sent else ""
        time.sleep(0.5)
    return f"more than {ENDS:.0f}"


def _keep(document: Path, name: str, row: str) -> None:
    """Write a row into the table; the others stay, in the order of OUTAGES."""
    kept = document.read_text(encoding="utf-8").splitlines()[2:] if document.exists() else []
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in kept} | {name: row}
    lines = "\n".join([*HEAD, *(rows[known] for known in OUTAGES if known in rows)])
    document.write_text(f"{lines}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
