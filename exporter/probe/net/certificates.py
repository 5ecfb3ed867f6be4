"""Read the chain that a server sent and the path that its verification took: DER certificates -> facts. Pure.

Its library takes 9 MB and 50 ms, so this is imported when the first chain is to be read.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import islice
from typing import Final, TypeVar

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID

from exporter.model.vocabulary import Certificate, Root, TlsFacts

T = TypeVar("T")
Chain = Sequence[x509.Certificate]
Roots = Mapping[x509.Name, Sequence[x509.Certificate]]  # by subject

_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NOT_ISSUED: Final = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm)  # another name, key or signature
_TEXT: Final = 1000  # characters of a name that are kept; a certificate may hold 100 KiB of it
_RSA_BITS: Final = 2048  # the least that OpenSSL's security level 2 takes; of SHA-1 and MD5 it takes nothing
_SENT: Final = 32  # certificates of a chain that are looked at, its own first; a path has four or five
_PATHS: Final = 16  # paths that are compared
_OLD_HASHES: Final = frozenset({"sha1", "md5"})


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
# A name proves nothing: it counts only where nothing can be proved, because the issuer's certificate was not sent.
# Source: azure-docs, articles/security/fundamentals/azure-certificate-authority-details.md, 2025-11-17.
_PUBLIC_ISSUER: Final = re.compile(
    r"Microsoft Azure (RSA|ECC) TLS Issuing CA 0[3478]|Microsoft TLS G2 (RSA|ECC) CA OCSP (0[2468]|1[0246])"
    r"|Microsoft TLS (RSA|ECC) Root G2|DigiCert .+|GeoTrust Global TLS RSA4096 SHA256 2022 CA1"
)


@lru_cache(maxsize=4096)
def facts(
    presented: tuple[bytes, ...],
    protocol: str | None,
    path: tuple[bytes, ...] = (),
    *,
    verified: bool = False,
    known: tuple[bytes, ...] = (),
) -> TlsFacts:
    """What a chain (DER, the server's own certificate first) says of itself.

    `path`: the one that the verification took, as far as it came. Where the system does not tell it, it is built of
    what was presented and of the roots that are `known`; of several, the one that lasts longest.
    """
    sent = tuple(map(_read, presented))
    taken = tuple(map(_read, path)) or _built(sent, tuple(map(_read, known)))
    if not taken:
        return TlsFacts(protocol)
    # One that was built and stops below a root is not the one that the system took, which fetches what was not sent.
    whole = bool(path) or _self_signed([taken[-1].parsed]) is not None
    root, missing = _leads_to(taken, sent, verified=verified and whole)
    chain, way = (tuple(one.shown for one in ones) for ones in (sent, taken))
    return TlsFacts(protocol, chain, root, way, verified, missing)


# ---------------------------------------------------------------- one certificate


@dataclass(frozen=True, slots=True)
class _Read:
    """A certificate as it is shown, and as it can be reckoned with; None where its names cannot be read."""

    shown: Certificate
    parsed: x509.Certificate | None


@lru_cache(maxsize=2048)
def _read(der: bytes) -> _Read:
    """Read one certificate. Never raises: what its library refuses is shown by size and hash, the rest is kept."""
    sha256, size = hashlib.sha256(der).hexdigest(), len(der)
    with warnings.catch_warnings():
        # Of a serial number that the standard forbids, for example; cryptography will refuse it some day.
        warnings.simplefilter("ignore")
        parsed = _or_none(lambda: x509.load_der_x509_certificate(der))
        if parsed is None:
            return _Read(Certificate(None, None, None, None, sha256, size), None)
        subject, issuer = _or_none(partial(_subject, parsed)), _or_none(partial(_issuer, parsed))
        shown = Certificate(
            subject,
            issuer,
            _or_none(partial(_begins, parsed)),
            _or_none(partial(_ends, parsed)),
            sha256,
            size,
            _or_none(partial(_weakness, parsed)),
            _or_none(partial(_ca_issuers, parsed)),
        )
    return _Read(shown, None if subject is None or issuer is None else parsed)


def _or_none(read: Callable[[], T]) -> T | None:
    """What can be read of a certificate; a stranger made it, and its library may stumble over any part of it."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - it raises whatever its parsers do: ValueError, InvalidVersion, TypeError ...
        return None


def _subject(certificate: x509.Certificate) -> str:
    return _text(certificate.subject)


def _issuer(certificate: x509.Certificate) -> str:
    return _text(certificate.issuer)


def _begins(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()


def _ends(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _text(name: x509.Name) -> str:
    text = name.rfc4514_string()
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."


def _weakness(certificate: x509.Certificate) -> str | None:
    hashed = certificate.signature_hash_algorithm
    if hashed is not None and hashed.name in _OLD_HASHES and certificate.subject != certificate.issuer:
        return f"signed with {hashed.name.upper().replace('SHA1', 'SHA-1')}"
    key = certificate.public_key()
    return (
        f"an RSA key of {key.key_size} bits" if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS else None
    )


def _ca_issuers(certificate: x509.Certificate) -> str | None:
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    found = (
        str(one.access_location.value)
        for one in access
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )
    url = next(found, None)
    return url if url is None or len(url) <= _TEXT else None


# ---------------------------------------------------------------- whose root it is


def _leads_to(taken: Sequence[_Read], sent: Sequence[_Read], *, verified: bool) -> tuple[Root | None, str | None]:
    """Whose root a path leads to, and the name of the issuer that it lacks.

    By signature. Where the path stops at an issuer that is not at hand, nothing is proved: the names of Microsoft's
    and of public authorities are believed then, for what such a chain opens is nothing, and others tell nothing.
    """
    top = taken[-1].parsed
    if verified and top is not None and _is_below(top, public_by_name()):
        return Root.PUBLIC, None
    above = _above([one.parsed for one in (*taken, *sent[:_SENT])])
    if any(_is_below(certificate, public_by_name()) for certificate in above):
        return Root.PUBLIC, None
    end = top if verified else _self_signed(above or [top])
    if end is not None:
        named = {*_common_names(end.subject), *_common_names(end.issuer)}
        return Root.MICROSOFT_PRODUCT if named & _MICROSOFT_PRODUCT else Root.PRIVATE, None
    named = {name for certificate in above for name in _common_names(certificate.issuer)}
    missing = taken[-1].shown.issuer
    if named & _MICROSOFT_PRODUCT:
        return Root.MICROSOFT_PRODUCT, missing
    return Root.PUBLIC if any(map(_PUBLIC_ISSUER.fullmatch, named)) else None, missing


def _common_names(name: x509.Name) -> Iterator[str]:
    return (str(attribute.value) for attribute in name.get_attributes_for_oid(x509.NameOID.COMMON_NAME))


def _self_signed(certificates: Iterable[x509.Certificate | None]) -> x509.Certificate | None:
    return next((one for one in certificates if one is not None and one.subject == one.issuer), None)


def ends_in(chain: Chain, roots: Iterable[x509.Certificate]) -> bool:
    """Whether a path up from the first certificate leads to one of `roots`; a cross-signed issuer opens several."""
    by_name = _by_name(roots)
    return any(_is_below(certificate, by_name) for certificate in _above(chain))


def _above(chain: Sequence[x509.Certificate | None]) -> list[x509.Certificate]:
    """The first certificate and all that can be reached from it by signature; none where it cannot be read."""
    reached, at = [one for one in chain[:1] if one is not None], 0
    remaining = [one for one in chain[1:] if one is not None]
    while at < len(reached):
        issuers = [candidate for candidate in remaining if _issued(reached[at], candidate)]
        remaining = [candidate for candidate in remaining if candidate not in issuers]
        reached += issuers
        at += 1
    return reached


def _is_below(certificate: x509.Certificate, roots: Roots) -> bool:
    """Whether it is one of the roots, or issued by one."""
    return any(certificate == root or _issued(certificate, root) for root in roots.get(certificate.issuer, ()))


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except _NOT_ISSUED:
        return False
    return True


def _by_name(roots: Iterable[x509.Certificate]) -> Roots:
    by_name: dict[x509.Name, list[x509.Certificate]] = {}
    for root in roots:
        by_name.setdefault(root.subject, []).append(root)
    return by_name


@cache
def public_by_name() -> Roots:
    """The same by their names."""
    return _by_name(public_roots())


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


# ---------------------------------------------------------------- a path, where the system does not tell its own


def _built(sent: Sequence[_Read], known: Sequence[_Read]) -> tuple[_Read, ...]:
    """The path from the first certificate that comes to a root; of several the one that lasts longest."""
    if not sent:
        return ()
    candidates = [one for one in (*sent[1:_SENT], *known) if one.parsed is not None]
    return max(islice(_paths((sent[0],), candidates), _PATHS), key=_worth)


def _worth(path: Sequence[_Read]) -> tuple[bool, float]:
    ends = (one.shown.not_after for one in path if one.shown.not_after is not None)
    return _self_signed([path[-1].parsed]) is not None, min(ends, default=-math.inf)


def _paths(path: tuple[_Read, ...], candidates: Sequence[_Read]) -> Iterator[tuple[_Read, ...]]:
    last = path[-1].parsed
    above = [] if last is None or last.subject == last.issuer or len(path) == _SENT else candidates
    issuers = [one for one in above if one not in path and last and one.parsed and _issued(last, one.parsed)]
    if not issuers:
        yield path
    for issuer in issuers:
        yield from _paths((*path, issuer), candidates)
