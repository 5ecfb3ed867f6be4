"""Faults of names and of connections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ipaddress import ip_address
from typing import Final

from cryptography import x509

from exporter.model.vocabulary import Cause, Reason
from tests.lab import NAME_SERVER, Lab
from tests.lab.pki import Shape, leaf
from tests.lab.scripts import READ_HEAD, Step, asked_for, reply, send, sleep, tls

from .fault import (
    UP,
    Etc,
    Fault,
    Inject,
    behind,
    everywhere,
    message,
    nothing,
    over_both,
    over_http,
    over_https,
    resolver_silent,
)

DUAL_STACK: Final = "dual.corp.example"
WILDCARD: Final = "fault.example.wildcard.corp.example"  # below it every name leads to a dead address


def names() -> Iterator[Fault]:
    # Behind a proxy it is the proxy that resolves, and says so with a page or a status of its own.
    yield from over_both("name not found", behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR), Lab.dns_missing)
    yield from over_both(
        "name without address", behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR), Lab.dns_without_address
    )
    yield from over_both("resolver fails", behind(Reason.DNS_ERROR, Reason.PROXY_ERROR), Lab.dns_servfail)
    yield from over_both("resolver refuses", behind(Reason.DNS_ERROR, Reason.PROXY_ERROR), Lab.dns_refused)
    # The proxy's resolver is the silent one; the proxy gives up before the exporter does.
    yield from over_both("resolver silent", behind(Reason.DNS_TIMEOUT, Reason.PROXY_ERROR), resolver_silent)
    yield from over_both("resolver slow", everywhere(UP), lambda lab, host: lab.delay_names(host, 0.5))


def connections() -> Iterator[Fault]:
    # Behind a proxy it is the proxy that cannot connect: whoever looks must begin at its log.
    yield from over_both("packets dropped", behind(Reason.CONNECT_TIMEOUT, Reason.PROXY_ERROR), Lab.drop)
    yield from over_both("connection reset", behind(Reason.CONNECT_REFUSED, Reason.PROXY_ERROR), Lab.reset)
    yield from over_both("prohibited by ICMP", behind(Reason.CONNECT_UNREACHABLE, Reason.PROXY_ERROR), Lab.prohibit)
    yield from over_both("no route", behind(Reason.CONNECT_UNREACHABLE, Reason.PROXY_ERROR), Lab.no_route)
    yield from over_both("first packet lost", everywhere(UP), Lab.delay_connect)
    for scheme in ("https", "http"):
        yield Fault("IPv6 dead, IPv4 well", scheme, everywhere(UP), Lab.drop_ipv6, on=DUAL_STACK)


# ---------------------------------------------------------------- who is not the service


def sinkholes() -> Iterator[Fault]:
    # A DNS filter or a hosts file hides the name from this machine. The proxy's resolver does not know of it. This
    # machine has web servers of its own, as a distribution point has, on all its addresses: they are not the service.
    hidden = behind(Reason.DNS_ERROR, UP)
    for address in ("127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"):  # noqa: S104 - nobody listens there
        yield from over_both(f"sinkhole: {address}", hidden, _hosts(address), cause=Cause.SINKHOLE)
    yield from over_both("sinkhole: both families", hidden, _hosts("0.0.0.0", "::"), cause=Cause.SINKHOLE)  # noqa: S104
    yield over_https("sinkhole: nobody listens", hidden, _at_closed_loopback, cause=Cause.SINKHOLE)
    # What can be the service's counts: some filters hide one family only.
    yield over_https("sinkhole: IPv6 only", everywhere(UP), _hosts("::", "{own}"))
    # What a new top-level domain answers where somebody used its name inside (ICANN, name collision).
    yield over_http("sinkhole: 127.0.53.53", hidden, _hosts("127.0.53.53"), cause=Cause.SINKHOLE)
    yield over_http("sinkhole: broadcast", hidden, _hosts("255.255.255.255"), cause=Cause.SINKHOLE)
    yield over_http("sinkhole: link-local", hidden, _hosts("169.254.7.7"), cause=Cause.SINKHOLE)
    # An operator's own service may well run on this machine, if its hosts file says so.
    yield from over_both("own endpoint on this machine", everywhere(UP), _hosts("127.0.0.1"), own=True)
    yield over_http("loopback address as it is written", everywhere(UP), nothing, asks="127.0.0.1/")

    # The connection is what fails, and it fails for the proxy as well.
    private = behind(Reason.CONNECT_TIMEOUT, Reason.PROXY_ERROR)
    for address in ("10.20.0.1", "100.64.20.1", "fd20::1"):
        yield over_https(
            f"private address, silent: {address}", private, _addresses(address), cause=Cause.PRIVATE_ADDRESS
        )
    yield over_http("private address, silent: 10.20.0.2", private, _addresses("10.20.0.2"), cause=Cause.PRIVATE_ADDRESS)


def searches() -> Iterator[Fault]:
    # Every name below the host leads to the host, and this machine's search list names the host. The proxy has no
    # search list.
    missing = behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR)
    yield over_http("search list: wildcard", missing, _search_list("{host}"), asks="missing.public.example/")
    yield over_https("search list: wildcard", missing, _search_list("{host}"), asks="missing.public.example/")
    # As in Kubernetes: the system tries the search list before the name itself, and finds a dead address there.
    yield over_https("search list: before the name", everywhere(UP), _search_first)
    found = behind(UP, Reason.PROXY_ERROR)
    yield over_http("search list: own short name", found, _search_list("fault.example"), asks="{label}/", own=True)
    yield from over_both("final dot", everywhere(UP), nothing, asks="{host}./")


def resolvers() -> Iterator[Fault]:
    # Of the exporter's own machine: it needs the name of the proxy from it, too.
    silent, fails = everywhere(Reason.DNS_TIMEOUT), everywhere(Reason.DNS_ERROR)
    unknown = behind(Reason.DNS_NOT_FOUND, Reason.PROXY_UNREACHABLE)
    yield over_https("resolver silent: little patience", silent, _resolver("timeout:1 attempts:1"))
    yield over_http("resolver silent: some patience", silent, _resolver("timeout:2 attempts:2"))
    yield over_https("resolver fails late", fails, _resolver("timeout:30 attempts:1", sleep(4.7), reply(_SERVFAIL)))
    yield over_https("resolver fails: little patience", fails, _resolver("timeout:1 attempts:1", reply(_SERVFAIL)))
    yield over_https("resolver refuses: little patience", fails, _resolver("timeout:1 attempts:1", reply(_REFUSED)))
    yield over_https("resolver knows no name", unknown, _resolver("", reply(_NXDOMAIN)))
    late = _resolver("", sleep(1.0), reply(_NXDOMAIN))
    yield over_https("resolver slow, then no such name", unknown, late)
    first_dead = f"nameserver {DEAD_NAME_SERVER}\nnameserver {NAME_SERVER}\noptions timeout:1 attempts:2\n"
    yield from over_both("first resolver dead", everywhere(UP), _etc({"resolv.conf": first_dead}))

    yield from over_both("aliases", everywhere(UP), _answers(0, "{own}", aliases=["a.cdn.example", "b.cdn.example"]))
    lost = behind(Reason.DNS_NOT_FOUND, Reason.PROXY_ERROR)
    yield over_https("alias of a missing name", lost, _answers(_NXDOMAIN, aliases=["gone.cdn.example"]))
    yield over_https("resolver fails for IPv6", everywhere(UP), _for_each(("{own}",), _SERVFAIL))
    yield over_https("resolver denies IPv6", everywhere(UP), _for_each(("{own}",), _NXDOMAIN))
    # The system's resolver takes the one answer for both: "no address".
    yield over_https("resolver fails for IPv4, no IPv6", behind(Reason.DNS_ERROR, Reason.PROXY_ERROR), _no_ipv4)


def families() -> Iterator[Fault]:
    # The proxy is spared the dead ones, as it may give up before it comes to the one that lives.
    yield from over_both("8 dead IPv6 addresses, IPv4 well", everywhere(UP), _hosts(*_dead(8), "{own}"))
    yield over_https("40 dead IPv6 addresses, IPv4 well", everywhere(UP), _hosts(*_dead(40), "{own}"))
    yield over_https("IPv6 without route, IPv4 well", everywhere(UP), _addresses("2001:db8::1", "{own}"))
    # The one that answered tells more than the one to which this machine has no way.
    refused = behind(Reason.CONNECT_REFUSED, Reason.PROXY_ERROR)
    yield over_https("IPv6 without route, IPv4 refused", refused, _refused_beside("2001:db8::1"))
    yield over_http("IPv6 silent, IPv4 refused", refused, _refused_beside("fd00:1ab::dead:1"))
    silent = behind(Reason.CONNECT_TIMEOUT, Reason.PROXY_ERROR)
    yield over_https("IPv6 without route, IPv4 silent", silent, _addresses("2001:db8::1", "198.19.255.7"))


def literals() -> Iterator[Fault]:
    for family, address in (("IPv4", "198.18.255.1"), ("IPv6", "fd00:1ab::8:1")):
        asks = f"[{address}]/" if ":" in address else f"{address}/"
        yield from over_both(f"{family} address as target", everywhere(UP), _at(address), asks=asks)


# ---------------------------------------------------------------- how it is made

DEAD_NAME_SERVER: Final = "198.19.255.53"
_SERVFAIL: Final = 2
_NXDOMAIN: Final = 3
_REFUSED: Final = 5


def _etc(etc: Etc) -> Inject:
    return lambda _lab, _host: nullcontext(etc)


def _hosts(*addresses: str) -> Inject:
    """This machine's hosts file says so; `{own}` is the host's own address."""

    def inject(lab: Lab, host: str) -> AbstractContextManager[Etc]:
        lines = (f"{address.format(own=lab.address_of[host])} {host}\n" for address in addresses)
        return nullcontext({"hosts": "".join(lines)})

    return inject


@contextmanager
def _at_closed_loopback(lab: Lab, host: str) -> Iterator[Etc]:
    with lab.reset_address("127.66.0.1"):
        yield {"hosts": f"127.66.0.1 {host}\n"}


def _at(address: str) -> Inject:
    """The host is asked for by this address, which its certificate names."""

    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        named = Shape(names=[x509.IPAddress(ip_address(address))])
        answer = send(message("HTTP/1.1 200 OK"))
        with (
            lab.present(host, leaf(host, lab.issuer, shape=named)),
            lab.script_at(address, host, 443, (tls(), READ_HEAD, answer)),
            lab.script_at(address, host, 80, (READ_HEAD, answer)),
        ):
            yield

    return inject


def _answers(code: int, *addresses: str, aliases: Sequence[str] = ()) -> Inject:
    """The DNS answers so, also the proxy; `{own}` is the host's own address."""

    def inject(lab: Lab, host: str) -> AbstractContextManager[None]:
        told = [address.format(own=lab.address_of[host]) for address in addresses]
        return lab.dns_answers(host, reply(code, *told, aliases=aliases))

    return inject


