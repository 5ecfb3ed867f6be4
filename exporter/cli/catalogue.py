"""`catalogue`: what Microsoft publishes for machines, as files to name, and its articles beside the catalogue."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError

from exporter import published as imports
from exporter.cli.completion import known_clouds, known_roles
from exporter.cli.options import BAD_INPUT, NOT_READY, writing
from exporter.config import catalogue as shipped
from exporter.config import settings as config
from exporter.config.aliases import aliases
from exporter.config.durations import seconds
from exporter.config.fields import unknown
from exporter.config.groups import Names
from exporter.config.settings import ProxySection
from exporter.model.vocabulary import Proxy, Settings, Target
from exporter.plan.checks import bypasses
from exporter.plan.selection import SelectionError, named
from exporter.probe.net import Route, verifying
from exporter.proxies.finding import Finder, NotFound, finder
from exporter.proxies.winhttp import NotWindows
from exporter.published import Choice, Format, Origin, Unusable
from exporter.system.extras import missing_reader
from exporter.system.loop import run_on_loop
from exporter.text.secrets import address

TIMEOUT: Final = "60s"

catalogue = typer.Typer(
    help="Import lists that Microsoft publishes, and follow its articles.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@catalogue.command("import")
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file, or an http:// or https:// URL.")],
    form: Annotated[Format, typer.Option("--format", help="What SOURCE is.")] = Format.AUTO,
    output: Annotated[
        Path | None,
        typer.Option("--output", readable=False, metavar="FILE", help="Where the result is written; else to stdout."),
    ] = None,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Print what is new, gone and covered already; exit with 1 if something is new."),
    ] = False,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config.file",
            readable=False,
            metavar="FILE",
            help="Whose proxies and trust are used, and what is covered.",
        ),
    ] = None,
    service_areas: Annotated[
        list[str] | None,
        typer.Option("--service-area", metavar="SLUG", help="Only this area of Microsoft 365; repeatable."),
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Only this record or service tag; repeatable.")
    ] = None,
    roles: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="SLUG", help="A role that needs the endpoints; repeatable.", autocompletion=known_roles
        ),
    ] = None,
    clouds: Annotated[
        list[str] | None,
        typer.Option(
            "--cloud", metavar="SLUG", help="A cloud where they are needed; repeatable.", autocompletion=known_clouds
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", metavar="NAME-OR-URL", help="A proxy of the configuration, or http://host:port."),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="For fetching a URL as a whole.")
    ] = TIMEOUT,
) -> None:
    """Read a published list and write it as groups, or as ranges of addresses, for the configuration to name."""
    known = shipped.load()
    settings = config.load(config_file, known)
    names = Names(known.roles, known.clouds)
    choice = Choice(
        tuple(service_areas or ()),
        tuple(ids or ()),
        named("role", roles or (), names.roles, also=aliases(known.roles)),
        named("cloud", clouds or (), names.clouds, also=aliases(known.clouds)),
    )
    try:
        data = _read(source, settings, _proxy(proxy, settings), _seconds(timeout))
        imported = imports.extract(data, choice, form)
        text = imports.written(imported, Origin(_where(source), datetime.now(UTC)), names)
    except Unusable as unfit:
        for line in unfit.reasons:
            typer.echo(f"{_where(source)}: {line}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    if output is not None:
        with writing(output, "--output"):
            output.write_text(text, encoding="utf-8", newline="\n")
    elif not diff:
        typer.echo(text, nl=False)
    if diff:
        comparison = imports.compared(imported, known.groups, settings.groups, settings.address_ranges)
        typer.echo(str(comparison))
        if comparison.new:
            raise typer.Exit(NOT_READY)


class DiffFormat(StrEnum):
    """How differences are printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


@catalogue.command()
def diff(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            readable=False,
            help="Saved articles: Markdown from the documentation's repositories with what it includes beside it, "
            "or published pages as HTML.",
        ),
    ],
    form: Annotated[DiffFormat, typer.Option("--format", help="`markdown`: an issue to file.")] = DiffFormat.TEXT,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Print also what is the same, and what is left out and why, as JSON does."),
    ] = False,
) -> None:
    """Compare Microsoft's articles with the shipped catalogue; exit with 1 where anything differs."""
    if missing := missing_reader():
        typer.echo(f"catalogue diff: {missing}", err=True)
        raise typer.Exit(BAD_INPUT)
    from exporter.articles import following, report  # noqa: PLC0415 - needs an optional extra

    differences, mistakes = following.compared_all(sources)
    for mistake in mistakes:
        typer.echo(mistake, err=True)
    if mistakes:
        raise typer.Exit(BAD_INPUT)
    match form:
        case DiffFormat.TEXT:
            typer.echo(report.as_text(differences, everything=everything))
        case DiffFormat.MARKDOWN:
            typer.echo(report.as_markdown(differences), nl=False)
        case DiffFormat.JSON:
            typer.echo(report.as_json(differences))
    if any(difference.different for difference in differences):
        raise typer.Exit(NOT_READY)


def _read(source: str, settings: Settings, proxy: Proxy | None, timeout: float) -> bytes:
    if "://" not in source:
        return imports.from_file(Path(source))
    context = verifying(settings.tls)
    where = None if proxy is None else _found(proxy, context)

    def route_to(url: str) -> Route:
        if proxy is None or where is None or bypasses(proxy.no_proxy, urlsplit(url).hostname or ""):
            return Route(context)
        ways = where.ways([Target(url)])[0]
        if ways.why_none is not None:
            raise Unusable(f"cannot be fetched: {ways.why_none}")
        first = ways.urls[0]  # one connection is made, and not by another way where this one fails
        return Route(context, None if first is None else replace(proxy, url=first))

    try:
        return run_on_loop(imports.from_web, source, route_to, timeout)
    except NotFound as error:
        raise SelectionError(f"--proxy {proxy.name if proxy else ''}: {error}") from None


def _found(proxy: Proxy, context: ssl.SSLContext) -> Finder:
    try:
        return finder(proxy, lambda: context)
    except (NotFound, NotWindows) as error:
        raise SelectionError(f"--proxy {proxy.name}: {error}") from None


def _where(source: str) -> str:
    """The source as it may be shown."""
    return address(source) if "://" in source else source


def _proxy(word: str | None, settings: Settings) -> Proxy | None:
    """The proxy that a name of the configuration, or a URL, means."""
    if word is None:
        return None
    if "://" not in word:
        if word not in settings.proxies:
            raise SelectionError(f"--proxy {word}: {unknown('proxy', settings.proxies, word)}")
        return settings.proxies[word]
    try:
        return ProxySection(url=word).proxy("of the command line")
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["ctx"]["error"]), param_hint="--proxy") from None


def _seconds(duration: str) -> float:
    try:
        length = seconds(duration)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
    if not length:
        raise typer.BadParameter("must be longer than 0", param_hint="--timeout")
    return length
