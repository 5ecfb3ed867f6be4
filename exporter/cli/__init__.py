"""The command line: how it is called, and what becomes of an error."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from exporter import __version__
from exporter.cli import output
from exporter.cli.commands import Commands

if TYPE_CHECKING:
    from exporter.daemon import Host

_TO_INSTALL: Final = "--install-completion"

app = typer.Typer(
    name="configmgr-endpoint-exporter",
    cls=Commands,
    help="Can this Configuration Manager site reach what it needs on the internet?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(host: Host | None = None) -> None:
    """Run the command line, for `serve` by a host; a person sees words, never a traceback."""
    output.prepare()
    try:
        try:
            app(obj=host)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except output.Unwritable as error:
        _say(str(error) if error.status != output.CLOSED else "")
        output.abandon()
        sys.exit(error.status)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        status, words = _ended_by(error)
        _say(words)
        sys.exit(status)


def _say(words: str) -> None:
    """The last words, below those of the log; not to somebody who has stopped reading."""
    from exporter.system.log_queue import flush  # noqa: PLC0415 - `--version` needs no log

    if flush() and words:
        with suppress(output.Unwritable):
            typer.echo(words, err=True)


def _ended_by(error: Exception) -> tuple[int, str]:
    """The exit status that an error means, and its words."""
    from exporter.cli.options import BAD_INPUT  # noqa: PLC0415 - `--version` needs none of this
    from exporter.daemon import INTERNAL_ERROR  # noqa: PLC0415
    from exporter.plan.selection import UNUSABLE  # noqa: PLC0415
    from exporter.web.server import ListenError  # noqa: PLC0415

    if isinstance(error, (*UNUSABLE, ListenError)):
        return BAD_INPUT, str(error)
    if isinstance(error, OSError | RuntimeError) and _TO_INSTALL in sys.argv:  # no home, or one that is read-only
        where = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return BAD_INPUT, f"{_TO_INSTALL}: {where}; --show-completion prints what to put into a file of the shell"
    return INTERNAL_ERROR, f"internal error: {_logged(error)} (the log at level debug shows the whole way there)"


def _logged(error: Exception) -> str:
    """The words for a defect, of which the log has the traceback."""
    import structlog  # noqa: PLC0415

    from exporter.system.log import described  # noqa: PLC0415

    if structlog.is_configured():  # else it would print the traceback
        structlog.get_logger("exporter").debug("internal error", exc_info=error)
    return described(error)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --version: that of the catalogue and of Python as well.")
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        if verbose:
            from exporter.config.version import as_of  # noqa: PLC0415 - `--version` alone reads no file

            typer.echo(f"catalogue: as of {as_of()}, from Microsoft's documents\nPython: {platform.python_version()}")
        raise typer.Exit
    from exporter.system.log import LogFormat, LogLevel, configure  # noqa: PLC0415 - `--version` needs no log

    configure(LogLevel.WARNING, LogFormat.LOGFMT)
