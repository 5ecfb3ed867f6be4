"""The command line: a function for each command, and what becomes of an error."""

from __future__ import annotations

import codecs
import ctypes
import io
import sys
from typing import Annotated

import structlog
import typer

from exporter import __version__
from exporter.cli.allowlist import allowlist
from exporter.cli.catalogue import catalogue
from exporter.cli.check import check, explain
from exporter.cli.config import config
from exporter.cli.listing import endpoints, validate
from exporter.cli.options import BAD_INPUT
from exporter.cli.serve import serve
from exporter.cli.service import service
from exporter.daemon import INTERNAL_ERROR, Host
from exporter.plan.selection import UNUSABLE
from exporter.system.log import described
from exporter.system.log_queue import flush
from exporter.web.server import ListenError

app = typer.Typer(
    name="configmgr-endpoint-exporter",
    help="Can this Configuration Manager site reach what it needs on the internet?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (serve, check, validate, endpoints, allowlist, explain):
    app.command()(command)
app.add_typer(catalogue, name="catalogue")
app.add_typer(config, name="config")
app.add_typer(service, name="service")


def main(host: Host | None = None) -> None:
    """Run the command line, for `serve` by a host; a person sees words, never a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a narrow code page, as on Windows, shall not stop a report
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else _console_encoding(), errors="backslashreplace")
    try:
        app(obj=host)
    except (*UNUSABLE, ListenError) as error:
        _say(str(error))
        sys.exit(BAD_INPUT)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        structlog.get_logger("exporter").debug("internal error", exc_info=True)
        _say(f"internal error: {described(error)} (the log at level debug shows the whole way there)")
        sys.exit(INTERNAL_ERROR)


def _console_encoding() -> str | None:
    """How PowerShell reads what a command writes into a pipe or a file: by the code page of its console.

    Python writes by that of the system. None: as Python does, where there is no console or no such difference.
    """
    if sys.platform == "win32":
        return encoding_of(ctypes.windll.kernel32.GetConsoleOutputCP())
    return None


def encoding_of(page: int) -> str | None:
    """What Python calls a code page. None: it does not know it, or there is no console."""
    try:
        return codecs.lookup(f"cp{page}").name
    except LookupError:
        return None


def _say(text: str) -> None:
    """The last words, below those of the log; not to somebody who has stopped reading."""
    if flush():
        typer.echo(text, err=True)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
