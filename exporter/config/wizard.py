"""What `config init` asks about a site, and the configuration that the answers make."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.config import settings as config
from exporter.config.documents import DocumentError
from exporter.model.vocabulary import Catalogue, Place

PROXY: Final = "corporate"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person said; what is empty was left out."""

    clouds: tuple[str, ...] = ("azure-public",)
    roles: tuple[str, ...] = ()  # empty: all
    gateway: str = ""
    region: str = ""
    proxy: str = ""
    username: str = ""
    password_file: str = ""
    via: tuple[str, ...] = ()  # empty: all roles of the site
    version: str = ""
    upstream: str = ""
    intune: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One question: where its answer goes in Answers, where its mistakes are found, and which option answers it."""

    field: str
    place: Place
    option: str
    text: str
    many: bool = False
    after: str | None = None  # asked only if this was answered


QUESTIONS: Final = (
    Question("clouds", ("site", "clouds"), "--cloud", "Clouds of the site", many=True),
    Question("roles", ("site", "roles"), "--role", "Roles that the site has (nothing: all)", many=True),
    Question(
        "gateway",
        ("site", "parameters", "cloud_service_name"),
        "--gateway",
        "Service name of the cloud management gateway (nothing: none)",
    ),
    Question(
        "region",
        ("site", "parameters", "azure_region"),
        "--gateway-region",
        "Its Azure region, such as westus (nothing: unknown)",
        after="gateway",
    ),
    Question("proxy", ("proxies", PROXY, "url"), "--proxy", "Web proxy, as http://host:port (nothing: none)"),
    Question(
        "username",
        ("proxies", PROXY, "username"),
        "--proxy-user",
        "Who signs in to it (nothing: nobody)",
        after="proxy",
    ),
    Question(
        "password_file",
        ("proxies", PROXY),  # where it is missed, too
        "--proxy-password-file",
        "File that holds the password",
        after="username",
    ),
    Question("via", ("via",), "--proxy-role", "Roles that go through it (nothing: all)", many=True, after="proxy"),
    Question(
        "version",
        ("site", "version"),
        "--site-version",
        "Version of Configuration Manager, such as 2403 (nothing: any)",
    ),
    Question(
        "upstream",
        ("site", "parameters", "parent_site_sup_fqdn"),
        "--upstream-sup",
        "Name of the software update point that this one gets its updates from (nothing: Microsoft)",
    ),
    Question(
        "intune",
        ("site", "parameters", "intune_region"),
        "--intune-region",
        "Where the Intune tenant is (nothing: unknown)",
    ),
    Question(
        "ca_file",
        ("tls", "ca_file"),
        "--ca-file",
        "PEM file of the root by which a proxy inspects TLS (nothing: none)",
    ),
)


def fault(answers: Answers, question: Question, path: Path, catalogue: Catalogue) -> str | None:
    """Why the configuration at a path could not hold the answer to a question, in words, or None."""
    try:
        config.parse(written(answers, catalogue), path, catalogue)
    except DocumentError as error:
        wrong = [m.message for m in error.mistakes if not m.place or m.place[: len(question.place)] == question.place]
        return wrong[0] if wrong else None
    return None


def written(answers: Answers, catalogue: Catalogue) -> str:
    """The text of a configuration that says what was answered, and what else could be said."""
    return "\n".join(
        (*_site(answers), *(_proxies(answers, catalogue) if answers.proxy else _DIRECT), *_REST, *_tls(answers), "")
    )


def _site(answers: Answers) -> Iterable[str]:
    yield from _HEAD
    yield f"  clouds: {_list(answers.clouds)}"
    yield f"  roles: {_list(answers.roles)}{'' if answers.roles else '  # empty: all'}"
    yield from _OF_THE_SITE
    yield _VERSION if not answers.version else f"  version: {json.dumps(answers.version)}"
    yield _NAMES
    given = {
        "cloud_service_name": answers.gateway,
        "azure_region": answers.region,
        "parent_site_sup_fqdn": answers.upstream,
        "intune_region": answers.intune,
    }
    yield "  parameters:" + ("" if any(given.values()) else " {}")
    yield from (f"    {name}: {_text(value)}" for name, value in given.items() if value)


def _proxies(answers: Answers, catalogue: Catalogue) -> Iterable[str]:
    yield from ("", "# Web proxies by a name of your own. The name is shown in metrics; URL and password never are.")
    yield from ("proxies:", f"  {PROXY}:", f"    url: {_text(answers.proxy)}")
    if answers.username:
        yield f"    username: {_text(answers.username)}"
    if answers.username and answers.password_file:
        yield f"    password_file: {_text(answers.password_file)}  # read at start and at each reload"
    yield "    # no_proxy: [.corp.example]   # reached without the proxy: host, .suffix, address, network"
    yield from ("", "# Which role goes through which proxy. A role that is not named goes direct.", "via:")
    roles = answers.via or answers.roles or tuple(catalogue.roles)
    yield from (f"  {_text(role)}: {PROXY}" for role in roles)


def _tls(answers: Answers) -> tuple[str, ...]:
    return ("tls:", f"  ca_file: {_text(answers.ca_file)}") if answers.ca_file else _NO_CERTIFICATES


def _list(words: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, words))}]"


def _text(text: str) -> str:
    """A text as YAML, in quotes where it could be read as something else."""
    plain = text.isascii() and text.replace("-", "").isalpha() and text.lower() not in _NOT_PLAIN
    return text if plain else json.dumps(text, ensure_ascii=False).translate(_BREAKS)


_BREAKS: Final = {0x85: r"\N", 0x2028: r"\L", 0x2029: r"\P"}  # what YAML takes for ends of lines, and JSON does not
_NOT_PLAIN: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_HEAD: Final = (
    "# Configuration of configmgr-endpoint-exporter, begun by `config init`. Every key may be left out; what stands",
    "# behind a # is what else could be said. After a change, this names every mistake with its line:",
    "#   configmgr-endpoint-exporter validate --config.file FILE",
    "# Paths are relative to this file. Durations are Prometheus durations: 500ms, 10s, 1m30s, 1h.",
    "",
    "# Which documented endpoints this site needs.",
    "site:",
)
_OF_THE_SITE: Final = (
    "  # features: []                # features in use, as `configmgr-endpoint-exporter endpoints` lists them",
    "  # statuses: [active]          # also `deprecated` and `retired`, to probe what Microsoft has given up",
)
_VERSION: Final = (
    '  # version: "2403"             # of Configuration Manager, in quotes; drops what only other versions need'
)
_NAMES: Final = (
    "  # Names that fill templates. An endpoint whose name is missing is not probed, but listed as unprobed."
)
_DIRECT: Final = (
    "",
    "# Everything goes direct. With a web proxy:",
    "# proxies:",
    f"#   {PROXY}:",
    "#     url: http://proxy.corp.example:3128",
    "# via:",
    f"#   service-connection-point: {PROXY}",
)
_REST: Final = (
    "",
    "# How each target is probed.",
    "# probe:",
    "#   interval: 20s",
    "#   timeout: 10s                # for one attempt as a whole",
    "#   attempts: 2",
    "",
    "# Certificates that are trusted beside the system's, as those of an inspecting proxy.",
)
_NO_CERTIFICATES: Final = ("# tls:", "#   ca_file: corporate-ca.pem")
