"""`make demo`: the whole chain in the laboratory; things break one after the other, and who is told what is printed.

make demo                                                            five faults, with the words of their pages
make demo ARGS="--table FILE [--sites] [--beside NUMBER] [NAME ...]" outages, as rows of a table in Markdown
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tests.lab import EXTRA_HOSTS, PROXY_HOST, Flaw, Lab, catalogue_hosts, unavailable
from tests.outages import HOST, MANY_SITES, OUTAGES, Outage, Place, Site, Sites
from tests.paging import INTERVAL, PACE, TRUE, Chain, Notification, chain

PATIENCE: Final = 90.0  # seconds for a page
FIXED_WITHIN: Final = 120.0  # seconds for the end of one

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
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="measure outages, and keep each row in this file, in place of the one before",
    )
    parser.add_argument("--sites", action="store_true", help="the outages of many sites")
    parser.add_argument("--beside", type=int, default=1, metavar="NUMBER", help="so many at once")
    parser.add_argument("--pace", type=float, default=TRUE, metavar="TIMES", help="how much faster than as shipped")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these outages")
    asked = parser.parse_args()
    console = Console()
    if reason := unavailable():
        console.print(f"no demonstration: {reason}")
        return 1
    there = MANY_SITES if asked.sites else OUTAGES
    if unknown := set(asked.names) - there.keys():
        parser.error(f"no such outage: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    if asked.table is not None:
        return _tabulate(console, asked)
    with Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab, tempfile.TemporaryDirectory() as directory:
        console.print("Starting exporter, Prometheus, Alertmanager and a receiver in the laboratory ...")
        with chain(lab, Path(directory)) as running:
            _demonstrate(console, lab, running)
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

QUIET: Final = 300.0  # seconds after an outage in which nobody may be paged any more
ENDS: Final = 1200.0  # seconds in which everybody has heard that it is over
LOOK: Final = 5.0  # seconds between two looks
HEAD: Final = (
    "| Outage | Wanted | Pages | Tickets | First page (s) | Over, after its end (s) | As wanted | Why |",
    "|---|---|--:|--:|--:|--:|---|---|",
)


@dataclass(frozen=True)
class Opened:
    """A notification that opened a page or a ticket."""

    after: float  # seconds since the outage began
    receiver: str
    names: str

    def __str__(self) -> str:
        return f"{self.after:.0f} s {self.receiver} {self.names}"


@dataclass(frozen=True)
class Measured:
    """Who was notified. Seconds."""

    opened: tuple[Opened, ...]
    over: float | None  # after its end, when the last page was said to be over; None: none was

    def of(self, kind: str) -> list[Opened]:
        """The pages, or the tickets."""
        return [one for one in self.opened if one.receiver.endswith(kind)]


def _tabulate(console: Console, asked: argparse.Namespace) -> int:
    """Break one after the other, several beside each other, and keep each row as soon as it is there."""
    outages: Mapping[str, Outage[Any]] = MANY_SITES if asked.sites else OUTAGES
    wrong = 0
    with ThreadPoolExecutor(asked.beside) as pool:
        names = {pool.submit(_measured, outages[name], asked): name for name in asked.names or outages}
        for done in as_completed(names):
            name = names[done]
            try:
                found = done.result()
            except Exception as error:  # noqa: BLE001 - the others go on
                console.print(f"{name}: {type(error).__name__}: {error}", style="red", markup=False)
                wrong += 1
                continue
            row = _row(name, outages[name], found)
            console.print(row, markup=False, soft_wrap=True)
            for one in found.opened:
                console.print(f"    {one}", markup=False)
            _keep(asked.table, name, row)
            wrong += not _as_wanted(outages[name], found)
    return 1 if wrong else 0


def _measured(outage: Outage[Any], asked: argparse.Namespace) -> Measured:
    with (Sites if asked.sites else Site).built(asked.pace, outage.setting) as place:
        begun = time.time()
        with outage.begins(place):
            place.wait(outage.lasts)
        ended = time.time()
        _wait_for_quiet(place, begun, ended)
        opened, still, last = _openings(place, begun)
        paged = any(one.receiver.endswith("page") for one in opened)
        over = (last - ended) * place.pace if paged and not still else None
    return Measured(tuple(opened), over)


def _openings(place: Place, begun: float) -> tuple[list[Opened], bool, float]:
    """What was opened, whether a page is still open, and when the last word was said of one."""
    opened, still, last = list[Opened](), set[tuple[object, ...]](), begun
    for sent in place.watch.notifications():
        group = (sent.receiver, *sorted(sent.labels.items()))
        if sent.time < begun or not sent.receiver.endswith(("page", "ticket", "unrouted")):
            continue
        if sent.firing and group not in still:
            still.add(group)
            names = "+".join(sorted(name.removeprefix("ConfigMgr") for name in sent.names))
            opened.append(Opened((sent.time - begun) * place.pace, sent.receiver, names))
        elif not sent.firing:
            still.discard(group)
        last = max(last, sent.time) if sent.receiver.endswith("page") else last
    return opened, any(str(receiver).endswith("page") for receiver, *_ in still), last


def _wait_for_quiet(place: Place, begun: float, ended: float) -> None:
    """Until nobody who was paged has not heard that it is over, and none is paged after the fact."""
    place.wait(QUIET)
    while time.time() < ended + ENDS / place.pace:
        _, still, _ = _openings(place, begun)
        if not still and place.watch.quiet():
            return
        place.wait(LOOK)


def _as_wanted(outage: Outage[Any], found: Measured) -> bool:
    """Whether there are as many pages and tickets as are wanted, and each is about what it should be about."""
    return all(
        sorted(_about(one.names, wanted) for one in found.of(kind)) == sorted(wanted)
        for kind, wanted in (("page", outage.pages), ("ticket", outage.tickets))
    )


def _about(names: str, wanted: Iterable[str]) -> str:
    """The alert that is wanted, where a page has others as well."""
    return next((name for name in wanted if name in names.split("+")), names)


def _row(name: str, outage: Outage[Any], found: Measured) -> str:
    pages, tickets = found.of("page"), found.of("ticket")
    cells = (
        name,
        wanted(outage),
        str(len(pages)),
        str(len(tickets)),
        f"{pages[0].after:.0f}" if pages else "",
        "" if found.over is None else f"{found.over:.0f}",
        "yes" if _as_wanted(outage, found) else f"no: {_counted(one.names for one in (*pages, *tickets))}",
        outage.why,
    )
    return f"| {' | '.join(cells)} |"


def wanted(outage: Outage[Any]) -> str:
    """The pages and tickets that are wanted, in words."""
    kinds = [
        f"{len(names)} {kind}{'s' if len(names) > 1 else ''}: {_counted(names)}"
        for kind, names in (("page", outage.pages), ("ticket", outage.tickets))
        if names
    ]
    return "; ".join(kinds) or "nothing"


def _counted(names: Iterable[str]) -> str:
    counts = Counter(names)
    return ", ".join(name if number == 1 else f"{number} {name}" for name, number in counts.items()) or "nothing"


def _keep(document: Path, name: str, row: str) -> None:
    """Write a row in place of the one that was there before, or else below all others."""
    lines = document.read_text(encoding="utf-8").splitlines() if document.exists() else [*HEAD]
    places = [place for place, line in enumerate(lines) if line.startswith(f"| {name} |")]
    lines[slice(places[0], places[0] + 1) if places else slice(len(lines), None)] = [row]
    text = "\n".join(lines)
    document.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
