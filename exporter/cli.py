"""The command line: `serve`, `check`, `validate`, `endpoints`, `explain`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import anyio
import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exporter import __version__, report
from exporter import serve as server
from exporter.app import Source, check_once, deploy, documented, documented_anywhere
from exporter.log import LogFormat, LogLevel, configure
from exporter.narrow import UNUSABLE, Narrowing, NarrowingError

DEFAULT_ADDRESS: Final = ":10965"
NOT_READY: Final = 1
BAD_INPUT: Final = 2
INTERNAL_ERROR: Final = 70  # EX_SOFTWARE of sysexits.h

app = typer.Typer(
    name="configmgr-endpoint-exporter",
    help="Can this Configuration Manager site reach what it needs on the internet?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config.file", metavar="FILE", help="Configuration; without it, every active group is probed, direct."
    ),
]
Level = Annotated[LogLevel, typer.Option("--log.level", help="Lines of this level and above are written, to stderr.")]
Form = Annotated[LogFormat, typer.Option("--log.format", help="How a log line is written.")]
Features = Annotated[list[str] | None, typer.Option("--feature", metavar="SLUG", help="Only this feature; repeatable.")]
Roles = Annotated[list[str] | None, typer.Option("--role", metavar="SLUG", help="Only this role; repeatable.")]
Clouds = Annotated[list[str] | None, typer.Option("--cloud", metavar="SLUG", help="Only this cloud; repeatable.")]


class CheckFormat(StrEnum):
    """What `check` writes."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    MARKDOWN = "markdown"


class EndpointsFormat(StrEnum):
    """What `endpoints` writes."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def main() -> None:
    """Run the command line; a person sees words, never a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a narrow code page, as on Windows, shall not stop a report
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (*UNUSABLE, server.ListenError) as error:
        typer.echo(str(error), err=True)
        sys.exit(BAD_INPUT)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        structlog.get_logger("exporter").debug("internal error", exc_info=True)
        typer.echo(f"internal error: {type(error).__name__}: {error} (the log at level debug tells where)", err=True)
        sys.exit(INTERNAL_ERROR)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def serve(
    config_file: ConfigFile = None,
    listen: Annotated[
        list[str] | None,
        typer.Option("--web.listen-address", metavar="HOST:PORT", help=f"Repeatable; default {DEFAULT_ADDRESS}."),
    ] = None,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.INFO,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Run the exporter until SIGTERM or SIGINT."""
    configure(log_level, log_format)
    source = _source(config_file, feature, role, cloud)
    deployment = deploy(source)
    server.run(source, deployment, [server.listen(address) for address in listen or [DEFAULT_ADDRESS]])


@app.command()
def check(
    config_file: ConfigFile = None,
    form: Annotated[CheckFormat, typer.Option("--format", help="What is written to stdout.")] = CheckFormat.TABLE,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Probe everything once, now. Exits with 1 if something needed is not usable."""
    configure(log_level, log_format)
    deployment = deploy(_source(config_file, feature, role, cloud))
    with _progress(len(deployment.plan.checks)) as advance:
        snapshot = anyio.run(check_once, deployment, advance)
    match form:
        case CheckFormat.TABLE:
            report.print_check(snapshot, Console())
        case CheckFormat.JSON:
            typer.echo(report.check_json(snapshot))
        case CheckFormat.JUNIT:
            typer.echo(report.check_junit(snapshot))
        case CheckFormat.MARKDOWN:
            typer.echo(report.check_markdown(snapshot))
    if not report.all_ready(snapshot):
        raise typer.Exit(NOT_READY)


@app.command()
def validate(
    config_file: ConfigFile = None, log_level: Level = LogLevel.WARNING, log_format: Form = LogFormat.LOGFMT
) -> None:
    """Read the configuration and name every mistake."""
    configure(log_level, log_format)
    deployment = deploy(_source(config_file, None, None, None))
    plan = deployment.plan
    name = config_file or "embedded default"
    typer.echo(f"{name}: ok, {len(plan.checks)} targets to probe, {len(plan.unprobed)} endpoints without a target")


@app.command()
def endpoints(
    config_file: ConfigFile = None,
    whole: Annotated[
        bool, typer.Option("--all", help="All that is documented, not only what the site selects.")
    ] = False,
    form: Annotated[
        EndpointsFormat, typer.Option("--format", help="What is written to stdout.")
    ] = EndpointsFormat.TABLE,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """List what is documented and what is probed for it."""
    configure(log_level, log_format)
    requirements = documented(_source(config_file, feature, role, cloud), whole=whole)
    match form:
        case EndpointsFormat.TABLE:
            report.print_endpoints(requirements, Console())
        case EndpointsFormat.JSON:
            typer.echo(report.endpoints_json(requirements))
        case EndpointsFormat.CSV:
            typer.echo(report.endpoints_csv(requirements).encode(), nl=False)  # bytes: RFC 4180 has its own line ends


@app.command()
def explain(
    word: Annotated[
        str,
        typer.Argument(
            metavar="TARGET-OR-ENDPOINT", help="A URL that is probed, an endpoint as documented, or a host."
        ),
    ],
    config_file: ConfigFile = None,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Probe one target or endpoint now and show all that was seen. Exits with 1 if it is not usable."""
    configure(log_level, log_format)
    source = _source(config_file, feature, role, cloud)
    deployment = deploy(source)
    asked = report.asked(deployment.plan, word)
    if asked is None:
        raise NarrowingError(report.why_none(word, deployment.plan, *documented_anywhere(source)))
    with _progress(len(asked.plan.checks)) as advance:
        snapshot = anyio.run(check_once, replace(deployment, plan=asked.plan), advance)
    report.print_asked(asked, snapshot, Console())
    if not asked.usable(snapshot):
        raise typer.Exit(NOT_READY)


def _source(
    config_file: Path | None, features: list[str] | None, roles: list[str] | None, clouds: list[str] | None
) -> Source:
    return Source(config_file, Narrowing(tuple(features or ()), tuple(roles or ()), tuple(clouds or ())))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr while a terminal looks on."""
    console = Console(stderr=True)
    columns = (TextColumn("probing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("probing", total=total)
        yield lambda: bar.advance(task)
