"""What a shell completes: in a real bash, and what the program answers the others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from exporter.cli import app
from exporter.config import catalogue

NAME: Final = "configmgr-endpoint-exporter"
PROGRAM: Final = Path(sys.executable).with_name(NAME)
GOOD: Final = Path(__file__).parent / "data/good_config/everything.yaml"
BAD: Final = Path(__file__).parent / "data/bad_config/unknown-keys.yaml"


def completed(line: str) -> dict[str, str]:
    """The words, and what they mean, that the program answers fish for the last word of a line."""
    variables = {
        "_CONFIGMGR_ENDPOINT_EXPORTER_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": f"{NAME} {line}",
    }
    done = CliRunner().invoke(app, prog_name=NAME, env=variables)
    assert not done.stderr
    return dict(answer.partition("\t")[::2] for answer in done.stdout.splitlines())


def test_the_words_of_the_catalogue_are_completed_with_what_they_mean() -> None:
    shipped = catalogue.load()
    roles = {role.slug: role.title for role in shipped.roles.values()}
    assert completed("check --role ") == roles
    assert completed("catalogue import --role ") == roles
    assert completed("config init --proxy-role ") == roles
    assert completed("serve --feature tenant") == {"tenant-attach": "Tenant attach"}
    assert completed("check --feature ").keys() == {group.feature for group in shipped.groups}
    assert completed("config init --cloud ").keys() == shipped.clouds.keys()


def test_a_site_has_its_own_words() -> None:
    site = f"--config.file {GOOD}"
    assert completed(f"check {site} --role ").keys() == {"client", "software-update-point"}
    assert "intranet-portal" in completed(f"endpoints {site} --feature ")
    assert completed("check --cloud ").keys() == {"azure-public"}
    assert completed("endpoints --all --cloud ").keys() == {"azure-public", "azure-us-government", "azure-china"}
    assert "login.corp.example" in completed(f"explain {site} login")


def test_a_configuration_with_mistakes_is_left_out_in_silence() -> None:
    assert completed(f"check --config.file {BAD} --role cli").keys() == {"client"}
    assert completed(f"explain --config.file {BAD} go.micro").keys() == {"go.microsoft.com"}


def test_what_explain_takes_is_completed() -> None:
    assert completed("explain go.micro").keys() == {"go.microsoft.com"}
    assert "*.manage.microsoft.com" in completed("explain '*.man")
    assert "https://go.microsoft.com/" in completed("explain https://go.")


def test_formats_are_completed() -> None:
    assert completed("check --format ").keys() == {"table", "json", "junit", "markdown", "prometheus"}
    assert {"squid", "pac", "edl"} < completed("allowlist --format ").keys()
    assert {"exporter", "groups"} < completed("config schema ").keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_each_shell_is_told_whom_to_ask(shell: str) -> None:
    variables = {"_CONFIGMGR_ENDPOINT_EXPORTER_COMPLETE": f"source_{shell}"}
    told = CliRunner().invoke(app, prog_name=NAME, env=variables).stdout
    kind = shell.replace("pwsh", "powershell")
    assert f"complete_{kind}" in told
    assert NAME in told


@pytest.mark.skipif(sys.platform == "win32", reason="bash, in a terminal of POSIX")
def test_bash_completes_once_completion_is_installed(tmp_path: Path) -> None:
    import pexpect  # noqa: PLC0415 - not on Windows

    environment = {"HOME": str(tmp_path), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"}
    bash = pexpect.spawn("bash", ["--norc", "-i"], env=environment, encoding="utf-8", timeout=60, dimensions=(40, 200))
    bash.sendline(f"{NAME} --install-completion && . ~/.bashrc && echo in''stalled")
    bash.expect_exact("installed\r\n")
    for typed, rest in {
        f"{NAME} expl": "ain ",
        "--role service-connection": "-point ",
        "go.mic": "rosoft.com ",
    }.items():
        bash.send(f"{typed}\t")
        bash.expect_exact(f"{typed}{rest}")
    bash.sendline("\x15exit")
    bash.expect(pexpect.EOF)
