"""What a fault is, where it can be met, and the means of which the laboratory's faults are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias, TypedDict, Unpack

from exporter.model.vocabulary import Cause, Reason
from tests.lab import Denial, Flaw, Lab, Port
from tests.lab.scripts import READ_HEAD, Step, send, tls

HEALTHY: Final = "healthy.fault.example"  # the target of probes through a proxy that is at fault itself
BLOCKED: Final = (  # the page of a filter
    "<html><head><title>Web Page Blocked</title></head><body>You have tried to access a web page which is in violation "
    "of your internet usage policy.</body></html>"
)
# What servers say to whoever asks in plain HTTP on a port for TLS: head and page.
EXPECTS_TLS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "nginx": (
            "HTTP/1.1 400 Bad Request\nServer: nginx/1.22.1\nContent-Type: text/html",
            "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
        ),
        "Go": ("HTTP/1.0 400 Bad Request", "Client sent an HTTP request to an HTTPS server.\n"),
    }
)
INSPECTION: Final = "inspection.pem"  # the file of the laboratory with the authority of the proxy that inspects


class Way(StrEnum):
    """The paths by which a target is asked for."""

    DIRECT = "direct"
    PROXY = "proxy"
    SIGNED_IN = "authenticated proxy"


Outcome: TypeAlias = Reason | None  # None: usable
UP: Final[Outcome] = None
Expected: TypeAlias = Mapping[Way, Outcome]
Etc: TypeAlias = Mapping[str, str]  # files of /etc: texts by name
# May give the lines of /etc/hosts and the resolv.conf with which the exporter meets the fault.
Inject: TypeAlias = Callable[["Lab", str], AbstractContextManager[object]]


class Via(StrEnum):
    """Which proxy the exporter is told to use where it is to use one."""

    CORPORATE = "corporate"  # open, or with the right password where it asks for one
    ASKING = "asking"  # asks for a password where the exporter has none
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - says what is wrong, and is none
    INSPECTING = "inspecting"
    OWN = "own"  # the fault's host is the proxy, and HEALTHY the target
    OWN_BY_TLS = "own, by TLS"  # the same, and its URL begins with https


class Chain(StrEnum):
    """Whose certificate the exporter must take it for; behind the proxy that inspects, that one's in any case."""

    PUBLIC = "public"  # or none that anybody has seen
    PRIVATE = "private"
    UNTOLD = "untold"  # the chain that was sent leads nowhere


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, or only looks so, on a host of its own: many can be in force at once."""

    name: str
    scheme: str
    expected: Expected
    inject: Inject
    via: Via = Via.CORPORATE
    trusts: str | None = None  # the file among the laboratory's whose authorities the exporter is told to trust
    on: str | None = None  # a host of the laboratory that has what the fault needs
    asks: str = "{host}/"  # what is asked for, behind the scheme
    own: bool = False  # an endpoint of the operator's, and no public one
    leads_to: tuple[str, ...] = ()  # where the operator says that it may redirect to
    chain: Chain = Chain.PUBLIC
    cause: Cause | None = None  # what the exporter must know beyond the reason; None: whatever it says

    @property
    def title(self) -> str:
        """Its name in the table, unique."""
        return f"{self.name} ({self.scheme})"

    @property
    def slug(self) -> str:
        """The same as a part of file names and host names."""
        return re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def host(self) -> str:
        """Where it is injected."""
        return self.on or f"{self.slug}.fault.example"

    def cause_on(self, way: Way) -> Cause | None:
        """The cause that must be told on this path: on the direct one, or on the others if the fault is the proxy's."""
        direct = self.expected[Way.DIRECT] is not UP
        return self.cause if (way is Way.DIRECT if direct else self.expected[way] is not UP) else None

    @property
    def is_proxy(self) -> bool:
        """Whether its host is the proxy, and not the target."""
        return self.via in {Via.OWN, Via.OWN_BY_TLS}

    @property
    def url(self) -> str:
        """What is asked for."""
        host = HEALTHY if self.is_proxy else self.host
        return f"{self.scheme}://{self.asks.format(host=host, label=host.partition('.')[0])}"


# ---------------------------------------------------------------- what is expected


class Options(TypedDict, total=False):
    """What else may be said of a fault."""

    via: Via
    trusts: str
    on: str | None
    asks: str
    own: bool
    leads_to: tuple[str, ...]
    chain: Chain
    cause: Cause | None


def paths(direct: Outcome, proxy: Outcome, signed_in: Outcome) -> Expected:
    return MappingProxyType({Way.DIRECT: direct, Way.PROXY: proxy, Way.SIGNED_IN: signed_in})


def everywhere(outcome: Outcome) -> Expected:
    return paths(outcome, outcome, outcome)


def behind(direct: Outcome, proxied: Outcome) -> Expected:
    return paths(direct, proxied, proxied)


def over_https(name: str, expected: Expected, inject: Inject, **options: Unpack[Options]) -> Fault:
    return Fault(name, "https", expected, inject, **options)


def over_http(name: str, expected: Expected, inject: Inject, **options: Unpack[Options]) -> Fault:
    return Fault(name, "http", expected, inject, **options)


def over_both(
    name: str, https: Expected, inject: Inject, *, http: Expected | None = None, **options: Unpack[Options]
) -> Iterator[Fault]:
    yield over_https(name, https, inject, **options)
    yield over_http(name, https if http is None else http, inject, **options)


# ---------------------------------------------------------------- how it is made


def nothing(_lab: Lab, _host: str) -> AbstractContextManager[None]:
    return nullcontext()


def certificate(flaw: Flaw) -> Inject:
    return lambda lab, host: lab.certificate(host, flaw)


def denies(denial: Denial) -> Inject:
    return lambda lab, host: lab.proxy_denies(host, denial)


def tls_port(*script: Step) -> Inject:
    """The port for https does this."""
    return lambda lab, host: lab.script(host, 443, script)


def proxy_port(*script: Step) -> Inject:
    """The host is a proxy and does this."""
    return lambda lab, host: lab.script(host, Port.OPEN, script)


def after_request(*script: Step) -> Inject:
    """The host takes a request on both ports, and then does this."""

    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with (
            lab.script(host, 80, (READ_HEAD, *script)),
            lab.script(host, 443, (tls(), READ_HEAD, *script)),
        ):
            yield

    return inject


def answers(head: str, body: str = "") -> Inject:
    return after_request(send(message(head, body)))


def message(head: str, body: str = "") -> str:
    lines = head.splitlines()
    if " 204 " not in lines[0] and "Content-Length:" not in head:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "Connection: close", "", body])


def status(code: int, header: str = "") -> Inject:
    return answers(f"HTTP/1.1 {code} Status\n{header}".strip())


def resolver_silent(lab: Lab, host: str) -> AbstractContextManager[object]:
    return lab.dns_silent(host)


def delayed_data(seconds: float) -> Inject:
    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with lab.delay_data(host, 80, seconds), lab.delay_data(host, 443, seconds):
            yield

    return inject
