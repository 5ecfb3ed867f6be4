"""Injected fault against reported reason: every fault, on every path, by the exporter's own code and by curl.

Run by `make truth`. All faults are in force at once, each on a host of its own, so that one round sees them all; the
exporter is asked by the Python that runs this and, where there is one, by the newest that it supports.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from rich.console import Console
from rich.table import Table

from exporter.model.vocabulary import Cause, Proxy, Reason
from exporter.probe.connecting import NO_ANSWER
from exporter.service.load import Deployment, Source, deploy, network_of
from tests.answering import TIMEOUT, answer
from tests.faults import BEYOND_WINE, CONTRADICTIONS, FAULTS, HOSTS, Chain, Etc, Fault, Outcome, Via, Way
from tests.lab import PROXY_HOST, Lab, Port, unavailable
from tests.lab.windows import missing_windows, windows_in
from tests.pythons import OTHER, missing_python, public_roots_of, pythons
from tests.running import among_public_roots

ROOT: Final = Path(__file__).parents[2]
_LONG: Final = 600.0  # seconds; a machine may be busy with other things
HOSTS_FILE: Final = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
CURLS_AT_ONCE: Final = 24
WINDOWS: Final = "Windows"  # stands where else the version of a Python does

# What curl's exit status may be where the exporter reports a reason: https://curl.se/libcurl/c/libcurl-errors.html
CURL_EXITS: Final[Mapping[Outcome, frozenset[int]]] = MappingProxyType(
    {
        # The head of the answer decides, but curl reads on: it may run out of time (28), miss bytes (18) or not
        # understand the rest of the head (8) or the body (56, 61). That there was a head it tells by the status.
        None: frozenset({0, 8, 18, 28, 56, 61}),
        Reason.HTTP_STATUS: frozenset({0}),
        Reason.HTTP_BLOCKED: frozenset({0}),  # a page is a page to curl
        Reason.DNS_NOT_FOUND: frozenset({6}),
        Reason.DNS_ERROR: frozenset({5, 6}),  # the same as for a name that does not exist; 5: the proxy's name
        Reason.DNS_TIMEOUT: frozenset({28}),  # one status for every timeout
        Reason.CONNECT_TIMEOUT: frozenset({28}),
        Reason.CONNECT_REFUSED: frozenset({7}),
        Reason.CONNECT_UNREACHABLE: frozenset({7}),  # one status for every error of connecting
        Reason.PROXY_UNREACHABLE: frozenset(
            {1, 5, 7, 28, 35, 56, 60}
        ),  # 35 and 60: of TLS to the proxy; 1, 56: no HTTP
        Reason.PROXY_AUTH_REQUIRED: frozenset({0, 56}),  # 56: the answer to CONNECT, 0: that to a plain request
        Reason.PROXY_DENIED: frozenset({0, 56}),
        # 1: no HTTP, 28: silence, 52: closed; a page of the proxy is to curl the target's
        Reason.PROXY_ERROR: frozenset({0, 1, 28, 52, 56}),
        Reason.TLS_TIMEOUT: frozenset({28}),
        Reason.TLS_UNTRUSTED: frozenset({60}),  # one status for all that is wrong with a certificate
        Reason.TLS_EXPIRED: frozenset({60}),
        Reason.TLS_HOSTNAME_MISMATCH: frozenset({60}),
        Reason.TLS_HANDSHAKE: frozenset({35, 55, 56}),  # 55, 56: an alert that came when the client had finished
        Reason.HTTP_TIMEOUT: frozenset({28}),
        Reason.HTTP_RESET: frozenset({52, 56}),
        # 1: no HTTP, 27 and 56: a head that is too large; 0, 28: what a proxy made of it
        Reason.HTTP_PROTOCOL: frozenset({0, 1, 27, 28, 56}),
    }
)
_WITH_HEAD: Final = frozenset({None, Reason.HTTP_STATUS, Reason.HTTP_BLOCKED})
_WITHOUT_HEAD: Final = frozenset({Reason.HTTP_TIMEOUT, Reason.HTTP_RESET})
_WAITS: Final = frozenset({Reason.DNS_TIMEOUT, Reason.CONNECT_TIMEOUT, Reason.TLS_TIMEOUT, Reason.HTTP_TIMEOUT})
_LOOKS: Final = 3  # at what a wait has spoiled
_ASKS_FOR_PASSWORD: Final = frozenset({401, 407})  # some proxies say the former


ON_WINDOWS: Final = """## On Windows

