"""What a Squid configuration lets through: its acl and http_access lines -> a verdict for a request. Pure.

Who asks, and when, is not known here: what depends on that alone is taken to be allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from exporter.allowlist.hosts import plain
from exporter.allowlist.rules import span

Verdict: TypeAlias = bool | None  # None: it depends on what is not known here


@dataclass(frozen=True, slots=True)
class Request:
    """A request as Squid sees it."""

    host: str  # an address of IPv6 without brackets
    port: int
    scheme: str

    @property
    def method(self) -> str:
        """CONNECT for https: a proxy sees no other."""
        return "CONNECT" if self.scheme == "https" else "GET"


Test: TypeAlias = Callable[[Request], Verdict]


class NotUnderstood(ValueError):
    """A line that cannot be judged by."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


def is_squid_conf(text: str) -> bool:
    """Whether a text has acl lines of Squid."""
    return any(words[:1] == ["acl"] and len(words) > 2 for _, words in _lines(text))  # noqa: PLR2004 - acl, name, type


def allows(text: str) -> Callable[[Request], bool]:
    """The verdict of a configuration. Raises NotUnderstood for a list in another file, and for a bad expression.

    Where there is no http_access line, as in a file that others include, every list of hosts counts as allowed.
    """
    tests: dict[str, list[tuple[str, Test]]] = {}
    accesses: list[tuple[bool, list[str]]] = []
    for number, words in _lines(text):
        match words:
            case ["acl", name, kind, *values]:
                tests.setdefault(name, []).append((kind, _test(number, kind, values, tests)))
            case ["http_access", "allow" | "deny" as action, *names]:
                accesses.append((action == "allow", names))
    if not accesses:
        accesses = [(True, [name]) for name, found in tests.items() if any(kind in _OF_HOSTS for kind, _ in found)]
    return lambda request: _verdict(request, accesses, tests)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Words, with the number of the line that they begin on; without comments, and continued lines as one."""
    number, begun = 1, ""
    for i, line in enumerate(text.splitlines(), start=1):
        number = number if begun else i
        if line.endswith("\\"):
            begun += line[:-1]
            continue
        words = (begun + line).split()
        begun = ""
        end = next((k for k, word in enumerate(words) if word.startswith("#")), len(words))
        yield number, words[:end]


# ---------------------------------------------------------------- verdicts


def _verdict(
    request: Request, accesses: Iterable[tuple[bool, list[str]]], tests: Mapping[str, list[tuple[str, Test]]]
) -> bool:
    """The first line that matches decides; where none does, the opposite of the last."""
    allowed = True
    for allowed, names in accesses:
        matches = _all(_term(name, request, tests) for name in names)
        if matches or (matches is None and allowed):
            return allowed
    return not allowed


def _term(name: str, request: Request, tests: Mapping[str, list[tuple[str, Test]]]) -> Verdict:
    if name.startswith("!"):
        found = _term(name[1:], request, tests)
        return None if found is None else not found
    if name in tests:
        return _any(test(request) for _, test in tests[name])
    return _BUILT_IN[name](request) if name in _BUILT_IN else None


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return False if False in found else None if None in found else True


def _any(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return True if True in found else None if None in found else False


# ---------------------------------------------------------------- acls


def _test(number: int, kind: str, words: list[str], tests: Mapping[str, list[tuple[str, Test]]]) -> Test:
    """What one acl line compares."""
    values = [word for word in words if word not in _FLAGS]
    if kind in {"any-of", "all-of"}:
        together = _any if kind == "any-of" else _all
        before = {name: list(found) for name, found in tests.items()}  # so that none leads back to itself
        return lambda request: together(_term(name, request, before) for name in values)
    if kind not in _KINDS:
        return lambda _: None
    listed = next((value for value in values if value.startswith(('"', "parameters("))), None)
    if listed:
        raise NotUnderstood(number, f"the list stands in another file, {listed}: compare with that file")
    try:
        return _KINDS[kind](words)
    except (ValueError, re.error):
        raise NotUnderstood(number, f"the values of this {kind} cannot be read; correct them") from None


def _of_domain(words: list[str]) -> Test:
    domains = [word.lower().strip("[]") for word in words if word not in _FLAGS]

    def test(request: Request) -> bool:
        host = plain(request.host)
        return any(host == domain.removeprefix(".") or _below(host, domain) for domain in domains)

    return test


def _below(host: str, domain: str) -> bool:
    return domain.startswith(".") and host.endswith(domain)


def _of_expression(words: list[str]) -> Test:
    expressions: list[re.Pattern[str]] = []
    flags = 0
    for word in words:
        match word:
            case "-i":
                flags = re.IGNORECASE
            case "+i":
                flags = 0
            case _ if word not in _FLAGS:
                expressions.append(re.compile(word, flags))
    return lambda request: any(expression.search(plain(request.host)) for expression in expressions)


def _of_port(words: list[str]) -> Test:
    ports = [span(word) for word in words]
    return lambda request: any(request.port in found for found in ports)


def _of_method(words: list[str]) -> Test:
    return lambda request: request.method in words


def _of_scheme(words: list[str]) -> Test:
    """What a tunnel carries has no scheme before it is opened."""
    schemes = {word.lower() for word in words}
    return lambda request: request.method != "CONNECT" and request.scheme in schemes


_FLAGS: Final = frozenset({"-i", "+i", "-n", "-m", "--"})
_KINDS: Final[Mapping[str, Callable[[list[str]], Test]]] = {
    "dstdomain": _of_domain,
    "dstdom_regex": _of_expression,
    "port": _of_port,
    "method": _of_method,
    "proto": _of_scheme,
}
_OF_HOSTS: Final = frozenset({"dstdomain", "dstdom_regex"})
_BUILT_IN: Final[Mapping[str, Test]] = {
    "all": lambda _: True,
    "CONNECT": lambda request: request.method == "CONNECT",
}
