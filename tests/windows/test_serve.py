"""The service on Windows: true in every interval, whatever its hosts do, its file, its clock."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from typing import Final

import pytest

from exporter.daemon import INTERNAL_ERROR
from exporter.system.waiting import CONNECTIONS, PROBES
from tests.lab import Lab, catalogue_hosts
from tests.lab.wall_clock import wall_clock
from tests.lab.windows import Sharing, Windows, windows_path
from tests.running import Exporter, eventually
from tests.windows.outages import CHANGING, HANGING, INTERVAL, SETTINGS, STAGES, UP, WITHIN, Use, grown, served, watch

pytestmark = [pytest.mark.lab, pytest.mark.windows]

MINUTES: Final = 3.0
MISSED: Final = "configmgr_exporter_missed_slots_total"
FAILURES: Final = "configmgr_probe_failures_total"
LAST: Final = "configmgr_endpoint_last_probe_timestamp_seconds"
RELOADED: Final = "configmgr_exporter_config_last_reload_successful"


def reload(exporter: Exporter) -> int:
    return exporter.get("/-/reload", "--request", "POST").status


def failures_of(exporter: Exporter, feature: str) -> float:
    return sum(exporter.values(FAILURES, feature=feature).values())


def test_hosts_that_hang_reset_stall_and_come_back_are_told_in_every_interval_and_no_other_is_down_for_them(
    lab: Lab, windows: Windows, tmp_path: Path
) -> None:
    with served(lab, windows, tmp_path) as exporter:
        seen = watch(lab, windows, exporter, MINUTES * 60)
        failed = {feature: failures_of(exporter, feature) for feature in ("hanging", "changing", "well")}
        log = exporter.log.read_text()
    assert seen.wrong == []
    assert seen.stages >= len(STAGES)
    assert failed["hanging"] >= len(HANGING)
    assert failed["changing"] >= 3 * len(CHANGING)
    assert failed["well"] == 0
    assert grown(seen.uses) == []
    assert "Traceback" not in log
    assert "actively refused" in log or "Connection refused" in log


def test_what_grows_is_told() -> None:
    """`make outages` ends with a status then."""
    early, late = Use(90_000, 20, 300), Use(100_000, 31, 321)
    assert grown([early, late]) == [
        "kilobytes from 90000 to 100000",
        "threads from 20 to 31",
        "handles from 300 to 321",
    ]
    assert grown([late, early]) == grown([early]) == []


# Run by the bundle's Python: a socket is closed while `select` shall wait for it, which then fails for all of them.
CLOSED: Final = """
import asyncio, socket
from exporter import cli
from exporter.daemon import Host

def listening(_):
    closed = socket.socket()
    asyncio.get_running_loop().add_reader(closed, print)
    closed.close()

cli.main(Host(listening=listening))
"""


def test_a_loop_that_can_wait_no_longer_ends_the_service_which_says_so(windows: Windows, tmp_path: Path) -> None:
    (tmp_path / "exporter.yaml").write_text(SETTINGS, encoding="utf-8")
    config = ["--config.file", windows_path(tmp_path / "exporter.yaml"), "--web.listen-address", "127.0.0.1:0"]
    done = windows.run_python("-c", CLOSED, "serve", *config)
    said = done.stderr.decode()
    assert done.returncode == INTERNAL_ERROR, said
    assert "internal error: OSError: [WinError 10038]" in said
    assert "Traceback" not in said


CROWD: Final = sorted(catalogue_hosts())[:160]
CROWDED: Final = f"""
probe: {{interval: 20s, timeout: 15s, attempts: 1, concurrency: {PROBES}}}
site: {{features: [crowd], roles: [client]}}
groups:
- {{feature: crowd, endpoints: [{", ".join(f"{{pattern: '{host}'}}" for host in CROWD)}]}}
"""
STRANGERS: Final = """
import socket, sys, time
crowd = [socket.create_connection(("127.0.0.1", 10965)) for _ in range(int(sys.argv[1]))]
print("here", flush=True)
time.sleep(600)
"""


def test_all_that_may_be_waited_for_at_a_time_is_less_than_select_takes(
    lab: Lab, windows: Windows, tmp_path: Path
) -> None:
    with served(lab, windows, tmp_path, settings=CROWDED) as exporter, ExitStack() as hanging:
        for host in CROWD:
            hanging.enter_context(lab.drop(host))
        strangers = lab.popen([sys.executable, "-c", STRANGERS, str(2 * CONNECTIONS)], stdout=PIPE)
        assert strangers.stdout is not None
        assert strangers.stdout.readline() == b"here\n"
        eventually("all hang", lambda: set(exporter.values(UP).values()) == {0.0}, within=WITHIN)
        hanging.close()
        eventually("all are up", lambda: set(exporter.values(UP).values()) == {1.0}, within=WITHIN)
        strangers.kill()
        strangers.communicate()
        log = exporter.log.read_text()
    assert "Traceback" not in log
    assert "too many" not in log.lower()


def test_a_target_is_not_down_because_the_service_stood_still(lab: Lab, windows: Windows, tmp_path: Path) -> None:
    with served(lab, windows, tmp_path) as exporter:
        eventually("all is well", lambda: set(exporter.values(UP).values()) == {1.0}, within=WITHIN)
        pid = windows.pid_of(windows.python.name)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(2.5 * INTERVAL)
        woken = time.time()
        os.kill(pid, signal.SIGCONT)
        eventually("all are probed again", lambda: min(exporter.values(LAST).values()) > woken, within=WITHIN)
        failed = sum(exporter.values(FAILURES).values())
        missed = sum(exporter.values(MISSED).values())
    assert failed == 0
    assert missed > 0


def test_a_file_that_an_editor_keeps_to_itself_fails_a_reload_and_a_clock_that_jumps_moves_no_probe(
    lab: Lab, windows: Windows, tmp_path: Path
) -> None:
    with wall_clock(tmp_path) as (living_by_it, move), served(lab, windows, tmp_path, living_by_it) as exporter:
        eventually("all is well", lambda: set(exporter.values(UP).values()) == {1.0}, within=WITHIN)
        first = reload(exporter)
        with windows.open_file(tmp_path / "exporter.yaml", by_others=Sharing.NOTHING):
            locked = reload(exporter)
            kept = set(exporter.values(RELOADED).values())
        last = reload(exporter)
        for hours in (6, -6):
            move(hours * 3600)
            eventually(
                "every target is probed by the new clock",
                lambda: all(abs(age) < WITHIN for age in _ages(exporter, hours)),  # noqa: B023
                within=WITHIN,
            )
            eventually("all is well", lambda: set(exporter.values(UP).values()) == {1.0}, within=WITHIN)
        log = exporter.log.read_text()
    assert (first, locked, last) == (200, 500, 200)
    assert kept == {0.0}
    assert "exporter.yaml:1: cannot be read: " in log
    assert "Traceback" not in log


def _ages(exporter: Exporter, hours: int) -> list[float]:
    """Seconds since the last probe of each target, by a clock that is so far off ours."""
    return [time.time() + hours * 3600 - told for told in exporter.values(LAST).values()]
