"""What becomes of a call itself: its options, its help, and the streams that it writes to."""

from __future__ import annotations

import codecs
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from typer.testing import CliRunner

from exporter.cli import app
from exporter.cli.examples import EXAMPLES
from exporter.cli.output import CLOSED, UNWRITABLE
from tests.running import COMMAND, ROOT, in_a_quiet_moment

if sys.platform != "win32":
    import pty
    import resource

FULL: Final = Path("/dev/full")
CALLS: Final = ("--version", "--help", "config schema", "endpoints", "allowlist --format csv")  # each writes otherwise
posix = pytest.mark.skipif(sys.platform == "win32", reason="of descriptors that are inherited")


def said(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    settings: dict[str, Any] = {"capture_output": True, "text": True, "cwd": ROOT} | options
    return subprocess.run([*COMMAND, *arguments], check=False, **settings)


# ---------------------------------------------------------------- streams


@posix
@pytest.mark.parametrize("call", CALLS)
def test_who_reads_no_further_is_no_answer_of_no(call: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONUNBUFFERED": "1" if call == "endpoints" else ""}
    with os.fdopen(writing, "w") as pipe:
        done = said(*call.split(), capture_output=False, stdout=pipe, stderr=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (CLOSED, "")


@posix
def test_a_list_that_is_complete_is_so_too_for_who_reads_its_first_line(tmp_path: Path) -> None:
    opened = tmp_path / "opened.csv"
    opened.write_text(said("allowlist", "--format", "csv").stdout)
    compare = shlex.join([*COMMAND, "check", "--against", str(opened)])
    line = f"{compare} | head -1 > {os.devnull}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout in {"0\n", f"{CLOSED}\n"}, done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("call", CALLS)
def test_a_full_disk_is_said_and_is_no_defect(call: str) -> None:
    with FULL.open("w") as full:
        done = said(*call.split(), capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (UNWRITABLE, "stdout cannot be written: No space left on device\n")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_where_nothing_can_be_said_the_status_says_it() -> None:
    with FULL.open("w") as full:
        assert said("endpoints", capture_output=False, stdout=full, stderr=full).returncode == UNWRITABLE


@posix
def test_without_any_stdout_nothing_is_said() -> None:
    done = subprocess.run(["sh", "-c", f"{shlex.join(COMMAND)} endpoints >&-"], cwd=ROOT, check=False, text=True)
    assert done.returncode == 0


@posix
def test_where_there_is_no_home_completion_is_refused_in_words() -> None:
    line = f"{shlex.join(COMMAND)} --install-completion; exit $?"  # of the shell, which is found by its process
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": "/proc/nonexistent"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--install-completion: /proc/nonexistent: ")
    assert done.stderr.count("\n") == 1


# ---------------------------------------------------------------- width


@pytest.mark.usefixtures("uncounted")
def test_what_goes_into_a_file_has_no_width_and_no_padding() -> None:
    usual = said("endpoints").stdout
    for columns in ("0", "40", "abc"):
        assert said("endpoints", env=os.environ | {"COLUMNS": columns}).stdout == usual
    lines = usual.splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert max(map(len, lines)) > 80
    assert "\x1b" not in usual


@pytest.mark.usefixtures("uncounted")
@posix
@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("40", 40)])
def test_a_terminal_is_as_wide_as_it_says_and_80_columns_where_it_says_0(columns: str, width: int) -> None:
    ours, theirs = pty.openpty()
    # Without colours; if it did not say its lines as well, rich would take such a terminal for one of 80 columns.
    environment = os.environ | {"COLUMNS": columns, "LINES": "24", "TERM": "dumb"}
    program = subprocess.Popen([*COMMAND, "endpoints"], cwd=ROOT, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b"".join(_read(ours)).decode()
    assert program.wait() == 0
    assert max(len(line.rstrip()) for line in shown.splitlines()) in {width - 1, width}


def _read(descriptor: int) -> Iterator[bytes]:
    """All that a terminal shows until the last program has left it."""
    try:
        while piece := os.read(descriptor, 1 << 16):
            yield piece
    except OSError:  # how Linux says that
        return
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("word", ["warn", "WARN", "warning", "Warning", "error", "info", "debug"])
def test_levels_have_prometheus_words_too(word: str) -> None:
    assert CliRunner().invoke(app, ["validate", f"--log.level={word}"]).exit_code == 0


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("validate --log.level=wran", "'wran': unknown level, did you mean warn?"),
        ("validate --log.level=loud", "'loud': unknown level; known: debug, error, info, warn, warning"),
        ("validate --log.format=html", "'html' is not one of 'logfmt', 'json'."),
        ("endpoints --format html", "'html' is not one of 'table', 'json', 'csv'."),
        ("vaildate", "No such command 'vaildate'. Did you mean 'validate'?"),
        ("validate --config x", "No such option: --config (Possible options: --config.file, --web.config.file)"),
        ("catalogue import", "Missing argument 'SOURCE'."),
    ],
)
def test_a_mistake_in_a_call_is_said_on_one_line_whatever_the_width(call: str, words: str) -> None:
    done = said(*call.split(), env=os.environ | {"COLUMNS": "40"})
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr.splitlines()[-1]
    assert "Value error" not in done.stderr


