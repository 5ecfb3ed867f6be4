"""`check` and `explain`: probe now and show a person the results; `check --against` compares instead."""

from __future__ import annotations

import errno
import os
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from exporter import allowlist as lists
from exporter import report
from exporter.cli.allowlist import PathOption, needed
from exporter.cli.completion import explainable
from exporter.cli.options import (
    BAD_INPUT,
    NOT_READY,
    Clouds,
    ConfigFile,
    Features,
    Form,
    Level,
    Roles,
    progress,
    source_of,
    warn,
    writing,
)
from exporter.cli.output import console
from exporter.metrics import families as metrics
from exporter.model.vocabulary import Snapshot, Verdict
from exporter.plan.selection import SelectionError
from exporter.service.load import deploy, documented_anywhere
from exporter.service.once import check_once
from exporter.system.log import LogFormat, LogLevel, configure
from exporter.system.loop import run_on_loop

_LOOKS_AT_A_READER: Final = 100
_BETWEEN_TWO_LOOKS: Final = 0.1  # seconds


class CheckFormat(StrEnum):
    """What `check` writes."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    MARKDOWN = "markdown"
    PROMETHEUS = "prometheus"


def _collected(file: Path | None) -> Path | None:
    if file is not None and file.suffix != ".prom":
        raise typer.BadParameter(f"{file} does not end in .prom, so no collector reads it.")
    return file


def check(
    config_file: ConfigFile = None,
    form: Annotated[CheckFormat, typer.Option("--format", help="What is written to stdout.")] = CheckFormat.TABLE,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            readable=False,
            metavar="FILE",
            help="Probe nothing, but say what this list lacks: hosts, wildcards and URLs one a line, "
            "or the json, csv or edl of `allowlist`.",
        ),
    ] = None,
    path: PathOption = None,
    textfile: Annotated[
        Path | None,
        typer.Option(
            "--textfile",
            readable=False,
            metavar="FILE.prom",
            callback=_collected,
            help="Write the metrics, too, for the textfile collector of node_exporter or windows_exporter.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also where the verdict is INCOMPLETE.")] = False,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Probe everything once, now. Exits with 1 if something needed is not usable, and with 2 if nothing is probed.

    The verdict is INCOMPLETE, and the exit status 0, where nothing that was probed is down, but not everything could be
    probed. With --against, nothing is probed: exits with 1 if an allow list lacks something needed.
    """
    configure(log_level, log_format)
    source = source_of(config_file, feature, role, cloud)
    if against is not None:
        for option, given in (
            ("--textfile", textfile is not None),
            ("--format prometheus", form is CheckFormat.PROMETHEUS),
            ("--strict", strict),
        ):
            if given:
                raise typer.BadParameter(f"{option} does not go with --against, which probes nothing")
        _compare(lists.compare(needed(source, path)[0], lists.read_allowed(against)), form)
        return
    if path is not None:
        raise typer.BadParameter("--path goes with --against")
    if textfile is not None:
        _look_whether_it_can_be_written(textfile)
    deployment = deploy(source)
    named = replace(deployment.plan, site=deployment.settings.site.name or "")  # a terminal says which machine it is of
    deployment = replace(deployment, plan=named)
    warn(deployment)
    for line in deployment.found.notes:
        typer.echo(line, err=True)
    with progress(len(deployment.plan.checks)) as advance:
        snapshot = run_on_loop(check_once, deployment, advance)
    try:
        if textfile is not None:
            _replace(textfile, metrics.textfile(snapshot))
    finally:  # what was found out is shown, whatever becomes of the file
        _print(snapshot, form)
    _end(report.verdict(snapshot), strict=strict)


def _end(verdict: Verdict, *, strict: bool) -> None:
    """Raise the exit status that a verdict has."""
    if verdict is Verdict.NOTHING_TO_CHECK:
        raise typer.Exit(BAD_INPUT)
    if verdict is Verdict.NOT_READY or (strict and verdict is not Verdict.READY):
        raise typer.Exit(NOT_READY)


def _print(snapshot: Snapshot, form: CheckFormat) -> None:
    match form:
        case CheckFormat.TABLE:
            report.print_check(snapshot, console())
        case CheckFormat.JSON:
            typer.echo(report.check_json(snapshot))
        case CheckFormat.JUNIT:
            typer.echo(report.check_junit(snapshot))
        case CheckFormat.MARKDOWN:
            typer.echo(report.check_markdown(snapshot))
        case CheckFormat.PROMETHEUS:
            typer.echo(metrics.textfile(snapshot), nl=False)


def _look_whether_it_can_be_written(file: Path) -> None:
    """Raise BadParameter where it cannot, before anybody waits for probes whose results would go nowhere."""
    beside = _beside(file)
    with writing(file, "--textfile"):
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        beside.touch(exist_ok=False)
        beside.unlink()


def _beside(file: Path) -> Path:
    """A name in the same folder that nobody can have put a link at, since nobody knows it."""
    return file.with_name(f"{file.name}.{secrets.token_hex(8)}")


def _replace(file: Path, content: bytes) -> None:
    """Write the file so that who reads it meanwhile sees all of the old one or all of the new one."""
    unfinished = _beside(file)
    with writing(file, "--textfile"):
        try:
            with unfinished.open("xb") as out:
                out.write(content)
            _take_its_place(unfinished, file)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise


def _take_its_place(unfinished: Path, file: Path) -> None:
    """Replace a file; on Windows as soon as nobody has it open, which a collector that reads it has for a moment."""
    for _ in range(_LOOKS_AT_A_READER if sys.platform == "win32" else 0):
        with suppress(PermissionError):
            unfinished.replace(file)
            return
        time.sleep(_BETWEEN_TWO_LOOKS)
    unfinished.replace(file)


def _compare(compared: lists.Comparison, form: CheckFormat) -> None:
    match form:
        case CheckFormat.TABLE:
            lists.print_comparison(compared, console())
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
            metavar="TARGET-OR-ENDPOINT",
            help="A URL that is probed, an endpoint as documented, or a host.",
            autocompletion=explainable,
        ),
    ],
    config_file: ConfigFile = None,
    path: PathOption = None,
    feature: Features = None,
    role: Roles = None,
    cloud: Clouds = None,
    log_level: Level = LogLevel.WARNING,
    log_format: Form = LogFormat.LOGFMT,
) -> None:
    """Probe one target or endpoint now and show everything that was seen. Exits with 1 if it is not usable."""
    configure(log_level, log_format)
    source = source_of(config_file, feature, role, cloud)
    deployment = deploy(source)
    asked = report.asked(deployment.plan, word)
    if asked is None:
        raise SelectionError(report.why_none(word, deployment.plan, *documented_anywhere(source)))
    if path is not None:
        asked = asked.by(path)
    with progress(len(asked.plan.checks)) as advance:
        snapshot = run_on_loop(check_once, replace(deployment, plan=asked.plan), advance)
    report.print_asked(asked, snapshot, console())
    if not asked.usable(snapshot):
        raise typer.Exit(NOT_READY)
