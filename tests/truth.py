"""Injected fault against reported reason: every fault, on every path, by the exporter's own code and by curl.

Run by `make truth`. All faults are in force at once, each on a host of its own, so that one round sees them all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import anyio
from rich.console import Console
from rich.table import Table

from exporter.app import Source, deploy, network_of
from exporter.model import CheckKey, Probing, Proxy, Reason, Result, Settings, Target, TlsSettings, Trust
from exporter.probes import run_check
from tests.faults import FAULTS, HOSTS, Fault, Outcome, Via, Way
from tests.lab import PROXY_HOST, Lab, Port, unavailable

ROOT: Final = Path(__file__).parents[1]
TIMEOUT: Final = 6.0  # seconds; the laboratory's proxy gives up on a target after three
AT_ONCE: Final = 64  # probes; those that take long only wait
CURLS_AT_ONCE: Final = 24

# What curl's exit status may be where the exporter reports a reason: https://curl.se/libcurl/c/libcurl-errors.html
CURL_EXITS: Final[Mapping[Outcome, frozenset[int]]] = MappingProxyType(
    {
        # The head of the answer decides, but curl reads on: it may run out of time (28), miss bytes (18) or not
        # understand the body (56). That there was a head it tells by the status.
        None: frozenset({0, 18, 28, 56}),
        Reason.HTTP_STATUS: frozenset({0}),
        Reason.HTTP_BLOCKED: frozenset({0}),  # a page is a page to curl
        Reason.DNS_NOT_FOUND: frozenset({6}),
        Reason.DNS_ERROR: frozenset({5, 6}),  # the same as for a name that does not exist; 5: the proxy's name
        Reason.DNS_TIMEOUT: frozenset({28}),  # one status for every time-out
        Reason.CONNECT_TIMEOUT: frozenset({28}),
        Reason.CONNECT_REFUSED: frozenset({7}),
        Reason.CONNECT_UNREACHABLE: frozenset({7}),  # one status for every error of connecting
        Reason.PROXY_UNREACHABLE: frozenset({5, 7, 28}),
        Reason.PROXY_AUTH_REQUIRED: frozenset({0, 56}),  # 56: the answer to CONNECT, 0: that to a plain request
        Reason.PROXY_DENIED: frozenset({0, 56}),
        # 1: no HTTP, 28: silence, 52: closed; a page of the proxy is to curl the target's
        Reason.PROXY_ERROR: frozenset({0, 1, 28, 52, 56}),
        Reason.TLS_TIMEOUT: frozenset({28}),
        Reason.TLS_UNTRUSTED: frozenset({60}),  # one status for all that is wrong with a certificate
        Reason.TLS_EXPIRED: frozenset({60}),
        Reason.TLS_HOSTNAME_MISMATCH: frozenset({60}),
        Reason.TLS_HANDSHAKE: frozenset({35, 56}),  # 56: an alert that came when the client had finished
        Reason.HTTP_TIMEOUT: frozenset({28}),
        Reason.HTTP_RESET: frozenset({52, 56}),
        # 1: no HTTP, 27 and 56: a head that is too large; 0, 28: what a proxy made of it
        Reason.HTTP_PROTOCOL: frozenset({0, 1, 27, 28, 56}),
    }
)
_WITH_HEAD: Final = frozenset({None, Reason.HTTP_STATUS, Reason.HTTP_BLOCKED})
_WITHOUT_HEAD: Final = frozenset({Reason.HTTP_TIMEOUT, Reason.HTTP_RESET})
_ASKS_FOR_PASSWORD: Final = 407


@dataclass(frozen=True)
class Seen:
    """What curl saw: its exit status, and the statuses of the answer and of that to CONNECT, 0 where none came."""

    exit: int
    status: int
    connect: int

    def agrees_with(self, outcome: Outcome) -> bool:
        """Whether curl may have seen this where the exporter reported that."""
        if self.exit not in CURL_EXITS.get(outcome, ()):
            return False
        if outcome is Reason.PROXY_AUTH_REQUIRED:  # a page to log in at is a page to curl
            return self.status != 0 or self.connect == _ASKS_FOR_PASSWORD
        answered = self.status != 0
        return (answered or outcome not in _WITH_HEAD) and (not answered or outcome not in _WITHOUT_HEAD)

    def __str__(self) -> str:
        return f"curl exits with {self.exit}, saw status {self.status}, and {self.connect} to CONNECT"


@dataclass(frozen=True)
class Question:
    """One fault on one path, before it is asked about."""

    fault: Fault
    way: Way
    proxy: Proxy | None

    @property
    def name(self) -> str:
        """Its name among files."""
        return f"{self.fault.slug}.{self.way.name.lower()}"


@dataclass(frozen=True)
class Cell:
    """One fault on one path: what the exporter reported, and what curl saw."""

    fault: Fault
    way: Way
    reported: Outcome
    message: str
    intercepted: bool | None
    seen: Seen

    @property
    def expected(self) -> Outcome:
        """What is true."""
        return self.fault.expected[self.way]

    @property
    def right(self) -> bool:
        """Whether the exporter reported the truth, and noticed who stood between."""
        inspected = self.fault.via is Via.INSPECTING and self.way is not Way.DIRECT
        return self.reported is self.expected and (self.intercepted is True or not inspected)

    def __str__(self) -> str:
        verdict = f"expected {word(self.expected)}, reported {word(self.reported)}: {self.message}"
        return f"{self.fault.title}, {self.way}: {verdict} (intercepted: {self.intercepted}; {self.seen})"


def word(outcome: Outcome) -> str:
    """An outcome as the table shows it."""
    return outcome or "up"


# ---------------------------------------------------------------- measuring


@contextmanager
def world(faults: Sequence[Fault]) -> Iterator[Lab]:
    """A laboratory in which all these faults are in force."""
    with Lab.start(HOSTS) as lab, ExitStack() as injected:
        for fault in faults:
            injected.enter_context(fault.inject(lab, fault.host))
        yield lab


def measure(faults: Sequence[Fault], artefacts: Path) -> list[Cell]:
    """Inject all of it and ask; all that curl said is kept in `artefacts`, a file for each cell."""
    with world(faults) as lab:
        questions = [Question(fault, way, _proxy(lab, fault, way)) for fault in faults for way in Way]
        answers = _ask_exporter(lab, questions)
        with ThreadPoolExecutor(CURLS_AT_ONCE) as pool:
            sights = list(pool.map(_Curl(lab, artefacts).ask, questions))
    return [
        Cell(question.fault, question.way, seen=seen, **{**answer, "reported": _outcome(answer["reported"])})
        for question, answer, seen in zip(questions, answers, sights, strict=True)
    ]


def _outcome(word: str | None) -> Outcome:
    return None if word is None else Reason(word)


def _proxy(lab: Lab, fault: Fault, way: Way) -> Proxy | None:
    if way is Way.DIRECT:
        return None
    signed_in = way is Way.SIGNED_IN
    username, password = lab.proxy_credentials if signed_in else (None, None)
    host, port = PROXY_HOST, Port.AUTH if signed_in else Port.OPEN
    match fault.via:
        case Via.CORPORATE:
            pass
        case Via.ASKING:
            port = Port.AUTH
        case Via.WRONG_PASSWORD:
            password = "wrong" if signed_in else None
        case Via.INSPECTING:
            port = Port.INSPECTING_AUTH if signed_in else Port.INSPECTING
        case Via.OWN:
            host, port = fault.host, Port.OPEN
    return Proxy("proxy", f"http://{host}:{port}", username, password)


def _ask_exporter(lab: Lab, questions: Sequence[Question]) -> list[dict[str, Any]]:
    jobs = [
        {
            "url": question.fault.url,
            "proxy": question.proxy and [question.proxy.url, question.proxy.username, question.proxy.password],
            "ca_file": str(lab.inspection_ca_file) if question.fault.trusts_inspection else None,
        }
        for question in questions
    ]
    inside = [sys.executable, "-m", "tests.truth", "--inside"]
    answers: list[dict[str, Any]] = json.loads(lab.run(inside, cwd=ROOT, input=json.dumps(jobs), check=True).stdout)
    return answers


async def _probe_all(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the exporter finds, wired as it always is; this is the process inside."""
    limiter = anyio.CapacityLimiter(AT_ONCE)
    shipped = deploy(Source())
    proxies = {str(number): Proxy(str(number), *job["proxy"]) for number, job in enumerate(jobs) if job["proxy"]}
    networks = {
        ca_file: network_of(replace(shipped, settings=Settings(tls=TlsSettings(ca_file), proxies=proxies)))
        for ca_file in {job["ca_file"] for job in jobs}
    }
    answers: dict[int, dict[str, Any]] = {}

    async def probe(number: int, job: dict[str, Any]) -> None:
        key = CheckKey(Target(job["url"]), str(number) if job["proxy"] else None)
        async with limiter:
            result = await run_check(key, networks[job["ca_file"]], Probing(timeout=TIMEOUT, attempts=1))
        answers[number] = _told(result)

    async with anyio.create_task_group() as group:
        for number, job in enumerate(jobs):
            group.start_soon(probe, number, job)
    return [answers[number] for number in range(len(jobs))]