The bundle for Windows gives the same verdicts, by the official CPython in wine, but for the faults below. They are
skipped there, and a test fails when wine has learnt to show one. What Windows itself says of a chain to an unknown root
is tested by its codes only."""


_Answer: TypeAlias = dict[str, Any]  # as `tests.answering` gives it


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
            return self.status != 0 or self.connect in _ASKS_FOR_PASSWORD
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
    etc: Etc

    @property
    def name(self) -> str:
        """Its name among files."""
        return f"{self.fault.slug}.{self.way.name.lower()}"


_Asker: TypeAlias = Callable[[Sequence[Question]], list[_Answer]]


@dataclass(frozen=True)
class Cell:
    """One fault on one path: what the exporter reported, run by this Python, and what curl saw."""

    fault: Fault
    way: Way
    python: str  # its version, such as 3.13, or WINDOWS
    reported: Outcome
    message: str
    cause: Cause | None
    intercepted: bool | None
    seen: Seen
    looks: int = 1  # that were taken until it was this

    @property
    def expected(self) -> Outcome:
        """What is true."""
        return self.fault.expected[self.way]

    @property
    def asker(self) -> str:
        """Who reported it, in words."""
        return self.python if self.python == WINDOWS else f"Python {self.python}"

    @property
    def beyond(self) -> str | None:
        """Why wine cannot show this; None: it can."""
        return BEYOND_WINE.get(self.fault.name) if self.python == WINDOWS else None

    @property
    def spoiled(self) -> bool:
        """Whether the wrong is what a busy machine does: a wait was over too soon, or the one that asks for the cause.

        What says otherwise than the truth, and not less, is no matter of that, and gets no other look.
        """
        too_soon = self.reported in _WAITS or NO_ANSWER in self.message
        less = self.reported is self.expected and self.cause is None
        return not self.right and not self.beyond and (too_soon or less)

    @property
    def right(self) -> bool:
        """Whether the exporter reported the truth, with its cause, and told who issued the certificate."""
        inspected = self.fault.via is Via.INSPECTING and self.way is not Way.DIRECT
        chain = Chain.PRIVATE if inspected else self.fault.chain
        cause = self.fault.cause_on(self.way) or self.cause
        return self.reported is self.expected and self.cause is cause and self.intercepted in _INTERCEPTED[chain]

    def __str__(self) -> str:
        verdict = f"expected {word(self.expected)}, reported {word(self.reported)}: {self.message}"
        told = f"cause: {self.cause}, intercepted: {self.intercepted}; {self.seen}"
        return f"{self.fault.title}, {self.way}, {self.asker}: {verdict} ({told})"


_INTERCEPTED: Final[Mapping[Chain, tuple[bool | None, ...]]] = MappingProxyType(
    {Chain.PUBLIC: (False, None), Chain.PRIVATE: (True,), Chain.UNTOLD: (None,)}
)


def word(outcome: Outcome) -> str:
    """An outcome as the table shows it."""
    return outcome or "up"


# ---------------------------------------------------------------- measuring


@contextmanager
def world(faults: Sequence[Fault]) -> Iterator[tuple[Lab, Mapping[str, Etc]]]:
    """A laboratory in which all these faults are in force, and the files of /etc with which each is met, by title."""
    with Lab.start(HOSTS) as lab, ExitStack() as injected:
        etc_of: dict[str, Etc] = {}
        for fault in faults:
            found = injected.enter_context(fault.inject(lab, fault.host))
            etc_of[fault.title] = found if isinstance(found, Mapping) else {}
        yield lab, etc_of


def measure(faults: Sequence[Fault], artefacts: Path) -> list[Cell]:
    """Inject all of it and ask; all that curl said is kept in `artefacts`, a file for each question.

    What waited in vain where it should not have is asked again with fewer beside it.
    """
    with world(faults) as (lab, etc_of), ThreadPoolExecutor(CURLS_AT_ONCE) as pool:
        questions = [
            Question(fault, way, _proxy(lab, fault, way), etc_of[fault.title]) for fault in faults for way in Way
        ]
        askers: dict[str, _Asker] = {
            version: partial(ask_exporter, lab, python=python) for version, python in pythons().items()
        }
        if not missing_windows():
            askers[WINDOWS] = partial(_ask_windows, lab)
        asked = {asker: pool.submit(ask, questions) for asker, ask in askers.items()}
        answers = {asker: found.result() for asker, found in asked.items()}
        sights = list(pool.map(_Curl(lab, artefacts).ask, questions))
        cells = {
            (asker, number): _cell(questions[number], asker, answer, sights[number])
            for asker in askers
            for number, answer in enumerate(answers[asker])
        }
        for asker, ask in _LOOKS * tuple(askers.items()):
            again = {number: question for number, question in enumerate(questions) if cells[asker, number].spoiled}
            for number, answer in zip(again, ask([*again.values()]) if again else (), strict=True):
                looks = cells[asker, number].looks + 1
                cells[asker, number] = _cell(questions[number], asker, answer, sights[number], looks)
    return list(cells.values())


def _cell(question: Question, asker: str, answer: _Answer, seen: Seen, looks: int = 1) -> Cell:
    return Cell(
        question.fault,
        question.way,
        asker,
        Reason(answer["reported"]) if answer["reported"] else None,
        answer["message"],
        Cause(answer["cause"]) if answer["cause"] else None,
        answer["intercepted"],
        seen,
        looks,
    )


def _proxy(lab: Lab, fault: Fault, way: Way) -> Proxy | None:
    if way is Way.DIRECT:
        return None
    signed_in = way is Way.SIGNED_IN
    username, password = lab.proxy_credentials if signed_in else (None, None)
    scheme, host, port = "http", PROXY_HOST, Port.AUTH if signed_in else Port.OPEN
    match fault.via:
        case Via.CORPORATE:
            pass
        case Via.ASKING:
            port = Port.AUTH
        case Via.WRONG_PASSWORD:
            username, password = (lab.other_proxy_credentials.username, "wrong") if signed_in else (None, None)
        case Via.INSPECTING:
            port = Port.INSPECTING_AUTH if signed_in else Port.INSPECTING
        case Via.OWN:
            host, port = fault.host, Port.OPEN
        case Via.OWN_BY_TLS:
            scheme, host, port = "https", fault.host, Port.OPEN
    return Proxy("proxy", f"{scheme}://{host}:{port}", username, password)


def _jobs(lab: Lab, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """The questions as `tests.answering` takes them."""
    return [
        {
            "url": question.fault.url,
            "own": question.fault.own,
            "leads_to": list(question.fault.leads_to),
            "proxy": question.proxy and [question.proxy.url, question.proxy.username, question.proxy.password],
            "ca_file": str(lab.file(question.fault.trusts)) if question.fault.trusts else None,
            "resolv.conf": question.etc.get("resolv.conf"),
        }
        for question in questions
    ]


def _hosts(questions: Sequence[Question]) -> str:
    """What the hosts file says beside what it always says."""
    return HOSTS_FILE + "".join(dict.fromkeys(question.etc.get("hosts", "") for question in questions))


def ask_exporter(lab: Lab, questions: Sequence[Question], python: str) -> list[_Answer]:
    """What the exporter reports, question by question."""
    jobs = _jobs(lab, questions)
    asked = among_public_roots(lab, [python, "-m", "tests.tools.truth", "--inside"], public_roots_of(python))
    etc = {"hosts": _hosts(questions)}
    done = lab.run(asked, cwd=ROOT, input=json.dumps(jobs), check=True, etc=etc, timeout=_LONG)
    answers: list[_Answer] = json.loads(done.stdout)
    return answers


def _ask_windows(lab: Lab, questions: Sequence[Question]) -> list[_Answer]:
    """What the bundle for Windows reports, question by question: a process for each resolv.conf."""
    jobs, etc = _jobs(lab, questions), {"hosts": _hosts(questions)}
    answers: dict[int, _Answer] = {}
    with windows_in(lab) as windows:
        windows.take_for_public(lab.ca_file)
        windows.hosts.write_text(etc["hosts"], encoding="ascii")
        for number, numbers in enumerate(_by_resolver(jobs).values()):
            resolver = jobs[numbers[0]]["resolv.conf"]
            asked, told = windows.folder / f"questions{number}.json", windows.folder / f"answers{number}.json"
            asked.write_text(json.dumps([jobs[each] for each in numbers]), encoding="utf-8")
            own = {"resolv.conf": resolver} if resolver is not None else {}
            done = windows.run_test("tests.answering", asked, told, etc=etc | own, timeout=_LONG)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.decode(errors="replace"))
            answers |= zip(numbers, json.loads(told.read_text(encoding="utf-8")), strict=True)
    return [answers[number] for number in range(len(answers))]


def _by_resolver(jobs: Sequence[dict[str, Any]]) -> Mapping[str | None, list[int]]:
    """The numbers of the jobs by the resolv.conf that they need."""
    found: dict[str | None, list[int]] = {}
    for number, job in enumerate(jobs):
        found.setdefault(job["resolv.conf"], []).append(number)
    return found


# ---------------------------------------------------------------- inside


def inside() -> None:
    """Answer the questions on standard input: a process for each resolv.conf, all at once."""
    jobs = json.load(sys.stdin)
    by_resolver = _by_resolver(jobs)
    answers: dict[int, dict[str, Any]] = {}
    shipped = deploy(Source())
    network_of(shipped)  # reads once what all of them need
    # Forked, so that what takes long is read once; there are no threads yet.
    with multiprocessing.get_context("fork").Pool(len(by_resolver), maxtasksperchild=1) as pool:
        groups = [[jobs[number] for number in numbers] for numbers in by_resolver.values()]
        for numbers, found in zip(by_resolver.values(), pool.imap(partial(_answer, shipped), groups), strict=True):
            answers |= zip(numbers, found, strict=True)
    json.dump([answers[number] for number in range(len(answers))], sys.stdout)


def _answer(shipped: Deployment, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if (resolver := jobs[0]["resolv.conf"]) is not None:
        _mount("resolv.conf", resolver)
    return answer(shipped, jobs)


def _mount(name: str, text: str) -> None:
    """Give this process a file of /etc of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "no mounts of its own")
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        subprocess.run(["mount", "--bind", file.name, f"/etc/{name}"], check=True)


