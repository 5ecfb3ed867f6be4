"""The parts of `service` that are the same on every system; `tests/windows/test_service.py` has the rest."""

from __future__ import annotations

import json
import logging
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
import structlog
import typer
from hypothesis import given
from hypothesis import strategies as st

from exporter import cli
from exporter.cli.options import BAD_INPUT
from exporter.cli.serve import DEFAULT_ADDRESS
from exporter.cli.service import called, last_errors, serve_options, size_of, usable
from exporter.plan.selection import UNUSABLE
from exporter.system.log import LogFormat, LogLevel, configure, rotating
from exporter.system.windows_service import accounts, words
from exporter.system.windows_service.command import (
    ServiceCommand,
    arguments,
    belongs_to_a_person,
    inbound_rule,
    listening,
)
from exporter.web.server import ListenError
from tests.running import eventually
from tests.tools.reference import COMMANDS

SERVICE: Final = sorted(name for name in COMMANDS if name.startswith("service "))

# ---------------------------------------------------------------- elsewhere


@pytest.mark.skipif(sys.platform == "win32", reason="there it does what it says")
@pytest.mark.parametrize("name", SERVICE)
def test_elsewhere_than_on_windows_one_sentence_says_what_to_use(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["configmgr-endpoint-exporter", *name.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "on Linux use the systemd unit" in said.err


# ---------------------------------------------------------------- the command line that Windows keeps

TEXT: Final = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(st.builds(ServiceCommand, python=TEXT, script=TEXT, log_file=TEXT, options=st.lists(TEXT).map(tuple)))
def test_what_windows_keeps_is_read_as_it_was_written(command: ServiceCommand) -> None:
    assert ServiceCommand.parsed(command.text) == command


def test_options_are_kept_from_a_version_that_started_python_otherwise() -> None:
    text = "python.exe -Xutf8 windows_service_main.py --log.file log --web.disable-probe"
    assert ServiceCommand.parsed(text) == ServiceCommand(
        "python.exe", "windows_service_main.py", "log", ("--web.disable-probe",)
    )


@pytest.mark.parametrize(
    "text", ["", r"C:\exporter\winsw.exe", r'"C:\a b\python.exe" -IS windows_service_main.py', '"']
)
def test_a_command_that_somebody_else_wrote_is_none_of_ours(text: str) -> None:
    assert ServiceCommand.parsed(text) is None


def test_a_program_whose_path_has_blanks_stands_in_quotation_marks() -> None:
    """Without them Windows would run C:\\Program.exe, if somebody had put that there."""
    text = ServiceCommand(r"C:\Program Files\exporter\python.exe", "windows_service_main.py", "log").text
    assert text.startswith('"C:\\Program Files\\exporter\\python.exe" -IS ')


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (r'a\\b d"e f"g h', [r"a\\b", "de fg", "h"]),  # the examples of Microsoft's page
        (r"a\\\"b c d", [r"a\"b", "c", "d"]),
        (r'a\\\\"b c" d e', [r"a\\b c", "d", "e"]),
        (r'"ab\"c" "\\" d', ['ab"c', "\\", "d"]),
    ],
)
def test_a_command_line_is_parted_as_programs_of_windows_part_it(text: str, parts: list[str]) -> None:
    assert list(arguments(text)) == parts


# ---------------------------------------------------------------- options


def test_options_are_kept_with_whole_paths_and_without_what_is_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = "--config.file e.yaml --web.listen-address :1 --web.listen-address :2 --web.disable-probe --log.level info"
    assert serve_options([*shlex.split(said), "--role", "client"]) == (
        *("--config.file", str(tmp_path / "e.yaml")),
        *("--web.listen-address", ":1", "--web.listen-address", ":2", "--web.disable-probe"),
        *("--role", "client"),
    )


