"""The reference, made from the code: `python -m tests.tools.reference` writes docs/reference.md.

What it says stands in the code: commands and options in `exporter/cli`, keys in the models that read them, series in
`exporter/metrics/families.py`, reasons in `exporter/report/reasons.yaml`, routes in `exporter/web/routes.py`, alerts in
`dashboards/rules`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import typer
import yaml
from prometheus_client.metrics_core import Metric

from exporter.cli import app
from exporter.cli.examples import EXAMPLES
from exporter.cli.options import BAD_INPUT, NOT_READY
from exporter.cli.output import CLOSED, UNWRITABLE
from exporter.cli.service import NOT_RUNNING
from exporter.config import catalogue
from exporter.config import web as web_config
from exporter.config.durations import spelled
from exporter.config.fields import NOT_EMPTY, Section
from exporter.config.groups import GroupSection
from exporter.config.settings import MainSection
from exporter.daemon import INTERNAL_ERROR
from exporter.metrics.families import of_check
from exporter.model.vocabulary import (
    Answer,
    Certificate,
    Contact,
    Evidence,
    Failure,
    Phase,
    Reason,
    Result,
    Root,
    TlsFacts,
    Tried,
)
from exporter.report.reasons import all_words
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.system.log import LogFormat, LogLevel, configure
from exporter.web.routes import create_app
from tests.running import ROOT

PAGE: Final = ROOT / "docs" / "reference.md"
REMEDY: Final = "`.venv/bin/python -m tests.tools.reference` writes it anew"

# ---------------------------------------------------------------- commands

GROUP: Final[Any] = typer.main.get_command(app)
COMMANDS: Final[dict[str, Any]] = {
    " ".join(way): command
    for name, found in ((name, GROUP.get_command(None, name)) for name in GROUP.list_commands(None))
    for way, command in (
        [((name, inner), below) for inner, below in found.commands.items()]
        if hasattr(found, "commands")
        else [((name,), found)]
    )
}


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [found for found in command.params if found.param_type_name == "argument"]
    yield f"### `{' '.join([name, *(found.metavar for found in arguments)])}`"
    yield inspect.cleandoc(command.help)
    if arguments:
        yield _table(("Argument", "Meaning"), ((f"`{found.metavar}`", found.help or "") for found in arguments))
    options = [found for found in command.params if found.param_type_name == "option"]
    if options:
        yield _table(("Option", "Value", "Default", "Meaning"), map(_option, options))
    yield "\n".join(("```sh", *EXAMPLES[name], "```"))


def _option(option: Any) -> tuple[str, ...]:
    words = [] if option.metavar is None else option.metavar.split("|")
    value = "" if option.is_flag else ", ".join(map(_code, words)) or _kind(option.type_descriptor.annotation)
    default = _code(option.default) if option.default else ""
    return ", ".join(map(_code, option.opts)), value, default, option.help or ""


# ---------------------------------------------------------------- keys


def keys_of(section: type[Section], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below a section as the pages spell it, and its field."""
    for name, field in section.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner, step = inside(field.annotation)
        if step != ".":
            yield key, field
        if inner is not None:
            yield from keys_of(inner, key + step)


def inside(annotation: Any) -> tuple[type[Section] | None, str]:
    """The section that a key holds, and what stands between the two in writing."""
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, "."
    inner = _bare(get_args(annotation)[-1]) if get_origin(annotation) in {list, dict} else None
    if isinstance(inner, type) and issubclass(inner, Section):
        return inner, "[]." if get_origin(annotation) is list else ".NAME."
    return None, ""


def _bare(annotation: Any) -> Any:
    """Without the None of what may be left out."""
    if get_origin(annotation) in {Union, UnionType}:
        return next(found for found in get_args(annotation) if found is not NoneType)
    return annotation


_KINDS: Final = {bool: "true or false", int: "number", float: "duration", str: "text", dict: "mapping", Any: ""}


def _kind(annotation: Any) -> str:
    """What is written for a key, in words."""
    annotation = _bare(annotation)
    origin = get_origin(annotation) or annotation
    if hasattr(annotation, "__metadata__"):  # Annotated: what is checked of it is told by its meaning
        return _kind(get_args(annotation)[0])
    if origin is list:
        of = _kind(get_args(annotation)[0])
        return f"list: {of}" if of else "list"
    if isinstance(origin, type) and issubclass(origin, StrEnum):
        return ", ".join(map(_code, origin))
    return _KINDS.get(origin, "mapping")


