"""Time is measured where it passes: each phase against an injected delay, and nobody against another's."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.model.vocabulary import Phase, Reason
from tests.lab import PROXY_HOST, Lab
from tests.lab.scripts import HOLD, READ_HEAD
from tests.running import Exporter, command, eventually, in_a_quiet_moment, running

pytestmark = [pytest.mark.lab, pytest.mark.timing]

HOST = "portal.corp.example"
SILENT = "sup1.corp.example"
NAMELESS = "sup0.corp.example"
PORTAL = """
probe: {{timeout: {timeout}, attempts: 1}}
site: {{features: [portal], roles: [client]}}
proxies: {{corporate: {{url: "{proxy}"}}}}
via: {via}
groups:
  - feature: portal
    endpoints: [{{pattern: "https://portal.corp.example/"}}]
"""


def phases(lab: Lab, directory: Path, via: str, timeout: str = "3s") -> tuple[dict[str, float], str | None]:
    """Seconds of each phase of one probe, and the reason if it failed."""
    config = directory / "exporter.yaml"
    config.write_text(PORTAL.format(proxy=lab.proxy_url, via=via, timeout=timeout))
    env = {**lab.env, "RES_OPTIONS": "timeout:5 attempts:1"}  # the C library's patience with a resolver, once
    done = command(lab, "check", "--format", "json", "--config.file", config, env=env)
    ((endpoint,),) = (feature["endpoints"] for feature in json.loads(done.stdout)["features"])
    (target,) = endpoint["targets"]
    found: dict[str, float] = target["phases"]
    return found, target["reason"]


Delay = Callable[[Lab], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("delay", "via", "phase", "seconds"),
    [
        (lambda lab: lab.delay_names(HOST, 0.4), "{}", Phase.RESOLVE, 0.4),
        (lambda lab: lab.delay_connect(HOST), "{}", Phase.CONNECT, 1.0),
        (lambda lab: lab.delay_data(HOST, 443, 0.4), "{}", Phase.TLS, 0.4),
        (lambda lab: lab.delay_answer(HOST, 0.4), "{}", Phase.PROCESSING, 0.4),
        (lambda lab: lab.delay_data(PROXY_HOST, 3128, 0.4), "{client: corporate}", Phase.PROXY, 0.4),
    ],
)
def test_a_delay_is_measured_in_the_phase_where_it_happened(
    lab: Lab, tmp_path: Path, delay: Delay, via: str, phase: Phase, seconds: float
) -> None:
    with delay(lab):
        found, reason = in_a_quiet_moment(
            lambda: phases(lab, tmp_path, via),
            lambda seen: (
                seen[0].get(phase) == pytest.approx(seconds, abs=0.1) and sum(seen[0].values()) < seconds + 0.2
            ),
        )
    assert reason is None
    assert found.pop(phase) == pytest.approx(seconds, abs=0.1)
    assert sum(found.values()) < 0.2


@pytest.mark.parametrize(
    ("delay", "phase"),
    [
        (lambda lab: lab.dns_silent(HOST), Phase.RESOLVE),
        (lambda lab: lab.drop(HOST), Phase.CONNECT),
        (lambda lab: lab.delay_data(HOST, 443, 9.0), Phase.TLS),
        (lambda lab: lab.delay_answer(HOST, 9.0), Phase.PROCESSING),
    ],
)
def test_time_up_to_the_failure_belongs_to_the_phase_that_failed(
    lab: Lab, tmp_path: Path, delay: Delay, phase: Phase
) -> None:
    with delay(lab):
        found, reason = in_a_quiet_moment(
            lambda: phases(lab, tmp_path, "{}"), lambda seen: seen[0].get(phase, 0.0) == pytest.approx(3.0, abs=0.1)
        )
    assert reason
    assert list(found)[-1] == phase
    assert sum(found.values()) == pytest.approx(3.0, abs=0.1)
    assert found[phase] == pytest.approx(3.0, abs=0.2)


def test_a_resolver_that_gives_up_before_us_has_timed_out_all_the_same(lab: Lab, tmp_path: Path) -> None:
    with lab.dns_silent(HOST):
        found, reason = phases(lab, tmp_path, "{}", timeout="20s")
    assert reason == Reason.DNS_TIMEOUT
    assert 5 <= found[Phase.RESOLVE] < 19


# ---------------------------------------------------------------- isolation

OTHERS = """
probe: {{interval: 4s, timeout: 2s, attempts: 1}}
site:
  features: [tenant-attach, updates-and-servicing, certificate-revocation{hanging}]
  roles: [service-connection-point]
groups:
  - feature: hanging
    endpoints:
{endpoints}
"""
HANGING = [f"http://n{number}.{NAMELESS}/" for number in range(200)] + [f"http://{SILENT}/{n}" for n in range(200)]
ROUNDS = 4
Phases = dict[frozenset[tuple[str, str]], float]


@dataclass(frozen=True)
class Others:
    """Those that do not hang, over some rounds: the median of each phase of each, in seconds, and probes a second."""

    phases: Phases
    rate: float


def others(exporter: Exporter) -> Others:
    """Watch them."""
    eventually("first results", exporter.ready)
    seen: dict[frozenset[tuple[str, str]], list[float]] = {}
    before, begun = made(exporter), time.monotonic()
    for _ in range(ROUNDS):
        time.sleep(4.0)  # a round; asking meanwhile would cost what is to be measured
        for labels, value in exporter.values("configmgr_endpoint_phase_duration_seconds").items():
            if dict(labels)["target"] not in HANGING:
                seen.setdefault(labels, []).append(value)
    rate = (made(exporter) - before) / (time.monotonic() - begun)
    return Others({labels: statistics.median(values) for labels, values in seen.items()}, rate)


def made(exporter: Exporter) -> float:
    """How many probes of the others are over."""
    probes = exporter.values("configmgr_probes_total")
    return sum(number for labels, number in probes.items() if dict(labels)["feature"] != "hanging")


def slowdown(alone: Phases, beside: Phases) -> float:
    """Seconds by which nineteen of twenty phases are longer at most."""
    assert alone.keys() == beside.keys()
    slower = sorted(beside[labels] - alone[labels] for labels in alone)
    return slower[len(slower) * 95 // 100]


def compared(alone: Others, beside: Others) -> tuple[float, float]:
    """How much slower they are beside those that hang, in seconds, and which share of their probes is still made."""
    return slowdown(alone.phases, beside.phases), beside.rate / alone.rate


def test_hundreds_that_hang_delay_nobody(lab: Lab, tmp_path: Path) -> None:
    endpoints = "\n".join(f'      - pattern: "{url}"' for url in HANGING)
    config = tmp_path / "exporter.yaml"
    config.write_text(OTHERS.format(hanging="", endpoints=endpoints))
    with running(lab, tmp_path, "--config.file", config) as exporter:
        alone = others(exporter)
    config.write_text(OTHERS.format(hanging=", hanging", endpoints=endpoints))
    with (
        lab.dns_silent(NAMELESS),
        lab.script(SILENT, 80, (READ_HEAD, HOLD)),
        running(lab, tmp_path, "--config.file", config) as exporter,
    ):
        slower, share = in_a_quiet_moment(
            lambda: compared(alone, others(exporter)), lambda seen: seen[0] < 0.02 and seen[1] > 0.95
        )
        down = exporter.values("configmgr_endpoint_up", feature="hanging")
    assert len(down) == len(HANGING)
    assert set(down.values()) == {0.0}
    assert slower < 0.02
    assert share > 0.95
