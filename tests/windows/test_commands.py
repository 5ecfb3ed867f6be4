"""The commands on Windows: what they say on the console and into files, in which code page, and what they read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Final

import pexpect
import pytest

from tests.lab import Lab
from tests.lab.windows import NAME, Sharing, Windows, windows_path
from tests.running import command, eventually

pytestmark = [pytest.mark.lab, pytest.mark.windows]

HERE: Final = Path(__file__).parents[1] / "lab"
PAGES: Final = (437, 850, 1252, 65001)
UNKNOWN: Final = 20127  # ASCII, by a name that Python does not know
WRONG: Final = "probe:\n  intervall: 5s\nsite: {roles: ['Prüfer']}\n"
IN_VAIN: Final = "site: {features: [tenant-attach], roles: [client]}\n"
CALLED: Final = "Prüfung für €.yaml"  # of which two of these code pages lack the last sign
GROUP: Final = """
- feature: FEATURE
  title: Bürgerbüro
  roles: [service-connection-point]
  endpoints: [{pattern: "https://go.microsoft.com/"}]
"""
SETTINGS: Final = """
site: {features: [tenant-attach, beside, elsewhere], roles: [service-connection-point]}
probe: {attempts: 1}
group_files: ['%s', '%s']
"""


# Run by the bundle's Python: what it makes of numbers that Winsock has for a connection.
NUMBERS: Final = """
from exporter.probe.connecting import contact_of
from exporter.system.words import error_of
for number in (10013, 10051, 10060, 10061, 10065):
    error = error_of(number)
    print(contact_of(error), len(error.strerror) > 10)
