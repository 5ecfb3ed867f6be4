"""What the exporter is installed by, read and run: the image's recipe and the units; and what Windows lacks."""

from __future__ import annotations

import ast
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any, Final

import pytest
import typer
import yaml

from exporter import __version__
from exporter.cli import app
from exporter.cli.options import NOT_READY
from exporter.cli.serve import DEFAULT_ADDRESS
from exporter.config.durations import seconds
from exporter.system.systemd import STATUS_EVERY
from tests.lab import Lab
from tests.running import ADDRESS, ROOT, eventually, http, program
from tests.stack import with_examples

PORT: Final = DEFAULT_ADDRESS.removeprefix(":")


def text(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- the image


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile: for each stage its instructions, the first of them FROM, with what they say on one line."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text("Dockerfile")))
    found: list[list[tuple[str, str]]] = []
    for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line):
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def said(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == word]


def test_the_base_of_every_stage_is_one_that_can_be_replaced_and_is_no_moving_target(stages: Any) -> None:
    (base,) = re.findall(r"(?m)^ARG BASE=(\S+)$", text("Dockerfile"))
    assert [said(stage, "FROM") for stage in stages] == [["${BASE} AS build"], ["${BASE}"]]
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim", base)


def test_the_image_runs_as_a_numbered_user_who_is_not_root(stages: Any) -> None:
    (user,) = said(stages[-1], "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_no_shell_stands_between_a_signal_and_the_exporter(stages: Any) -> None:
    (entrypoint,), (command,) = (said(stages[-1], word) for word in ("ENTRYPOINT", "CMD"))
    assert json.loads(entrypoint) + json.loads(command) == ["configmgr-endpoint-exporter", "serve"]


def test_the_image_is_built_of_the_versions_that_are_tested(stages: Any) -> None:
    runs = [run for stage in stages for run in said(stage, "RUN")]
    installs = [options for run in runs for options in re.findall("pip install ([^&]*)", run)]
    assert ["--require-hashes" in options for options in installs] == [True, True, False]
    assert {"--no-index", "--no-deps"} < set(installs[-1].split())  # the wheel that was built before


def test_a_container_is_asked_for_its_health_where_it_listens(stages: Any) -> None:
    (healthcheck,) = said(stages[-1], "HEALTHCHECK")
    program = json.loads(healthcheck.partition("CMD ")[2])
    assert program[0] == "python"
    assert f"http://127.0.0.1:{PORT}/-/healthy" in program[2]
    compile(program[2], "HEALTHCHECK", "exec")


def test_kubernetes_runs_the_image_as_it_was_made_to_run(stages: Any) -> None:
    pod = yaml.safe_load(text("dashboards/kubernetes/deployment.yaml"))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = pod["securityContext"]
    (healthcheck,) = said(stages[-1], "HEALTHCHECK")
    assert said(stages[-1], "EXPOSE") == [PORT] == [str(port["containerPort"]) for port in container["ports"]]
    assert said(stages[-1], "USER") == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    assert container["livenessProbe"]["httpGet"]["path"] in healthcheck
    assert "command" not in container  # the entry point stays, `args` replace what follows it
    assert container["args"][0] in json.loads(said(stages[-1], "CMD")[0])


# ---------------------------------------------------------------- services

UNIT: Final = ROOT / "config/systemd/configmgr-endpoint-exporter.service"
EXPOSED: Final = 1.5  # of 10; what systemd-analyze calls OK ends at 2


def understood(name: str, arguments: list[str]) -> dict[str, Any]:
    """What a command of ours understands by the arguments; nothing is run."""
    assert arguments[0] == name
    group: Any = typer.main.get_command(app)
    params: dict[str, Any] = group.get_command(None, name).make_context(name, arguments[1:]).params
    return params


def analyzed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", "--no-pager", *arguments], check=False, text=True, capture_output=True)


@pytest.mark.lab
def test_systemd_takes_the_units_and_finds_the_service_well_confined(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    for change in (str, with_examples):
        for unit in UNIT.parent.iterdir():
            installed = f"/opt/{UNIT.stem}/bin/{UNIT.stem}", str(Path(sys.executable).with_name(UNIT.stem))
            (tmp_path / unit.name).write_text(change(text(unit)).replace(*installed))
        verified = analyzed("--man=no", "verify", *tmp_path.iterdir())
        judged = analyzed("security", "--offline=yes", f"--threshold={EXPOSED * 10:.0f}", tmp_path / UNIT.name)
        assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
        assert judged.returncode == 0, judged.stdout
    figure(f"systemd-analyze security, 0 (safe) to 10: {judged.stdout.rpartition(': ')[2].strip()}")


def test_the_unit_serves_reloads_and_is_watched() -> None:
    said = dict(re.findall(r"(?m)^(\w+)=(.*)$", text(UNIT)))
    program, *arguments = shlex.split(said["ExecStart"])
    assert program.endswith("/bin/configmgr-endpoint-exporter")
    assert understood("serve", arguments)["config_file"] == Path("/etc/configmgr-endpoint-exporter/exporter.yaml")
    assert (said["Type"], said["ExecReload"]) == ("notify", "kill -HUP $MAINPID")
    assert seconds(said["WatchdogSec"]) >= STATUS_EVERY * 2


def test_a_check_on_a_timer_writes_where_it_may_and_has_done_its_work_when_something_is_down() -> None:
    said = dict(re.findall(r"(?m)^(\w+)=(.*)$", text(UNIT.with_name("configmgr-endpoint-check.service"))))
    options = understood("check", shlex.split(said["ExecStart"])[1:])
    assert options["textfile"].parent == Path(said["ReadWritePaths"])
    assert options["config_file"] == Path("/etc/configmgr-endpoint-exporter/exporter.yaml")
    assert said["SuccessExitStatus"] == str(NOT_READY)
    assert UNIT.with_name("configmgr-endpoint-check.timer").exists()


# ---------------------------------------------------------------- Windows


def test_a_scheduled_task_names_its_configuration_and_the_file_for_the_collector() -> None:
    (block,) = re.findall(
        r"^```powershell\n(\$check = .*?)^```$", text(ROOT / "docs/operations.md"), re.DOTALL | re.MULTILINE
    )
    values = dict(re.findall(r'^\$(\w+) = "(.*)"$', block, re.MULTILINE))
    (argument,) = re.findall(r'New-ScheduledTaskAction -Execute \$check -Argument "(.*)"$', block, re.MULTILINE)
    given = re.sub(r"\$(\w+)", lambda found: values[found[1]], argument.replace('`"', '"'))
    options = understood("check", [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', given)])
    assert PureWindowsPath(values["check"]).parts[-2:] == (f"{UNIT.stem}-{__version__}", f"{UNIT.stem}.exe")
    assert str(options["config_file"]) == r"$env:ProgramData\ConfigMgrEndpointExporter\exporter.yaml"
    assert str(options["textfile"]).endswith(r"\textfile_inputs\configmgr.prom")


PLANTED: Final = """
import fcntl, os, signal
from resource import getrlimit
fcntl.flock, os.getuid(), signal.SIGHUP
"""


@pytest.mark.parametrize(("platform", "caught"), [("win32", [3, 4, 4, 4]), ("darwin", [])])
def test_no_name_is_used_that_the_platform_lacks(tmp_path: Path, platform: str, caught: list[int]) -> None:
    """By typeshed, which knows the platforms of each name; other packages are not followed, which takes the time."""
    (tmp_path / "planted.py").write_text(PLANTED)
    narrow = ["--config-file=", "--follow-imports=skip", "--ignore-missing-imports", f"--cache-dir={tmp_path}"]
    argv = [sys.executable, "-m", "mypy", *narrow, f"--platform={platform}", "exporter", f"{tmp_path}/planted.py"]
    done = subprocess.run(argv, check=False, cwd=ROOT, text=True, capture_output=True)
    assert done.stdout.splitlines()[-1].startswith(("Found", "Success"))
    assert [line for line in done.stdout.splitlines() if "error:" in line and "planted.py" not in line] == []
    assert [int(line) for line in re.findall(r"planted\.py:(\d+): error", done.stdout)] == caught


def test_nothing_is_asked_of_the_event_loop_that_windows_refuses() -> None:
    """https://docs.python.org/3/library/asyncio-platforms.html#windows"""
    refused = {"add_reader", "add_writer", "add_signal_handler", "create_unix_server", "create_unix_connection"}
    used = {
        node.attr
        for path in (ROOT / "exporter").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert "start_soon" in used
    assert not used & refused


# Ctrl+C and Ctrl+Break reach a program as SIGINT and SIGBREAK, for which another signal stands in here.
AS_ON_WINDOWS: Final = """
import signal, types
from exporter import cli, daemon
daemon.sys = types.SimpleNamespace(platform="win32")
signal.SIGBREAK = signal.SIGUSR1
cli.main()
"""


@pytest.mark.lab
@pytest.mark.parametrize("name", ["SIGINT", "SIGUSR1"])
def test_an_interruption_ends_it_with_0_where_no_signal_reaches_the_loop(lab: Lab, tmp_path: Path, name: str) -> None:
    log = tmp_path / "log"
    argv = [sys.executable, "-c", AS_ON_WINDOWS, "serve", "--feature", "tenant-attach", "--web.listen-address", ADDRESS]
    with program(lab, log, argv) as process:
        eventually("it answers", lambda: http(lab, f"http://{ADDRESS}/-/healthy").status == 200)
        process.send_signal(getattr(signal, name))
        status = process.wait(10)
    assert status == 0, log.read_text()
    assert "Traceback" not in log.read_text()
