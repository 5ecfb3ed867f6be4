"""Read the chain that a server sent: DER certificates -> facts. Pure."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Final

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

from exporter.model import TlsFacts

_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NOT_ISSUED: Final = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm)  # another name, key or signature


@lru_cache(maxsize=4096)
def facts(chain: tuple[bytes, ...], protocol: str | None) -> TlsFacts:
    """What a chain (DER, the server's own certificate first) says of itself."""
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        if not certificates:
            return TlsFacts(protocol)
        return TlsFacts(
            protocol=protocol,
            subject=certificates[0].subject.rfc4514_string(),
            issuer=certificates[0].issuer.rfc4514_string(),
            not_after=min(certificate.not_valid_after_utc.timestamp() for certificate in certificates),
            intercepted=not ends_in(certificates, _public_roots()),
        )
    except ValueError:  # a certificate that OpenSSL takes and cryptography does not
        return TlsFacts(protocol)


def ends_in(chain: Sequence[x509.Certificate], roots: Iterable[x509.Certificate]) -> bool:
    """Whether a path up from the first certificate leads to one of `roots`; a cross-signed issuer opens several."""
    by_name: dict[x509.Name, list[x509.Certificate]] = {}
    for root in roots:
        by_name.setdefault(root.subject, []).append(root)
    above, remaining = [chain[0]], list(chain[1:])
    while above:
        current = above.pop()
        if any(current == root or _issued(current, root) for root in by_name.get(current.issuer, ())):
            return True
        issuers = [candidate for candidate in remaining if _issued(current, candidate)]
        remaining = [candidate for candidate in remaining if candidate not in issuers]
        above += issuers
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except _NOT_ISSUED:
        return False
    return True


@cache
def _public_roots() -> tuple[x509.Certificate, ...]:
    """Mozilla's list: what browsers accept, whatever an organisation added to its own machines."""
    return tuple(_readable(_PEM.findall(certifi.contents())))


def _readable(certificates: Iterable[str]) -> Iterator[x509.Certificate]:
    # An old root has a serial number that the standard forbids; cryptography warns of it and will refuse it some day.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for pem in certificates:
            with suppress(ValueError):
                yield x509.load_pem_x509_certificate(pem.encode())
