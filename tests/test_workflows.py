"""What GitHub and pre-commit run is what the Makefile runs, and every action is one that was looked at."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[1]
WORKFLOWS: Final = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS: Final = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
COMMIT: Final = re.compile(r"^\s*(?:- )?uses: (?:\./\S+|\S+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$)")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(path: Path) -> Iterator[str]:
    for job in read(path)["jobs"].values():
        yield from (step["run"] for step in job.get("steps", ()) if "run" in step)


def recipe(target: str) -> list[str]:
    (lines,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in lines.splitlines()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_named_by_the_commit_that_its_version_was(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not COMMIT.match(line)] == []


def test_workflows_call_targets_that_there_are_and_all_that_a_change_or_a_release_must_pass() -> None:
    called = {
        found for path in WORKFLOWS for run in commands(path) for found in re.findall(r"^make (\w+)", run, re.MULTILINE)
    }
    assert called == {"test", "lowest", "audit", "release"}
    assert all(recipe(target) for target in called)


def test_a_commit_is_looked_at_by_what_make_check_runs() -> None:
    (hooks,) = (repository["hooks"] for repository in read(ROOT / ".pre-commit-config.yaml")["repos"])
    tools = [hook["entry"].split()[:2] for hook in hooks]
    assert {tool for tool, *_ in tools} == {line.split()[0] for line in recipe("check")}
    assert {hook["language"] for hook in hooks} == {"system"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_something_under_names_of_its_own(path: Path) -> None:
    form = read(path)
    asked = [field for field in form["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in asked]
    assert {"name", "description", "body"} <= form.keys()
    assert len(names) == len(set(names))
    assert any(field.get("validations", {}).get("required") for field in asked)


def test_a_workflow_that_gives_rights_to_strangers_does_not_pass(tmp_path: Path) -> None:
    (check,) = (line for line in recipe("check") if "zizmor" in line)
    (tmp_path / "bad.yml").write_text(
        "on: pull_request_target\npermissions: write-all\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: echo ${{ github.event.pull_request.title }}\n"
    )
    tool = Path(sys.executable).with_name("zizmor")
    options = check.split()[1:-1]
    good = subprocess.run([tool, *options, ROOT / ".github"], capture_output=True, text=True, check=False)
    bad = subprocess.run([tool, *options, tmp_path / "bad.yml"], capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    assert bad.returncode != 0
    assert "template-injection" in bad.stdout


def test_what_is_released_is_attested_and_code_and_repository_are_looked_at() -> None:
    release = read(ROOT / ".github/workflows/release.yml")["jobs"]
    attested = {name: job["permissions"] for name, job in release.items() if "attest-build-provenance" in str(job)}
    used = {
        step["uses"].split("@")[0]
        for path in WORKFLOWS
        for job in read(path)["jobs"].values()
        for step in job.get("steps", ())
        if "uses" in step
    }
    assert attested.keys() == {"files", "image"}
    assert all(rights["id-token"] == rights["attestations"] == "write" for rights in attested.values())
    assert {"github/codeql-action/analyze", "ossf/scorecard-action"} < used
    assert "make audit" in set(commands(ROOT / ".github/workflows/ci.yml"))


def test_everything_that_is_pinned_is_moved_by_somebody() -> None:
    moved = {entry["package-ecosystem"] for entry in read(ROOT / ".github/dependabot.yml")["updates"]}
    assert moved == {"docker", "docker-compose", "github-actions", "pip"}