@posix
@pytest.mark.parametrize("option", ["validate --config.file", "check --against", "allowlist --diff"])
def test_a_file_that_may_not_be_read_is_said_as_any_other_reason(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.yaml"
    secret.touch(mode=0o000)
    monkeypatch.setattr("os.access", lambda *_: False)  # which asks for the real user, of whom there is but one here
    CliRunner().invoke(app, ["validate"])  # which imports what that user may not read
    codecs.lookup("utf-8-sig")
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        done = CliRunner().invoke(app, [*option.split(), str(secret)])
    finally:
        os.seteuid(user)
    assert str(done.exception) == f"{secret}:1: cannot be read: Permission denied"


# ---------------------------------------------------------------- help


def commands() -> dict[str, Any]:
    """Every command, by the words that call it; groups too."""
    group: Any = typer.main.get_command(app)
    found = {"": group}
    for name in group.list_commands(None):
        found[name] = group.get_command(None, name)
        found |= {f"{name} {inner}": below for inner, below in getattr(found[name], "commands", {}).items()}
    return found


COMMANDS: Final = commands()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_no_type_in_brackets_and_no_word_that_is_cut_off(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "80"}).stdout
    shown, _, _ = shown.partition("Examples:")
    assert not re.search(r"<|[a-z]\.\.\.\n|[{}│╭]", shown)
    words = set(" ".join(found.help or "" for found in (COMMANDS[name], *COMMANDS[name].params)).split())
    assert words - set(shown.split()) == set()


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not hasattr(command, "commands")])
def test_every_help_has_examples_that_are_understood(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"]).stdout.splitlines()
    assert EXAMPLES[name]
    for example in EXAMPLES[name]:
        assert f"    {example}" in shown
        _, *arguments = shlex.split(example.replace("\\", "/"), comments=True)
        given = arguments[len(name.split()) :]
        given = given[: given.index(">")] if ">" in given else given
        assert COMMANDS[name].make_context(name, given)


# ---------------------------------------------------------------- start


def test_the_version_is_said_before_anything_else_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "exporter", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "exporter.cli.commands" in imported
    assert not imported & {"structlog", "rich.console", "httpx", "anyio", "yaml", "ssl", "asyncio"}
    assert {name for name in imported if name.startswith("exporter.")} == {
        "exporter.cli",
        "exporter.cli.commands",
        "exporter.cli.examples",
        "exporter.cli.output",
    }


AS_LONG_AS: Final = 25  # starts of the interpreter; it took 15, and 60 before commands were imported when called


@posix
@pytest.mark.timing
def test_the_version_takes_no_longer_than_some_starts_of_the_interpreter() -> None:
    def ratio() -> float:
        return _seconds([*COMMAND, "--version"]) / _seconds([sys.executable, "-c", "pass"])

    assert in_a_quiet_moment(ratio, lambda found: found < AS_LONG_AS) < AS_LONG_AS


def _seconds(program: list[str]) -> float:
    """How long a program computes; the shortest of some runs."""
    return min(_once(program) for _ in range(5))


def _once(program: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(program, cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