"""


def in_console(lab: Lab, windows: Windows, program: Path, *arguments: str) -> tuple[int, str]:
    """Run a program of Windows on a terminal; its status, and what it shows."""
    inside = ["ip", "netns", "exec", lab.name, *map(str, windows.argv(program, *arguments))]
    terminal = pexpect.spawn(
        inside[0], inside[1:], env={**windows.env, "TERM": "xterm"}, timeout=600, dimensions=(50, 250), encoding="utf-8"
    )
    terminal.expect(pexpect.EOF)
    terminal.close()
    return int(terminal.exitstatus or 0), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", str(terminal.before))


@pytest.fixture(scope="module")
def folder(lab: Lab, windows: Windows) -> Path:
    """A folder with a blank and an umlaut in its name."""
    made = windows.folder / "Büro Köln"
    beside, elsewhere = made / "Gruppen für Köln" / "büro.yaml", windows.folder / "Ämter & Co" / "büro.yaml"
    for group in (beside, elsewhere):
        group.parent.mkdir(parents=True)
        group.write_text(GROUP.replace("FEATURE", "beside" if group is beside else "elsewhere"), encoding="utf-8")
    (made / "falsch.yaml").write_text(WRONG, encoding="utf-8")
    (made / CALLED).write_text(IN_VAIN, encoding="utf-8")
    # The one group by a path from here, the other by one with its drive.
    settings = SETTINGS % (r"Gruppen für Köln\büro.yaml", windows_path(elsewhere))
    (made / "gut.yaml").write_bytes(settings.replace("\n", "\r\n").encode("utf-8-sig"))
    (made / "here.yaml").write_text(SETTINGS % (beside, elsewhere), encoding="utf-8")
    # As PowerShell 5.1 writes what a command says: `allowlist --format json > alt.json`.
    rules = json.loads(command(lab, "allowlist", "--config.file", made / "here.yaml", "--format", "json").stdout)
    (made / "alt.json").write_bytes(json.dumps(rules[1:], indent=2).replace("\n", "\r\n").encode("utf-16"))
    return made


@pytest.fixture(scope="module")
def said(lab: Lab, windows: Windows, folder: Path) -> Mapping[str, Any]:
    """What came of commands that were given in one console, by their names."""
    exe, wrong = windows_path(windows.program / NAME), windows_path(folder / "falsch.yaml")
    good = ["--config.file", windows_path(folder / "gut.yaml")]
    serve = ["serve", *good, "--web.listen-address", "127.0.0.1:10970"]
    running = {"page": 437, "until": "http://127.0.0.1:10970/-/ready"}
    in_vain = [exe, "validate", "--config.file", windows_path(folder / CALLED)]
    orders: dict[str, dict[str, Any]] = {
        **{str(page): {"page": page, "shown": True, "argv": in_vain} for page in PAGES},
        str(UNKNOWN): {"page": UNKNOWN, "argv": [exe, "validate", "--config.file", wrong]},
        "validate": {"page": 437, "argv": [exe, "validate", *good]},
        "endpoints": {"page": 437, "argv": [exe, "endpoints", *good, "--format", "csv"]},
        "check": {"page": 437, "argv": [exe, "check", *good, "--format", "json"]},
        "explain": {"page": 437, "argv": [exe, "explain", *good, "http://crl.microsoft.com"]},
        "allowlist": {"page": 437, "argv": [exe, "allowlist", *good, "--format", "windows-firewall"]},
        "diff": {"page": 437, "argv": [exe, "allowlist", *good, "--diff", windows_path(folder / "alt.json")]},
        "init": {
            "page": 437,
            "argv": [exe, "config", "init", "--no-input", "--output", windows_path(folder / "neu.yaml")],
        },
        "Ctrl+C": {"argv": [exe, *serve], "key": "c"} | running,
        "Ctrl+Break": {"argv": [windows_path(windows.python), "-m", "exporter", *serve], "key": "break"} | running,
    }
    asked, told = folder / "orders.json", folder / "results.json"
    asked.write_text(json.dumps([*orders.values()]), encoding="utf-8")
    script = [windows_path(each) for each in (HERE / "windows_console.py", asked, told)]
    status, shown = in_console(lab, windows, windows.python, *script)
    assert status == 0, shown
    results = json.loads(told.read_text(encoding="utf-8"))
    return {**dict(zip(orders, results, strict=True)), "console": shown}


def bytes_of(result: Mapping[str, Any], stream: str) -> bytes:
    return bytes.fromhex(result[stream])


@pytest.mark.parametrize("page", PAGES)
def test_what_is_redirected_is_in_the_code_page_of_the_console_as_powershell_reads_it(
    said: Mapping[str, Any], folder: Path, page: int
) -> None:
    told = bytes_of(said[str(page)], "err").decode(f"cp{page}")
    name = CALLED.encode(f"cp{page}", "backslashreplace").decode(f"cp{page}")
    assert said[str(page)]["status"] == 0
    assert told.startswith(f"{windows_path(folder)}\\{name}:1: warning: site.roles[0]: nothing is probed for client: ")
    assert told.splitlines()[-1].startswith(f"{windows_path(folder)}\\{name}: warning: nothing to check: ")


@pytest.mark.parametrize("page", PAGES)
def test_the_console_shows_what_its_code_page_lacks(said: Mapping[str, Any], folder: Path, page: int) -> None:
    (shown,) = re.findall(rf"code page {page}\s+(.*?): ok, ", said["console"], re.DOTALL)
    assert shown == f"{windows_path(folder)}\\{CALLED}"


def test_a_code_page_that_python_does_not_know_stops_no_command(said: Mapping[str, Any]) -> None:
    told = bytes_of(said[str(UNKNOWN)], "err").decode("cp1252")
    assert said[str(UNKNOWN)]["status"] == 2
    assert "site.roles[0]: 'Prüfer': unknown role" in told
    assert "Traceback" not in told


def test_a_file_with_a_byte_order_mark_and_carriage_returns_is_read(said: Mapping[str, Any]) -> None:
    assert said["validate"]["status"] == 0, said["validate"]
    assert bytes_of(said["validate"], "err") == b""


def test_a_site_is_checked_and_its_list_written(said: Mapping[str, Any]) -> None:
    report = json.loads(bytes_of(said["check"], "out"))
    assert (said["check"]["status"], report["ready"]) == (0, True)
    assert {feature["feature"] for feature in report["features"]} == {"tenant-attach", "beside", "elsewhere"}
    assert b"tenant-attach" in bytes_of(said["endpoints"], "out")
    assert b"New-NetFirewallRule" in bytes_of(said["allowlist"], "out")
    assert said["allowlist"]["status"] == said["endpoints"]["status"] == 0


def test_what_powershell_made_of_a_list_in_utf_16_is_compared_with_the_list_of_today(said: Mapping[str, Any]) -> None:
    text = bytes_of(said["diff"], "out").decode("cp437")
    assert bytes_of(said["diff"], "err") == b""
    assert "1 added, 0 removed, 0 changed" in text


def test_a_target_is_explained(said: Mapping[str, Any]) -> None:
    text = bytes_of(said["explain"], "out").decode("cp437")
    assert said["explain"]["status"] == 0
    assert "UP" in text
    assert "http://crl.microsoft.com" in text


def test_a_configuration_can_be_begun_and_the_next_command_be_typed_as_it_stands(
    said: Mapping[str, Any], windows: Windows, folder: Path
) -> None:
    assert said["init"]["status"] == 0, said["init"]
    assert "site:" in (folder / "neu.yaml").read_text(encoding="utf-8")
    typed = f"& '{windows_path(windows.program / NAME)}' check --config.file '{windows_path(folder)}\\neu.yaml'"
    assert bytes_of(said["init"], "out").decode("cp437").splitlines()[-1].strip() == typed


@pytest.mark.parametrize("keys", ["Ctrl+C", "Ctrl+Break"])
def test_a_person_ends_the_exporter_in_order(said: Mapping[str, Any], keys: str) -> None:
    log = bytes_of(said[keys], "err").decode()
    assert said[keys]["status"] == 0, log
    assert "msg=listening" in log
    assert "Traceback" not in log


def test_metrics_take_their_file_s_place_when_a_collector_has_read_it(lab: Lab, windows: Windows, folder: Path) -> None:
    metrics = folder / "configmgr.prom"
    unfinished = f"configmgr.prom.{'[0-9a-f]' * 16}"
    metrics.write_text("old")
    asked = ["-m", "exporter", "check", "--config.file", windows_path(folder / "gut.yaml")]
    # As a program in Go opens a file: others may read and write it, and not put another in its place.
    with windows.open_file(metrics, by_others=Sharing.READ | Sharing.WRITE):
        argv = windows.argv(windows.python, *asked, "--textfile", windows_path(metrics))
        check = lab.popen(argv, env=windows.env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        eventually("the new file is there", lambda: list(folder.glob(unfinished)), within=300)
        meanwhile = (check.poll(), metrics.read_text())
    _, told = check.communicate()
    assert meanwhile == (None, "old")
    assert check.returncode == 0, told
    assert "configmgr_endpoint_up" in metrics.read_text()
    assert list(folder.glob(unfinished)) == []


def test_the_numbers_of_winsock_are_known(windows: Windows) -> None:
    """10013 is what a firewall of Windows gives where it lets no program out."""
    done = windows.run_python("-c", NUMBERS)
    assert done.stdout.decode().splitlines() == [
        f"{contact} True" for contact in ("forbidden", "no_way", "silent", "refused", "unreachable")
    ], done.stderr
