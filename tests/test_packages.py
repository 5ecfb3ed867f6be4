"""What the exporter is installed by, read and run: the image's recipe, the units and the Windows service."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exporter.cli.serve import DEFAULT_ADDRESS
from tests.running import ROOT

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
    installs = [run for stage in stages for run in said(stage, "RUN") if "pip install" in run]
    assert len(installs) == 1
    assert "--constraint constraints.txt" in installs[0]


def test_a_container_is_asked_for_its_health_where_it_listens(stages: Any) -> None:
    (healthcheck,) = said(stages[-1], "HEALTHCHECK")
    program = json.loads(healthcheck.partition("CMD ")[2])
    assert program[0] == "python"
    assert f"http://127.0.0.1:{PORT}/-/healthy" in program[2]
    compile(program[2], "HEALTHCHECK", "exec")


@pytest.mark.parametrize("manifest", ["single/deployment.yaml", "shards/statefulset.yaml"])
def test_kubernetes_runs_the_image_as_it_was_made_to_run(stages: Any, manifest: str) -> None:
    pod = yaml.safe_load(text(f"dashboards/kubernetes/{manifest}"))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = pod["securityContext"]
    (healthcheck,) = said(stages[-1], "HEALTHCHECK")
    assert said(stages[-1], "EXPOSE") == [PORT] == [str(port["containerPort"]) for port in container["ports"]]
    assert said(stages[-1], "USER") == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    assert container["livenessProbe"]["httpGet"]["path"] in healthcheck
    assert "command" not in container  # the entry point stays, `args` replace what follows it
    assert container["args"][0] in json.loads(said(stages[-1], "CMD")[0])


# ---------------------------------------------------------------- Windows

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
    argv = [sys.executable, "-m", "mypy", *narrow, f"--platform={platform}", "exporter", tmp_path / "planted.py"]
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