def _told(result: Result) -> dict[str, Any]:
    failure, tls = result.failure, result.evidence.tls
    return {
        "reported": failure.reason if failure else None,
        "message": failure.message if failure else f"status {result.evidence.status}",
        "intercepted": tls.intercepted(Trust.PUBLIC) if tls else None,
    }


class _Curl:
    """The second opinion."""

    def __init__(self, lab: Lab, artefacts: Path) -> None:
        self._lab = lab
        self._artefacts = artefacts
        self._inspection = artefacts / "trusting-inspection.pem"
        self._inspection.write_bytes(lab.ca_file.read_bytes() + lab.inspection_ca_file.read_bytes())

    def ask(self, question: Question) -> Seen:
        """Ask the same, of the same proxy, trusting the same."""
        trusted = self._inspection if question.fault.trusts_inspection else self._lab.ca_file
        options = ["--silent", "--show-error", "--verbose", "--http1.1", "--output", "/dev/null"]
        options += ["--max-time", str(TIMEOUT), "--cacert", str(trusted), "--write-out", "%{json}"]
        if question.proxy is not None:
            options += ["--proxy", question.proxy.url]
            if question.proxy.username is not None:
                options += ["--proxy-user", f"{question.proxy.username}:{question.proxy.password}"]
        done = self._lab.run(["curl", *options, question.fault.url], errors="replace")
        facts = json.loads(done.stdout)
        report = f"{done.stderr}\n{json.dumps(facts, indent=2)}\n"
        (self._artefacts / f"{question.name}.txt").write_text(report, encoding="utf-8")
        return Seen(done.returncode, facts["response_code"], facts["http_connect"])