@pytest.mark.parametrize("said", ["--no-such-option", "--log.level loud", "stray"])
def test_options_that_serve_does_not_know_are_refused(
    said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["configmgr-endpoint-exporter", "service", "install", *said.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == BAD_INPUT
    assert said.rsplit(maxsplit=1)[-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        (["--config.file", "e.yaml"], "e.yaml:1: site.rolls: unknown key"),
        (["--web.config.file", "absent.yaml"], "absent.yaml"),
        (["--web.listen-address", "localhost:web"], "'localhost:web' is not HOST:PORT"),
    ],
)
def test_what_cannot_be_served_is_not_installed(
    options: list[str], mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text("site: {rolls: [client]}\n", encoding="utf-8")
    with pytest.raises((*UNUSABLE, ListenError, typer.BadParameter), match=re.escape(mistake)):
        usable(options)


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        (
            r"C:\Program Files\exporter\configmgr-endpoint-exporter",
            r'& "C:\Program Files\exporter\configmgr-endpoint-exporter"',
        ),
        (r"D:\exporter\configmgr-endpoint-exporter", r"D:\exporter\configmgr-endpoint-exporter"),
        (r"D:\exporter(2)\configmgr-endpoint-exporter", r'& "D:\exporter(2)\configmgr-endpoint-exporter"'),
        (r"D:\Prüfung\configmgr-endpoint-exporter", r"D:\Prüfung\configmgr-endpoint-exporter"),
        (r"C:\Python\Lib\site-packages\exporter\__main__.py", r'& "C:\Program Files\Python\python.exe" -m exporter'),
    ],
)
def test_the_next_command_is_shown_as_it_is_typed(program: str, typed: str) -> None:
    assert called(program, r"C:\Program Files\Python\python.exe") == typed


# ---------------------------------------------------------------- who may ask from outside


@pytest.mark.parametrize(
    ("options", "ports"),
    [
        ((), "10965"),
        (("--web.listen-address", "[::]:1", "--web.listen-address", "192.0.2.1:2"), "1,2"),
        (("--web.listen-address", "127.0.0.1:1", "--web.listen-address", ":3"), "3"),
    ],
)
def test_a_rule_for_the_firewall_opens_what_is_listened_on_to_one_host(options: tuple[str, ...], ports: str) -> None:
    rule = inbound_rule(listening(options, DEFAULT_ADDRESS))
    assert rule is not None
    assert f" -LocalPort {ports} " in rule
    assert rule.endswith("-RemoteAddress ADDRESS_OF_PROMETHEUS")


@pytest.mark.parametrize("address", ["127.0.0.1:10965", "[::1]:10965", "localhost:10965", "127.9.9.9:1"])
def test_nothing_need_be_opened_for_this_host_alone(address: str) -> None:
    assert inbound_rule([address]) is None


# ---------------------------------------------------------------- accounts


@pytest.mark.parametrize(
    ("said", "account", "password"),
    [
        ("NetworkService", r"NT AUTHORITY\NetworkService", False),
        (r"nt authority\network service", r"NT AUTHORITY\NetworkService", False),
        ("LocalService", r"NT AUTHORITY\LocalService", False),
        (r".\LocalSystem", "LocalSystem", False),
        (r"NT SERVICE\ConfigMgrEndpointExporter", r"NT SERVICE\ConfigMgrEndpointExporter", False),
        (r"CORP\exporter$", r"CORP\exporter$", False),
        (r"CORP\svc-exporter", r"CORP\svc-exporter", True),
        (r".\exporter", r".\exporter", True),
    ],
)
def test_an_account_is_told_by_its_usual_names_and_a_password_is_asked_of_people_only(
    said: str, account: str, password: bool
) -> None:
    assert (accounts.account_named(said), accounts.has_password(account)) == (account, password)


@pytest.mark.parametrize(
    ("account", "password"),
    [(accounts.NETWORK_SERVICE, ""), (r"CORP\exporter$", None), (r"NT SERVICE\ConfigMgrEndpointExporter", None)],
)
def test_in_place_of_a_password_that_there_is_not_stands_what_the_service_manager_wants(
    account: str, password: str | None
) -> None:
    assert accounts.empty_password(account) == password


@pytest.mark.parametrize(
    ("account", "whole"),
    [(r".\ann", r"SERVER1\ann"), (r"CORP\ann", r"CORP\ann"), ("ann@corp.example", "ann@corp.example")],
)
def test_the_dot_of_an_account_is_this_computer(account: str, whole: str) -> None:
    assert accounts.qualified(account, "SERVER1") == whole