_CLONE_NEWNS: Final = 0x00020000  # <linux/sched.h>


class _Curl:
    """The second opinion."""

    def __init__(self, lab: Lab, artefacts: Path) -> None:
        self._lab = lab
        self._artefacts = artefacts

    def ask(self, question: Question) -> Seen:
        """Ask the same, of the same proxy, trusting the same."""
        trusted = str(self._trusted(question))
        options = ["--silent", "--show-error", "--verbose", "--http1.1", "--output", "/dev/null"]
        options += ["--max-time", str(TIMEOUT), "--cacert", trusted, "--write-out", "%{json}"]
        if question.proxy is not None:
            options += ["--proxy", question.proxy.url, "--proxy-cacert", trusted]
            if question.proxy.username is not None:
                options += ["--proxy-user", f"{question.proxy.username}:{question.proxy.password}"]
        done = self._lab.run(["curl", *options, question.fault.url], errors="replace", etc=self._complete(question.etc))
        facts = json.loads(done.stdout)
        report = f"{done.stderr}\n{json.dumps(facts, indent=2)}\n"
        (self._artefacts / f"{question.name}.txt").write_text(report, encoding="utf-8")
        return Seen(done.returncode, facts["response_code"], facts["http_connect"])

    @staticmethod
    def _complete(etc: Etc) -> Etc:
        return {name: HOSTS_FILE + text if name == "hosts" else text for name, text in etc.items()}

    def _trusted(self, question: Question) -> Path:
        if question.fault.trusts is None:
            return self._lab.ca_file
        both = self._lab.ca_file.read_bytes() + self._lab.file(question.fault.trusts).read_bytes()
        return self._lab.keep(f"{question.name}.pem", both)


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
    """What docs/accuracy.md ends with: where curl says otherwise, and the same table."""
    contradictions = ["| fault | why curl says otherwise |", "|---|---|"]
    contradictions += [f"| {name} | {why} |" for name, why in CONTRADICTIONS.items()]
    lines = ["| fault | " + " | ".join(Way) + " |", "|---" * (1 + len(Way)) + "|"]
    for title, row in rows(cells).items():
        verdicts = (("" if row[way].right else "✗ ") + f"`{word(row[way].reported)}`" for way in Way)
        lines.append(f"| {title} | {' | '.join(verdicts)} |")
    beyond = ["| fault | why wine does not show it |", "|---|---|"]
    beyond += [f"| {name} | {why} |" for name, why in BEYOND_WINE.items()]
    return "\n".join([*contradictions, "", ON_WINDOWS, "", *beyond, "", "## The matrix", "", *lines])


