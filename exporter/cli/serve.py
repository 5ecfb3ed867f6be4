"""`serve`: the exporter as a service."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from exporter import serve as server
from exporter.app import deploy
from exporter.cli.options import Clouds, ConfigFile, Features, Form, Level, Roles, source_of
from exporter.log import LogFormat, LogLevel, configure

DEFAULT_ADDRESS: Final = ":10965"


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
    source = source_of(config_file, feature, role, cloud)
    deployment = deploy(source)
    server.run(source, deployment, [server.listen(address) for address in listen or [DEFAULT_ADDRESS]])