def test_the_identifier_of_a_service_is_that_of_windows() -> None:
    """As `sc.exe showsid TrustedInstaller` prints it; it is the same on every Windows."""
    known = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    assert accounts.service_sid("TrustedInstaller") == known


@pytest.mark.parametrize(
    ("path", "private"),
    [
        (r"C:\Users\ann\AppData\Local\Programs\Python\Python313\python.exe", True),
        (r"c:\users\ann\exporter\python\python.exe", True),
        (r"C:\Users\Public\exporter\python\python.exe", False),
        (r"C:\Program Files\exporter\python\python.exe", False),
        (r"D:\Users\exporter\python.exe", False),
    ],
)
def test_a_program_in_a_persons_own_folder_is_told(path: str, private: bool) -> None:
    assert belongs_to_a_person(path, r"C:\Users") == private


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("exit_code", "status", "says"),
    [
        (0, 0, "ended in order"),
        (1066, 2, "status 2: what was written cannot be used"),
        (1066, 70, "status 70: a defect"),
        (1066, 9, "status 9: "),
        (1067, 0, "its process ended without a word"),
        (1077, 0, "not started since the system was"),
        (4711, 0, "`net helpmsg 4711`"),
    ],
)
def test_how_a_service_ended_is_said_in_words(exit_code: int, status: int, says: str) -> None:
    assert says in words.ended(exit_code, status)


def test_who_lacks_the_rights_is_told_how_to_get_them_and_what_is_unknown_keeps_its_number() -> None:
    assert words.refusal("start the service", 5, "Access is denied.") == (
        'cannot start the service: access denied. Open PowerShell by "Run as administrator" and type it again.'
    )
    assert words.refusal("stop the service", 4711, "It rains. ") == "cannot stop the service: It rains (error 4711)."


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (5, "the service did not start: access denied: the service's account cannot read the program's folder"),
        (2, "the program's file was not found. `service status` shows where it was; `service install` from"),
        (1069, "cannot start the service: the account could not log on"),
        (1058, "cannot start the service: it is disabled. `Set-Service ConfigMgrEndpointExporter"),
    ],
)
def test_who_may_start_it_is_told_what_its_account_lacks(code: int, says: str) -> None:
    """By then the caller's own rights have sufficed."""
    assert says in words.not_started(code, "Access is denied.")


def test_what_is_known_of_a_service_is_said_line_by_line() -> None:
    stopped = words.Condition(1, 0, 1066, 2, r"NT AUTHORITY\NetworkService", 2, delayed=True, command="python.exe")
    lines = dict(stopped.lines(":10965", "exporter.yaml", "exporter.log"))
    assert (lines["state"], lines["start"], lines["last end"][:8]) == ("stopped", "automatic, delayed", "status 2")
    assert "pid" not in lines
    running = words.Condition(4, 17, 0, 0, "LocalSystem", 3, delayed=False, command="python.exe")
    lines = dict(running.lines(":10965", "exporter.yaml", "exporter.log"))
    assert (lines["state"], lines["start"], lines["pid"]) == ("running", "manual", "17")
    assert "last end" not in lines


# ---------------------------------------------------------------- the log


@contextmanager
def logging_to(handler: logging.Handler) -> Iterator[Any]:
    root, raised = logging.getLogger(), logging.raiseExceptions
    before = root.handlers[:], root.level
    configure(LogLevel.INFO, LogFormat.LOGFMT, handler)
    try:
        yield structlog.get_logger("exporter")
    finally:
        handler.close()
        root.handlers[:], logging.raiseExceptions = before[0], raised
        root.setLevel(before[1])
        structlog.reset_defaults()


