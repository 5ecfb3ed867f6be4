"""The service of Windows, from its installation to its removal: what each step said and did.

Wine's service manager starts and controls it as that of Windows does. What it lacks stands in `BEYOND_WINE`, and what
is pure of that is in `tests/test_service_command.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import pytest

from exporter.cli.options import BAD_INPUT, NOT_READY
from exporter.cli.service import NOT_RUNNING
from exporter.system.windows_service.command import NAME
from tests.lab.windows import Windows
from tests.running import eventually, http

pytestmark = [pytest.mark.lab, pytest.mark.windows]

PORT: Final = 10999
NOBODY: Final = "198.19.255.1"  # where packets vanish
ADDRESS: Final = f"127.0.0.1:{PORT}"
BEYOND_WINE: Final = {
    "it starts delayed": "wine's service manager cannot be told of a delayed start; `install` says so",
    "it is restarted when it fails": "wine's service manager restarts nothing, nor notices that a process was killed",
    "it has an identifier of its own": "wine gives services none; `install` says so",
    "others are kept out of its folder": "wine keeps of a folder's access list what mode bits of Linux can say",
    "who lacks the rights is refused": "wine's accounts may all do everything",
    "an account's password is used": "wine takes every password, and logs nobody on",
    "the event log shows start, end and mistakes": "wine keeps no event log",
    "a shutdown of Windows ends it in order": "wine tells services of no shutdown",
}


# Run by the bundle's Python.
FULL_EVENT_LOG: Final = """
import pywintypes, servicemanager
from exporter import windows_service_main

def full(message):
    raise pywintypes.error(1502, "RegisterEventSource/ReportEvent", "The event log file is full.")