def _keys(section: type[Section], prefix: str = "") -> str:
    rows = [
        (f"`{key}`", _kind(field.annotation), _default(field), field.description or "")
        for key, field in keys_of(section, prefix)
    ]
    return _table(("Key", "Value", "Default", "Meaning"), rows)


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or (default == [] and NOT_EMPTY in field.metadata):  # its meaning says what holds without it
        return ""
    match default:
        case float(seconds):
            return _code(spelled(seconds))
        case bool(value):
            return _code(str(value).lower())
        case list(values):
            return _code(f"[{', '.join(values)}]")
        case value:
            return _code(value)


# ---------------------------------------------------------------- series

NOT_OURS: Final = ("process_", "python_")
Series = dict[str, tuple[str, set[str]]]


def exemplary() -> Exporter:
    """An exporter of the shipped catalogue in which every kind of series has a sample."""
    deployment = deploy(Source())
    running = Exporter(Source(), deployment, network_of(deployment))
    own = Certificate("CN=host", "CN=issuer", 0.0, 2.0, "ab")
    unneeded = Certificate("CN=issuer", "CN=root", 0.0, 1.0, "cd")
    seen = Evidence(
        ("192.0.2.1",),
        "192.0.2.1",
        (),
        TlsFacts("TLSv1.3", (own, unneeded), Root.PUBLIC, path=(own,), verified=True, unread=1),
        Answer(200),
        in_range=True,
        tried=(Tried("192.0.2.1", Contact.OPENED, 0.1),),
        by_dns=False,
    )
    inspected = replace(seen, tls=TlsFacts("TLSv1.3", (own,), Root.PRIVATE))
    unexplained = Failure(Phase.PROXY, Reason.PROXY_AUTH_REQUIRED, "no sign-in")
    for number, check in enumerate(deployment.plan.checks):  # the path dns is down: what works has no need of it
        failure = Failure(Phase.RESOLVE, Reason.DNS_TIMEOUT, "silent") if number % 2 else None
        found = replace(seen, by_dns=failure is not None)
        if number == 0:
            failure, found = unexplained, inspected
        result = Result(check.key, 1.0, dict.fromkeys(Phase, 0.1), found, failure)
        if failure:
            running.finished(replace(result, failure=None))
        running.finished(result)
        if failure:
            running.unconfirmed(result)
    return running


def all_families(exporter: Exporter) -> list[Metric]:
    """Every family that a scrape of it has, and what only a `check` writes."""
    scraped = list(exporter.registry.collect())
    names = {family.name for family in scraped}
    return scraped + [one for one in of_check(exporter.store.snapshot()).collect() if one.name not in names]


def described(families: Iterable[Metric]) -> Series:
    """Each series by the name that people write: its type, and its labels."""
    found: Series = {}
    for family in families:
        for name, labels in _samples(family):
            found.setdefault(name, (family.type, set()))[1].update(labels)
    return found


def _samples(family: Metric) -> Iterator[tuple[str, list[str]]]:
    """The names of a family's series, as people write them, with their labels."""
    for sample in family.samples:
        name = re.sub("_(bucket|sum|count)$", "", sample.name) if family.type == "histogram" else sample.name
        if not name.startswith(NOT_OURS):
            yield name, [label for label in sample.labels if label != "le"]


def _metrics(exporter: Exporter) -> str:
    families = sorted(all_families(exporter), key=lambda family: family.name)
    rows = {
        name: (_code(name), family.type, ", ".join(map(_code, labels)), family.documentation)
        for family in families
        for name, labels in _samples(family)
    }
    return _table(("Series", "Type", "Labels", "Meaning"), rows.values())


# ---------------------------------------------------------------- reasons, routes, statuses, alerts


def _reasons(words: Mapping[Any, Any]) -> str:
    return _table(
        ("Reason", "Meaning", "What to change", "Who"),
        (
            (f"[`{reason}`](../dashboards/runbooks/{reason}.md)", found.summary, found.remedy, found.who)
            for reason, found in words.items()
        ),
    )


def _routes(exporter: Exporter) -> str:
    routes: Any = create_app(exporter).routes
    return _table(
        ("Request", "Answer"),
        (
            (_code(f"{method} {route.path}"), _sentence(route.endpoint))
            for route in routes
            for method in sorted(route.methods - {"HEAD"})
        ),
    )


