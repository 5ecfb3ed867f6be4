"""The laboratory internet: in one network namespace, real servers behind every host name of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from subprocess import CompletedProcess, Popen
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from .hosts import DUAL_STACK, EXTRA_HOSTS, IPV6_ONLY, addresses, catalogue_hosts
from .names import Names
from .network import NAME_SERVER, PROXY, Network, unavailable
from .pki import Flaw, authority, flawed_leaf
from .proxy import AUTH_PORT, PORT, CorporateProxy, Credentials, ProxyRequest
from .proxy import HOST as PROXY_HOST
from .web import Request, Web

__all__ = [
    "EXTRA_HOSTS",
    "PROXY_HOST",
    "Credentials",
    "Flaw",
    "Lab",
    "ProxyRequest",
    "Request",
    "catalogue_hosts",
    "unavailable",
]

_DROP: Final = ("DROP",)
_RESET: Final = ("REJECT", "--reject-with", "tcp-reset")
_PROHIBIT: Final = ("REJECT", "--reject-with", "icmp-admin-prohibited")
_PROHIBIT_IPV6: Final = ("REJECT", "--reject-with", "icmp6-adm-prohibited")


class Lab:
    """A running laboratory. Its faults are context managers: in force inside, undone after."""

    def __init__(self, network: Network, hosts: Mapping[str, tuple[str, ...]]) -> None:
        self._network = network
        # every address of each host, and of the proxy
        self.addresses_of: Mapping[str, tuple[str, ...]] = MappingProxyType({**hosts, PROXY_HOST: PROXY[:1]})
        root = authority("Laboratory Root CA")
        self._issuer = authority("Laboratory Issuing CA", root)
        network.ca_file.write_bytes(root.pem)
        self._proxy = CorporateProxy(network)
        self._names = Names(network, self.addresses_of)
        self._web = Web(network, frozenset(hosts), self._issuer)
        for part in (self._proxy, self._names, self._web):
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
        return f"http://{PROXY_HOST}:{PORT}"

    @property
    def auth_proxy_url(self) -> str:
        """The proxy for those who sign in with `proxy_credentials`."""
        return f"http://{PROXY_HOST}:{AUTH_PORT}"

    @property
    def proxy_credentials(self) -> Credentials:
        """The one account that the proxy knows."""
        return self._proxy.credentials

    def popen(self, argv: Sequence[str | Path], **options: Any) -> Popen[Any]:
        """Start a program inside, in `env` unless told otherwise; its process is the program's own."""
        return self._network.popen(argv, **options)

    def run(self, argv: Sequence[str | Path], **options: Any) -> CompletedProcess[str]:
        """Run a program inside, in `env` and for a minute at most unless told otherwise; its output is kept as text."""
        return self._network.run(argv, **options)

    # ---------------------------------------------------------------- faults of the network

    def drop(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Take in silence what is sent to the host: connecting times out."""
        return self._firewall(host, port, _DROP, _DROP)

    def reset(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Answer with a reset what is sent to the host: the connection is refused."""
        return self._firewall(host, port, _RESET, _RESET)

    def prohibit(self, host: str, port: int | None = None) -> AbstractContextManager[None]:
        """Answer what is sent to the host with ICMP's "administratively prohibited": EHOSTUNREACH, EACCES over IPv6.

        Over IPv6 after a second: within one machine the ICMP error arrives while `connect` still holds the socket, and
        Linux heeds only the one that answers the repeated SYN.
        """
        return self._firewall(host, port, _PROHIBIT, _PROHIBIT_IPV6)

    @contextmanager
    def _firewall(
        self, host: str, port: int | None, target: Sequence[str], target_ipv6: Sequence[str]
    ) -> Iterator[None]:
        match = ("--protocol", "tcp") if port is None else ("--protocol", "tcp", "--dport", str(port))
        with ExitStack() as rules:
            for address in self.addresses_of[self._known(host)]:
                jump = target_ipv6 if ":" in address else target
                rules.enter_context(self._network.rule(address, *match, "--jump", *jump))
            yield

    # ---------------------------------------------------------------- faults of the names (Squid: within two seconds)

    def dns_missing(self, host: str) -> AbstractContextManager[None]:
        """Take the host out of the DNS: NXDOMAIN, or no address where other hosts stand below its name (RFC 8020)."""
        return self._names.missing(self._known(host))

    def dns_servfail(self, host: str) -> AbstractContextManager[None]:
        """Answer every question for the host with SERVFAIL."""
        return self._names.failing(self._known(host))

    @contextmanager
    def dns_silent(self) -> Iterator[None]:
        """Take every question in silence."""
        with (
            self._network.rule(NAME_SERVER, "--protocol", "udp", "--dport", "53", "--jump", *_DROP),
            self._network.rule(NAME_SERVER, "--protocol", "tcp", "--dport", "53", "--jump", *_DROP),
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