servicemanager.LogInfoMsg = full
service = object.__new__(windows_service_main.Service)
service._report = lambda state: print("told", state)
service._listening("127.0.0.1:1")
"""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def fact(self, name: str) -> str:
        """What `service status` says of something."""
        (found,) = re.findall(rf"(?m)^{name}: +(.*?)\r?$", self.out)
        return str(found)


class Service:
    """The service, as an administrator sees it."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.data = windows.drive / "ProgramData" / NAME
        self.config = self.data / "exporter.yaml"

    def type(self, *words: str) -> Said:
        """Type a command `service ...`."""
        done = self.windows.exporter("service", *words)
        return Said(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def configure(self, *urls: str) -> None:
        """Write a configuration that has these probed."""
        mine = {"feature": "mine", "title": "Mine", "endpoints": [{"pattern": url} for url in urls]}
        self.config.write_text(json.dumps({"site": {"features": ["mine"]}, "groups": [mine]}), encoding="utf-8")

    def scraped(self) -> str:
        """The metrics."""
        return http(self.windows.lab, f"http://{ADDRESS}/metrics").body

    def log(self) -> str:
        """What it has logged."""
        return (self.data / "log" / "exporter.log").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def life(windows: Windows) -> dict[str, Any]:
    """Everything that happened, step by step. Each start of a program costs seconds, so each step is taken once."""
    service = Service(windows)
    seen: dict[str, Any] = {"windows": windows, "data": service.data}
    seen["status before"] = service.type("status")
    seen["remove before"] = service.type("remove")
    seen["a log that is a folder"] = service.type("install", "--log.file", r"C:\windows")
    seen["an account without its password"] = service.type("install", "--account", r"CORP\exporter")

    service.data.mkdir()
    service.config.write_text("site: {rolls: [client]}\n", encoding="utf-8")
    seen["install a mistake"] = service.type("install")
    service.config.unlink()
    seen["install"] = service.type("install", "--web.listen-address", ADDRESS)
    seen["first configuration"] = service.config.read_text(encoding="utf-8")

    service.configure("http://127.0.0.1:1/")
    seen["start"] = service.type("start")
    seen["scraped"] = service.scraped()
    seen["running"] = service.type("status")
    service.configure("http://127.0.0.1:1/", "http://127.0.0.1:2/", f"http://{NOBODY}/")
    seen["reload"] = service.type("reload")
    eventually("it has read the configuration again", lambda: "http://127.0.0.1:2/" in service.scraped())
    seen["upgrade"] = service.type("install")
    seen["upgraded"] = service.type("status")
    seen["scraped after the upgrade"] = service.scraped()
    seen["log before the end"] = service.log()
    seen["stop by another tool"] = windows.run("net", "stop", NAME).returncode
    seen["stopped"] = service.type("status")
    seen["log after the end"] = service.log()

    service.config.write_text("site: {rolls: [client]}\n", encoding="utf-8")
    seen["start with a mistake"] = service.type("start")
    seen["ended by a mistake"] = service.type("status")
    service.configure("http://127.0.0.1:1/")
    seen["start by another tool"] = windows.run("net", "start", NAME).returncode
    killed = service.type("status").fact("pid")
    seen["killed"] = windows.run("taskkill", "/F", "/PID", killed).returncode
    seen["start after a kill"] = service.type("start")
    seen["scraped after a kill"] = service.scraped()
    seen["remove"] = service.type("remove")
    seen["status after"] = service.type("status")
    seen["left"] = sorted(path.name for path in service.data.iterdir())
    return seen


def test_what_is_not_installed_is_said_to_be_so(life: dict[str, Any]) -> None:
    for step in ("status before", "status after"):
        assert life[step].code == NOT_RUNNING
        assert re.match(
            r'the service is not installed. Type: & "Z:.*\\configmgr-endpoint-exporter" service install\r?$',
            life[step].err,
        )


def test_what_is_not_installed_is_not_removed(life: dict[str, Any]) -> None:
    said = life["remove before"]
    assert (said.code, said.err.strip()) == (
        NOT_READY,
        "cannot remove the service: it is not installed. `service install` installs it.",
    )


def test_a_log_file_is_no_folder(life: dict[str, Any]) -> None:
    said = life["a log that is a folder"]
    assert said.code == BAD_INPUT
    assert r"C:\windows is a folder; name a file in it." in said.err


def test_where_nobody_types_no_password_is_waited_for(life: dict[str, Any]) -> None:
    said = life["an account without its password"]
    assert said.code == BAD_INPUT
    assert "--password-file" in said.err


def test_a_configuration_with_mistakes_is_not_installed(life: dict[str, Any]) -> None:
    said = life["install a mistake"]
    assert said.code == BAD_INPUT
    assert re.search(rf"{NAME}\\exporter.yaml:1: site.rolls: unknown key", said.err)


def test_an_installation_begins_a_configuration_and_says_what_to_type_next(life: dict[str, Any]) -> None:
    said = life["install"]
    assert said.code == 0, said
    assert re.search(r'(?m)^  & "Z:.*\\configmgr-endpoint-exporter" service start\r?$', said.out)
    assert "New-NetFirewallRule" not in said.out  # nobody from outside can ask at this address
    assert life["first configuration"].startswith("#")


def test_what_this_system_cannot_be_told_is_said(life: dict[str, Any]) -> None:
    """On Windows nothing of it is missing."""
    lacking = "delayed start, restart after an end with a status, an identifier of its own"
    assert f"warning: this system does not support: {lacking}." in life["install"].err


def test_it_is_started_once_it_listens(life: dict[str, Any]) -> None:
    assert (life["start"].code, life["start"].out.strip()) == (0, f"Started: it listens on {ADDRESS}.")
    assert "configmgr_exporter_build_info{" in life["scraped"]


def test_it_runs_by_the_python_itself_as_an_account_with_the_machines_identity(life: dict[str, Any]) -> None:
    said, windows = life["running"], life["windows"]
    assert said.code == 0
    assert (said.fact("state"), said.fact("listens on")) == ("running", ADDRESS)
    assert said.fact("account") == r"NT AUTHORITY\NetworkService"
    assert re.match(
        r'"Z:\\.*\\python\\python.exe" -IS "Z:.*\\windows_service_main.py" --log.file C:', said.fact("command")
    )
    assert windows.program.name in said.fact("command")


def test_a_reload_is_asked_for_by_the_service_manager(life: dict[str, Any]) -> None:
    assert life["reload"].code == 0
    assert re.search(r'msg="configuration reloaded" features=\d+ .*\btargets=3\b', life["log before the end"])


def test_an_upgrade_keeps_the_options_and_runs_again(life: dict[str, Any]) -> None:
    assert life["upgrade"].code == 0
    assert "was there already, with the same command. It runs again." in life["upgrade"].out
    assert life["upgraded"].fact("command") == life["running"].fact("command")
    assert life["upgraded"].fact("pid") != life["running"].fact("pid")
    assert "configmgr_exporter_build_info{" in life["scraped after the upgrade"]


def test_it_ends_in_order_whoever_stops_it_while_a_probe_hangs(life: dict[str, Any]) -> None:
    assert life["stop by another tool"] == 0
    assert (life["stopped"].code, life["stopped"].fact("state")) == (NOT_RUNNING, "stopped")
    assert life["stopped"].fact("last end") == "ended in order"
    assert life["log after the end"].splitlines()[-1].endswith("level=info logger=exporter msg=ended")
    assert "Traceback" not in life["log after the end"]


def test_a_start_that_fails_shows_the_mistakes(life: dict[str, Any]) -> None:
    said = life["start with a mistake"]
    assert said.code == NOT_READY
    assert said.err.startswith("the service did not start: status 2: what was written cannot be used")
    assert re.search(r"  ts=\S+ level=error .*exporter.yaml:1: site.rolls: unknown key", said.err)
    assert life["ended by a mistake"].fact("last end").startswith("status 2: ")


def test_other_tools_start_it_and_it_starts_again_after_its_process_was_killed(life: dict[str, Any]) -> None:
    """Windows would do that after ten seconds."""
    assert (life["start by another tool"], life["killed"]) == (0, 0)
    assert life["start after a kill"].code == 0
    assert "configmgr_exporter_build_info{" in life["scraped after a kill"]


def test_a_removal_stops_it_and_leaves_configuration_and_log(life: dict[str, Any]) -> None:
    assert life["remove"].code == 0
    assert life["status after"].code == NOT_RUNNING
    assert life["left"] == ["exporter.yaml", "log"]


def test_an_event_log_that_takes_nothing_ends_no_service(windows: Windows) -> None:
    done = windows.run_python("-c", FULL_EVENT_LOG)
    assert (done.returncode, done.stdout.strip()) == (0, b"told 4"), done.stderr


@pytest.mark.parametrize("what", BEYOND_WINE)
def test_what_only_windows_shows(what: str) -> None:
    pytest.skip(BEYOND_WINE[what])
