"""`serve`: the exporter as a service."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from exporter import serve as server
from exporter.app import deploy
from exporter.cli.options import Clouds, ConfigFile, Features, Form, Level, Roles, source_of
from exporter.door import Keys
from exporter.plan.shard import Shard
from exporter.system.log import LogFormat, LogLevel, configure

DEFAULT_ADDRESS: Final = ":10965"
MOST_SHARDS: Final = 1000  # dividing takes time for each: a slip of the finger shall not look like a hang


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
    web_config_file: Annotated[
        Path | None,
        typer.Option(
            "--web.config.file", metavar="FILE", help="TLS and passwords, in the ecosystem's web-config format."
        ),
    ] = None,
    disable_reload: Annotated[
        bool, typer.Option("--web.disable-reload", help="Answer 404 to /-/reload; a signal still reloads.")
    ] = False,
    disable_probe: Annotated[bool, typer.Option("--web.disable-probe", help="Answer 404 to /probe.")] = False,
    shard_index: Annotated[
        int | None, typer.Option("--shard.index", metavar="I", help="Probe only this exporter's share: I of 0 to N-1.")
    ] = None,
    shard_count: Annotated[
        int | None, typer.Option("--shard.count", metavar="N", help="How many exporters share the targets.")
    ] = None,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.INFO,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Run the exporter until SIGTERM or SIGINT."""
    host = context.find_object(server.Host) or server.Host()
    configure(log_level, log_format, host.log)
    source = replace(source_of(config_file, feature, role, cloud), shard=shard_of(shard_index, shard_count))
    server.prepare(host)
    deployment = server.interruptibly(lambda: deploy(source))
    keys = server.interruptibly(lambda: Keys(web_config_file))
    closed = {"/-/reload": disable_reload, "/probe": disable_probe}
    sockets = [server.listen(address) for address in listen or [DEFAULT_ADDRESS]]
    front = server.Front(sockets, keys, frozenset(path for path, off in closed.items() if off))
    server.run(source, deployment, front, host)


def shard_of(index: int | None, count: int | None) -> Shard:
    """The share that the options name. Raises BadParameter."""
    if index is None and count is None:
        return Shard()
    if count is None:
        raise typer.BadParameter(f"{index} of how many? Give --shard.count, too.", param_hint="--shard.index")
    if not 1 <= count <= MOST_SHARDS:
        raise typer.BadParameter(f"{count} is not a number from 1 to {MOST_SHARDS}.", param_hint="--shard.count")
    if index is None:
        raise typer.BadParameter(f"which of the {count}? Give --shard.index, too.", param_hint="--shard.count")
    if not 0 <= index < count:
        raise typer.BadParameter(
            f"there is no shard {index} of {count}; they are 0 to {count - 1}.", param_hint="--shard.index"
        )
    return Shard(index, count)
