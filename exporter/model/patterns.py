"""Read the notations of the documents: patterns with wildcards and placeholders, templates with parameters. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

_HOST: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?((?:<[^<>]*>|\[[^\[\]]*\]|[^\s/?#:<>\[\]])*)", re.IGNORECASE)
_OPEN: Final = re.compile(r"\*|<[^<>]*>")
_PARAMETER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LONGEST_ADDRESS: Final = 64  # characters, with the name of a network card; strangers write longer ones
_REMEMBERED: Final = 16_384  # answers about hosts and patterns: a roll-up asks about each of the plan's


def span(ports: str) -> range:
    """The ports that a text names: `443`, `10124-10139`. Raises ValueError for any other text."""
    first, _, last = ports.partition("-")
    return range(int(first), int(last or first) + 1)


def host_of(pattern: str) -> str:
    """The host of a documented pattern, in lower case; empty where there is none.

    A pattern is a bare host, `host/path` or a URL; `<placeholders with blanks>` and wildcards belong to the host.
    """
    match = _HOST.match(pattern)
    return match[1].strip("[]").lower() if match else ""


def path_of(pattern: str) -> str:
    """The path of a documented pattern that is not a URL: `/health` of `host/health`, else `/`."""
    return f"/{pattern.partition('/')[2]}"


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is written as; None for a name."""
    return _address_of(host) if len(host) <= _LONGEST_ADDRESS else None


@lru_cache(_REMEMBERED)
def _address_of(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def written(address: IPv4Address | IPv6Address) -> str:
    """An address in the one way that every version of Python is to write it (RFC 5952, section 5)."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


@lru_cache(_REMEMBERED)
def is_wildcard(pattern: str) -> bool:
    """Whether a pattern stands for many hosts. A star in the path does not make it one."""
    return "*" in host_of(pattern)


def matches_wildcard(pattern_host: str, host: str) -> bool:
    """Whether a host lies under a wildcard: at any depth, never the apex. A star may stand inside a label."""
    first, *others = (re.escape(literal) for literal in _OPEN.split(pattern_host.lower()))
    # Each but the last where it first fits, atomically: the time must not explode with the number of stars.
    expression = first + "".join(f"(?>.+?{other})" for other in others[:-1]) + "".join(f".+{x}" for x in others[-1:])
    labels = host.lower().removesuffix(".").split(".")
    return all(labels) and re.fullmatch(expression, ".".join(labels)) is not None


def parameters_of(template: str) -> tuple[str, ...]:
    """The names in `{braces}`, each once, in order."""
    return tuple(dict.fromkeys(_PARAMETER.findall(template)))


def has_stray_braces(template: str) -> bool:
    """Whether braces are left that do not enclose a name."""
    return re.search(r"[{}]", _PARAMETER.sub("", template)) is not None


def fill(template: str, parameters: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The template with its parameters filled in, or None and the names that are missing."""
    missing = tuple(name for name in parameters_of(template) if name not in parameters)
    if missing:
        return None, missing
    return _PARAMETER.sub(lambda match: parameters[match[1]], template), ()
