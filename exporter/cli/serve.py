"""`serve`: the exporter as a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import typer

from exporter import daemon
from exporter.cli.options import Clouds, ConfigFile, Features, Form, Level, Roles, WebConfigFile, source_of
from exporter.service.load import deploy
from exporter.system.log import LogFormat, LogLevel, configure
from exporter.system.log_queue import queue_for_stderr
from exporter.web import server
from exporter.web.access import PROBE, RELOAD, Credentials, Policy
from exporter.web.callers import names_of_this_machine

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
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--web.allowed-hosts",
            metavar="NAME",
            help="A name by which the exporter may be asked, beside this machine's own, also *.DOMAIN, or * for all; "
            "repeatable.",
        ),
    ] = None,
    enable_lifecycle: Annotated[
        bool,
        typer.Option("--web.enable-lifecycle", help="Take POST /-/reload from all, not only from who has a password."),
    ] = False,
    enable_probe: Annotated[
        bool, typer.Option("--web.enable-probe", help="Answer /probe to all, not only to who has a password.")
    ] = False,
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
    policy = Policy(
        opened=_chosen({RELOAD: enable_lifecycle, PROBE: enable_probe}),
        switched_off=_chosen({RELOAD: disable_reload, PROBE: disable_probe}),
        names=daemon.interruptibly(lambda: names_of_this_machine(allowed_hosts or ())),
    )
    sockets = [server.listen(address) for address in listen or [DEFAULT_ADDRESS]]
    web = server.ServerConfig(sockets, credentials, policy)
    daemon.run(source, deployment, web, host)


def _chosen(wanted: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(path for path, yes in wanted.items() if yes)
