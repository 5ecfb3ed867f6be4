"""`validate` and `endpoints`: what is configured and what is documented; nothing is probed."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer

from exporter import report
from exporter.cli.options import Clouds, ConfigFile, Features, Form, Level, Roles, WebConfigFile, source_of, warn
from exporter.cli.output import console
from exporter.config import web
from exporter.config.documents import Mistake
from exporter.model.vocabulary import Plan
from exporter.plan.selection import SelectionError
from exporter.service.load import documented, examine
from exporter.system.log import LogFormat, LogLevel, configure


class EndpointsFormat(StrEnum):
    """What `endpoints` writes."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def validate(
    config_file: ConfigFile = None,
    web_config_file: WebConfigFile = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Read the configuration and name every mistake. What only this machine lacks for it is named apart.

    With --web.config.file, the same of that file.
    """
    configure(log_level, log_format)
    deployment, lacking = examine(source_of(config_file, None, None, None))
    lacking_for_web = web.examine(web_config_file) if web_config_file else ()
    plan = deployment.plan
    for line in deployment.found.notes:
        typer.echo(line)
    name = config_file or "embedded default"
    typer.echo(f"{name}: ok, {report.counted(plan).words}")
    if web_config_file:
        typer.echo(f"{web_config_file}: ok")
    warn(deployment)
    if nothing := report.nothing_to_check(plan):
        typer.echo(f"{name}: warning: {nothing}", err=True)
    _refused_here("`serve` and `check` refuse", lacking)
    _refused_here("`serve` refuses", lacking_for_web)


def _refused_here(who: str, lacking: Iterable[Mistake]) -> None:
    for number, mistake in enumerate(lacking):
        if number == 0:
            typer.echo(f"Right as it is written, but {who} it on this machine:", err=True)
        typer.echo(str(mistake), err=True)


def endpoints(
    config_file: ConfigFile = None,
    whole: Annotated[
        bool, typer.Option("--all", help="Everything that is documented, not only what the site selects.")
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
    """List what is documented and what is probed for it. Exits with 2 if nothing is selected."""
    configure(log_level, log_format)
    plan = documented(source_of(config_file, feature, role, cloud), whole=whole)
    if plan.requirements:
        _list(plan, form)
    if not report.counted(plan).endpoints:
        raise SelectionError(report.nothing_to_check(plan))


def _list(plan: Plan, form: EndpointsFormat) -> None:
    requirements = plan.requirements
    match form:
        case EndpointsFormat.TABLE:
            report.print_endpoints(plan, console())
        case EndpointsFormat.JSON:
            typer.echo(report.endpoints_json(requirements))
        case EndpointsFormat.CSV:
            typer.echo(report.endpoints_csv(requirements).encode(), nl=False)  # bytes: RFC 4180 has its own line ends
