"""Command lines that can be pasted: words as a shell takes them, and the exporter's own command. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PROGRAM: Final = "configmgr-endpoint-exporter"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-][A-Za-z0-9_.:-]*", re.ASCII)  # means itself in every shell
# PowerShell takes the typographic ones for a quote as well.
# https://learn.microsoft.com/en-us/powershell/module/microsoft.powershell.core/about/about_quoting_rules
_QUOTES: Final = re.compile("['\N{LEFT SINGLE QUOTATION MARK}-\N{SINGLE HIGH-REVERSED-9 QUOTATION MARK}]")


class Shell(StrEnum):
    """Where a command is pasted; its value names the language of a block in Markdown."""

    POWERSHELL = "powershell"  # 5.1 and 7
    POSIX = "sh"

    def within_quotes(self, text: str) -> str:
        """The text between single quotes, where neither shell expands anything.

        Holds for what PowerShell hands to a program as well, as long as there is no double quote in it: 5.1 does not
        escape that one, 7.3 does. A path on Windows has none, and for a URL see `pasteable`.
        """
        if self is Shell.POSIX:
            return text.replace("'", "'\"'\"'")
        return _QUOTES.sub(lambda quote: quote[0] * 2, text)

    def word(self, text: str) -> str:
        """One word of a command line, in quotes where it needs any."""
        return text if _PLAIN.fullmatch(text) else f"'{self.within_quotes(text)}'"


def pasteable(url: str) -> str:
    """The URL as it may stand in a command: without the double quotes that PowerShell 5.1 loses on the way."""
    return url.replace('"', "%22")


@dataclass(frozen=True, slots=True)
class Invocation:
    """How the exporter is called by hand so that it sees what the running one sees: by its file, and as narrow."""

    program: tuple[str, ...] = (PROGRAM,)
    config_file: str = ""  # an absolute path; empty: the embedded default
    features: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    shell: Shell = Shell.POSIX

    def explain(self, url: str, path: str) -> str:
        """Probe one target by one path."""
        return self.line("explain", pasteable(url), "--path", path)

    def line(self, command: str, *arguments: str) -> str:
        """Any command with its arguments; roles that are among them stand in place of those of the service."""
        options = ["--config.file", self.config_file] if self.config_file else []
        if command != "validate":
            narrowing = {"--feature": self.features, "--role": self.roles, "--cloud": self.clouds}
            options += [
                part
                for option, slugs in narrowing.items()
                if option not in arguments
                for slug in slugs
                for part in (option, slug)
            ]
        words = " ".join(self.shell.word(text) for text in (*self.program, command, *arguments, *options))
        # PowerShell takes a program in quotes for a text unless it is called.
        return f"& {words}" if self.shell is Shell.POWERSHELL and words.startswith("'") else words


BY_NAME: Final = Invocation()  # found by its name, without a configuration
