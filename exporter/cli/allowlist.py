"""`allowlist`: what the site needs opened, or only what is down, for people and for devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from exporter import allowlist as lists
from exporter import report
from exporter.cli.options import NOT_READY, Clouds, ConfigFile, Features, Form, Level, Roles, progress, source_of, warn
from exporter.cli.output import console
from exporter.config.fields import PORTS, found, is_host, unknown
from exporter.model.vocabulary import Role
from exporter.plan.selection import SelectionError
from exporter.service.by_hand import by_hand
from exporter.service.load import Source, deploy, planned, selected
from exporter.service.once import check_once
from exporter.system.log import LogFormat, LogLevel, configure
from exporter.system.loop import run_on_loop
from exporter.text.numbers import plural


class AllowlistFormat(StrEnum):
    """What `allowlist` writes."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    SQUID = "squid"
    PAC = "pac"
    EDL = "edl"
    WINDOWS_FIREWALL = "windows-firewall"
    AZURE_FIREWALL = "azure-firewall"
    NFTABLES = "nftables"


CHANGED: Final = NOT_READY  # exit status of --diff: something did
_FORMATS_OF_CHANGES: Final = (AllowlistFormat.TABLE, AllowlistFormat.JSON, AllowlistFormat.MARKDOWN)
_FROM_RULES: Final[Mapping[AllowlistFormat, Callable[[Iterable[lists.Rule]], str]]] = {
    AllowlistFormat.JSON: lists.rules_json,
    AllowlistFormat.SQUID: lists.squid,
    AllowlistFormat.WINDOWS_FIREWALL: lists.windows_firewall,
    AllowlistFormat.AZURE_FIREWALL: lists.azure_firewall,
}

PathOption = Annotated[
    str | None,
    typer.Option("--path", metavar="PATH", help="Only what goes this way: direct, or proxy:NAME."),
]


def allowlist(
    config_file: ConfigFile = None,
    form: Annotated[
        AllowlistFormat, typer.Option("--format", help="What is written to stdout.")
    ] = AllowlistFormat.TABLE,
    older: Annotated[
        Path | None,
        typer.Option(
            "--diff",
            readable=False,
            metavar="FILE",
            help="Only what changed since this output of --format json, as table, json or markdown; "
            "exits with 1 if anything did.",
        ),
    ] = None,
    pac_proxy: Annotated[
        str | None,
        typer.Option("--pac-proxy", metavar="HOST:PORT", help="Where a PAC file sends what is listed."),
    ] = None,
    path: PathOption = None,
    only_down: Annotated[
        bool,
        typer.Option(
            "--only-down",
            help="Probe everything once, now, and write only what is down and a rule may bring back; with "
            "--format markdown also what the log of the firewall or proxy shows of it.",
        ),
    ] = False,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Write what the site needs opened, for a firewall or a proxy. Nothing is probed without --only-down."""
    configure(log_level, log_format)
    _refuse(form, older, pac_proxy)
    if older is not None and only_down:
        raise typer.BadParameter("--only-down does not go with --diff")
    source = source_of(config_file, feature, role, cloud)
    rules, roles = needed(source, path)
    seen: tuple[lists.Seen, ...] = ()
    if only_down:
        down = _down_now(source, rules)
        rules, seen = down.rules, down.seen
    if older is None:
        if form is AllowlistFormat.MARKDOWN:
            typer.echo(lists.change_request(rules, roles, by_hand(source), seen))
            return
        _write(rules, form, pac_proxy)
        return
    changes = lists.difference(lists.read_rules(older), rules)
    _write_changes(changes, form)
    if changes:
        raise typer.Exit(CHANGED)


def _down_now(source: Source, rules: tuple[lists.Rule, ...]) -> lists.Closed:
    """The rules of what is down, after one round; what none of them brings back is said on stderr."""
    deployment = deploy(source)
    warn(deployment)
    with progress(len(deployment.plan.checks)) as advance:
        snapshot = run_on_loop(check_once, deployment, advance)
    down = lists.closed(rules, snapshot)
    if not down.rules:
        typer.echo("note: there is nothing down that a rule of a firewall or a proxy may bring back", err=True)
    for who, number in down.others:
        typer.echo(f"note: {plural(number, 'target')} down for a reason that no rule removes: {who}", err=True)
    return down


def needed(source: Source, path: str | None) -> tuple[tuple[lists.Rule, ...], Mapping[str, Role]]:
    """The rules that the selected site needs, all or those of one path, and what the roles in them are.

    Raises what `deploy` raises, and SelectionError for a path that the site does not take, and where it needs nothing.
    """
    catalogue, settings, groups, site = selected(source)
    rules = lists.rules(catalogue, groups, site, settings)
    if not rules and (nothing := report.nothing_to_check(planned(source))):
        raise SelectionError(nothing)
    paths = {rule.path for rule in rules}
    if path not in {None, *paths}:
        raise SelectionError(f"--path {path}: {unknown('path of this site', paths, path or '')}")
    return tuple(rule for rule in rules if path in {None, rule.path}), catalogue.roles


def _refuse(form: AllowlistFormat, older: Path | None, pac_proxy: str | None) -> None:
    """Refuse options that do not go together: what is left out in silence is found out too late."""
    if older is not None and form not in _FORMATS_OF_CHANGES:
        raise typer.BadParameter(f"--diff is written as {', '.join(_FORMATS_OF_CHANGES)}, not as {form}")
    if pac_proxy is not None and form is not AllowlistFormat.PAC:
        raise typer.BadParameter("--pac-proxy goes with --format pac")
    if pac_proxy is not None and not _is_proxy(pac_proxy):
        raise typer.BadParameter(
            f"expected HOST:PORT, such as proxy.corp.example:3128, with a port up to 65535, found {found(pac_proxy)}",
            param_hint="--pac-proxy",
        )


def _is_proxy(text: str) -> bool:
    """Whether a browser can use a text as the proxy of a PAC file."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    as_written = f"[{bare}]" if ":" in bare else bare  # in brackets: an address of IPv6, and nothing else
    return host == as_written and is_host(bare) and port.isdecimal() and port.isascii() and int(port) in PORTS


def _write(rules: tuple[lists.Rule, ...], form: AllowlistFormat, pac_proxy: str | None) -> None:
    match form:
        case AllowlistFormat.TABLE:
            lists.print_rules(rules, console())
        case AllowlistFormat.CSV:
            typer.echo(lists.rules_csv(rules).encode(), nl=False)  # bytes: RFC 4180 has its own line ends
        case AllowlistFormat.PAC:
            typer.echo(lists.pac(rules, pac_proxy))
        case AllowlistFormat.EDL:
            text, notes = lists.edl(rules)
            typer.echo(text)
            for note in notes:
                typer.echo(f"note: {note}", err=True)
        case AllowlistFormat.NFTABLES:
            addresses_of = run_on_loop(lists.addresses_of, lists.names_to_resolve(rules))
            typer.echo(lists.nftables(rules, addresses_of))
        case _:
            typer.echo(_FROM_RULES[form](rules))


def _write_changes(changes: lists.Difference, form: AllowlistFormat) -> None:
    match form:
        case AllowlistFormat.JSON:
            typer.echo(lists.difference_json(changes))
        case AllowlistFormat.MARKDOWN:
            typer.echo(lists.difference_markdown(changes))
        case _:
            lists.print_difference(changes, console())