def test_the_log_is_kept_in_so_many_files_of_a_size(tmp_path: Path) -> None:
    with logging_to(rotating(tmp_path / "log", 500, 3)) as log:
        for number in range(50):
            log.info("line", number=number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert all(path.stat().st_size <= 500 for path in tmp_path.iterdir())
    assert "number=49" in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("held", ["log", "log.1", "log.2"])
def test_while_somebody_holds_a_file_of_the_log_it_grows_on_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """Windows then neither renames that file nor puts another in its place."""
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if held in {self.name, target.name}:
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        return replace(self, target)

    with logging_to(rotating(tmp_path / "log", 500, 3)) as log:
        for number in range(20):
            log.info("line", number=number)
        names = {path.name for path in tmp_path.iterdir()}
        earlier = "".join((tmp_path / name).read_text(encoding="utf-8") for name in ("log.2", "log.1", "log"))
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(Path, "replace", refused)
            for number in range(20, 70):
                log.info("line", number=number)
        assert {path.name for path in tmp_path.iterdir()} == names
        now = "".join((tmp_path / name).read_text(encoding="utf-8") for name in ("log.2", "log.1", "log"))
        assert now.startswith(earlier)
        assert re.findall(r"number=(\d+)", now)[-50:] == [str(number) for number in range(20, 70)]
        log.info("line", number=70)
    assert (tmp_path / "log").stat().st_size <= 500


def test_who_may_not_look_at_the_log_is_told_by_windows_what_he_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only administrators may: to others Windows denies even the size of a file in the service's folder."""

    def denied(*_: object, **__: object) -> NoReturn:
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(Path, "stat", denied)
    monkeypatch.setattr(Path, "open", denied)
    assert size_of(tmp_path / "exporter.log") == 0
    assert last_errors(tmp_path / "exporter.log", 0) == []


def test_what_was_logged_as_an_error_since_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "exporter.log"
    assert last_errors(log, 0) == []
    log.write_text("level=error msg=old\n", encoding="utf-8")
    seen = size_of(log)
    assert last_errors(log, seen) == [f"Its log: {log}"]
    with log.open("a", encoding="utf-8") as more:
        more.write('level=info msg=begun\nlevel=error msg=new\n{"level": "error", "msg": "newer"}\n')
    assert last_errors(log, seen) == [f"{log}:", "  level=error msg=new", '  {"level": "error", "msg": "newer"}']
    log.write_text("level=error msg=newest\n", encoding="utf-8")  # a new file meanwhile
    assert last_errors(log, 1000) == [f"{log}:", "  level=error msg=newest"]


# ---------------------------------------------------------------- the exporter within a host

HOSTED: Final = """
import contextlib, sys, threading
from pathlib import Path
from exporter import cli
from exporter.system.control import Control, Request
from exporter.system.log import rotating
from exporter.daemon import Host

control = Control()
host = Host(control, lambda addresses: print(addresses, flush=True), rotating(Path(sys.argv[1]), 10_000, 2))
sys.argv[1:2] = ["serve"]
def serve():
    with contextlib.suppress(SystemExit):
        cli.main(host)

thread = threading.Thread(target=serve)
thread.start()
for line in sys.stdin:
    control.ask(Request[line.strip()])
thread.join()
print("ended")
"""


def test_a_host_hears_where_it_listens_reloads_it_and_ends_it_from_another_thread(tmp_path: Path) -> None:
    config, log = tmp_path / "e.yaml", tmp_path / "log"
    config.write_text(json.dumps(MINE), encoding="utf-8")
    options = ["--config.file", str(config), "--web.listen-address", "127.0.0.1:0"]
    argv = [sys.executable, "-c", HOSTED, str(log), *options]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"http://{address}/metrics") as answer:
            metrics = answer.read()
        process.stdin.write("RELOAD\n")
        process.stdin.flush()
        eventually("it reloads", lambda: "configuration reloaded" in log.read_text(encoding="utf-8"))
        process.stdin.write("END\n")
        process.stdin.close()
        said = process.stdout.read()
    assert (said, process.returncode) == ("ended\n", 0)
    assert b"configmgr_exporter_build_info" in metrics


MINE: Final = {
    "site": {"features": ["mine"]},
    "groups": [{"feature": "mine", "title": "Mine", "endpoints": [{"pattern": "http://127.0.0.1:1/"}]}],
}
