"""Measure all or some parts, print the table, and keep what was measured: `python -m benchmarks [PART...]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks import cost, fidelity, notice, report, rules
from benchmarks.figures import Figure, Measured
from exporter import __version__
from tests.lab import EXTRA_HOSTS, Lab, catalogue_hosts, unavailable

README: Final = Path(__file__).parents[1] / "README.md"
PAGE: Final = Path(__file__).with_name("README.md")
BEGIN: Final = "<!-- measured -->\n"
END: Final = "<!-- /measured -->\n"
KEPT: Final = Path(__file__).with_name("measured.json")

Part = Callable[[Lab, Path, bool], Iterator[Figure]]

# Each part's whole form, and one of some seconds that shows whether it works.
MEASURE: Final[Mapping[str, Part]] = {
    "catalogue": lambda lab, place, quick: cost.catalogue(lab, place, 1 if quick else 5),
    "layers": lambda lab, place, quick: cost.layers(lab, place, 100 if quick else 2000),
    "fidelity": lambda lab, place, quick: fidelity.paced(
        lab, place, (20,) if quick else fidelity.RATES, 1 if quick else 2
    ),
    "burst": lambda lab, place, quick: fidelity.bursts(lab, place, (50,) if quick else fidelity.BURSTS),
    "names": lambda lab, place, quick: fidelity.names(lab, place, 20 if quick else 200, 1 if quick else 2),
    "scrape": lambda lab, place, quick: cost.scrapes(lab, place, (100,) if quick else cost.SERIES, 5 if quick else 30),
    "scale": lambda lab, place, quick: cost.scale(lab, place, (100,) if quick else cost.SIZES, 5.0 if quick else 60.0),
    "start": lambda lab, place, quick: cost.start(lab, place, 1 if quick else 5),
    "notice": lambda lab, place, quick: notice.noticed(lab, place, notice.QUICK if quick else notice.FAULTS),
    "rules": lambda _lab, _place, quick: rules.figures(2 if quick else 50, 15.0 if quick else 1.0),
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(MEASURE)}; all, if none is named")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works, measures nothing")
    parser.add_argument("--keep", action="store_true", help="write the tables and the plots that the pages show")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(MEASURE):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(MEASURE)}")
    if reason := unavailable():
        sys.stderr.write(f"no laboratory here, nothing measured: {reason}\n")
        return 1
    console = Console()
    measured = Measured(versions())
    for part in options.parts or MEASURE:
        console.log(part)
        with tempfile.TemporaryDirectory() as directory, Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab:
            found = list(MEASURE[part](lab, Path(directory), options.quick))
        measured.figures += [replace(figure, taken=f"{datetime.now(UTC):%Y-%m-%d}") for figure in found]
    console.print(report.table(measured))
    if options.keep:
        keep(measured.over(Measured.read(KEPT)) if KEPT.exists() else measured)
    return 0


def keep(measured: Measured) -> None:
    """Write the figures, the tables and the plots."""
    measured.write(KEPT)
    for page, text in ((README, report.excerpt(measured)), (PAGE, report.markdown(measured))):
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        page.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")
    from benchmarks import plots  # noqa: PLC0415 - needs a library that measuring does without

    plots.draw(measured, KEPT.parent)


def versions() -> dict[str, str]:
    """What was measured, and beside what."""
    found = {"this exporter": __version__, "Python": sys.version.split()[0]}
    for program in ("prometheus-blackbox-exporter", "prometheus"):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        found[program] = (done.stdout + done.stderr).split("version ")[1].split()[0].rstrip(",")
    return found


if __name__ == "__main__":
    sys.exit(main())
