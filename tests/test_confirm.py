"""Commands that confirm a fault show that fault and no other: all but PowerShell's are run in the laboratory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pytest

from exporter.model.vocabulary import Reason, Target
from exporter.probe.classify import REFUSED
from exporter.report.commands import (
    EXAMPLE_TARGET,
    Command,
    all_commands,
    by_path,
    filled,
)
from tests.faults import FAULTS, HEALTHY, Fault, Via
from tests.lab import Lab
from tests.tools.truth import world

COMMANDS: Final = all_commands()

# Where each reason is seen: the faults that the laboratory injects.
FAULTS_OF: Final[Mapping[Reason, tuple[str, ...]]] = {
    Reason.DNS_NOT_FOUND: ("name not found",),
    Reason.DNS_TIMEOUT: ("resolver silent",),
    Reason.DNS_ERROR: ("resolver fails", "resolver refuses"),
    Reason.CONNECT_TIMEOUT: ("packets dropped",),
    Reason.CONNECT_REFUSED: ("connection reset",),
    Reason.CONNECT_UNREACHABLE: ("prohibited by ICMP", "no route"),
    Reason.PROXY_UNREACHABLE: ("proxy: port closed", "proxy: packets dropped", "proxy: name not found"),
    Reason.PROXY_AUTH_REQUIRED: ("proxy: wants a password",),
    Reason.PROXY_DENIED: ("proxy: denies", "proxy: denies with a page of its owner", "proxy: denies by redirect"),
    Reason.PROXY_ERROR: (
        *(f"proxy: own page with {status}" for status in (500, 502, 503, 504)),
        *("proxy: denies by reset", "proxy: closes after request", "proxy: silent after request"),
    ),
    Reason.TLS_TIMEOUT: ("TLS: silent after ClientHello",),
    Reason.TLS_UNTRUSTED: ("TLS: unknown root", "TLS: self-signed", "TLS: intermediate missing"),
    Reason.TLS_EXPIRED: ("TLS: expired", "TLS: intermediate expired", "TLS: not yet valid"),
    Reason.TLS_HOSTNAME_MISMATCH: ("TLS: wrong name",),
    Reason.TLS_HANDSHAKE: (
        *("TLS: reset in the handshake", "TLS: closed in the handshake", "TLS: alert", "TLS: plain text"),
        *("TLS: only 1.1", "TLS: no common cipher", "TLS: wants a client certificate"),
    ),
    Reason.HTTP_TIMEOUT: ("silent after request",),
    Reason.HTTP_RESET: ("closed after request", "reset after request"),
    Reason.HTTP_PROTOCOL: ("garbage", "head without end"),  # curl takes more header lines than the exporter
    Reason.HTTP_STATUS: tuple(f"status {status}" for status in (407, 408, 426, 502, 598, 599)),
    Reason.HTTP_BLOCKED: ("status 451", "status 511", "block page: squid", "captive portal: redirect-302"),
    Reason.INTERNAL_ERROR: (),  # speaks of the exporter: no network makes it
}
# Over HTTPS, but for what only who trusts an inspecting device gets to see.
BY_SCHEME: Final = sorted((fault for fault in FAULTS if fault.trusts is None), key=lambda fault: fault.scheme)
FAULT_NAMED: Final = {fault.name: fault for fault in BY_SCHEME}
PLAIN: Final = {fault.name: fault for fault in reversed(BY_SCHEME)}  # over HTTP, where there is such a one
PROXIED_TOO: Final = ("tls_", "http_")  # these look the same through a proxy

# No claim is made about these: what they show is compared by whoever reads.
CLAIM_NOTHING: Final = {"date -u"}


@dataclass(frozen=True)
class Case:
    """One command, and the fault that it is to show."""

    command: Command
    fault: Fault | None = None  # None: all is well

    @property
    def target(self) -> Target:
        return Target(self.fault.url if self.fault else f"{self.command.scheme or 'https'}://{HEALTHY}/")

    @property
    def key(self) -> tuple[Command, str | None]:
        """What can stand in a mapping for it."""
        return self.command, self.fault.title if self.fault else None

    def __str__(self) -> str:
        name = self.command.line.split()[0]
        through = " by proxy" if "proxy" in self.command.line else ""
        return f"{self.fault.name if self.fault else 'healthy'}: {name}{through}"


def claiming(commands: tuple[Command, ...]) -> list[Command]:
    return [command for command in commands if command.exits]


def by_proxy(command: Command) -> Command:
    """The same, sent through the proxy as the pages say."""
    return by_path(command, "corporate")


def meant_by(command: Command, name: str) -> Fault:
    """The fault of that name which the command is for."""
    return (PLAIN if command.scheme == "http" else FAULT_NAMED)[name]


def shows_it(command: Command, done: subprocess.CompletedProcess[str]) -> bool:
    said = done.stdout + done.stderr
    return (
        done.returncode in command.exits
        and (not command.prints or any(text in said for text in command.prints))
        and not (command.lacks and command.lacks in said)
    )


FAULTY: Final = [
    Case(command, meant_by(command, name))
    for reason, names in FAULTS_OF.items()
    for name in names
    for command in claiming(COMMANDS.reasons[reason].posix)
]
FAULTY_BY_PROXY: Final = [
    Case(by_proxy(command), meant_by(command, name))
    for reason, names in FAULTS_OF.items()
    if reason.startswith(PROXIED_TOO)
    for name in names
    for command in claiming(COMMANDS.reasons[reason].posix)
]
HEALTHY_BUT_ASKED: Final = [
    Case(command) for command in {c: c for found in COMMANDS.reasons.values() for c in claiming(found.posix)}
]
WALKED: Final = [
    Case(each)
    for command in claiming((*COMMANDS.walk.posix, *COMMANDS.certificate.posix, *COMMANDS.fixed.posix))
    for each in (command, by_proxy(command))
]
ALL: Final = (*FAULTY, *FAULTY_BY_PROXY, *HEALTHY_BUT_ASKED, *WALKED)

Outcomes = Mapping[tuple[Command, str | None], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Outcomes]:
    """What each command came to, all of them run at once: most of the time they wait."""
    faults = {case.fault.title: case.fault for case in ALL if case.fault}
    with world(list(faults.values())) as (lab, _):

        def run(case: Case) -> subprocess.CompletedProcess[str]:
            line = filled(case.command, case.target, proxy_of(lab, case.fault))
            return lab.run(["sh", "-c", line], errors="replace")

        with ThreadPoolExecutor(24) as pool:
            yield dict(zip((case.key for case in ALL), pool.map(run, ALL), strict=True))


def proxy_of(lab: Lab, fault: Fault | None) -> str:
    match fault and fault.via:
        case Via.OWN:
            return f"http://{fault.host}:3128" if fault else ""
        case Via.ASKING:
            return lab.auth_proxy_url
    return lab.proxy_url


@pytest.mark.lab
@pytest.mark.parametrize("case", [*FAULTY, *FAULTY_BY_PROXY], ids=str)
def test_a_command_shows_the_fault_as_it_says(outcomes: Outcomes, case: Case) -> None:
    assert shows_it(case.command, outcomes[case.key]), outcomes[case.key]


@pytest.mark.lab
@pytest.mark.parametrize("case", HEALTHY_BUT_ASKED, ids=str)
def test_a_command_shows_no_fault_where_there_is_none(outcomes: Outcomes, case: Case) -> None:
    assert not shows_it(case.command, outcomes[case.key]), outcomes[case.key]


@pytest.mark.lab
@pytest.mark.parametrize("case", WALKED, ids=str)
def test_where_all_is_well_what_looks_about_says_so(outcomes: Outcomes, case: Case) -> None:
    assert shows_it(case.command, outcomes[case.key]), outcomes[case.key]


# ---------------------------------------------------------------- the list itself


def test_every_reason_can_be_confirmed_and_is_tried() -> None:
    assert list(COMMANDS.reasons) == list(Reason) == list(FAULTS_OF)
    assert all(found.powershell and found.posix for found in COMMANDS.reasons.values())


@pytest.mark.parametrize("reason", [reason for reason, names in FAULTS_OF.items() if names])
def test_the_faults_that_a_reason_is_tried_with_have_it(reason: Reason) -> None:
    assert all(reason in FAULT_NAMED[name].expected.values() for name in FAULTS_OF[reason])


@pytest.mark.parametrize("reason", [reason for reason, names in FAULTS_OF.items() if names])
def test_every_command_says_what_it_shows_and_all_but_known_ones_can_be_proved_wrong(reason: Reason) -> None:
    found = COMMANDS.reasons[reason]
    assert all(command.shows for command in found.powershell)
    assert {command.line for command in found.posix if not command.exits} <= CLAIM_NOTHING


def test_a_command_that_is_filled_holds_no_more_names() -> None:
    commands = [
        *COMMANDS.local_system,
        *COMMANDS.its_proxies,
        *(
            c
            for found in (*COMMANDS.reasons.values(), COMMANDS.walk, COMMANDS.certificate, COMMANDS.fixed)
            for c in (*found.powershell, *found.posix)
        ),
    ]
    lines = [filled(way) for command in commands for way in (command, by_proxy(command))]
    names = ("{url}", "{host}", "{port}", "{socket}", "{proxy", "{resolver}")
    assert [line for line in lines if any(name in line for name in names)] == []
    assert any(EXAMPLE_TARGET.url in line for line in lines)


def test_a_url_in_quotes_stays_in_them() -> None:
    line = filled(Command("curl '{url}'"), Target("https://go.example/?a=1&b=$(id)"))
    assert line == "curl 'https://go.example/?a=1&b=$(id)'"


def test_all_statuses_are_sought_that_count_as_failed() -> None:
    sought = [
        text
        for reason in (Reason.HTTP_STATUS, Reason.HTTP_BLOCKED)
        for text in COMMANDS.reasons[reason].posix[0].prints
    ]
    assert [status for status in REFUSED if f"HTTP/1.1 {status}" not in sought] == []
