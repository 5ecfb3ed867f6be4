"""`make demo`: the whole chain in the laboratory; things break one after the other, and what is paged is printed."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tests.lab import EXTRA_HOSTS, PROXY_HOST, Flaw, Lab, catalogue_hosts, unavailable
from tests.paging import INTERVAL, PACE, Chain, Notification, chain

PATIENCE: Final = 45.0  # seconds for a page
FIXED_WITHIN: Final = 60.0  # seconds for the end of one

Fault = Callable[[Lab], AbstractContextManager[None]]
FAULTS: Final[dict[str, Fault]] = {
    "The firewall rejects definitionupdates.microsoft.com": lambda lab: lab.reset("definitionupdates.microsoft.com"),
    "The DNS does not know sts.windows.net": lambda lab: lab.dns_missing("sts.windows.net"),
    "The certificate of download.visualstudio.microsoft.com has expired": lambda lab: lab.certificate(
        "download.visualstudio.microsoft.com", Flaw.EXPIRED
    ),
    "The proxy of the clients is dead": lambda lab: lab.reset(PROXY_HOST),
    "One packet to definitionupdates.microsoft.com is lost": lambda lab: lab.drop_one(
        "definitionupdates.microsoft.com"
    ),
}


def main() -> int:
    """Show each fault and what it pages."""
    console = Console()
    if reason := unavailable():
        console.print(f"no demonstration: {reason}")
        return 1
    console.print(f"A probe every {INTERVAL:g} s instead of every minute; all waiting is {PACE} times shorter too.\n")
    with Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab, tempfile.TemporaryDirectory() as directory:
        console.print("Starting exporter, Prometheus, Alertmanager and a receiver in the laboratory ...")
        with chain(lab, Path(directory)) as running:
            for what, fault in FAULTS.items():
                with told(console, running, what):
                    _wait(running.pages, fault(lab))
                console.print()
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
