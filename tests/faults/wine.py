"""What wine cannot show of a fault, though Windows would: by the fault's name, and why."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_ROOTS = "wine's crypt32 takes a chain to a root that it does not know"
_MISSING = "wine's crypt32 takes a chain of which an issuer is missing"
_CA_FILE = "wine's crypt32 has no chain engine with roots of its own (hExclusiveRoot), which `tls.ca_file` needs"
_ADDRESSES = "wine's crypt32 compares no addresses with those in a certificate"
_FIT = "wine's crypt32 does not look at that"
_PATIENCE = "wine asks by the resolver of Linux, of whose patience a program of Windows knows nothing"

BEYOND_WINE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "TLS: unknown root": _ROOTS,
        "proxy by TLS: unknown root": _ROOTS,
        "TLS: intermediate missing": _MISSING,
        "certificate: intermediate missing, to be fetched": _MISSING,
        "proxy by TLS: missing intermediate": _MISSING,
        "certificate: only the root has expired": _FIT,
        "certificate: RSA key of 1024 bits": _FIT,
        "certificate: name constraints forbid it": _FIT,
        "IPv4 address as target": _ADDRESSES,
        "IPv6 address as target": _ADDRESSES,
        "inspected: denied": _CA_FILE,
        "inspected: status 451": _CA_FILE,
        "inspected: connection reset": _CA_FILE,
        "inspected: expired": _CA_FILE,
        "inspected: name not found": _CA_FILE,
        "inspected: trusted": _CA_FILE,
        "resolver fails late": _PATIENCE,
        "resolver silent: little patience": _PATIENCE,
        "resolver silent: some patience": _PATIENCE,
    }
)
