"""The laboratory internet: in one network namespace, real servers behind every host name of the catalogue."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess, Popen
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self

from .hosts import DUAL_STACK, EXTRA_HOSTS, IPV6_ONLY, addresses, catalogue_hosts
from .names import Names
from .network import CLIENT, DEAD, NAME_SERVER, PROXY, SCRIPTED_NAME_SERVERS, Network, unavailable
from .pki import Authority, Flaw, authority, flawed_leaf
from .proxy import BLOCK_PAGE_HOST, CorporateProxy, Credentials, Denial, Port, ProxyRequest
from .proxy import HOST as PROXY_HOST
from .scripts import READ_HEAD, Responder, Script, Step, asked_for, relay, reply, send, sleep, tls
from .web import Request, Web

__all__ = [
    "BLOCK_PAGE_HOST",
    "DEAD",
    "EXTRA_HOSTS",
    "NAME_SERVER",
    "PROXY_HOST",
    "Authority",
    "Credentials",
    "Denial",
    "Flaw",
    "Lab",
    "Port",
    "ProxyRequest",
    "Request",
    "catalogue_hosts",
    "unavailable",
]

# What the firewall does with packets of TCP.
_DROP: Final = ("--jump", "DROP")
_RESET: Final = ("--jump", "REJECT", "--reject-with", "tcp-reset")
_ONE: Final = ("--match", "statistic", "--mode", "nth", "--every", "4294967295", "--packet", "0")
_PROHIBIT: Final = ("--jump", "REJECT", "--reject-with", "icmp-admin-prohibited")
_PROHIBIT_IPV6: Final = ("--jump", "REJECT", "--reject-with", "icmp6-adm-prohibited")
_NO_ROUTE: Final = ("--jump", "REJECT", "--reject-with", "icmp-net-unreachable")
_NO_ROUTE_IPV6: Final = ("--jump", "REJECT", "--reject-with", "icmp6-no-route")
# The first SYN of each connection is lost, and the one that repeats it a second later is not.
_DROP_FIRST_SYN: Final = (
    *("--syn", "--match", "hashlimit", "--hashlimit-name", "syn", "--hashlimit-mode", "srcip,srcport,dstip,dstport"),
    *("--hashlimit-upto", "1/minute", "--hashlimit-burst", "1", *_DROP),
)

_WEB_PORTS: Final[Mapping[int, Script]] = MappingProxyType(
    {80: (READ_HEAD,), 443: (tls(), READ_HEAD), 8530: (READ_HEAD,), 8531: (tls(), READ_HEAD)}
)  # what comes before the answer
_ANSWER: Final = send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

_REFUSED: Final = 5  # a code of DNS answers
_SERVFAIL: Final = 2
_NO_ERROR: Final = 0


class Lab:
    """A running laboratory. Its faults are context managers: in force inside, undone after."""

    def __init__(self, network: Network, hosts: Mapping[str, tuple[str, ...]]) -> None:
        self._network = network
        # every address of each host, and of the proxy
        self.addresses_of: Mapping[str, tuple[str, ...]] = MappingProxyType({**hosts, PROXY_HOST: PROXY[:1]})
        root = authority("Laboratory Root CA")
        self._issuer = authority("Laboratory Issuing CA", root)
        network.ca_file.write_bytes(root.pem)
        self.inspector = authority("Laboratory Inspection CA")  # whose certificates the proxy that inspects shows
        self._proxy = CorporateProxy(network, self.inspector)
        self._names = Names(network, self.addresses_of)
        self._web = Web(network, frozenset(hosts), self._issuer)
        self._responder = Responder(network)
        self._name_servers = itertools.count(1)
        self._ports = itertools.count(20_000)  # of programs at RESPONDER
        for part in (self._proxy, self._names, self._web, self._responder):
            part.wait()

    @classmethod
    def start(cls, hosts: Iterable[str]) -> Self:
        """Build a laboratory with these hosts; it answers when this returns, and goes with `stop` or with us."""
        if reason := unavailable():
            raise RuntimeError(reason)
        network = Network.build()
        try:
            return cls(network, addresses(hosts, dual_stack=DUAL_STACK, ipv6_only=IPV6_ONLY))
        except BaseException:
            network.remove()
            raise

    def stop(self) -> None:
        """End all that runs in the laboratory and leave nothing of it; not an error when it is gone."""
        self._network.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---------------------------------------------------------------- what programs inside need

    @property
    def name(self) -> str:
        """The namespace, as `ip netns` calls it."""
        return self._network.name

    @property
    def ca_file(self) -> Path:
        """The root that stands above every host's certificate, as PEM."""
        return self._network.ca_file

    @property
    def issuer(self) -> Authority:
        """Who signs the hosts' certificates; above it stands the root in `ca_file`."""
        return self._issuer

    def keep(self, name: str, content: bytes) -> Path:
        """Put a file of this name into the laboratory, for programs inside."""
        path = self.file(name)
        path.write_bytes(content)
        return path

    def file(self, name: str) -> Path:
        """Where a file of this name is, or would be, in the laboratory."""
        return self._network.directory / name

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of programs inside: it trusts the laboratory's root and has nothing of ours."""
        return self._network.env

    @property
    def address_of(self) -> Mapping[str, str]:
        """The first address of each host."""
        return {host: found[0] for host, found in self.addresses_of.items()}

    @property
    def proxy_url(self) -> str:
        """The proxy for everybody."""
        return _proxy_url(Port.OPEN)

    @property
    def auth_proxy_url(self) -> str:
        """The proxy for those who sign in with `proxy_credentials`."""
        return _proxy_url(Port.AUTH)

    @property
    def inspecting_proxy_url(self) -> str:
        """The proxy that inspects TLS: every certificate that it shows is by the authority in `inspection_ca_file`."""
        return _proxy_url(Port.INSPECTING)

    @property
    def inspecting_auth_proxy_url(self) -> str:
        """The same for those who sign in."""
        return _proxy_url(Port.INSPECTING_AUTH)

    @property
    def inspection_ca_file(self) -> Path:
        """The authority of the proxy that inspects, which nobody trusts by himself, as PEM."""
        return self._proxy.inspection_ca_file

    @property
    def proxy_credentials(self) -> Credentials:
        """The account that the proxy's users have."""
        return self._proxy.credentials

    @property
    def other_proxy_credentials(self) -> Credentials:
        """One more account that the proxy knows."""
        return self._proxy.other_credentials

    def popen(self, argv: Sequence[str | Path], **options: Any) -> Popen[Any]:
        """Start a program inside, in `env` unless told otherwise; its process is the program's own.

        `etc` gives it files of /etc of its own: texts by name, such as resolv.conf or hosts.
        """
        return self._network.popen(argv, **options)

    def run(self, argv: Sequence[str | Path], **options: Any) -> CompletedProcess[str]:
        """Run a program inside, in `env` and for a minute at most unless told otherwise; its output is kept as text.

        `etc` is that of `popen`.
        """
        return self._network.run(argv, **options)

    # ---------------------------------------------------------------- faults of the network

    def drop(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Take in silence what is sent to the host: connecting times out."""
        return self._firewall(host, port, _DROP, _DROP)

    def drop_one(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Lose the next packet that is sent to the host, and none after it."""
        return self._firewall(host, port, (*_ONE, *_DROP), None)

    def reset_one(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Answer the next packet that is sent to the host with a reset, and none after it."""
        return self._firewall(host, port, (*_ONE, *_RESET), None)

    def drop_one_answer(self) -> AbstractContextManager[None]:
        """Lose the next segment with data that any host sends to the client over IPv4, and none after it."""
        data = ("--protocol", "tcp", "--tcp-flags", "PSH", "PSH")
        return self._network.rule(CLIENT[0], *data, *_ONE, *_DROP)

    @contextmanager
    def drop_full_size(self, host: str) -> Iterator[None]:
        """Lose packets of full size that the host sends to the client, and let smaller ones through: an MTU too low."""
        source = self.addresses_of[self._known(host)][0]
        full = ("--source", source, "--match", "length", "--length", "1001:65535")
        # One segment a packet, since the firewall sees what is cut into packets only later.
        self.run(["ip", "link", "set", "lo", "mtu", "1280", "gso_max_segs", "1"], check=True)
        try:
            with self._network.rule(CLIENT[0], *full, *_DROP):
                yield
        finally:
            self.run(["ip", "link", "set", "lo", "mtu", "65536", "gso_max_segs", "65535"], check=True)

    def reset(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Answer with a reset what is sent to the host: the connection is refused."""
        return self._firewall(host, port, _RESET, _RESET)

    def reset_address(self, address: str) -> AbstractContextManager[None]:
        """Answer with a reset what is sent to an address of any kind, such as one of the loopback's."""
        return self._network.rule(address, "--protocol", "tcp", *_RESET)

    def prohibit(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Answer what is sent to the host with ICMP's "administratively prohibited": EHOSTUNREACH, EACCES over IPv6.

        Over IPv6 after a second: within one machine the ICMP error arrives while `connect` still holds the socket, and
        Linux heeds only the one that answers the repeated SYN.
        """
        return self._firewall(host, port, _PROHIBIT, _PROHIBIT_IPV6)

    def no_route(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Answer what is sent to the host with ICMP's "network unreachable": ENETUNREACH."""
        return self._firewall(host, port, _NO_ROUTE, _NO_ROUTE_IPV6)

    @contextmanager
    def cut_line(self, *match: str) -> Iterator[None]:
        """Take in silence what is sent to any host but the proxy, also by that; names are still known.

        `match`: of whom, in the firewall's words.
        """
        every = {address for host, found in self.addresses_of.items() if host != PROXY_HOST for address in found}
        with ExitStack() as rules:
            for network in ("198.18.0.0/16", *sorted(address for address in every if ":" in address)):
                rules.enter_context(self._network.rule(network, "--protocol", "tcp", *match, *_DROP))
            yield

    def drop_ipv6(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Take in silence what is sent to the host by IPv6, and let IPv4 through."""
        return self._firewall(host, port, None, _DROP)

    @contextmanager
    def _firewall(
        self, host: str, port: int | None, rule: Sequence[str] | None, rule_ipv6: Sequence[str] | None
    ) -> Iterator[None]:
        match = ("--protocol", "tcp") if port is None else ("--protocol", "tcp", "--dport", str(port))
        with ExitStack() as rules:
            for address in self.addresses_of[self._known(host)]:
                chosen = rule_ipv6 if ":" in address else rule
                if chosen is not None:
                    rules.enter_context(self._network.rule(address, *match, *chosen))
            yield

    # ---------------------------------------------------------------- faults of names (Squid sees them in two seconds)

    def dns_missing(self, host: str) -> AbstractContextManager[None]:
        """Take the host out of the DNS: NXDOMAIN, or no address where other hosts stand below its name (RFC 8020)."""
        return self._names.missing(self._known(host))

    def dns_servfail(self, host: str) -> AbstractContextManager[None]:
        """Answer every question for the host with SERVFAIL."""
        return self._answered(host, reply(_SERVFAIL))

    def dns_refused(self, host: str) -> AbstractContextManager[None]:
        """Answer every question for the host with REFUSED."""
        return self._answered(host, reply(_REFUSED))

    def dns_without_address(self, host: str) -> AbstractContextManager[None]:
        """Have the host exist without an address (NODATA)."""
        return self._answered(host, reply(_NO_ERROR))

    def dns_answers(self, host: str, *steps: Step) -> AbstractContextManager[None]:
        """Answer every question for the host, and for unknown names below it, by these steps, then by silence."""
        return self._answered(host, *steps)

    def dns_silent_for(self, host: str, kind: Literal["A", "AAAA"]) -> AbstractContextManager[None]:
        """Take the questions for one kind of address in silence, and answer those for the other."""
        other: Literal["A", "AAAA"] = "A" if kind == "AAAA" else "AAAA"
        return self._answered(host, asked_for(other, reply(_NO_ERROR, *self.addresses_of[self._known(host)])))

    @contextmanager
    def name_server(self, *steps: Step) -> Iterator[str]:
        """Give the address of one more name server, which does this for every question by UDP, whatever the name.

        Only who has it in a resolv.conf of his own asks it.
        """
        address = f"{SCRIPTED_NAME_SERVERS}.{next(self._name_servers)}"
        with (
            self._responder.playing(steps, protocol="udp") as port,
            self._network.diverted(address, 53, port, "udp"),
        ):
            yield address

    @contextmanager
    def dns_silent(self, host: str | None = None) -> Iterator[None]:
        """Take every question in silence, or those for this host."""
        if host is not None:
            with self._answered(host):
                yield
            return
        with (
            self._network.rule(NAME_SERVER, "--protocol", "udp", "--dport", "53", *_DROP),
            self._network.rule(NAME_SERVER, "--protocol", "tcp", "--dport", "53", *_DROP),
        ):
            yield

    @contextmanager
    def _answered(self, host: str, *steps: Step) -> Iterator[None]:
        with (
            self._responder.playing(steps, protocol="udp") as port,
            self._names.elsewhere(self._known(host), port),
        ):
            yield

    # ---------------------------------------------------------------- faults of the web

    def serve(self, host: str, snippet: str) -> AbstractContextManager[None]:
        """Have the host answer as this nginx snippet says, the inside of a `server` block without its listen and name.

        ValueError with nginx's words when it does not take the snippet.
        """
        return self._web.serving(self._known(host), snippet)

    def certificate(self, host: str, kind: Flaw | str) -> AbstractContextManager[None]:
        """Have the host present a certificate with this flaw."""
        return self.present(host, flawed_leaf(host, self._issuer, Flaw(kind)))

    def present(self, host: str, pem: bytes) -> AbstractContextManager[None]:
        """Have the host present this certificate: key, certificate and chain as PEM."""
        return self._web.presenting(self._known(host), pem)

    def script(self, host: str, port: int, script: Script) -> AbstractContextManager[None]:
        """Have the host do this, step by step, for every connection to the port; `tls` presents its certificate.

        The firewall of the host is not asked about these connections.
        """
        return self._script(host, self.addresses_of[self._known(host)], port, script)

    def script_at(self, address: str, host: str, port: int, script: Script) -> AbstractContextManager[None]:
        """Have this address, which is nobody's, do that as if it were the host's."""
        return self._script(host, (address,), port, script)

    @contextmanager
    def _script(self, host: str, addresses: Iterable[str], port: int, script: Script) -> Iterator[None]:
        certificate = self._web.certificate_file(self._known(host))
        with self._responder.playing(script, certificate=certificate) as played, ExitStack() as rules:
            for address in addresses:
                rules.enter_context(self._network.diverted(address, port, played))
            yield

    @contextmanager
    def without_rfc_5746(self, host: str) -> Iterator[None]:
        """Have the host speak TLS 1.2 as servers did before 2010: it has no secure renegotiation (RFC 5746)."""
        port, certificate = next(self._ports), self._web.certificate_file(host)
        priority = "NORMAL:-VERS-TLS-ALL:+VERS-TLS1.2:%DISABLE_SAFE_RENEGOTIATION"
        files = ("--x509keyfile", certificate, "--x509certfile", certificate)
        argv: list[str | Path] = [
            "gnutls-serv",
            "--http",
            "--quiet",
            "--port",
            str(port),
            "--priority",
            priority,
            *files,
        ]
        with self._network.serving(f"gnutls-{port}", argv, "listening on IPv4"), ExitStack() as rules:
            for address in self.addresses_of[self._known(host)]:
                rules.enter_context(self._network.diverted(address, 443, port))
            yield

    # ---------------------------------------------------------------- faults of the proxy

    def proxy_denies(self, host: str, denial: Denial = Denial.PAGE) -> AbstractContextManager[None]:
        """Have the proxy's rules forbid the host, at all its ports.

        In the moment when the rules change, at the beginning and the end, the proxy refuses connections.
        """
        return self._proxy.denying(self._known(host), denial)

    # ---------------------------------------------------------------- delays

    def delay_names(self, host: str, seconds: float) -> AbstractContextManager[None]:
        """Answer questions for the host's IPv4 addresses that much later; the proxy waits for a second at least."""
        addresses = [address for address in self.addresses_of[self._known(host)] if ":" not in address]
        return self._answered(host, sleep(seconds), reply(_NO_ERROR, *addresses))

    def delay_connect(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Lose the first packet of every connection to the host: it opens a second later, when TCP repeats that."""
        return self._firewall(host, port, _DROP_FIRST_SYN, _DROP_FIRST_SYN)

    @contextmanager
    def delay_data(self, host: str, port: int, seconds: float) -> Iterator[None]:
        """Take connections to the port at once, but what is first sent on them that much later.

        That delays the TLS handshake at a port for https, the answer at one for http, and CONNECT at the proxy's.
        The servers see the connections come from another address.
        """
        address = self.addresses_of[self._known(host)][0]
        with self.script(host, port, (sleep(seconds), relay(address, port))):
            yield

    @contextmanager
    def delay_answer(self, host: str, seconds: float) -> Iterator[None]:
        """Answer requests that much later."""
        with ExitStack() as ports:
            for port, before in _WEB_PORTS.items():
                ports.enter_context(self.script(host, port, (*before, sleep(seconds), _ANSWER)))
            yield

    def _known(self, host: str) -> str:
        if host not in self.addresses_of:
            raise KeyError(f"{host}: the laboratory has no such host")
        return host

    # ---------------------------------------------------------------- what was seen

    def requests(self, host: str | None = None) -> list[Request]:
        """The requests that the web servers answered since `clear_requests`, in that order; exact at any moment."""
        return [request for request in self._web.requests() if host is None or request.host == host]

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._web.clear()

    def proxy_log(self) -> list[ProxyRequest]:
        """The requests that the proxy has finished; a tunnel is one, and may show a moment after the client's end."""
        return self._proxy.requests()


def _proxy_url(port: Port) -> str:
    return f"http://{PROXY_HOST}:{port}"
