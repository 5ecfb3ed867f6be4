"""Which hosts the laboratory has, and their addresses."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

CATALOGUE: Final = Path(__file__).parents[2] / "config" / "catalogue"

GATEWAY: Final = "granitefalls"  # the cloud service's name in the documents' examples
IPV6_ONLY: Final = frozenset({"six.corp.example"})
DUAL_STACK: Final = frozenset({"dual.corp.example"})
EXTRA_HOSTS: Final = (
    IPV6_ONLY
    | DUAL_STACK
    | {"endpoints.office.com"}  # Microsoft 365's web service
    | {"portal.corp.example", "sup0.corp.example", "sup1.corp.example"}
    | {
        f"{GATEWAY}.{suffix}"
        for suffix in (
            "blob.core.usgovcloudapi.net",
            "blob.core.windows.net",
            "cloudapp.net",
            "table.core.usgovcloudapi.net",
            "table.core.windows.net",
            "usgovcloudapp.net",
            "vault.azure.net",
            "vault.usgovcloudapi.net",
            "westus.cloudapp.azure.com",
        )
    }
)

# A host by itself or in a URL; no wildcard (*), no template (<name>, {name}) is one.
_HOST: Final = re.compile(r"(?:https?://)?([\w-]+(?:\.[\w-]+)+)(?::\d+)?(?:[/?].*)?")
_HOST_KEYS: Final = frozenset({"pattern", "probe", "host", "representatives"})


def catalogue_hosts() -> frozenset[str]:
    """Every host that the shipped catalogue names: as an endpoint, as its probe, or for a wildcard."""
    found = set()
    for path in CATALOGUE.rglob("*.yaml"):
        for text in _texts(yaml.safe_load(path.read_text(encoding="utf-8")), wanted=False):
            if match := _HOST.fullmatch(text):
                found.add(match[1].lower())
    return frozenset(found)


def _texts(node: Any, *, wanted: bool) -> Iterator[str]:
    """The texts under a key that holds hosts, however deep."""
    match node:
        case str() if wanted:
            yield node
        case list():
            for item in node:
                yield from _texts(item, wanted=wanted)
        case dict():
            for key, value in node.items():
                yield from _texts(value, wanted=key in _HOST_KEYS)


def addresses(
    hosts: Iterable[str], *, dual_stack: Collection[str] = (), ipv6_only: Collection[str] = ()
) -> Mapping[str, tuple[str, ...]]:
    """Give each host addresses that no other has: IPv4, unless it is one of the others."""
    addresses_of: dict[str, tuple[str, ...]] = {}
    for number, host in enumerate(sorted(set(hosts)), start=1):
        ipv4, ipv6 = f"198.18.{number // 256}.{number % 256}", f"fd00:1ab::1:{number:x}"
        if host in ipv6_only:
            addresses_of[host] = (ipv6,)
        elif host in dual_stack:
            addresses_of[host] = (ipv4, ipv6)
        else:
            addresses_of[host] = (ipv4,)
    return addresses_of