def _sentence(documented: Any) -> str:
    """The docstring on one line."""
    text = documented.__doc__
    if not text:
        raise ValueError(f"{documented.__module__}.{documented.__name__} answers a route: say how in its docstring")
    return " ".join(text.split())


def _alerts() -> str:
    from dashboards.alert_words import ALERTS  # noqa: PLC0415

    rules = [
        rule
        for path in sorted((ROOT / "dashboards/rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    rows = {
        (rule["alert"], rule["labels"]["severity"]): (
            f"[`{rule['alert']}`](../dashboards/runbooks/{rule['alert']}.md)",
            "by importance" if "importance" in rule["labels"]["severity"] else rule["labels"]["severity"],
            rule["labels"]["team"],
            rule.get("for") or ALERTS[rule["alert"]].after,
            rule["annotations"]["summary"],
        )
        for rule in rules
    }
    return _table(("Alert", "Severity", "Team", "After", "Meaning"), rows.values())


_STATUSES: Final = {
    0: "The answer is yes; or the service was ended in order",
    NOT_READY: "The answer is no: something needed is not usable, is missing, or has changed; or Windows refused",
    BAD_INPUT: "What was written cannot be used: a command line, a file, an address; or nothing of it can be checked",
    NOT_RUNNING: "`service status`: the service does not run",
    INTERNAL_ERROR: "A defect of the exporter; the log at level `debug` shows where",
    UNWRITABLE: "What the command says cannot be written, as on a full disk",
    CLOSED: "Nobody reads on what the command says, as behind `| head`",
}


# ---------------------------------------------------------------- the page


def built() -> str:
    """The whole page."""
    exporter = exemplary()
    parameters = catalogue.load().parameters.values()
    blocks = (
        "# Reference",
        "<!-- Made by `python -m tests.tools.reference`; do not edit. -->",
        "Made from the code of this version. The [tutorial](tutorial.md) shows it at work.",
        "## Commands",
        "`configmgr-endpoint-exporter COMMAND`, or `python -m exporter COMMAND`; `-h` and `--help` print the same.",
        _table(("Before the command", "Meaning"), ((_code(found.opts[0]), found.help or "") for found in GROUP.params)),
        *(block for name, command in COMMANDS.items() for block in _command(name, command)),
        "### Exit statuses",
        _table(("Status", "Meaning"), ((str(status), text) for status, text in _STATUSES.items())),
        "## Configuration",
        "`--config.file`, as [Configuration](configuration.md) explains. NAME is a name of your own.",
        _keys(MainSection),
        "### Groups of endpoints",
        "Under `groups`, in `group_files`, and in the shipped catalogue.",
        _keys(GroupSection),
        "### Parameters",
        "Under `site.parameters`.",
        _table(
            ("Parameter", "Default", "Values", "Meaning"),
            (
                (_code(found.name), _code(found.default or ""), ", ".join(map(_code, found.values)), found.meaning)
                for found in parameters
            ),
        ),
        "### TLS and authentication",
        "`--web.config.file`, as [TLS and authentication](tls-and-authentication.md) explains.",
        _keys(web_config.MainSection),
        "## Metrics",
        "`process_*` and `python_*` come beside them. Histograms have `_bucket`, `_sum` and `_count`.",
        _metrics(exporter),
        "## Reasons",
        "Why a target is down: the label `reason`. [Verdicts](verdicts.md) explains how they are found.",
        _reasons(all_words().reasons),
        "### Reasons not to probe",
        "The label `reason` of `configmgr_endpoint_unprobed`, and what `endpoints` says.",
        _reasons(all_words().unprobed),
        "## HTTP",
        _routes(exporter),
        "## Alerts",
        "Of the rules in [`dashboards/rules`](../dashboards/rules).",
        _alerts(),
    )
    return "\n\n".join(blocks) + "\n"


def _code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(map(_row, (header, ("---",) * len(header), *rows)))


def _row(cells: tuple[str, ...]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return "".join(f"| {cell} " if cell else "| " for cell in escaped) + "|"


if __name__ == "__main__":
    configure(LogLevel.ERROR, LogFormat.LOGFMT)
    PAGE.write_text(built(), encoding="utf-8", newline="\n")
