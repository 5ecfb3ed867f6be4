"""`check` and `explain`: probe now and tell a person; `check --against` compares instead."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console

from exporter import allowlist as lists
from exporter import report
from exporter.app import check_once, deploy, documented_anywhere
from exporter.cli.allowlist import PathOption, needed
from exporter.cli.options import NOT_READY, Clouds, ConfigFile, Features, Form, Level, Roles, progress, source_of
from exporter.log import LogFormat, LogLevel, configure
from exporter.narrow import NarrowingError


class CheckFormat(StrEnum):
    """What `check` writes."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    MARKDOWN = "markdown"


def check(
    config_file: ConfigFile = None,
    form: Annotated[CheckFormat, typer.Option("--format", help="What is written to stdout.")] = CheckFormat.TABLE,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="Probe nothing, but say what this allow list lacks: acl lines of Squid, hosts line by line, "
            "or the json or csv of `allowlist`.",
        ),
    ] = None,
    path: PathOption = None,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Probe everything once, now. Exits with 1 if something needed is not usable.

    With --against, nothing is probed: exits with 1 if an allow list lacks something needed.
    """
    configure(log_level, log_format)
    source = source_of(config_file, feature, role, cloud)
    if against is not None:
        _compare(lists.compare(needed(source, path)[0], lists.read_allowed(against)), form)
        return
    if path is not None:
        raise typer.BadParameter("--path goes with --against")
    deployment = deploy(source)
    with progress(len(deployment.plan.checks)) as advance:
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


def _compare(compared: lists.Comparison, form: CheckFormat) -> None:
    match form:
        case CheckFormat.TABLE:
            lists.print_comparison(compared, Console())
        case CheckFormat.JSON:
            typer.echo(lists.comparison_json(compared))
        case CheckFormat.JUNIT:
            typer.echo(lists.comparison_junit(compared))
        case CheckFormat.MARKDOWN:
            typer.echo(lists.comparison_markdown(compared))
    if compared.missing:
        raise typer.Exit(NOT_READY)


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
    source = source_of(config_file, feature, role, cloud)
    deployment = deploy(source)
    asked = report.asked(deployment.plan, word)
    if asked is None:
        raise NarrowingError(report.why_none(word, deployment.plan, *documented_anywhere(source)))
    with progress(len(asked.plan.checks)) as advance:
        snapshot = anyio.run(check_once, replace(deployment, plan=asked.plan), advance)
    report.print_asked(asked, snapshot, Console())
    if not asked.usable(snapshot):
        raise typer.Exit(NOT_READY)
