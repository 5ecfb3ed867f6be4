"""Every fault that the exporter must name, and what resembles one: how the laboratory makes it, and its true reason.

The true reason leads to whoever has to change something. Where the same fault looks different behind a proxy, or where
it cannot be known from where the exporter stands, a comment says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .fault import HEALTHY, UP, Chain, Etc, Fault, Inject, Outcome, Via, Way, nothing
from .http import cuts, framing, heads, http_faults, statuses
from .names import WILDCARD, connections, families, literals, names, resolvers, searches, sinkholes
from .pages import forwarders, labels, logins, pages
from .proxies import conversations, inspection, openings, proxies, refusals, tls_to_the_proxy
from .tls import certificates, odd_certificates, servers, tls_faults
from .wine import BEYOND_WINE

__all__ = [
    "BEYOND_WINE",
    "CONTRADICTIONS",
    "FAULTS",
    "HEALTHY",
    "HOSTS",
    "UP",
    "Chain",
    "Etc",
    "Fault",
    "Inject",
    "Outcome",
    "Via",
    "Way",
    "nothing",
]

FAULTS: Final = (
    *names(),
    *connections(),
    *sinkholes(),
    *searches(),
    *resolvers(),
    *families(),
    *literals(),
    *proxies(),
    *conversations(),
    *openings(),
    *refusals(),
    *tls_to_the_proxy(),
    *inspection(),
    *tls_faults(),
    *servers(),
    *certificates(),
    *odd_certificates(),
    *http_faults(),
    *heads(),
    *framing(),
    *cuts(),
    *statuses(),
    *pages(),
    *labels(),
    *logins(),
    *forwarders(),
)

# Where curl sees something else than what is true, and why, by the name of the fault.
CONTRADICTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{
            f"sinkhole: {address}": "it asks this machine's own web server"
            for address in ("127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "127.0.53.53")  # noqa: S104 - nobody listens
        },
        "sinkhole: both families": "it asks this machine's own web server",
        "sinkhole: nobody listens": "it connects to this machine, which refuses",
        "sinkhole: broadcast": "it connects to where nobody can be",
        "sinkhole: link-local": "it connects to where no public service can be",
        "search list: wildcard": "it asks whom the search list leads to",
        "search list: before the name": "it asks whom the search list leads to, and that one is dead",
        "resolver silent: little patience": "it has one status for a resolver that is silent and one that fails",
        "resolver silent: some patience": "it has one status for a resolver that is silent and one that fails",
        "IPv6 silent, IPv4 refused": "its time is up before it has given up the silent address",
        "proxy: opens with an interim answer": "it takes the interim answer for a refusal",
        "proxy: opens with a header without colon": "it gives up at such a line",
        "proxy: answers 200 and a page": "it takes success for a tunnel, whatever comes in it",
        "proxy: answers 200 and a block page": "it takes success for a tunnel, whatever comes in it",
        "proxy: expects TLS and says so": "what the proxy says is to it the target's answer",
        "head: HTTP/1.2": "it knows no such version",
        "head: blank lines first": "it takes them for an answer of before HTTP/1.0",
        "TLS: no secure renegotiation": "its OpenSSL is the stricter one by default; Windows is not",
        "TLS: block page in plain text": "it looks for TLS only",
    }
)
HOSTS: Final = frozenset({HEALTHY, WILDCARD, *(fault.host for fault in FAULTS)})