def _addresses(*addresses: str) -> Inject:
    return _answers(0, *addresses)


def _for_each(ipv4: Sequence[str], ipv6: int) -> Inject:
    """IPv4 addresses, and a code in place of IPv6 addresses."""

    def inject(lab: Lab, host: str) -> AbstractContextManager[None]:
        told = [address.format(own=lab.address_of[host]) for address in ipv4]
        return lab.dns_answers(host, asked_for("A", reply(0, *told)), asked_for("AAAA", reply(ipv6)))

    return inject


def _no_ipv4(lab: Lab, host: str) -> AbstractContextManager[None]:
    return lab.dns_answers(host, asked_for("A", reply(_SERVFAIL)), asked_for("AAAA", reply(0)))


def _dead(count: int) -> Iterator[str]:
    return (f"fd00:1ab::dead:{number:x}" for number in range(1, count + 1))


def _refused_beside(address: str) -> Inject:
    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with lab.reset(host), _addresses(address, "{own}")(lab, host):
            yield

    return inject


def _resolver(options: str, *steps: Step) -> Inject:
    """This machine asks another name server than the proxy does, which does this."""

    @contextmanager
    def inject(lab: Lab, _host: str) -> Iterator[Etc]:
        with lab.name_server(*steps) as address:
            yield {"resolv.conf": f"nameserver {address}\n" + (f"options {options}\n" if options else "")}

    return inject


def _search_list(domain: str) -> Inject:
    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[Etc]:
        with lab.dns_answers(host, reply(0, lab.address_of[host])):
            yield {"resolv.conf": f"search {domain.format(host=host)}\nnameserver {NAME_SERVER}\n"}

    return inject


@contextmanager
def _search_first(lab: Lab, _host: str) -> Iterator[Etc]:
    with lab.dns_answers(WILDCARD, reply(0, "198.19.255.9")):
        domain = WILDCARD.removeprefix("fault.example.")
        yield {"resolv.conf": f"search {domain}\nnameserver {NAME_SERVER}\noptions ndots:5\n"}