def rows(cells: Sequence[Cell]) -> Mapping[str, Row]:
    """Cells by fault and path, those of the first Python unless another's is wrong.

    What reads alike on https and http shares a row, under the name without a scheme.
    """
    by_fault: dict[str, dict[str, dict[Way, Cell]]] = {}
    for cell in cells:
        row = by_fault.setdefault(cell.fault.name, {}).setdefault(cell.fault.title, {})
        if row.setdefault(cell.way, cell).right:
            row[cell.way] = row[cell.way] if cell.right else cell
    shown: dict[str, Row] = {}
    for name, by_title in by_fault.items():
        verdicts = {
            tuple((cell.expected, cell.reported, cell.right) for cell in row.values()) for row in by_title.values()
        }
        alike = len(by_title) > 1 and len(verdicts) == 1
        shown |= {name: next(iter(by_title.values()))} if alike else by_title
    return shown


def contradicted(cells: Iterable[Cell]) -> Mapping[str, list[Cell]]:
    """The cells that curl contradicts, by the name of the fault."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if not cell.seen.agrees_with(cell.reported):
            found.setdefault(cell.fault.name, []).append(cell)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and tell; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="make truth", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the tables that docs/accuracy.md ends with")
    parser.add_argument("--artefacts", type=Path, metavar="DIRECTORY", help="keep there what curl said")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the faults whose names hold this")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        inside()
        return 0
    if reason := unavailable():
        sys.stderr.write(f"{reason}\n")
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        artefacts = options.artefacts or Path(scratch)
        artefacts.mkdir(parents=True, exist_ok=True)
        cells = measure([fault for fault in FAULTS if options.only in fault.title], artefacts)
    return _tell(cells, in_markdown=options.markdown)


def _tell(cells: Sequence[Cell], *, in_markdown: bool) -> int:
    beyond = [cell for cell in cells if cell.beyond]
    cells = [cell for cell in cells if not cell.beyond]
    wrong = [cell for cell in cells if not cell.right]
    disagreed = contradicted(cells)
    unexplained = [cell for name, found in disagreed.items() if name not in CONTRADICTIONS for cell in found]
    out_of_date = CONTRADICTIONS.keys() & {cell.fault.name for cell in cells} - disagreed.keys()
    if in_markdown:
        sys.stdout.write(f"{markdown(cells)}\n")
    else:
        Console().print(table(cells))
    tell = sys.stderr.write
    for name in disagreed.keys() & CONTRADICTIONS.keys():
        tell(f"curl says otherwise: {name}: {CONTRADICTIONS[name]}\n")
    for name in out_of_date:
        tell(f"curl is said to say otherwise, and does not: {name}\n")
    for cell in wrong:
        tell(f"wrong: {cell}\n")
    for cell in unexplained:
        tell(f"curl disagrees: {cell}\n")
    if reason := missing_python():
        tell(f"not asked by Python {OTHER}: {reason}\n")
    if reason := missing_windows():
        tell(f"not asked on Windows: {reason}\n")
    for reason, count in Counter(cell.beyond for cell in beyond).items():
        tell(f"{count} not shown on Windows: {reason}\n")
    if spoiled := sum(cell.looks > 1 for cell in cells):
        tell(f"{spoiled} asked again, as they had waited in vain where there was an answer: is the machine busy?\n")
    by_asker = Counter(cell.asker for cell in cells)
    tell(f"{', '.join(f'{count} verdicts by {asker}' for asker, count in by_asker.items())}, {len(wrong)} wrong; ")
    tell(f"curl disagrees with {len(unexplained)} for no known reason\n")
    return 1 if wrong or unexplained or out_of_date else 0


if __name__ == "__main__":
    sys.exit(main())
