"""Read the chain that a server sent: DER certificates -> facts. Pure.

Its library takes 9 MB and 50 ms, so this is imported when the first chain is to be read.
"""

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
from cryptography.hazmat.primitives import hashes
from cryptography.utils import CryptographyDeprecationWarning

from exporter.model import Certificate, Root, TlsFacts

_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NOT_ISSUED: Final = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm)  # another name, key or signature


# Roots that issue for Windows Update. Windows has them, Linux trust stores do not, and they are on no public list, so a
# chain is known by their names and those of the authorities below them. Source: public code and posts; no document of
# Microsoft names them.
_MICROSOFT_PRODUCT: Final = frozenset(
    {
        "Microsoft Root Certificate Authority 2011",
        "Microsoft ECC Product Root Certificate Authority 2018",
        "Microsoft Update Secure Server CA 2.1",
        "Microsoft ECC Update Secure Server CA 2.1",
        "Microsoft Secure Server CA 2011",
    }
)
# Issuers below public roots that Azure's hosts use; a server that forgets to send them is not an inspecting device.
# Source: azure-docs, articles/security/fundamentals/azure-certificate-authority-details.md, 2025-11-17.
_PUBLIC_ISSUER: Final = re.compile(
    r"Microsoft Azure (RSA|ECC) TLS Issuing CA 0[3478]|Microsoft TLS G2 (RSA|ECC) CA OCSP (0[2468]|1[0246])"
    r"|Microsoft TLS (RSA|ECC) Root G2|DigiCert .+|GeoTrust Global TLS RSA4096 SHA256 2022 CA1"
)


@lru_cache(maxsize=4096)
def facts(chain: tuple[bytes, ...], protocol: str | None) -> TlsFacts:
    """What a chain (DER, the server's own certificate first) says of itself."""
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        if not certificates:
            return TlsFacts(protocol)
        return TlsFacts(protocol, tuple(map(_shown, certificates)), leads_to(certificates))
    except ValueError:  # a certificate that OpenSSL takes and cryptography does not
        return TlsFacts(protocol)


def _shown(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def leads_to(chain: Sequence[x509.Certificate]) -> Root:
    """Whose root a chain leads to: by signature where the root is public, else by the names of the issuers."""
    if ends_in(chain, public_roots()):
        return Root.PUBLIC
    issuers = {name for certificate in chain for name in _common_names(certificate.issuer)}
    if issuers & _MICROSOFT_PRODUCT:
        return Root.MICROSOFT_PRODUCT
    return Root.PUBLIC if any(map(_PUBLIC_ISSUER.fullmatch, issuers)) else Root.PRIVATE


def _common_names(name: x509.Name) -> Iterator[str]:
    return (str(attribute.value) for attribute in name.get_attributes_for_oid(x509.NameOID.COMMON_NAME))


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
def public_roots() -> tuple[x509.Certificate, ...]:
    """Mozilla's list: what browsers accept, whatever an organisation added to its own machines."""
    return tuple(_readable(_PEM.findall(certifi.contents())))


def _readable(certificates: Iterable[str]) -> Iterator[x509.Certificate]:
    # An old root has a serial number that the standard forbids; cryptography warns of it and will refuse it some day.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for pem in certificates:
            with suppress(ValueError):
                yield x509.load_pem_x509_certificate(pem.encode())
