"""A page of commands, walked as its reader would: each command is typed, and must show what the page shows.

In what a page shows, `…` stands for whatever differs each time: in a line for a part of it, on a line of its own for
any number of lines. A command that shows something is typed again until it shows that; one that shows nothing is typed
once, and must succeed.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tests.lab.__main__ import PROMPT
from tests.running import ROOT

# What people read, by its place: every command on it is run, and every link leads somewhere.
PAGES: Final = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for places in ("*.md", "docs/*.md", "benchmarks/*.md", "config/roles/*.md", "dashboards/*.md")
    for path in sorted(ROOT.glob(places))
}
PATIENCE: Final = 60.0  # seconds for a command to show what the page shows
MORE: Final = "> "  # the prompt of a line that goes on


@dataclass(frozen=True)
class Step:
    """A command, and what it shows."""

    command: str
    shown: str

    def told_by(self, output: str) -> bool:
        """Whether a terminal with this output looks like the page."""
        lines = ((r"(.*\n)*" if line == "…" else f"{_open(line)}\n") for line in _lines(self.shown))
        return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in _lines(output))) is not None


def steps(page: str) -> list[Step]:
    """The commands of a page, in order."""
    typed = [
        line
        for block in re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    found: list[tuple[list[str], list[str]]] = []
    for line in typed:
        if line.startswith(PROMPT):
            found.append(([line.removeprefix(PROMPT)], []))
        elif line.startswith(MORE) and not found[-1][1]:
            found[-1][0].append(line.removeprefix(MORE))
        else:
            found[-1][1].append(line)
    return [Step("\n".join(command), "\n".join(_lines("\n".join(shown)))) for command, shown in found]


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def _open(line: str) -> str:
    return ".*".join(map(re.escape, line.split("…")))


class Shell:
    """A shell of its own in a laboratory of its own."""

    def __init__(self, process: subprocess.Popen[str], output: TextIO) -> None:
        self._process = process
        self._output = output
        self._mark = secrets.token_hex(8)

    def type(self, command: str) -> tuple[str, int]:
        """What the command shows, and its status."""
        if self._process.stdin is None:
            raise AssertionError("opened with a pipe")
        self._process.stdin.write(f"{command}\nprintf '\\n{self._mark} %s\\n' $?\n")
        self._process.stdin.flush()
        output: list[str] = []
        for line in self._output:
            if line.startswith(self._mark):
                return "".join(output).removesuffix("\n"), int(line.removeprefix(self._mark))
            output.append(line)
        raise AssertionError(f"the shell ended: {command}")

    def follow(self, step: Step) -> None:
        """Type the command until it shows what the page shows."""
        deadline = time.monotonic() + PATIENCE
        while True:
            output, status = self.type(step.command)
            if step.told_by(output) and (step.shown or status == 0):
                return
            assert step.shown, f"{step.command}\nended with {status} and showed:\n{output}"
            assert time.monotonic() < deadline, f"{step.command}\nshows:\n{output}\ninstead of:\n{step.shown}"
            time.sleep(0.2)


@contextmanager
def opened(directory: Path) -> Iterator[Shell]:
    """What `make lab` opens, in this directory, before a terminal without colours that is as wide as the pages."""
    import pty  # noqa: PLC0415 - Windows, where the pages are read too, has none
    import tty  # noqa: PLC0415

    argv = [sys.executable, "-m", "tests.lab"]
    shown, terminal = pty.openpty()
    tty.setraw(terminal)  # so that a line ends as the program ended it
    environment = os.environ | {"COLUMNS": "80", "TERM": "dumb"}
    with (
        open(shown, encoding="utf-8", newline="\n") as output,  # noqa: PTH123 - a descriptor has no path
        subprocess.Popen(
            argv, cwd=directory, stdin=subprocess.PIPE, stdout=terminal, stderr=terminal, text=True, env=environment
        ) as process,
    ):
        os.close(terminal)
        shell = Shell(process, output)
        shell.type("")  # past the words of welcome
        yield shell
        if process.stdin is not None:
            process.stdin.close()


def follow(page: Path) -> float:
    """Follow a page in a laboratory of its own, from the project's folder; the seconds that it took."""
    begun = time.monotonic()
    with opened(ROOT) as shell:
        for step in steps(page.read_text(encoding="utf-8")):
            shell.follow(step)
    return time.monotonic() - begun
