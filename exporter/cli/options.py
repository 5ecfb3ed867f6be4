"""The options that several commands share, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exporter.cli.completion import clouds, features, roles
from exporter.cli.output import console
from exporter.config.documents import reason
from exporter.config.fields import found, unknown
from exporter.plan.selection import Selection
from exporter.service.load import Deployment, Source
from exporter.system.log import LogFormat, LogLevel

NOT_READY: Final = 1  # exit status: the answer is no
BAD_INPUT: Final = 2  # exit status: what a person wrote cannot be used

# `readable=False` leaves it to whoever reads a file to say why it cannot be read.
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config.file",
        metavar="FILE",
        readable=False,
        help="Configuration; without it, every active group is probed, direct.",
    ),
]
WebConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--web.config.file",
        metavar="FILE",
        readable=False,
        help="TLS and basic authentication, in Prometheus' web configuration format.",
    ),
]


def _level(word: str) -> LogLevel:
    """The level of a word, in Prometheus' spelling, too. Raises BadParameter."""
    meant = _OTHER_SPELLINGS.get(word.lower(), word.lower())
    if meant not in set(LogLevel):
        raise typer.BadParameter(f"{found(word)}: {unknown('level', {*LogLevel, *_OTHER_SPELLINGS}, word)}")
    return LogLevel(meant)


_OTHER_SPELLINGS: Final = {"warn": LogLevel.WARNING}
Level = Annotated[
    LogLevel,
    typer.Option(
        "--log.level",
        metavar="|".join(LogLevel),
        parser=_level,
        help="Lines of this level and above are written, to stderr.",
    ),
]
Form = Annotated[LogFormat, typer.Option("--log.format", help="How a log line is written.")]
Features = Annotated[
    list[str] | None,
    typer.Option("--feature", metavar="SLUG", help="Only this feature; repeatable.", autocompletion=features),
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="SLUG", help="Only this role; repeatable.", autocompletion=roles),
]
Clouds = Annotated[
    list[str] | None,
    typer.Option("--cloud", metavar="SLUG", help="Only this cloud; repeatable.", autocompletion=clouds),
]


def source_of(
    config_file: Path | None, features: list[str] | None, roles: list[str] | None, clouds: list[str] | None
) -> Source:
    """Where the configuration comes from, narrowed as the command line says."""
    return Source(config_file, Selection(tuple(features or ()), tuple(roles or ()), tuple(clouds or ())))


def warn(deployment: Deployment) -> None:
    """Say on stderr what the configuration says in vain."""
    for mistake in deployment.unused:
        typer.echo(mistake.as_warning, err=True)


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr while a terminal looks on."""
    shown_on = console(stderr=True)
    columns = (TextColumn("probing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=shown_on, transient=True, disable=not shown_on.is_terminal) as bar:
        task = bar.add_task("probing", total=total)
        yield lambda: bar.advance(task)


@contextmanager
def writing(file: Path, option: str) -> Iterator[None]:
    """Raise BadParameter where the file that an option names cannot be written."""
    try:
        yield
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {reason(error)}.", param_hint=option) from None