# ---------------------------------------------------------------- telling

Row = Mapping[Way, Cell]


def table(cells: Sequence[Cell]) -> Table:
    """Fault by path; beside a wrong verdict stands the true one."""
    shown = Table("Fault", *Way, title="Injected fault against reported reason")
    for title, row in rows(cells).items():
        shown.add_row(title, *(_styled(row[way]) for way in Way))
    return shown


def _styled(cell: Cell) -> str:
    reported = word(cell.reported)
    return reported if cell.right else f"[bold red]✗ {reported}[/] [dim]({word(cell.expected)})[/]"


def markdown(cells: Sequence[Cell]) -> str:
    """The same for the README."""
    lines = ["| fault | " + " | ".join(Way) + " |", "|---" * (1 + len(Way)) + "|"]
    for title, row in rows(cells).items():
        verdicts = (("" if row[way].right else "✗ ") + f"`{word(row[way].reported)}`" for way in Way)
        lines.append(f"| {title} | {' | '.join(verdicts)} |")
    return "\n".join(lines)


def rows(cells: Sequence[Cell]) -> Mapping[str, Row]:
    """Cells by fault and path. What reads alike on https and http shares a row, under the name without a scheme."""
    by_fault: dict[str, dict[str, dict[Way, Cell]]] = {}
    for cell in cells:
        by_fault.setdefault(cell.fault.name, {}).setdefault(cell.fault.title, {})[cell.way] = cell
    shown: dict[str, Row] = {}
    for name, by_title in by_fault.items():
        verdicts = {
            tuple((cell.expected, cell.reported, cell.right) for cell in row.values()) for row in by_title.values()
        }
        alike = len(by_title) > 1 and len(verdicts) == 1
        shown |= {name: next(iter(by_title.values()))} if alike else by_title
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and tell; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="make truth", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the table for the README")
    parser.add_argument("--artefacts", type=Path, metavar="DIRECTORY", help="keep there what curl said")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        json.dump(anyio.run(_probe_all, json.load(sys.stdin)), sys.stdout)
        return 0
    if reason := unavailable():
        sys.stderr.write(f"{reason}\n")
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        artefacts = options.artefacts or Path(scratch)
        artefacts.mkdir(parents=True, exist_ok=True)
        cells = measure(FAULTS, artefacts)
    return _tell(cells, in_markdown=options.markdown)


def _tell(cells: Sequence[Cell], *, in_markdown: bool) -> int:
    wrong = [cell for cell in cells if not cell.right]
    doubtful = [cell for cell in cells if not cell.seen.agrees_with(cell.reported)]
    if in_markdown:
        sys.stdout.write(f"{markdown(cells)}\n")
    else:
        Console().print(table(cells))
    for cell in wrong:
        sys.stderr.write(f"wrong: {cell}\n")
    for cell in doubtful:
        sys.stderr.write(f"curl disagrees: {cell}\n")
    sys.stderr.write(f"{len(cells)} verdicts, {len(wrong)} wrong; curl disagrees with {len(doubtful)}\n")
    return 1 if wrong or doubtful else 0


if __name__ == "__main__":
    sys.exit(main())
