"""`serve`: the exporter as a service."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from exporter import daemon
from exporter.cli.options import Clouds, ConfigFile, Features, Form, Level, Roles, WebConfigFile, source_of
from exporter.service.load import deploy
from exporter.system.log import LogFormat, LogLevel, configure
from exporter.system.log_queue import queue_for_stderr
from exporter.web import server
from exporter.web.access import Credentials

DEFAULT_ADDRESS: Final = ":10965"


def serve(
    context: typer.Context,
    config_file: ConfigFile = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--web.listen-address",
            metavar="HOST:PORT",
            help=f"Also [IPV6]:PORT, or :PORT for all addresses; repeatable; default {DEFAULT_ADDRESS}.",
        ),
    ] = None,
    web_config_file: WebConfigFile = None,
    disable_reload: Annotated[
        bool, typer.Option("--web.disable-reload", help="Answer 404 to /-/reload; a signal still reloads.")
    ] = False,
    disable_probe: Annotated[bool, typer.Option("--web.disable-probe", help="Answer 404 to /probe.")] = False,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.INFO,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Run the exporter until SIGTERM or SIGINT."""
    host = context.find_object(daemon.Host) or daemon.Host()
    configure(log_level, log_format, host.log or queue_for_stderr())
    source = source_of(config_file, feature, role, cloud)
    daemon.prepare(host)
    deployment = daemon.interruptibly(lambda: deploy(source))
    credentials = daemon.interruptibly(lambda: Credentials(web_config_file))
    switched_off = {"/-/reload": disable_reload, "/probe": disable_probe}
    sockets = [server.listen(address) for address in listen or [DEFAULT_ADDRESS]]
    web = server.ServerConfig(sockets, credentials, frozenset(path for path, off in switched_off.items() if off))
    daemon.run(source, deployment, web, host)
